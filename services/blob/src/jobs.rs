//! Work in the background: collecting what is not used any more, compacting packs, and looking for damage.
//!
//! Each job is run by one process at a time, which holds a [lease](crate::store::index::Lease) on it and notes how far it is.
//! Every step is a transaction, or does nothing that counts before one: a job may be dropped anywhere, and two that run it
//! at once only waste work.
//!
//! Jobs can be [watched, started and stopped](control). One that is stopped ends at its next safe point and gives its lease back.

pub mod collect;
pub mod compact;
pub mod control;
pub mod roots;
pub mod scrub;

#[cfg(test)]
mod simulation;

use std::sync::Arc;
use std::time::Duration;

use holdall_runtime::clock::Clock;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::collect::{Collector, Walk};
use self::compact::{CompactError, Compactor, Outcome};
use self::control::{Board, Control, Kind, Progress, Turn};
use self::roots::{Roots, RootsError};
use self::scrub::{Place, ScrubError};
use crate::config::{CollectionConfig, CompactionConfig, ScrubConfig, micros};
use crate::store::Store;
use crate::store::counters::Counters;
use crate::store::index::{Error as IndexError, Lease};

/// How often a job looks for work.
const INTERVAL: Duration = Duration::from_secs(60);
/// What a job rests after each step of collecting, so that others get at the index.
const REST: Duration = Duration::from_millis(50);
/// How long a lease lasts that is not renewed, in microseconds. Longer than any step.
const LEASE: i64 = 15 * 60 * 1_000_000;
/// How often a cycle of collecting begins, in microseconds.
const CYCLE: i64 = 24 * 3600 * 1_000_000;
/// How long a cycle of scrubbing may take, in seconds: with more than the rate allows to read in that time, the rate is raised.
const SCRUB_CYCLE: u64 = 30 * 24 * 3600;

/// Jobs that run until they are stopped.
#[derive(Debug)]
pub struct Jobs {
    board: Board,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Jobs {
    /// None yet. They are seen and told what to do on `board`, which ends with them.
    pub fn new(board: Board, stop: CancellationToken) -> Self {
        let (end, stopped) = (board.end().clone(), stop.clone());
        let ending = tokio::spawn(async move {
            stopped.cancelled().await;
            end.cancel();
        });
        Self { board, stop, tasks: vec![ending] }
    }

    /// Starts collecting, asking `roots`.
    pub fn collect(
        &mut self,
        store: Arc<Store>,
        roots: impl Roots + 'static,
        config: &CollectionConfig,
        clock: Clock,
    ) {
        let collector = Collector::new(store.reader().index().clone(), roots, micros(config.grace));
        let mut control = self.board.control(Kind::Collect);
        let passes = async move {
            loop {
                let turn = control.turn(INTERVAL).await;
                let result = collect(&store, &collector, &control, turn, &clock).await;
                control.result(&result);
                if let Err(error) = result {
                    tracing::warn!(error = &error as &dyn std::error::Error, "collecting stops for now");
                }
            }
        };
        self.spawn(passes);
    }

    /// Starts compacting.
    pub fn compact(&mut self, store: Arc<Store>, config: &CompactionConfig, clock: Clock) {
        let compactor = Compactor::new(Arc::clone(&store), config);
        let mut control = self.board.control(Kind::Compact);
        let passes = async move {
            loop {
                control.turn(INTERVAL).await;
                let result = compact(&store, &compactor, &control, &clock).await;
                control.result(&result);
                if let Err(error) = result {
                    tracing::warn!(error = &error as &dyn std::error::Error, "compacting stops for now");
                }
            }
        };
        self.spawn(passes);
    }

    /// Starts looking for damage.
    pub fn scrub(&mut self, store: Arc<Store>, config: &ScrubConfig, clock: Clock) {
        let rate = config.rate.get();
        let mut control = self.board.control(Kind::Scrub);
        let passes = async move {
            loop {
                let turn = control.turn(INTERVAL).await;
                let result = scrub(&store, rate, &control, turn, &clock).await;
                control.result(&result);
                if let Err(error) = result {
                    tracing::warn!(error = &error as &dyn std::error::Error, "scrubbing stops for now");
                }
            }
        };
        self.spawn(passes);
    }

    fn spawn(&mut self, passes: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.push(tokio::spawn(async move {
            stop.run_until_cancelled(passes).await;
        }));
    }

    /// Stops all, at once.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            // One that panicked has said so.
            let _ = task.await;
        }
    }
}

/// Collects until there is nothing more to do or it may not go on, unless another process does. When it is asked for, a new
/// cycle begins where none is under way.
pub(crate) async fn collect<R: Roots>(
    store: &Store,
    collector: &Collector<R>,
    control: &Control,
    turn: Turn,
    clock: &Clock,
) -> Result<(), RootsError> {
    let Some(mut lease) = take(store, control, clock).await? else { return Ok(()) };
    let result = collect_under(&mut lease, store, collector, control, turn, clock).await;
    give_back(store, &lease, control, clock).await?;
    result
}

async fn collect_under<R: Roots>(
    lease: &mut Lease,
    store: &Store,
    collector: &Collector<R>,
    control: &Control,
    turn: Turn,
    clock: &Clock,
) -> Result<(), RootsError> {
    let mut walk = match Walk::parse(&lease.position) {
        Walk::Done(at) if is_due(at, turn, clock) => Walk::Blobs(None),
        walk => walk,
    };
    if walk == Walk::Blobs(None) {
        control.progress(|progress| progress.blobs = 0);
    }
    loop {
        let now = clock.now();
        let steps = [
            collector.hints(now).await?,
            collector.walk(&mut walk, now).await?,
            collector.due(now).await?,
            collector.reap(now).await?,
        ];
        let has_more = steps.iter().any(|step| step.has_more);
        steps.iter().for_each(|step| note(store, step));
        control.progress(|progress| progress.blobs += steps.iter().map(|step| step.walked).sum::<u64>());
        lease.position = walk.to_text();
        if !has_more || !renew(store, lease, clock).await? || !control.rest(REST).await {
            return Ok(());
        }
    }
}

fn note(store: &Store, step: &collect::Progress) {
    let counters = store.counters();
    store.reader().forget(&step.deleted);
    Counters::add(&counters.condemned_blobs, step.condemned);
    Counters::add(&counters.deleted_blobs, step.deleted.len() as u64);
    Counters::add(&counters.deleted_chunks, step.chunks);
    Counters::add(&counters.deleted_bytes, step.stored);
}

/// Compacts what is worth it until it may not go on, unless another process does.
pub(crate) async fn compact(
    store: &Store,
    compactor: &Compactor,
    control: &Control,
    clock: &Clock,
) -> Result<(), CompactError> {
    let Some(lease) = take(store, control, clock).await? else { return Ok(()) };
    let result = compact_under(&lease, store, compactor, control, clock).await;
    give_back(store, &lease, control, clock).await?;
    result
}

async fn compact_under(
    lease: &Lease,
    store: &Store,
    compactor: &Compactor,
    control: &Control,
    clock: &Clock,
) -> Result<(), CompactError> {
    let packs = compactor.candidates().await?;
    let total = packs.iter().map(|pack| pack.indexed_to).sum();
    let is_encrypted = compactor.is_encrypted();
    control.progress(|progress| {
        *progress = Progress { total_bytes: Some(total), is_encrypted, ..Progress::default() }
    });
    let mut done = 0;
    for pack in packs {
        match compactor.compact(pack, control, clock.now()).await? {
            Outcome::Retired { copied } => {
                tracing::info!(pack = %pack.id, size = pack.indexed_to, copied, "a pack was compacted");
                Counters::add(&store.counters().compacted_packs, 1);
                Counters::add(&store.counters().copied_bytes, copied);
            }
            Outcome::Waiting => {}
            Outcome::Locked(key) => {
                tracing::error!(pack = %pack.id, %key, "a pack cannot be rewritten: its key is missing from blob.encryption.key_files");
            }
            Outcome::Stopped => return Ok(()),
            Outcome::Quarantined => {
                tracing::error!(pack = %pack.id, "a pack holds damaged records that are wanted; it is kept as it is");
                Counters::add(&store.counters().quarantined_packs, 1);
            }
        }
        done += pack.indexed_to;
        control.progress(|progress| progress.bytes = done);
        if !renew(store, lease, clock).await? || !control.goes_on() {
            return Ok(());
        }
        compactor.sweep(clock.now()).await?;
    }
    compactor.sweep(clock.now()).await?;
    Ok(())
}

/// Looks for damage from where it was left, to the end of a cycle or until it may not go on, unless another process does. When
/// it is asked for, a new cycle begins where none is under way.
pub(crate) async fn scrub(
    store: &Arc<Store>,
    rate: u64,
    control: &Control,
    turn: Turn,
    clock: &Clock,
) -> Result<(), ScrubError> {
    let Some(mut lease) = take(store, control, clock).await? else { return Ok(()) };
    let result = scrub_under(&mut lease, store, rate, control, turn, clock).await;
    give_back(store, &lease, control, clock).await?;
    result
}

async fn scrub_under(
    lease: &mut Lease,
    store: &Arc<Store>,
    rate: u64,
    control: &Control,
    turn: Turn,
    clock: &Clock,
) -> Result<(), ScrubError> {
    let mut place = match Place::parse(&lease.position) {
        Place::Done(at) if is_due(at, turn, clock) => Place::START,
        place => place,
    };
    let packs = store.reader().index().packs().await?;
    let total = packs.iter().map(|pack| pack.indexed_to).sum();
    let rate = rate.max(total / SCRUB_CYCLE).max(1);
    while let Place::At(..) = place {
        let read = scrub::step(store, &mut place, clock.now()).await?;
        lease.position = place.to_text();
        let behind = place.behind(&packs);
        control.progress(|progress| (progress.bytes, progress.total_bytes) = (behind, Some(total)));
        let time = Duration::from_millis(read.saturating_mul(1000) / rate);
        if !renew(store, lease, clock).await? || !control.rest(time).await {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether a cycle begins that is not under way, when the last one ended at a time.
fn is_due(ended_at: i64, turn: Turn, clock: &Clock) -> bool {
    turn == Turn::Asked || clock.now() >= ended_at.saturating_add(CYCLE)
}

/// Takes a job on, unless another process has it or it may not begin.
async fn take(store: &Store, control: &Control, clock: &Clock) -> Result<Option<Lease>, IndexError> {
    if !control.goes_on() {
        return Ok(None);
    }
    let now = clock.now();
    let index = store.reader().index();
    let lease = index.lease(control.kind().name(), now, now.saturating_add(LEASE)).await?;
    if lease.is_some() {
        control.begin(now);
    }
    Ok(lease)
}

/// Prolongs a lease, and returns whether it still holds.
async fn renew(store: &Store, lease: &Lease, clock: &Clock) -> Result<bool, IndexError> {
    store.reader().index().renew(lease, clock.now().saturating_add(LEASE)).await
}

/// Lets others, or a later start, have the job at once.
async fn give_back(store: &Store, lease: &Lease, control: &Control, clock: &Clock) -> Result<(), IndexError> {
    let given = store.reader().index().renew(lease, 0).await;
    control.end(clock.now());
    given?;
    Ok(())
}
