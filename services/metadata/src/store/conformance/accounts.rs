//! Spaces and whose they are.

use super::*;
use crate::domain::buffer::NewEntry;
use crate::domain::error::Error::NotFound;
use crate::domain::id::{LinkId, VersionId};
use crate::domain::node::Kind;
use crate::store::{LinkFilter, Purge};

on_both!(
    a_space_is_made_once,
    nothing_of_others_is_there,
    a_new_space_is_an_empty_root,
    the_installations_own_spaces_have_their_quota,
    a_space_is_emptied,
);

async fn a_space_is_made_once(world: &World) {
    let account = AccountId::new(NOW);
    // Two stores: no shared memory, as in two processes.
    let other = Store::new(world.db.database().clone(), world.store.terms);
    let homes = futures::future::join_all((0..20).map(|index| {
        let store = if index % 2 == 0 { &world.store } else { &other };
        async move { store.home(account, Owner::Person, NOW).await.unwrap() }
    }))
    .await;
    assert!(homes.iter().all(|home| home == &homes[0]), "{homes:?}");
    assert_eq!(world.store.node(&homes[0], &at(""), NOW).await.unwrap().id, homes[0].root);
    assert_ne!(homes[0].space, world.home.space);
}

async fn a_new_space_is_an_empty_root(world: &World) {
    let space = world.store.space(&world.home).await.unwrap();
    assert_eq!((space.quota, space.used, space.reserved, space.change_sequence), (QUOTA, 0, 0, 0));
    let root = world.get("/").await.unwrap();
    assert_eq!(
        (root.kind, root.name.as_str(), root.parent, root.id),
        (Kind::Folder, "", None, world.home.root)
    );
    assert!(world.ls("").await.is_empty());
    world.check_invariants().await;
}

async fn the_installations_own_spaces_have_their_quota(world: &World) {
    let account = AccountId::new(NOW);
    let home = world.store.home(account, Owner::System, NOW).await.unwrap();
    assert_eq!(world.store.space(&home).await.unwrap().quota, 2 * QUOTA);
    // It is decided at the making.
    let other = Store::new(world.db.database().clone(), world.store.terms);
    assert_eq!(other.home(account, Owner::Person, NOW).await.unwrap(), home);
    assert_eq!(other.space(&home).await.unwrap().quota, 2 * QUOTA);
}

async fn a_space_is_emptied(world: &World) {
    use crate::domain::change::ChangeKind;
    let (store, home) = (&world.store, &world.home);
    let file = world.put("a/b/f", "one").await.unwrap().node;
    world.put("a/b/f", "two").await.unwrap();
    world.put("g", "x").await.unwrap();
    world.trash("g").await.unwrap();
    world.put("a/h", "x").await.unwrap();
    world.trash("a/h").await.unwrap();
    for index in 0..9 {
        world.put(&format!("w/{index}"), "x").await.unwrap();
    }
    let link = world.link(file.id).await;
    let text = NewEntry {
        stored: stored("text"),
        name: None,
        media_type: MediaType::parse("").unwrap(),
        device: String::new(),
        time_to_live: None,
    };
    store.commit_entry(home, &text, NOW).await.unwrap();
    let none = &Precondition::None;
    let big = Target::Path(path("big"));
    store.begin_upload(home, &big, false, Some(5000), none, NOW).await.unwrap();
    world.policy("", Policy { max_files: 5, ..Policy::NONE }).await;

    assert_eq!(store.purge_by(home, Purge::Everything, NOW, 3).await.unwrap(), 3 + 2 + 10);
    assert_eq!(store.empty_space(home, NOW).await.unwrap(), 0);
    assert!(world.ls("").await.is_empty());
    assert!(store.trash(home, None, 10, NOW).await.unwrap().items.is_empty());
    assert_eq!(refusal(store.link(home, link.id, NOW).await), NotFound);
    assert_eq!(refusal(store.entry(home, None, NOW).await), NotFound);
    assert_eq!(world.get("").await.unwrap().policy, Policy::NONE);
    assert_eq!(world.usage().await, (0, 5000), "uploads under way go on until they end");
    let changes = store.changes(home, 0, 100).await.unwrap().items;
    let purged = changes.iter().filter(|change| change.kind == ChangeKind::Purged).count();
    assert_eq!(purged, 3, "what was in the root");
    let sequence = changes.len();
    assert_eq!(store.empty_space(home, NOW).await.unwrap(), 0);
    assert_eq!(store.changes(home, 0, 100).await.unwrap().items.len(), sequence);
    world.check_invariants().await;
    // And it can be used as before.
    world.put("a/b/f", "one").await.unwrap();
    assert_eq!(store.empty_space(home, NOW).await.unwrap(), 3);
    world.check_invariants().await;
}

/// Another account's ids, in every place of every operation, answer as ids that do not exist.
async fn nothing_of_others_is_there(world: &World) {
    let store = &world.store;
    let file = world.put("docs/a.txt", "one").await.unwrap().node;
    let old = file.version.clone().unwrap().id;
    world.put("docs/a.txt", "two").await.unwrap();
    let folder = world.get("docs").await.unwrap();
    let trashed = world.put("gone.txt", "x").await.unwrap().node;
    world.trash("gone.txt").await.unwrap();
    let link = store.create_link(&world.home, file.id, &NewLink::default(), false, None, NOW).await.unwrap();
    let big = Target::Path(path("big"));
    let upload =
        store.begin_upload(&world.home, &big, false, Some(5000), &Precondition::None, NOW).await.unwrap();

    let me = &world.stranger().await;
    let own =
        store.commit_upload(me, &commit(Target::Path(path("own.txt")), "mine"), NOW).await.unwrap().node;
    let none = &Precondition::None;
    // Foreign ids, then ids that nothing has.
    for (file, folder, trashed, version, link) in [
        (file.id, folder.id, trashed.id, old, link.id),
        (NodeId::new(NOW), NodeId::new(NOW), NodeId::new(NOW), VersionId::new(NOW), LinkId::new(NOW)),
    ] {
        let by_id = NodeRef::Id(file);
        let into =
            NewFolder { parent: NodeRef::Id(folder), names: vec![name("x")], parents: false, policy: None };
        let child = Target::Child { parent: folder, name: name("x") };
        for (operation, refusal) in [
            ("node", refusal(store.node(me, &by_id, NOW).await)),
            ("node", refusal(store.node(me, &NodeRef::Id(trashed), NOW).await)),
            ("folder", refusal(store.folder(me, &NodeRef::Id(folder), NOW).await)),
            ("content", refusal(store.content(me, &by_id, None, NOW).await)),
            ("content", refusal(store.content(me, &by_id, Some(version), NOW).await)),
            ("content", refusal(store.content(me, &NodeRef::Id(own.id), Some(version), NOW).await)),
            ("ancestors", refusal(store.ancestors(me, file, NOW).await)),
            ("versions", refusal(store.versions(me, file, None, 10, NOW).await)),
            ("create_folder", refusal(store.create_folder(me, &into, None, NOW).await)),
            ("update_node", refusal(store.update_node(me, file, &renamed("x"), none, NOW).await)),
            ("update_node", refusal(store.update_node(me, own.id, &moved(folder), none, NOW).await)),
            ("trash_node", refusal(store.trash_node(me, &by_id, none, NOW).await)),
            ("restore_node", refusal(store.restore_node(me, trashed, None, None, NOW).await)),
            ("restore_node", refusal(store.restore_node(me, file, None, None, NOW).await)),
            ("purge", refusal(store.purge(me, Purge::Node(trashed), NOW).await)),
            ("purge", refusal(store.purge(me, Purge::Node(file), NOW).await)),
            (
                "begin_upload",
                refusal(store.begin_upload(me, &Target::Node(file), false, None, none, NOW).await),
            ),
            ("begin_upload", refusal(store.begin_upload(me, &child, false, Some(1), none, NOW).await)),
            ("commit_upload", refusal(store.commit_upload(me, &commit(Target::Node(file), "z"), NOW).await)),
            ("commit_upload", refusal(store.commit_upload(me, &commit(child.clone(), "z"), NOW).await)),
            (
                "create_link",
                refusal(store.create_link(me, file, &NewLink::default(), false, None, NOW).await),
            ),
            ("link", refusal(store.link(me, link, NOW).await)),
            ("update_link", refusal(store.update_link(me, link, &ends(Expiry::Never), none, NOW).await)),
            ("delete_link", refusal(store.delete_link(me, link, none, NOW).await)),
        ] {
            assert_eq!(refusal, NotFound, "{operation}");
        }
        assert!(
            store
                .links(me, LinkFilter { node: Some(file), form: None }, None, 10)
                .await
                .unwrap()
                .items
                .is_empty()
        );
        assert!(
            store.children(me, own.id, sorted(Order::Name), None, 10, NOW).await.unwrap().items.is_empty()
        );
    }
    assert_eq!(refusal(store.children(me, folder.id, sorted(Order::Name), None, 10, NOW).await), NotFound);
    assert!(store.trash(me, None, 10, NOW).await.unwrap().items.is_empty());
    assert_eq!(store.changes(me, 0, 10).await.unwrap().items.len(), 1);
    assert_eq!(store.purge(me, Purge::All, NOW).await.unwrap(), 0);
    store.abort_upload(me, upload.id, NOW).await.unwrap();

    // And nothing was done to them.
    assert_eq!(world.usage().await, ("onetwox".len() as u64, 5000));
    assert_eq!(world.ls("docs").await, ["a.txt"]);
    assert_eq!(store.link(&world.home, link.id, NOW).await.unwrap().link, link);
    world.check_invariants().await;
}
