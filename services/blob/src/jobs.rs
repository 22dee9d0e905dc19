//! Work in the background: collecting what is not used any more, compacting packs, and looking for damage.
//!
//! Each job is run by one process at a time, which holds a [lease](crate::store::index::Lease) on it and notes how far it is.
//! Every step is a transaction, or does nothing that counts before one: a job may be dropped anywhere, and two that run it
//! at once only waste work.

pub mod collect;
pub mod compact;
pub mod roots;
pub mod scrub;

#[cfg(test)]
mod simulation;

use std::sync::Arc;
use std::time::Duration;

use holdall_runtime::clock::Clock;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::collect::{Collector, Progress, Walk};
use self::compact::{CompactError, Compactor, Outcome};
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
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Jobs {
    /// None yet.
    pub fn new(stop: CancellationToken) -> Self {
        Self { stop, tasks: Vec::new() }
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
        let passes = async move {
            loop {
                tokio::time::sleep(INTERVAL).await;
                if let Err(error) = collect(&store, &collector, &clock).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "collecting stops for now");
                }
            }
        };
        self.spawn(passes);
    }

    /// Starts compacting.
    pub fn compact(&mut self, store: Arc<Store>, config: &CompactionConfig, clock: Clock) {
        let compactor = Compactor::new(Arc::clone(&store), config);
        let passes = async move {
            loop {
                tokio::time::sleep(INTERVAL).await;
                if let Err(error) = compact(&store, &compactor, &clock).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "compacting stops for now");
                }
            }
        };
        self.spawn(passes);
    }

    /// Starts looking for damage.
    pub fn scrub(&mut self, store: Arc<Store>, config: &ScrubConfig, clock: Clock) {
        let rate = config.rate.get();
        let passes = async move {
            loop {
                tokio::time::sleep(INTERVAL).await;
                if let Err(error) = scrub(&store, rate, &clock).await {
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

/// Collects until there is nothing more to do, unless another process does.
pub(crate) async fn collect<R: Roots>(
    store: &Store,
    collector: &Collector<R>,
    clock: &Clock,
) -> Result<(), RootsError> {
    let now = clock.now();
    let index = store.reader().index();
    let Some(mut lease) = index.lease("collect", now, now.saturating_add(LEASE)).await? else {
        return Ok(());
    };
    let mut walk = match Walk::parse(&lease.position) {
        Walk::Done(at) if now >= at.saturating_add(CYCLE) => Walk::Blobs(None),
        walk => walk,
    };
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
        lease.position = walk.to_text();
        if !has_more {
            return Ok(give_back(store, &lease).await?);
        }
        if !index.renew(&lease, now.saturating_add(LEASE)).await? {
            return Ok(());
        }
        tokio::time::sleep(REST).await;
    }
}

fn note(store: &Store, step: &Progress) {
    let counters = store.counters();
    store.reader().forget(&step.deleted);
    Counters::add(&counters.condemned_blobs, step.condemned);
    Counters::add(&counters.deleted_blobs, step.deleted.len() as u64);
    Counters::add(&counters.deleted_chunks, step.chunks);
    Counters::add(&counters.deleted_bytes, step.stored);
}

/// Compacts what is worth it, unless another process does.
pub(crate) async fn compact(store: &Store, compactor: &Compactor, clock: &Clock) -> Result<(), CompactError> {
    let now = clock.now();
    let index = store.reader().index();
    let Some(lease) = index.lease("compact", now, now.saturating_add(LEASE)).await? else { return Ok(()) };
    for pack in compactor.candidates().await? {
        match compactor.compact(pack, clock.now()).await? {
            Outcome::Retired { copied } => {
                tracing::info!(pack = %pack.id, size = pack.indexed_to, copied, "a pack was compacted");
                Counters::add(&store.counters().compacted_packs, 1);
                Counters::add(&store.counters().copied_bytes, copied);
            }
            Outcome::Waiting => {}
            Outcome::Locked(key) => {
                tracing::error!(pack = %pack.id, %key, "a pack cannot be rewritten: its key is missing from blob.encryption.key_files");
            }
            Outcome::Quarantined => {
                tracing::error!(pack = %pack.id, "a pack holds damaged records that are wanted; it is kept as it is");
                Counters::add(&store.counters().quarantined_packs, 1);
            }
        }
        if !index.renew(&lease, clock.now().saturating_add(LEASE)).await? {
            return Ok(());
        }
        compactor.sweep(clock.now()).await?;
    }
    compactor.sweep(clock.now()).await?;
    Ok(give_back(store, &lease).await?)
}

/// Looks for damage from where it was left, to the end of a cycle, unless another process does.
pub(crate) async fn scrub(store: &Arc<Store>, rate: u64, clock: &Clock) -> Result<(), ScrubError> {
    let now = clock.now();
    let index = store.reader().index();
    let Some(mut lease) = index.lease("scrub", now, now.saturating_add(LEASE)).await? else { return Ok(()) };
    let mut place = match Place::parse(&lease.position) {
        Place::Done(at) if now >= at.saturating_add(CYCLE) => Place::START,
        place => place,
    };
    let total: u64 = index.packs().await?.iter().map(|pack| pack.indexed_to).sum();
    let rate = rate.max(total / SCRUB_CYCLE).max(1);
    while let Place::At(..) = place {
        let read = scrub::step(store, &mut place, clock.now()).await?;
        lease.position = place.to_text();
        if !index.renew(&lease, clock.now().saturating_add(LEASE)).await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(read.saturating_mul(1000) / rate)).await;
    }
    Ok(give_back(store, &lease).await?)
}

/// Lets others, or a later start, have the job at once.
async fn give_back(store: &Store, lease: &Lease) -> Result<(), IndexError> {
    store.reader().index().renew(lease, 0).await?;
    Ok(())
}
