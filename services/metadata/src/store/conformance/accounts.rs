//! Spaces and whose they are.

use super::*;
use crate::domain::error::Error::NotFound;
use crate::domain::id::{LinkId, VersionId};
use crate::domain::node::{Kind, Order};
use crate::store::Purge;

on_both!(a_space_is_made_once, nothing_of_others_is_there, a_new_space_is_an_empty_root);

async fn a_space_is_made_once(world: &World) {
    let account = AccountId::new(NOW);
    // Two stores: no shared memory, as in two processes.
    let other = Store::new(world.db.database().clone(), world.store.terms);
    let homes = futures::future::join_all((0..20).map(|index| {
        let store = if index % 2 == 0 { &world.store } else { &other };
        async move { store.home(account, NOW).await.unwrap() }
    }))
    .await;
    assert!(homes.iter().all(|home| home == &homes[0]), "{homes:?}");
    assert_eq!(world.store.node(&homes[0], &at("")).await.unwrap().id, homes[0].root);
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

/// Another account's ids, in every place of every operation, answer as ids that do not exist.
async fn nothing_of_others_is_there(world: &World) {
    let store = &world.store;
    let file = world.put("docs/a.txt", "one").await.unwrap().node;
    let old = file.version.clone().unwrap().id;
    world.put("docs/a.txt", "two").await.unwrap();
    let folder = world.get("docs").await.unwrap();
    let trashed = world.put("gone.txt", "x").await.unwrap().node;
    world.trash("gone.txt").await.unwrap();
    let link = store.create_link(&world.home, file.id, None, None, NOW).await.unwrap();
    let big = Target::Path(path("big"));
    let upload = store.begin_upload(&world.home, &big, Some(5000), &Precondition::None, NOW).await.unwrap();

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
        let into = NewFolder { parent: NodeRef::Id(folder), names: vec![name("x")], parents: false };
        let child = Target::Child { parent: folder, name: name("x") };
        for (operation, refusal) in [
            ("node", refusal(store.node(me, &by_id).await)),
            ("node", refusal(store.node(me, &NodeRef::Id(trashed)).await)),
            ("folder", refusal(store.folder(me, &NodeRef::Id(folder)).await)),
            ("content", refusal(store.content(me, &by_id, None).await)),
            ("content", refusal(store.content(me, &by_id, Some(version)).await)),
            ("content", refusal(store.content(me, &NodeRef::Id(own.id), Some(version)).await)),
            ("ancestors", refusal(store.ancestors(me, file).await)),
            ("versions", refusal(store.versions(me, file, None, 10).await)),
            ("create_folder", refusal(store.create_folder(me, &into, None, NOW).await)),
            ("update_node", refusal(store.update_node(me, file, Some(&name("x")), None, none, NOW).await)),
            ("update_node", refusal(store.update_node(me, own.id, None, Some(folder), none, NOW).await)),
            ("trash_node", refusal(store.trash_node(me, &by_id, none, NOW).await)),
            ("restore_node", refusal(store.restore_node(me, trashed, None, None, NOW).await)),
            ("restore_node", refusal(store.restore_node(me, file, None, None, NOW).await)),
            ("purge", refusal(store.purge(me, Purge::Node(trashed), NOW).await)),
            ("purge", refusal(store.purge(me, Purge::Node(file), NOW).await)),
            ("begin_upload", refusal(store.begin_upload(me, &Target::Node(file), None, none, NOW).await)),
            ("begin_upload", refusal(store.begin_upload(me, &child, Some(1), none, NOW).await)),
            ("commit_upload", refusal(store.commit_upload(me, &commit(Target::Node(file), "z"), NOW).await)),
            ("commit_upload", refusal(store.commit_upload(me, &commit(child.clone(), "z"), NOW).await)),
            ("create_link", refusal(store.create_link(me, file, None, None, NOW).await)),
            ("link", refusal(store.link(me, link).await)),
            ("update_link", refusal(store.update_link(me, link, None, none, NOW).await)),
            ("delete_link", refusal(store.delete_link(me, link, none, NOW).await)),
        ] {
            assert_eq!(refusal, NotFound, "{operation}");
        }
        assert!(store.links(me, Some(file), None, 10).await.unwrap().items.is_empty());
        assert!(store.children(me, own.id, Order::Name, false, None, 10).await.unwrap().items.is_empty());
    }
    assert_eq!(refusal(store.children(me, folder.id, Order::Name, false, None, 10).await), NotFound);
    assert!(store.trash(me, None, 10).await.unwrap().items.is_empty());
    assert_eq!(store.changes(me, 0, 10).await.unwrap().items.len(), 1);
    assert_eq!(store.purge(me, Purge::All, NOW).await.unwrap(), 0);
    store.abort_upload(me, upload.id, NOW).await.unwrap();

    // And nothing was done to them.
    assert_eq!(world.usage().await, ("onetwox".len() as u64, 5000));
    assert_eq!(world.ls("docs").await, ["a.txt"]);
    assert_eq!(store.link(&world.home, link.id).await.unwrap(), link);
    world.check_invariants().await;
}
