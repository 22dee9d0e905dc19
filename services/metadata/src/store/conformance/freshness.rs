//! Moments: when two are equal, nothing was changed between them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdall_sql::Dialect;
use rand::RngExt;

use super::*;

on_both!(equal_moments_have_equal_contents);

/// Readers note what they see at which moment, while writers come, and go away in the middle of what they do.
async fn equal_moments_have_equal_contents(world: &World) {
    if world.db.dialect() == Dialect::Postgres {
        assert_eq!(world.store.moment(world.home.space), None, "other replicas write too");
        return;
    }
    let done = AtomicBool::new(false);
    let writers = async {
        futures::future::join_all((0..4).map(|writer| async move {
            for index in 0..60 {
                let name = format!("{writer} {index}");
                let patience = Duration::from_micros(rand::rng().random_range(0..3_000));
                // Every third time it is waited for, so that there are changes on a slow machine, too.
                if index % 3 == 0 {
                    world.mkdir("", &name).await.unwrap();
                } else {
                    let _ = tokio::time::timeout(patience, world.mkdir("", &name)).await;
                }
                let _ = tokio::time::timeout(patience, world.put("f", &name)).await;
                // Time for readers.
                tokio::time::sleep(patience).await;
            }
        }))
        .await;
        done.store(true, Ordering::SeqCst);
    };
    let look = async || {
        let before = world.store.moment(world.home.space)?;
        let sequence = world.store.space(&world.home).await.unwrap().change_sequence;
        (world.store.moment(world.home.space) == Some(before)).then_some((before, sequence))
    };
    let reader = async || {
        let mut seen = Vec::new();
        while !done.load(Ordering::SeqCst) {
            seen.extend(look().await);
            tokio::task::yield_now().await;
        }
        seen
    };
    let first = look().await.unwrap();
    let ((), one, other) = tokio::join!(writers, reader(), reader());
    let mut sequence_at = HashMap::from([first]);
    for (moment, sequence) in one.into_iter().chain(other) {
        assert_eq!(*sequence_at.entry(moment).or_insert(sequence), sequence);
    }
    assert!(sequence_at.len() > 1, "nothing was seen");
    // A moment comes back to rest.
    world.mkdir("", "last").await.unwrap();
    assert!(world.store.moment(world.home.space).is_some());
    world.check_invariants().await;
}
