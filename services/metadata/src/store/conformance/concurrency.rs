//! Many at once.

use std::sync::Arc;

use futures::future::join_all;

use super::*;
use crate::domain::error::Error::{NameConflict, NotFound, QuotaExceeded, WouldCycle};

on_both!(
    the_quota_holds_under_a_rush,
    reservations_hold_under_a_rush,
    swapped_moves_never_make_a_cycle,
    one_of_many_gets_the_name,
    a_repeated_request_has_one_effect,
    a_repeated_commit_has_one_effect,
    conditional_writes_lose_no_update,
    operations_on_one_node_leave_a_tree,
    the_trash_is_emptied_by_many_at_once,
);

/// Runs `work` for each number on tasks of their own and collects what it returns.
async fn rush<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    tasks: usize,
    work: impl Fn(usize) -> F,
) -> Vec<T> {
    let barrier = Arc::new(tokio::sync::Barrier::new(tasks));
    let tasks = (0..tasks).map(|index| {
        let (barrier, work) = (barrier.clone(), work(index));
        tokio::spawn(async move {
            barrier.wait().await;
            work.await
        })
    });
    join_all(tasks).await.into_iter().map(std::result::Result::unwrap).collect()
}

fn wins<T: std::fmt::Debug>(results: Vec<Result<T>>, expected: &[domain::error::Error]) -> Vec<T> {
    let mut won = Vec::new();
    for result in results {
        match result {
            Ok(value) => won.push(value),
            Err(error) => {
                let refusal = refusal::<T>(Err(error));
                assert!(expected.contains(&refusal), "{refusal:?}");
            }
        }
    }
    won
}

/// 64 uploads of a tenth of the quota, none of which reserved anything.
async fn the_quota_holds_under_a_rush(world: &World) {
    let results = rush(64, |index| {
        let (store, home) = (world.store.clone(), world.home);
        async move {
            let mut commit = commit(Target::Path(path(&format!("f{index}"))), &index.to_string());
            commit.stored.size = QUOTA / 10;
            store.commit_upload(&home, &commit, NOW).await
        }
    })
    .await;
    assert_eq!(wins(results, &[QuotaExceeded]).len(), 10);
    assert_eq!(world.usage().await, (QUOTA, 0));
    world.check_invariants().await;
}

/// The same from beginning to end: who gets a reservation can commit.
async fn reservations_hold_under_a_rush(world: &World) {
    let results = rush(64, |index| {
        let (store, home) = (world.store.clone(), world.home);
        async move {
            let target = Target::Path(path(&format!("f{index}")));
            let begun =
                store.begin_upload(&home, &target, false, Some(QUOTA / 10), &Precondition::None, NOW).await?;
            let mut commit = commit(target, &index.to_string());
            commit.stored.size = QUOTA / 10;
            commit.stored.upload = begun.id;
            Ok(store.commit_upload(&home, &commit, NOW).await.expect("room was reserved"))
        }
    })
    .await;
    assert_eq!(wins(results, &[QuotaExceeded]).len(), 10);
    assert_eq!(world.usage().await, (QUOTA, 0));
    world.check_invariants().await;
}

async fn swapped_moves_never_make_a_cycle(world: &World) {
    for round in 0..10 {
        let a = world.mkdir("", &format!("a{round}")).await.unwrap().id;
        let b = world.mkdir("", &format!("b{round}")).await.unwrap().id;
        let results = rush(2, |index| {
            let (store, home) = (world.store.clone(), world.home);
            let (from, to) = if index == 0 { (a, b) } else { (b, a) };
            async move { store.update_node(&home, from, &moved(to), &Precondition::None, NOW).await }
        })
        .await;
        assert_eq!(wins(results, &[WouldCycle]).len(), 1);
    }
    world.check_invariants().await;
}

async fn one_of_many_gets_the_name(world: &World) {
    let results = rush(32, |index| {
        let (store, home) = (world.store.clone(), world.home);
        async move {
            let text = if index % 2 == 0 { "ü" } else { "u\u{308}" };
            let folder = NewFolder { parent: at(""), names: vec![name(text)], parents: false, policy: None };
            store.create_folder(&home, &folder, None, NOW).await
        }
    })
    .await;
    assert_eq!(wins(results, &[NameConflict]).len(), 1);
    assert_eq!(world.ls("").await, ["ü"]);
    world.check_invariants().await;
}

async fn a_repeated_request_has_one_effect(world: &World) {
    let results = rush(20, |_| {
        let (store, home) = (world.store.clone(), world.home);
        async move {
            let folder = NewFolder { parent: at(""), names: vec![name("d")], parents: false, policy: None };
            store.create_folder(&home, &folder, Some(&key("k")), NOW).await.unwrap()
        }
    })
    .await;
    assert!(results.iter().all(|made| made == &results[0]), "{results:?}");
    assert_eq!(world.store.space(&world.home).await.unwrap().change_sequence, 1);
}

async fn a_repeated_commit_has_one_effect(world: &World) {
    let same = commit(Target::Path(path("a/b")), "x");
    let results = rush(20, |_| {
        let (store, home, commit) = (world.store.clone(), world.home, same.clone());
        async move { store.commit_upload(&home, &commit, NOW).await.unwrap() }
    })
    .await;
    assert!(results.iter().all(|made| made == &results[0]), "{results:?}");
    assert_eq!(world.store.space(&world.home).await.unwrap().change_sequence, 2);
    assert_eq!(world.usage().await, (1, 0));
    world.check_invariants().await;
}

/// Everybody increments a number in a file, and tries again when somebody else was first.
async fn conditional_writes_lose_no_update(world: &World) {
    const TASKS: usize = 8;
    world.put("counter", "0").await.unwrap();
    rush(TASKS, |_| {
        let (store, home) = (world.store.clone(), world.home);
        async move {
            loop {
                let (_, current) = store.content(&home, &at("counter"), None, NOW).await.unwrap();
                // The size stands for the number.
                let next = "x".repeat(usize::try_from(current.size).unwrap() + 1);
                let mut commit = commit(Target::Path(path("counter")), &next);
                commit.precondition = Precondition::AnyOf(vec![current.content_etag()]);
                match store.commit_upload(&home, &commit, NOW).await {
                    Ok(_) => break,
                    Err(error) => {
                        assert_eq!(refusal::<()>(Err(error)), domain::error::Error::PreconditionFailed);
                    }
                }
            }
        }
    })
    .await;
    let (_, last) = world.store.content(&world.home, &at("counter"), None, NOW).await.unwrap();
    assert_eq!(last.size, 1 + TASKS as u64);
    world.check_invariants().await;
}

/// Renames, moves, deletions and uploads of the same few nodes at the same time.
async fn operations_on_one_node_leave_a_tree(world: &World) {
    let a = world.mkdir("", "a").await.unwrap().id;
    let b = world.mkdir("a", "b").await.unwrap().id;
    let file = world.put("a/b/f", "x").await.unwrap().node.id;
    let root = world.home.root;
    let results = rush(48, |index| {
        let (store, home) = (world.store.clone(), world.home);
        let none = Precondition::None;
        async move {
            match index % 8 {
                0 => {
                    store.update_node(&home, file, &renamed(&format!("g{index}")), &none, NOW).await.map(drop)
                }
                1 => store.update_node(&home, b, &moved(root), &none, NOW).await.map(drop),
                2 => store.update_node(&home, a, &moved(b), &none, NOW).await.map(drop),
                3 => store.update_node(&home, b, &moved(a), &none, NOW).await.map(drop),
                4 => store.trash_node(&home, &NodeRef::Id(b), &none, NOW).await.map(drop),
                5 => store.restore_node(&home, b, None, None, NOW).await.map(drop),
                6 => store
                    .commit_upload(&home, &commit(Target::Node(file), &index.to_string()), NOW)
                    .await
                    .map(drop),
                _ => store.purge(&home, crate::store::Purge::All, NOW).await.map(drop),
            }
        }
    })
    .await;
    use domain::error::Error::NotTrashed;
    wins(results, &[NotFound, WouldCycle, NameConflict, NotTrashed]);
    world.check_invariants().await;
}

/// Each in several batches, while something comes: nobody fails, and nothing is counted twice.
async fn the_trash_is_emptied_by_many_at_once(world: &World) {
    for folder in 0..6 {
        for file in 0..8 {
            world.put(&format!("d{folder}/e/f{file}"), &format!("{folder} {file}")).await.unwrap();
        }
        // One that was there by itself, below one that follows.
        world.trash(&format!("d{folder}/e/f0")).await.unwrap();
        world.trash(&format!("d{folder}")).await.unwrap();
    }
    let kept = world.put("kept", "kept").await.unwrap().node;
    let purged = rush(9, |index| {
        let (store, home) = (world.store.clone(), world.home);
        async move {
            if index == 8 {
                store.trash_node(&home, &NodeRef::Id(kept.id), &Precondition::None, NOW).await.map(|_| 0)
            } else {
                store.purge_by(&home, crate::store::Purge::All, NOW, 5).await
            }
        }
    })
    .await;
    let rest = world.store.purge(&world.home, crate::store::Purge::All, NOW).await.unwrap();
    let purged = purged.into_iter().map(|purged| purged.unwrap()).sum::<u64>() + rest;
    assert_eq!(purged, 6 * (8 + 2) + 1);
    assert_eq!(world.usage().await, (0, 0));
    world.check_invariants().await;
}
