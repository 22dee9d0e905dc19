//! The process ends at each system call by which it writes: to files, to the index, to another of its threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::join_all;

use crate::content::Content;
use crate::home::Home;
use crate::ledger::{Found, Ledger};
use crate::scenario::{Scenario, Writers};
use crate::strace::Strace;

/// Kills of one store, before it gives way to a new one.
const PER_STORE: usize = 8;
/// Stores at a time.
const LANES: usize = 3;
/// How often writers do their work before a call that did not come is given up.
const TRIES: usize = 3;

/// Where to kill.
#[derive(Clone, Copy, Debug)]
struct Point {
    /// During this work; before the server listens when absent.
    scenario: Option<Scenario>,
    call: &'static str,
    number: usize,
}

#[derive(Default)]
struct Totals {
    kills: BTreeMap<&'static str, usize>,
    at_start: usize,
    not_reached: usize,
    found: Found,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn kills_lose_nothing_that_was_acknowledged() {
    let count = usize::try_from(crate::number("HOLDALL_BLOB_KILLS", 80)).unwrap();
    let points = Arc::new(choose(count).await);
    let next = Arc::new(AtomicUsize::new(0));
    let totals = Arc::new(Mutex::new(Totals::default()));
    let lanes = (0..LANES).map(|_| {
        let (points, next, totals) = (Arc::clone(&points), Arc::clone(&next), Arc::clone(&totals));
        tokio::spawn(async move {
            loop {
                let start = next.fetch_add(PER_STORE, Ordering::Relaxed);
                let Some(points) = points.get(start..points.len().min(start + PER_STORE)) else { return };
                store(points, &totals).await;
            }
        })
    });
    let lanes = join_all(lanes.collect::<Vec<_>>()).await;
    let totals = totals.lock().unwrap();
    report(&totals);
    lanes.into_iter().for_each(Result::unwrap);
    assert!(totals.not_reached * 4 <= count, "{} of {count} calls never came", totals.not_reached);
    assert!(totals.found.acknowledged > count);
}

/// Calls spread over all kinds of work, calls and numbers: each kind has its turn before any comes again.
async fn choose(count: usize) -> Vec<Point> {
    let home = Home::new();
    home.start().kill();
    let strace = Strace::count();
    home.start_under(&strace).expect("it does not start under strace").kill();
    let mut kinds: Vec<_> = strace.counted().into_iter().map(|(call, most)| (None, call, most)).collect();
    for scenario in Scenario::ALL {
        let (home, ledger, seeds) = (Home::new(), Ledger::default(), AtomicU64::new(0));
        let server = home.start();
        let strace = Strace::count();
        let attached = strace.attach(server.pid());
        let writers = Writers { home: &home, server: &server, ledger: &ledger, seeds: &seeds };
        scenario.run(&writers).await.expect("a write failed under strace");
        drop(attached);
        let counted = strace.counted();
        for call in ["pwrite64", "fdatasync"] {
            assert!(counted.iter().any(|counted| counted.0 == call), "{call} is not how it writes any more");
        }
        kinds.extend(counted.into_iter().map(|(call, most)| (Some(scenario), call, most)));
    }
    assert!(
        kinds.iter().any(|kind| kind.1 == "pwritev"),
        "this is not how small content is written any more"
    );
    // The numbers of a kind in an order in which the first few are far apart, then again from the start.
    let points = (0..count.div_ceil(kinds.len())).flat_map(|turn| {
        kinds.iter().map(move |&(scenario, call, most)| {
            let stride = (most * 5 / 8) | 1;
            Point { scenario, call, number: 1 + (turn * stride + turn / most) % most }
        })
    });
    points.take(count).collect()
}

/// Kills one store again and again; each time all of what it has ever acknowledged has to be there.
async fn store(points: &[Point], totals: &Mutex<Totals>) {
    let (home, ledger, seeds) = (Home::new(), Ledger::default(), AtomicU64::new(0));
    for (round, point) in points.iter().enumerate() {
        let strace = Strace::kill(point.call, point.number);
        let is_killed = match point.scenario {
            None => home.start_under(&strace).is_none(),
            Some(scenario) => {
                let server = home.start();
                let attached = strace.attach(server.pid());
                let writers = Writers { home: &home, server: &server, ledger: &ledger, seeds: &seeds };
                let mut failure = Ok(());
                for _ in 0..TRIES {
                    if failure.is_ok() {
                        failure = scenario.run(&writers).await;
                    }
                }
                if failure.is_ok() {
                    server.kill();
                } else {
                    server.was_killed().await;
                }
                drop(attached);
                failure.is_err()
            }
        };
        if round % 4 == 3 {
            home.lose_index();
        }
        let server = home.start();
        let found = ledger.check(&home, &server).await;
        // And it goes on.
        let more = Content { seed: seeds.fetch_add(1, Ordering::Relaxed), len: 10_000 };
        let written = ledger.write(&home, &mut server.client(), more).await;
        assert!(written.is_ok(), "after {point:?} it takes no more: {written:?}");
        if round + 1 == points.len() {
            ledger.finish_uploads(&home, &server).await;
            ledger.check_acknowledged(&home, &server).await;
        }
        if round % 2 == 0 {
            server.kill();
        } else {
            server.stop().await;
        }
        let mut totals = totals.lock().unwrap();
        if is_killed {
            *totals.kills.entry(point.call).or_default() += 1;
            totals.at_start += usize::from(point.scenario.is_none());
        } else {
            totals.not_reached += 1;
        }
        totals.found += found;
    }
}

#[expect(clippy::print_stderr, reason = "figures for people")]
fn report(totals: &Totals) {
    let killed: usize = totals.kills.values().sum();
    eprintln!(
        "{killed} kills at calls {:?}, {} of them before the server listened; {} calls never came; {}",
        totals.kills, totals.at_start, totals.not_reached, totals.found
    );
}
