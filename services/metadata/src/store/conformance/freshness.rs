//! Moments: when two are equal, nothing was changed between them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use holdall_sql::Dialect;
use rand::RngExt;

use super::*;

on_both!(equal_moments_have_equal_contents);

/// Readers note what they see at which moment, while writers come, and go away in the middle of what they do.
async fn equal_moments_have_equal_contents(world: &World) {
    if world.db.dialect() == Dialect::Postgres {
        assert_eq!(world.store.moment(&world.home), None, "other replicas write too");
        return;
    }
    let done = AtomicBool::new(false);
    let writers = async {
        futures::future::join_all((0..4).map(|writer| async move {
            for index in 0..60 {
                let patience = std::time::Duration::from_micros(rand::rng().random_range(0..2_000));
                let _ = tokio::time::timeout(patience, world.mkdir("", &format!("{writer} {index}"))).await;
                let _ = tokio::time::timeout(patience, world.put("f", &format!("{writer} {index}"))).await;
                if index % 7 == 0 {
                    tokio::time::sleep(patience).await;
                }
            }
        }))
        .await;
        done.store(true, Ordering::SeqCst);
    };
    let reader = async || {
        let mut seen = Vec::new();
        while !done.load(Ordering::SeqCst) {
            let before = world.store.moment(&world.home);
            let sequence = world.store.space(&world.home).await.unwrap().change_sequence;
            if let Some(moment) = before
                && world.store.moment(&world.home) == before
            {
                seen.push((moment, sequence));
            }
            tokio::task::yield_now().await;
        }
        seen
    };
    let ((), one, other) = tokio::join!(writers, reader(), reader());
    let mut sequence_at: HashMap<_, u64> = HashMap::new();
    for (moment, sequence) in one.into_iter().chain(other) {
        assert_eq!(*sequence_at.entry(moment).or_insert(sequence), sequence);
    }
    assert!(sequence_at.len() > 10, "{}", sequence_at.len());
    // A moment comes back to rest.
    world.mkdir("", "last").await.unwrap();
    assert!(world.store.moment(&world.home).is_some());
    world.check_invariants().await;
}
