//! Writers, metadata, collecting, compacting and crashes in random order, on the real index and real records.
//!
//! A small world is made from a seed: packs of a few records in memory, an index in SQLite, a clock that moves when told, and
//! a metadata that is a set. Everybody goes on by single steps, each at most one transaction, and what others do while
//! metadata is asked comes in the middle of a step of the collector. After each step that deletes, moves or recovers, all that
//! is in use or can still come into use has to be there, byte for byte.
//!
//! `HOLDALL_SIMULATION_SEEDS=100000` runs more worlds, `HOLDALL_SIMULATION_SEED=N` runs one.

mod packs;
mod world;

use std::collections::BTreeMap;

use holdall_sql::{Database, Durability, Settings};
use tempfile::TempDir;

use self::world::World;
use crate::store::index::{Index, MIGRATIONS};

const SEEDS: u64 = 2_000;
/// Worlds that run side by side, each on a database of its own.
const LANES: usize = 4;

/// Numbers that follow from a seed (SplitMix64).
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end as u64).unwrap()
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.roll() % 100 < percent
    }

    fn pick<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() { None } else { Some(all[self.below(all.len())].clone()) }
    }
}

/// What happened in all worlds, so that a simulation in which nothing happens is noticed.
type Events = BTreeMap<&'static str, u64>;

/// A database in memory, where there is a file system for that.
async fn index() -> (TempDir, Index) {
    let memory = std::path::Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let settings = Settings::file(&dir.path().join("index.db"));
    let database = Database::open(&settings, &MIGRATIONS, Durability::Rebuildable).await.unwrap();
    (dir, Index::new(database))
}

async fn run(seeds: impl Iterator<Item = u64>) -> Events {
    let (_dir, index) = index().await;
    World::prepare(&index).await;
    let mut events = Events::new();
    for seed in seeds {
        let world = World::new(seed, index.clone()).await;
        world.run().await;
        for (event, count) in world.events() {
            *events.entry(event).or_default() += count;
        }
    }
    events
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_that_is_in_use_is_ever_lost() {
    if let Some(seed) = number("HOLDALL_SIMULATION_SEED") {
        run([seed].into_iter()).await;
        return;
    }
    let seeds = number("HOLDALL_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let lanes: Vec<_> =
        (0..LANES).map(|lane| tokio::spawn(run((0..seeds).skip(lane).step_by(LANES)))).collect();
    let mut events = Events::new();
    for lane in lanes {
        for (event, count) in lane.await.unwrap() {
            *events.entry(event).or_default() += count;
        }
    }
    for event in world::EVENTS {
        assert!(events.contains_key(event), "never: {event}; {events:?}");
    }
}
