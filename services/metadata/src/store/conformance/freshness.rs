//! Moments: when two are equal, nothing was changed between them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdall_sql::Transient;
use rand::RngExt;

use super::*;
use crate::store::{Moment, Purge};

on_both!(equal_moments_have_equal_contents, every_change_ends_the_moment, many_ask_at_once);

/// Readers note what they see at which moment, while writers come, and go away in the middle of what they do.
async fn equal_moments_have_equal_contents(world: &World) {
    let done = AtomicBool::new(false);
    let writers = async {
        futures::future::join_all((0..4).map(|writer| async move {
            for index in 0..30 {
                let name = format!("{writer} {index}");
                let patience = Duration::from_micros(rand::rng().random_range(0..3_000));
                // Every third time it is waited for, so that there are changes on a slow machine, too.
                if index % 3 == 0 {
                    // Those who went away may still be in the queue for the lock of the space.
                    while let Err(error) = world.mkdir("", &name).await {
                        assert!(error.is_transient(), "{error}");
                    }
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
        let before = moment(world).await?;
        let sequence = world.store.space(&world.home).await.unwrap().change_sequence;
        (moment(world).await == Some(before)).then_some((before, sequence))
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
    assert!(moment(world).await.is_some());
    world.check_invariants().await;
}

/// Also one that the log of changes does not have.
async fn every_change_ends_the_moment(world: &World) {
    let mut last = moment(world).await.unwrap();
    let mut moved = async |what: &str, is_change: bool| {
        let now = moment(world).await.unwrap();
        assert_eq!(now != std::mem::replace(&mut last, now), is_change, "{what}");
    };
    let file = world.put("f", "one").await.unwrap().node;
    moved("a new file", true).await;
    let big = Some(RESERVE_ABOVE + 1);
    world
        .store
        .begin_upload(&world.home, &Target::Path(path("g")), false, big, &Precondition::None, NOW)
        .await
        .unwrap();
    moved("a reservation", false).await;
    let link = world.link(file.id).await;
    moved("a new link", false).await;
    world
        .store
        .update_link(&world.home, link.id, &ends(Expiry::At(NOW + SECOND)), &Precondition::None, NOW)
        .await
        .unwrap();
    moved("the end of a link", true).await;
    world.store.delete_link(&world.home, link.id, &Precondition::None, NOW).await.unwrap();
    moved("no link", true).await;
    assert!(world.store.open_link(&link.slug, Form::Short, false, NOW).await.is_err());
    moved("a look", false).await;
    world.policy("", Policy { time_to_live: Some(60 * SECOND), ..Policy::NONE }).await;
    moved("a policy", true).await;
    world.put("f", "one").await.unwrap();
    moved("the same content, which lives longer", true).await;
    world.trash("f").await.unwrap();
    moved("the trash", true).await;
    world.store.purge(&world.home, Purge::All, NOW).await.unwrap();
    moved("deleting for good", true).await;
}

/// Some for other spaces, and some that go away.
async fn many_ask_at_once(world: &World) {
    let mut homes = vec![world.home];
    for _ in 0..100 {
        homes.push(world.stranger().await);
    }
    world.mkdir("", "d").await.unwrap();
    let expected = moment(world).await;
    let asked = homes.iter().cycle().take(1000).enumerate().map(|(index, home)| async move {
        let asked = world.store.moment(home.space);
        let patience = Duration::from_micros(if index % 7 == 0 { 50 } else { 60_000_000 });
        tokio::time::timeout(patience, asked).await.ok().map(|moment| (home.space, moment.unwrap().unwrap()))
    });
    let told: Vec<_> = futures::future::join_all(asked).await.into_iter().flatten().collect();
    assert!(told.len() >= 857, "those who waited were told");
    for (space, moment) in told {
        assert_eq!(world.store.moment(space).await.unwrap(), Some(moment));
    }
    assert_eq!(moment(world).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_by_another_replica_are_seen() {
    let world = World::postgres().await;
    let other = Store::new(world.db.database().clone(), TERMS);
    for round in 0..20 {
        let before = moment(&world).await;
        assert_eq!(other.moment(world.home.space).await.unwrap(), before);
        let folder = NewFolder {
            parent: at(""),
            names: vec![name(&format!("d{round}"))],
            parents: false,
            policy: None,
        };
        other.create_folder(&world.home, &folder, None, NOW).await.unwrap();
        assert_ne!(moment(&world).await, before);
    }
}

async fn moment(world: &World) -> Option<Moment> {
    world.store.moment(world.home.space).await.unwrap()
}
