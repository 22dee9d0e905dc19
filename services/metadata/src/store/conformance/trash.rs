//! Deleting, taking back, deleting for good.

use super::*;
use crate::domain::change::ChangeKind;
use crate::domain::error::Error::{NameConflict, NotAFolder, NotFound, NotTrashed};
use crate::store::Purge;

on_both!(
    a_trashed_folder_takes_everything_along,
    a_trashed_name_is_free,
    nodes_come_back,
    nodes_come_back_elsewhere,
    the_trash_lists_what_was_put_there,
    purging_deletes_everything_below,
    purging_goes_in_batches,
    purging_all_takes_the_nested_too,
    old_trash_is_purged,
);

async fn trashed(world: &World) -> Vec<String> {
    let page = world.store.trash(&world.home, None, 1000, NOW).await.unwrap();
    page.items.into_iter().map(|node| node.name).collect()
}

async fn restore(world: &World, node: NodeId) -> Result<Node> {
    world.store.restore_node(&world.home, node, None, None, NOW).await
}

async fn a_trashed_folder_takes_everything_along(world: &World) {
    let file = world.put("a/b/f", "x").await.unwrap().node;
    let inner = world.get("a/b").await.unwrap();
    let (store, home) = (&world.store, &world.home);
    let link = store.create_link(home, file.id, &NewLink::default(), false, None, NOW).await.unwrap();
    let gone = world.trash("a").await.unwrap();
    assert_eq!(gone.trashed_at, Some(NOW));
    let to = name("x");
    for refusal in [
        refusal(world.get("a").await),
        refusal(world.get("a/b/f").await),
        refusal(world.by_id(gone.id).await),
        refusal(world.by_id(inner.id).await),
        refusal(world.by_id(file.id).await),
        refusal(store.content(home, &NodeRef::Id(file.id), None, NOW).await),
        refusal(store.versions(home, file.id, None, 10, NOW).await),
        refusal(store.ancestors(home, inner.id, NOW).await),
        refusal(store.folder(home, &NodeRef::Id(inner.id), NOW).await),
        refusal(world.open(&link, NOW).await),
        refusal(store.create_link(home, file.id, &NewLink::default(), false, None, NOW).await),
        refusal(world.rename(file.id, "g").await),
        refusal(world.move_to(file.id, home.root).await),
        refusal(store.trash_node(home, &NodeRef::Id(file.id), &Precondition::None, NOW).await),
        refusal(store.trash_node(home, &NodeRef::Id(gone.id), &Precondition::None, NOW).await),
        refusal(
            store
                .create_folder(
                    home,
                    &NewFolder {
                        parent: NodeRef::Id(inner.id),
                        names: vec![to],
                        parents: false,
                        policy: None,
                    },
                    None,
                    NOW,
                )
                .await,
        ),
    ] {
        assert_eq!(refusal, NotFound);
    }
    assert_eq!(refusal(restore(world, inner.id).await), NotTrashed, "only what was put there itself");
    assert_eq!(world.usage().await, (1, 0), "the trash counts");
    world.check_invariants().await;
}

async fn a_trashed_name_is_free(world: &World) {
    let first = world.put("f", "one").await.unwrap().node;
    world.trash("f").await.unwrap();
    let second = world.put("f", "two").await.unwrap();
    assert!(second.created);
    assert_ne!(second.node.id, first.id);
    assert_eq!(refusal(restore(world, first.id).await), NameConflict);
    let back =
        world.store.restore_node(&world.home, first.id, None, Some(&name("f (1)")), NOW + 1).await.unwrap();
    assert_eq!((back.name.as_str(), back.modified_at), ("f (1)", NOW + 1));
    world.trash("f").await.unwrap();
    world.put("f", "three").await.unwrap();
    world.trash("f").await.unwrap();
    assert_eq!(trashed(world).await, ["f", "f"]);
    world.check_invariants().await;
}

async fn nodes_come_back(world: &World) {
    let file = world.put("a/f", "x").await.unwrap().node;
    let folder = world.get("a").await.unwrap();
    world.trash("a").await.unwrap();
    let back = world.store.restore_node(&world.home, folder.id, None, None, NOW + SECOND).await.unwrap();
    assert_eq!((back.trashed_at, back.modified_at), (None, folder.modified_at));
    assert_ne!(back.etag(), folder.etag());
    assert_eq!(world.get("a/f").await.unwrap(), file);
    assert!(trashed(world).await.is_empty());
    assert_eq!(refusal(restore(world, folder.id).await), NotTrashed);

    // With its folder gone there is no way back but elsewhere.
    world.trash("a/f").await.unwrap();
    world.trash("a").await.unwrap();
    assert_eq!(refusal(restore(world, file.id).await), NotFound);
    world.store.restore_node(&world.home, file.id, Some(world.home.root), None, NOW).await.unwrap();
    assert_eq!(world.ls("").await, ["f"]);
    restore(world, folder.id).await.unwrap();
    assert!(world.ls("a").await.is_empty());
    world.check_invariants().await;
}

async fn nodes_come_back_elsewhere(world: &World) {
    world.mkdirs("a/b").await.unwrap();
    world.put("f", "x").await.unwrap();
    let (a, b, f) =
        (world.get("a").await.unwrap(), world.get("a/b").await.unwrap(), world.get("f").await.unwrap());
    let other = world.mkdir("", "other").await.unwrap();
    world.trash("a").await.unwrap();
    let to = async |parent| world.store.restore_node(&world.home, a.id, Some(parent), None, NOW).await;
    assert_eq!(refusal(to(b.id).await), NotFound, "into itself");
    assert_eq!(refusal(to(a.id).await), NotFound);
    assert_eq!(refusal(to(f.id).await), NotAFolder);
    assert_eq!(to(other.id).await.unwrap().parent, Some(other.id));
    assert_eq!(world.get("other/a/b").await.unwrap(), b);
    world.check_invariants().await;
}

async fn the_trash_lists_what_was_put_there(world: &World) {
    world.put("a/b", "x").await.unwrap();
    let trash = async |path: &str, now| {
        world.store.trash_node(&world.home, &at(path), &Precondition::None, now).await.unwrap()
    };
    let mut expected = vec![trash("a", NOW).await];
    for index in 0..5 {
        world.mkdir("", &format!("d{index}")).await.unwrap();
        // Two at a time.
        expected.push(trash(&format!("d{index}"), NOW + 1 + index / 2).await);
    }
    expected.sort_by_key(|node| std::cmp::Reverse((node.trashed_at, node.id)));
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = world.store.trash(&world.home, after, 2, NOW).await.unwrap();
        after = page.items.last().map(|node| (node.trashed_at.unwrap(), node.id));
        found.extend(page.items);
        if !page.has_more {
            break;
        }
    }
    assert_eq!(found, expected);
}

async fn purging_deletes_everything_below(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let file = world.put("a/b/f", "one").await.unwrap().node;
    world.put("a/b/f", "two").await.unwrap();
    world.put("a/g", "three").await.unwrap();
    world.put("keep", "four").await.unwrap();
    let link = store.create_link(home, file.id, &NewLink::default(), false, None, NOW).await.unwrap();
    let folder = world.get("a").await.unwrap();
    assert_eq!(refusal(store.purge(home, Purge::Node(folder.id), NOW).await), NotTrashed);
    world.trash("a").await.unwrap();
    assert_eq!(refusal(store.purge(home, Purge::Node(file.id), NOW).await), NotTrashed);
    assert_eq!(store.purge(home, Purge::Node(folder.id), NOW).await.unwrap(), 4);
    assert_eq!(refusal(store.purge(home, Purge::Node(folder.id), NOW).await), NotFound);
    assert_eq!(refusal(restore(world, folder.id).await), NotFound);
    assert_eq!(refusal(store.link(home, link.id, NOW).await), NotFound);
    assert_eq!(world.usage().await, (4, 0));
    assert_eq!(world.ls("").await, ["keep"]);
    assert_eq!(world.released().await, 3, "every blob that lost its version");
    let last = store.changes(home, 0, 100).await.unwrap().items.pop().unwrap();
    assert_eq!((last.kind, last.node), (ChangeKind::Purged, folder.id));
    world.check_invariants().await;
}

async fn purging_goes_in_batches(world: &World) {
    // Wide, deep, and many small folders at once.
    for index in 0..7 {
        world.put(&format!("a/wide/{index}"), "x").await.unwrap();
        world.put(&format!("a/many/{index}/f"), "x").await.unwrap();
    }
    world.mkdirs("a/1/2/3/4/5/6/7/8").await.unwrap();
    world.put("a/1/2/3/4/5/6/7/f", "x").await.unwrap();
    let folder = world.trash("a").await.unwrap();
    let before = world.store.space(&world.home).await.unwrap().change_sequence;
    let purged = world.store.purge_by(&world.home, Purge::Node(folder.id), NOW, 3).await.unwrap();
    assert_eq!(purged, 1 + 1 + 7 + 1 + 14 + 8 + 1);
    assert_eq!(world.usage().await, (0, 0));
    assert_eq!(
        world.store.space(&world.home).await.unwrap().change_sequence,
        before + 1,
        "one change for the top"
    );
    world.check_invariants().await;
}

async fn purging_all_takes_the_nested_too(world: &World) {
    // b goes into the trash first, then the folder that it was in, then a sibling.
    world.put("a/x/b/f", "x").await.unwrap();
    world.put("c", "y").await.unwrap();
    world.put("keep", "z").await.unwrap();
    let tops = [
        world.trash("a/x/b").await.unwrap().id,
        world.trash("a").await.unwrap().id,
        world.trash("c").await.unwrap().id,
    ];
    assert_eq!(world.store.purge(&world.home, Purge::All, NOW).await.unwrap(), 5);
    assert_eq!(world.store.purge(&world.home, Purge::All, NOW).await.unwrap(), 0);
    assert!(trashed(world).await.is_empty());
    let changes = world.store.changes(&world.home, 0, 100).await.unwrap().items;
    let mut purged: Vec<NodeId> =
        changes.iter().filter(|change| change.kind == ChangeKind::Purged).map(|change| change.node).collect();
    purged.sort();
    let mut tops = tops.to_vec();
    tops.sort();
    assert_eq!(purged, tops);
    assert_eq!(world.usage().await, (1, 0));
    world.check_invariants().await;
}

async fn old_trash_is_purged(world: &World) {
    let trash_at = async |path: &str, now| {
        world.put(path, "x").await.unwrap();
        world.store.trash_node(&world.home, &at(path), &Precondition::None, now).await.unwrap();
    };
    trash_at("old", NOW).await;
    trash_at("new", NOW + SECOND).await;
    world.store.sweep_trash(NOW, NOW).await.unwrap();
    assert_eq!(trashed(world).await, ["new", "old"]);
    world.store.sweep_trash(NOW + SECOND, NOW).await.unwrap();
    assert_eq!(trashed(world).await, ["new"]);
    world.check_invariants().await;
}
