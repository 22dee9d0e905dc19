//! A lane into a bucket: batches are put together, written several at a time, and handed on in their order.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::{CLOSED, ObjectPacks};
use crate::domain::record::Salt;
use crate::store::counters::Counters;
use crate::store::index::PackRow;
use crate::store::lane::{Appended, Batch, Context, Entry, WriteError};
use crate::store::layout::{self, Assembled, Counts, Layout, entry_len};
use crate::store::pack::{HEADER_LEN, PackId};

/// Most entries of a batch.
const BATCH_ENTRIES: usize = 1024;
/// Content that nobody waits for yet is written when nothing more has come for so long.
const PATIENCE: Duration = Duration::from_millis(200);

/// A batch on its way.
struct Pending {
    entries: Vec<Appended>,
    counts: Counts,
    /// `None` when there is nothing to write.
    writing: Option<JoinHandle<Result<PackRow, WriteError>>>,
}

/// Runs until all senders of `entries` are gone.
pub async fn run(
    packs: Arc<ObjectPacks>,
    context: Context,
    entries: mpsc::Receiver<Entry>,
    commits: mpsc::Sender<Batch>,
) {
    let writes = (packs.max_writes / 2).max(1);
    let (pending, in_order) = mpsc::channel(writes);
    let (counters, lane) = (Arc::clone(&context.counters), context.lane);
    tokio::join!(
        write(packs, context, entries, pending, writes),
        hand_on(in_order, commits, &counters, lane)
    );
}

/// Puts batches together and begins to write them.
async fn write(
    packs: Arc<ObjectPacks>,
    context: Context,
    mut incoming: mpsc::Receiver<Entry>,
    pending: mpsc::Sender<Pending>,
    writes: usize,
) {
    let permits = Arc::new(Semaphore::new(writes));
    while let Some(first) = incoming.recv().await {
        // While all are busy, more comes and goes with the next one.
        let permit = Arc::clone(&permits).acquire_owned().await;
        let entries = gather(first, &mut incoming, packs.batch).await;
        let known = layout::known(&context.index, &entries).await;
        let begun = permit.map_err(|_| CLOSED.to_owned()).and_then(|permit| {
            let mut salt = Salt::default();
            getrandom::fill(&mut salt).map_err(|error| error.to_string())?;
            Ok((permit, salt, packs.ids.next().map_err(|error| error.to_string())?))
        });
        let begun = begun.map_err(|error| {
            tracing::error!(%error, "cannot begin a pack");
            WriteError::Failed
        });
        let batch = match begun.and_then(|begun| Ok((begun, known?))) {
            Ok(((permit, salt, id), known)) => {
                let assembled = layout::assemble(entries, known, id, salt, HEADER_LEN);
                begin(&packs, &context.counters, assembled, id, salt, permit)
            }
            Err(error) => {
                entries.into_iter().for_each(|entry| entry.reply.fail(error));
                continue;
            }
        };
        if let Err(refused) = pending.send(batch).await {
            refused.0.entries.into_iter().for_each(|entry| entry.reply.fail(WriteError::Failed));
        }
    }
}

/// What goes with `first`: all that is there, and, while nobody waits for an answer, what comes soon.
async fn gather(first: Entry, incoming: &mut mpsc::Receiver<Entry>, enough: u64) -> Vec<Entry> {
    let is_awaited = |entry: &Entry| entry.reply.answer.is_some();
    let mut bytes = entry_len(&first);
    let mut is_due = is_awaited(&first);
    let mut entries = vec![first];
    while bytes < enough && entries.len() < BATCH_ENTRIES {
        let next = match incoming.try_recv() {
            Err(mpsc::error::TryRecvError::Empty) if !is_due => {
                tokio::time::timeout(PATIENCE, incoming.recv()).await.ok().flatten()
            }
            next => next.ok(),
        };
        let Some(entry) = next else { break };
        bytes += entry_len(&entry);
        is_due |= is_awaited(&entry);
        entries.push(entry);
    }
    entries
}

fn begin(
    packs: &Arc<ObjectPacks>,
    counters: &Arc<Counters>,
    assembled: Assembled,
    id: PackId,
    salt: Salt,
    permit: OwnedSemaphorePermit,
) -> Pending {
    let Assembled { layout, entries, memory, counts } = assembled;
    let writing = (layout.end() > HEADER_LEN).then(|| {
        let (packs, counters) = (Arc::clone(packs), Arc::clone(counters));
        tokio::spawn(async move {
            let written = store(&packs, layout, id, salt).await;
            Counters::add(&counters.flushes, 1);
            // The bytes take their memory until here.
            drop((memory, permit));
            written
        })
    });
    Pending { entries, counts, writing }
}

/// Writes a pack. Returns what the index has to know of it.
async fn store(packs: &ObjectPacks, layout: Layout, id: PackId, salt: Salt) -> Result<PackRow, WriteError> {
    let len = layout.end();
    match packs.put(id, &salt, &layout.into_bytes(), len).await {
        Ok(id) => Ok(PackRow { id, salt, indexed_to: len }),
        Err(error) => {
            let cause = &error as &dyn std::error::Error;
            tracing::error!(pack = %id, bytes = len, error = cause, "cannot write a pack");
            Err(WriteError::Failed)
        }
    }
}

/// Waits for one batch after the other, and hands it on. A manifest is in the same batch as its chunks or in a later one: so it
/// is not indexed before them.
async fn hand_on(
    mut in_order: mpsc::Receiver<Pending>,
    commits: mpsc::Sender<Batch>,
    counters: &Counters,
    lane: &'static str,
) {
    while let Some(Pending { mut entries, counts, writing }) = in_order.recv().await {
        let written = match writing {
            None => Ok(None),
            Some(writing) => writing.await.unwrap_or(Err(WriteError::Failed)).map(Some),
        };
        match written {
            Ok(pack) => {
                counts.add_to(counters);
                if let Some(pack) = pack {
                    entries.iter_mut().for_each(|entry| entry.stand_in(pack.id));
                }
                let batch = Batch { lane, pack, is_closed: true, entries };
                if let Err(refused) = commits.send(batch).await {
                    refused.0.fail(WriteError::Failed);
                }
            }
            Err(error) => entries.into_iter().for_each(|entry| entry.reply.fail(error)),
        }
    }
}
