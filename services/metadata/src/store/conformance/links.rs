//! Links.

use super::*;
use crate::domain::error::Error::{
    IdempotencyMismatch, InvalidField, NotAFile, NotFound, PreconditionFailed,
};
use crate::domain::link::Slug;
use crate::store::Purge;

on_both!(
    a_link_opens_its_file_wherever_it_goes,
    links_end,
    links_are_listed_and_changed,
    a_link_is_made_once_for_a_key
);

async fn a_link_opens_its_file_wherever_it_goes(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let file = world.put("a/f", "one").await.unwrap().node;
    let folder = world.get("a").await.unwrap();
    assert_eq!(refusal(store.create_link(home, folder.id, None, None, NOW).await), NotAFile);
    let link = store.create_link(home, file.id, None, None, NOW).await.unwrap();
    assert_eq!(store.open_link(&link.slug, NOW).await.unwrap(), (link.clone(), file.clone()));
    let moved = world.move_to(file.id, home.root).await.unwrap();
    assert_eq!(store.open_link(&link.slug, NOW).await.unwrap().1, moved);
    let written = world.put("f", "two").await.unwrap().node;
    assert_eq!(store.open_link(&link.slug, NOW).await.unwrap().1, written);
    // A new file under the old name is not what was shared.
    world.trash("f").await.unwrap();
    world.put("f", "three").await.unwrap();
    world.put("a/f", "three").await.unwrap();
    assert_eq!(refusal(store.open_link(&link.slug, NOW).await), NotFound);
    store.restore_node(home, file.id, None, Some(&name("g")), NOW).await.unwrap();
    assert_eq!(store.open_link(&link.slug, NOW).await.unwrap().1.id, file.id);
    // Gone with a folder above it, too.
    world.move_to(file.id, folder.id).await.unwrap();
    world.trash("a").await.unwrap();
    assert_eq!(refusal(store.open_link(&link.slug, NOW).await), NotFound);
    store.purge(home, Purge::All, NOW).await.unwrap();
    assert_eq!(refusal(store.open_link(&link.slug, NOW).await), NotFound);
}

async fn links_end(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let file = world.put("f", "x").await.unwrap().node;
    assert!(matches!(
        refusal(store.create_link(home, file.id, Some(NOW), None, NOW).await),
        InvalidField { .. }
    ));
    let link = store.create_link(home, file.id, Some(NOW + 10), None, NOW).await.unwrap();
    assert!(store.open_link(&link.slug, NOW + 9).await.is_ok());
    assert_eq!(refusal(store.open_link(&link.slug, NOW + 10).await), NotFound);
    // An expired link can be given more time.
    store.update_link(home, link.id, None, &Precondition::None, NOW + 20).await.unwrap();
    assert!(store.open_link(&link.slug, i64::MAX).await.is_ok());
    store.delete_link(home, link.id, &Precondition::None, NOW).await.unwrap();
    assert_eq!(refusal(store.open_link(&link.slug, NOW).await), NotFound);
    assert_eq!(refusal(store.delete_link(home, link.id, &Precondition::None, NOW).await), NotFound);
    assert_eq!(refusal(store.open_link(&Slug::new().unwrap(), NOW).await), NotFound);
}

async fn links_are_listed_and_changed(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let file = world.put("f", "x").await.unwrap().node.id;
    let other = world.put("g", "x").await.unwrap().node.id;
    let mut expected = Vec::new();
    for index in 0..7 {
        let node = if index == 3 { other } else { file };
        expected.push(store.create_link(home, node, None, None, NOW + index / 2).await.unwrap());
    }
    expected.sort_by_key(|link| std::cmp::Reverse((link.created_at, link.id)));
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = store.links(home, None, after, 3).await.unwrap();
        after = page.items.last().map(|link| (link.created_at, link.id));
        found.extend(page.items);
        if !page.has_more {
            break;
        }
    }
    assert_eq!(found, expected);
    let of_other = store.links(home, Some(other), None, 10).await.unwrap().items;
    assert_eq!(of_other.len(), 1);

    let link = &of_other[0];
    let fresh = Precondition::AnyOf(vec![link.etag()]);
    let changed = store.update_link(home, link.id, Some(NOW + 99), &fresh, NOW).await.unwrap();
    assert_eq!((changed.expires_at, &changed.slug), (Some(NOW + 99), &link.slug));
    assert_eq!(store.link(home, link.id).await.unwrap(), changed);
    assert_eq!(refusal(store.update_link(home, link.id, None, &fresh, NOW).await), PreconditionFailed);
    assert_eq!(refusal(store.delete_link(home, link.id, &fresh, NOW).await), PreconditionFailed);
    let past = store.update_link(home, link.id, Some(NOW), &Precondition::None, NOW).await;
    assert!(matches!(refusal(past), InvalidField { .. }));
}

async fn a_link_is_made_once_for_a_key(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let file = world.put("f", "x").await.unwrap().node.id;
    let make = async |expires_at| store.create_link(home, file, expires_at, Some(&key("k")), NOW).await;
    let first = make(Some(NOW + 5)).await.unwrap();
    assert_eq!(make(Some(NOW + 5)).await.unwrap(), first);
    assert_eq!(refusal(make(None).await), IdempotencyMismatch);
    assert_eq!(store.links(home, None, None, 10).await.unwrap().items, [first]);
}
