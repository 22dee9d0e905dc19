//! The log of changes.

use super::*;
use crate::domain::change::ChangeKind::{Content, Created, Moved, Purged, Restored, Trashed};
use crate::domain::error::Error::InvalidField;
use crate::store::Purge;

on_both!(every_change_is_told_once_and_in_order, a_reader_under_load_misses_nothing);

async fn every_change_is_told_once_and_in_order(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let folder = world.mkdir("", "d").await.unwrap().id;
    let file = world.put("d/f", "one").await.unwrap().node;
    let second = world.put("d/f", "two").await.unwrap().node;
    world.rename(file.id, "g").await.unwrap();
    world.trash("d").await.unwrap();
    store.restore_node(home, folder, None, None, NOW).await.unwrap();
    world.trash("d").await.unwrap();
    store.purge(home, Purge::All, NOW).await.unwrap();
    let page = store.changes(home, 0, 100).await.unwrap();
    assert!(!page.has_more);
    let (v1, v2) = (file.version.map(|version| version.id), second.version.map(|version| version.id));
    let told: Vec<_> =
        page.items.iter().map(|change| (change.sequence, change.kind, change.node, change.version)).collect();
    assert_eq!(
        told,
        [
            (1, Created, folder, None),
            (2, Created, file.id, v1),
            (3, Content, file.id, v2),
            (4, Moved, file.id, v2),
            (5, Trashed, folder, None),
            (6, Restored, folder, None),
            (7, Trashed, folder, None),
            (8, Purged, folder, None),
        ]
    );
    let some = store.changes(home, 3, 2).await.unwrap();
    assert_eq!((some.items.as_slice(), some.has_more), (&page.items[3..5], true));
    assert!(store.changes(home, 8, 2).await.unwrap().items.is_empty());
    for unknown in [9, u64::MAX] {
        assert!(matches!(refusal(store.changes(home, unknown, 2).await), InvalidField { .. }));
    }
    // A refused operation tells nothing.
    assert!(world.mkdir("x", "y").await.is_err());
    assert_eq!(store.space(home).await.unwrap().change_sequence, 8);
}

async fn a_reader_under_load_misses_nothing(world: &World) {
    const WRITERS: usize = 8;
    const EACH: usize = 25;
    let writing = futures::future::join_all((0..WRITERS).map(|writer| async move {
        for index in 0..EACH {
            world.put(&format!("w{writer}/{index}"), &format!("{writer} {index}")).await.unwrap();
        }
    }));
    let reading = async {
        let mut seen = Vec::new();
        // Every file, and every writer's folder.
        while seen.len() < WRITERS * EACH + WRITERS {
            let page = world.store.changes(&world.home, seen.len() as u64, 7).await.unwrap();
            seen.extend(page.items);
            tokio::task::yield_now().await;
        }
        seen
    };
    let (_, seen) = futures::future::join(writing, reading).await;
    for (index, change) in seen.iter().enumerate() {
        assert_eq!(change.sequence, index as u64 + 1);
    }
    world.check_invariants().await;
}
