//! The third stage, shared by all lanes: rows are added to the index, and the writers get their answer.

use std::collections::HashMap;
use std::sync::Arc;

use holdall_runtime::trace;
use holdall_sql::retry;
use tokio::sync::mpsc;
use tracing::Instrument;

use super::counters::Counters;
use super::index::{self, Index, Moved, PackRow, Rows};
use super::lane::{Appended, Batch, WriteError};
use super::pack::PackId;
use super::sealed::Sealed;

/// Batches that share a transaction, at most.
const BATCHES: usize = 16;

/// How far a pack is indexed is noted whenever it is so many bytes farther. After a crash as much is indexed again.
const STRIDE: u64 = 4 << 20;

/// Commits until all lanes are gone.
pub async fn run(
    index: Index,
    counters: Arc<Counters>,
    sealed: Arc<Sealed>,
    mut flushed: mpsc::Receiver<Batch>,
) {
    let mut batches = Vec::with_capacity(BATCHES);
    let mut packs = Packs::default();
    while flushed.recv_many(&mut batches, BATCHES).await > 0 {
        Counters::add(&counters.commits, 1);
        let left = batches.iter().flat_map(|batch| packs.left_behind(batch)).collect::<Vec<_>>();
        commit(&index, &mut packs, std::mem::take(&mut batches)).await;
        left.into_iter().for_each(|pack| sealed.add(pack));
    }
    let rest = Rows { packs: packs.reached.into_values().collect(), ..Rows::default() };
    if let Err(error) = index.add(&rest).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the next start will index more than it needs to"
        );
    }
}

/// How far packs are indexed.
#[derive(Default)]
struct Packs {
    reached: HashMap<PackId, PackRow>,
    noted: HashMap<PackId, u64>,
    /// What each lane writes to.
    current: HashMap<&'static str, PackId>,
}

impl Packs {
    /// The pack that nothing is added to any more after this batch.
    fn left_behind(&mut self, batch: &Batch) -> Option<PackId> {
        let pack = batch.pack?.id;
        if batch.is_closed {
            return Some(pack);
        }
        let before = self.current.insert(batch.lane, pack)?;
        (before != pack).then_some(before)
    }

    /// Takes note of a pack that is indexed so far with the next commit; returns it when that has to be written down.
    fn reach(&mut self, pack: PackRow) -> Option<PackRow> {
        self.reached.insert(pack.id, pack);
        let noted = self.noted.entry(pack.id).or_default();
        let is_due = pack.indexed_to >= *noted + STRIDE;
        is_due.then(|| {
            *noted = pack.indexed_to;
            pack
        })
    }
}

async fn commit(index: &Index, packs: &mut Packs, batches: Vec<Batch>) {
    let mut rows = Rows::default();
    let mut reached = HashMap::new();
    let mut replies = Vec::new();
    let mut moved = Vec::new();
    for batch in batches {
        match batch.pack {
            Some(pack) if batch.is_closed => rows.packs.push(pack),
            // Batches of a pack come in order: the last one reaches farthest.
            Some(pack) => {
                reached.insert(pack.id, pack);
            }
            None => {}
        }
        for mut entry in batch.entries {
            moved.extend(moves(&mut entry));
            // A chunk is durable whatever becomes of its upload, and another one of this batch may rely on it.
            rows.chunks.extend(entry.chunk);
            if let Some(error) = entry.reply.ticket.failure() {
                entry.reply.fail(error);
            } else {
                replies.push((entry.subject(), entry.reply));
                rows.blobs.extend(entry.blob);
                rows.segments.extend(entry.segment);
            }
        }
    }
    rows.packs.extend(reached.into_values().filter_map(|pack| packs.reach(pack)));
    let added = async || {
        if !moved.is_empty() {
            index.follow(&moved).await?;
        }
        index.add(&rows).await
    };
    let span = trace::shared(replies.iter().map(|(_, reply)| reply.ticket.span()));
    match retry(added).instrument(span).await {
        Ok(refused) => {
            for (blob, reply) in replies {
                if blob.is_some_and(|id| refused.contains(&id)) {
                    // A chunk that it found to be there was deleted, or found damaged, since.
                    tracing::warn!(
                        ?blob,
                        "a blob lacks a chunk and is refused; its writer has to send it again"
                    );
                    reply.fail(WriteError::Failed);
                } else {
                    reply.succeed();
                }
            }
        }
        Err(error) => {
            // The records stay in the pack, and the upload has no receipt. Chunks that did get into the index are durable.
            tracing::error!(error = &error as &dyn std::error::Error, "cannot add to the index");
            let kind = match error {
                index::Error::Database(holdall_sql::Error::Full(_)) => WriteError::Full,
                _ => WriteError::Failed,
            };
            replies.into_iter().for_each(|(_, reply)| reply.fail(kind));
        }
    }
}

/// What follows an entry that is a copy; taken from it, since it adds nothing.
fn moves(entry: &mut Appended) -> Option<Moved> {
    let from = entry.moved_from?;
    let chunk = entry.chunk.take().map(|to| Moved::Chunk { from, to });
    chunk.or(entry.blob.take().map(|blob| Moved::Blob { id: blob.row.id, from, to: blob.row.manifest }))
}
