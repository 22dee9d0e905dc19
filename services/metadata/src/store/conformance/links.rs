//! Links, as their owner has them.

use super::*;
use crate::domain::error::Error::{
    IdempotencyMismatch, InvalidField, NotAFile, NotFound, PreconditionFailed,
};
use crate::domain::id::LinkId;
use crate::domain::link::Slug;
use crate::store::{LinkFilter, LinkedNode, Purge};

on_both!(
    a_link_opens_its_file_wherever_it_goes,
    links_end,
    links_are_listed_and_changed,
    links_are_found_with_their_files,
    a_link_is_made_once_for_a_key,
    a_link_can_stand_for_another,
    expired_links_are_swept,
);

async fn a_link_opens_its_file_wherever_it_goes(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let file = world.put("a/f", "one").await.unwrap().node;
    let folder = world.get("a").await.unwrap();
    let to_folder = store.create_link(home, folder.id, &NewLink::default(), false, None, NOW).await;
    assert_eq!(refusal(to_folder), NotAFile);
    let link = world.link(file.id).await;
    assert_eq!(
        store.open_link(&link.slug, Form::Short, false, NOW).await.unwrap(),
        (link.clone(), file.clone())
    );
    let moved = world.move_to(file.id, home.root).await.unwrap();
    assert_eq!(world.open(&link, NOW).await.unwrap(), moved);
    let written = world.put("f", "two").await.unwrap().node;
    assert_eq!(world.open(&link, NOW).await.unwrap(), written);
    // A new file under the old name is not what was shared.
    world.trash("f").await.unwrap();
    world.put("f", "three").await.unwrap();
    world.put("a/f", "three").await.unwrap();
    assert_eq!(refusal(world.open(&link, NOW).await), NotFound);
    store.restore_node(home, file.id, None, Some(&name("g")), NOW).await.unwrap();
    assert_eq!(world.open(&link, NOW).await.unwrap().id, file.id);
    // Gone with a folder above it, too.
    world.move_to(file.id, folder.id).await.unwrap();
    world.trash("a").await.unwrap();
    assert_eq!(refusal(world.open(&link, NOW).await), NotFound);
    store.purge(home, Purge::All, NOW).await.unwrap();
    assert_eq!(refusal(world.open(&link, NOW).await), NotFound);
}

async fn links_end(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let none = &Precondition::None;
    let file = world.put("f", "x").await.unwrap().node;
    let make = async |new: NewLink| store.create_link(home, file.id, &new, false, None, NOW).await;
    for bad in [Expiry::At(NOW), Expiry::In(0)] {
        let refused = make(NewLink { expiry: bad, ..NewLink::default() }).await;
        assert!(matches!(refusal(refused), InvalidField { .. }));
    }
    for new in [until(NOW + 10), NewLink { expiry: Expiry::In(10), ..NewLink::default() }] {
        let link = make(new).await.unwrap();
        assert_eq!(link.expires_at, Some(NOW + 10));
        assert!(world.open(&link, NOW + 9).await.is_ok());
        assert_eq!(refusal(world.open(&link, NOW + 10).await), NotFound);
        // An expired link can be given more time.
        let again = store.update_link(home, link.id, &ends(Expiry::In(5)), none, NOW + 20).await.unwrap();
        assert_eq!(again.expires_at, Some(NOW + 25));
        store.update_link(home, link.id, &ends(Expiry::Never), none, NOW + 20).await.unwrap();
        assert!(world.open(&link, i64::MAX).await.is_ok());
        store.delete_link(home, link.id, none, NOW).await.unwrap();
        assert_eq!(refusal(world.open(&link, NOW).await), NotFound);
        assert_eq!(refusal(store.delete_link(home, link.id, none, NOW).await), NotFound);
    }
    let unknown = Slug::new(Form::Short, "").unwrap();
    assert_eq!(refusal(store.open_link(&unknown, Form::Short, false, NOW).await), NotFound);
}

/// All links that a filter passes, with and without their files.
async fn list(world: &World, filter: LinkFilter) -> Vec<Link> {
    let (store, home) = (&world.store, &world.home);
    let (mut found, mut with_nodes) = (Vec::new(), Vec::new());
    let mut after = None;
    loop {
        let page = store.links(home, filter, after, 3).await.unwrap();
        let full = store.links_with_nodes(home, filter, after, 3, NOW).await.unwrap();
        assert_eq!(page.has_more, full.has_more);
        after = page.items.last().map(|linked| (linked.link.created_at, linked.link.id));
        found.extend(page.items.into_iter().map(|linked| linked.link));
        with_nodes.extend(full.items.into_iter().map(|linked| linked.link));
        if !page.has_more {
            assert_eq!(found, with_nodes);
            return found;
        }
    }
}

async fn links_are_listed_and_changed(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let file = world.put("f", "x").await.unwrap().node.id;
    let other = world.put("g", "x").await.unwrap().node.id;
    let mut expected = Vec::new();
    for index in 0..7 {
        let node = if index == 3 { other } else { file };
        let form = if index % 2 == 0 { Form::Short } else { Form::Hex };
        let new = NewLink { form, ..NewLink::default() };
        expected.push(store.create_link(home, node, &new, false, None, NOW + index / 2).await.unwrap());
    }
    expected.sort_by_key(|link| std::cmp::Reverse((link.created_at, link.id)));
    assert_eq!(list(world, LinkFilter::default()).await, expected);
    for form in Form::ALL {
        let of_form: Vec<Link> = expected.iter().filter(|link| link.form == form).cloned().collect();
        assert_eq!(list(world, LinkFilter { form: Some(form), node: None }).await, of_form);
    }
    let of_other = list(world, LinkFilter { node: Some(other), form: None }).await;
    assert_eq!(of_other.len(), 1);
    assert_eq!(list(world, LinkFilter { node: Some(other), form: Some(Form::Hex) }).await, of_other);
    assert!(list(world, LinkFilter { node: Some(other), form: Some(Form::Short) }).await.is_empty());

    let link = &of_other[0];
    let fresh = Precondition::AnyOf(vec![link.etag()]);
    let update = ends(Expiry::At(NOW + 99));
    let changed = store.update_link(home, link.id, &update, &fresh, NOW).await.unwrap();
    assert_eq!((changed.expires_at, &changed.slug), (Some(NOW + 99), &link.slug));
    assert_eq!(store.link(home, link.id, NOW).await.unwrap().link, changed);
    assert_eq!(refusal(store.update_link(home, link.id, &update, &fresh, NOW).await), PreconditionFailed);
    assert_eq!(refusal(store.delete_link(home, link.id, &fresh, NOW).await), PreconditionFailed);
    let none = &Precondition::None;
    let past = store.update_link(home, link.id, &ends(Expiry::At(NOW)), none, NOW).await;
    assert!(matches!(refusal(past), InvalidField { .. }));
    // What is not named stays, and nothing at all is no change.
    let call = LinkUpdate { file_name: Some("b.txt".to_owned()), expiry: None };
    let called = store.update_link(home, link.id, &call, none, NOW).await.unwrap();
    assert_eq!((called.file_name.as_str(), called.expires_at), ("b.txt", Some(NOW + 99)));
    assert_ne!(called.etag(), changed.etag());
    assert_eq!(store.update_link(home, link.id, &LinkUpdate::default(), none, NOW).await.unwrap(), called);
    assert_eq!(store.update_link(home, link.id, &call, none, NOW).await.unwrap(), called);
}

async fn links_are_found_with_their_files(world: &World) {
    let (store, home) = (&world.store, &world.home);
    world.policy("", Policy { time_to_live: Some(10), ..Policy::NONE }).await;
    let short_lived = world.put("s", "x").await.unwrap().node;
    world.policy("", Policy::NONE).await;
    let file = world.put("f", "x").await.unwrap().node;
    let deep = world.put("a/b/g", "x").await.unwrap().node;
    for (node, now, shown) in [
        (&file, NOW, true),
        (&deep, NOW, false),
        (&short_lived, NOW + 9, true),
        (&short_lived, NOW + 10, false),
    ] {
        let link = world.link(node.id).await;
        if !shown && node == &deep {
            world.trash("a").await.unwrap();
        }
        let expected = LinkedNode { link: link.clone(), node: shown.then(|| node.clone()) };
        assert_eq!(store.link(home, link.id, now).await.unwrap(), expected);
        assert_eq!(store.link_by_slug(home, &link.slug, now).await.unwrap(), expected);
        let filter = LinkFilter { node: Some(node.id), form: None };
        let listed = store.links_with_nodes(home, filter, None, 10, now).await.unwrap().items;
        assert!(listed.contains(&expected), "{listed:?}");
        let without = store.links(home, filter, None, 10).await.unwrap().items;
        assert!(without.iter().all(|linked| linked.node.is_none()));

        let stranger = &world.stranger().await;
        assert_eq!(refusal(store.link(stranger, link.id, now).await), NotFound);
        assert_eq!(refusal(store.link_by_slug(stranger, &link.slug, now).await), NotFound);
    }
    assert_eq!(refusal(store.link(home, LinkId::new(NOW), NOW).await), NotFound);
}

async fn a_link_is_made_once_for_a_key(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let file = world.put("f", "x").await.unwrap().node.id;
    let make =
        async |new: &NewLink, now| store.create_link(home, file, new, false, Some(&key("k")), now).await;
    let first = make(&until(NOW + 5), NOW).await.unwrap();
    assert_eq!(make(&until(NOW + 5), NOW).await.unwrap(), first);
    assert_eq!(make(&until(NOW + 5), NOW + 9).await.unwrap(), first, "also when it is over");
    assert_eq!(refusal(make(&NewLink::default(), NOW).await), IdempotencyMismatch);
    let listed = store.links(home, LinkFilter::default(), None, 10).await.unwrap().items;
    assert_eq!(listed, [LinkedNode { link: first, node: None }]);

    // A time from now on is the same request whenever it is repeated.
    let lasting = NewLink { expiry: Expiry::In(5), ..NewLink::default() };
    let make = async |now| store.create_link(home, file, &lasting, false, Some(&key("l")), now).await;
    let first = make(NOW).await.unwrap();
    assert_eq!(make(NOW + 1).await.unwrap(), first);
    assert_eq!(first.expires_at, Some(NOW + 5));
}

async fn a_link_can_stand_for_another(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let file = world.put("f", "x").await.unwrap().node.id;
    let other = world.put("g", "x").await.unwrap().node.id;
    let make = async |node, expiry, reuse, now| {
        let new = NewLink { form: Form::Uuid, expiry, ..NewLink::default() };
        store.create_link(home, node, &new, reuse, None, now).await.unwrap()
    };
    // None of these will do.
    make(other, Expiry::Never, false, NOW).await;
    world.link(file).await;
    for change in [
        |new: &mut NewLink| new.suffix = ".txt".to_owned(),
        |new: &mut NewLink| new.file_name = "b".to_owned(),
        |new: &mut NewLink| new.max_downloads = 1,
        |new: &mut NewLink| new.deletable = true,
    ] {
        let mut new = NewLink { form: Form::Uuid, ..NewLink::default() };
        change(&mut new);
        store.create_link(home, file, &new, false, None, NOW).await.unwrap();
    }
    let first = make(file, Expiry::In(100), true, NOW).await;
    assert_eq!(make(file, Expiry::In(100), true, NOW).await, first);
    assert_eq!(make(file, Expiry::At(NOW + 150), true, NOW + 50).await, first, "half of the time");
    let second = make(file, Expiry::In(100), true, NOW + 51).await;
    assert_ne!(second, first, "less than half of the time");
    assert_eq!(make(file, Expiry::In(20), true, NOW + 51).await, first, "the one that ends first");
    let lasting = make(file, Expiry::Never, true, NOW).await;
    assert_eq!(make(file, Expiry::Never, true, NOW).await, lasting);
    assert_eq!(make(file, Expiry::In(10_000), true, NOW).await, lasting);
    assert_ne!(make(file, Expiry::Never, false, NOW).await, lasting, "only where it is asked for");
}

async fn expired_links_are_swept(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let file = world.put("f", "x").await.unwrap().node.id;
    let make = async |form, expiry| {
        let new = NewLink { form, expiry, ..NewLink::default() };
        store.create_link(home, file, &new, false, None, NOW).await.unwrap().id
    };
    let short = make(Form::Short, Expiry::In(10)).await;
    let hex = make(Form::Hex, Expiry::In(10)).await;
    let longer = make(Form::Hex, Expiry::In(11)).await;
    let lasting = make(Form::Hex, Expiry::Never).await;
    let left = async || {
        let mut left: Vec<LinkId> =
            list(world, LinkFilter::default()).await.into_iter().map(|link| link.id).collect();
        left.sort();
        left
    };
    let sorted = |mut ids: Vec<LinkId>| {
        ids.sort();
        ids
    };
    store.sweep_links(Form::Hex, NOW + 9).await.unwrap();
    assert_eq!(left().await, sorted(vec![short, hex, longer, lasting]));
    store.sweep_links(Form::Hex, NOW + 10).await.unwrap();
    assert_eq!(left().await, sorted(vec![short, longer, lasting]));
    store.sweep_links(Form::Short, i64::MAX).await.unwrap();
    assert_eq!(left().await, sorted(vec![longer, lasting]));
}
