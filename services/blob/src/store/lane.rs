//! A lane: the way of records into packs.
//!
//! Stages, each taking all that waits for it at once, so that the cost of a flush or a transaction is shared by everyone who
//! came while the one before was running:
//!
//! 1. the [store of the packs](super::packs) writes records, but not chunks that are there already, and makes them durable;
//! 2. `commit` adds the rows to the index, and answers.
//!
//! So the order is always: bytes durable, then indexed, then answered. Nothing is looked up before it is indexed, and
//! therefore no new blob ever relies on a chunk that is not durable.
//!
//! Entries stay in order. When one fails, at whatever stage, its [`Ticket`] is marked, and later entries of the same
//! upload fail when they come to that stage: a manifest is never indexed without all its chunks.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tracing::Span;

use super::counters::Counters;
use super::gate::Gate;
use super::index::{ChunkRow, Index, NewBlob, PackRow, SegmentRow};
use super::pack::{Location, PackId};
use super::packs::PackStore;
use crate::domain::BlobId;
use crate::domain::manifest::{Chunk, Manifest};
use crate::domain::payload::{Encoded, Encoding};
use crate::domain::record::{Codec, Header};
use crate::domain::segment::Segment;

/// Why an entry was not kept. The details were logged where they arose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// There is no room.
    #[error("the store is full")]
    Full,
    /// The disk or the index failed, or the store is closing. Nothing was kept.
    #[error("the store cannot be written to")]
    Failed,
}

/// Shared by all entries of an upload: whether any of them failed, and how.
#[derive(Clone, Debug)]
pub struct Ticket(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    failure: OnceLock<WriteError>,
    span: Span,
}

impl Default for Ticket {
    /// Nothing failed; what is done for it belongs to the current trace.
    fn default() -> Self {
        Self(Arc::new(Shared { failure: OnceLock::new(), span: Span::current() }))
    }
}

impl Ticket {
    /// How the first entry that failed did so.
    pub fn failure(&self) -> Option<WriteError> {
        self.0.failure.get().copied()
    }

    /// The span that it began in.
    pub fn span(&self) -> &Span {
        &self.0.span
    }

    fn fail(&self, error: WriteError) {
        // The first failure is the one to tell.
        let _ = self.0.failure.set(error);
    }
}

/// A chunk with its bytes.
#[derive(Debug)]
pub struct NewChunk {
    /// Name and size.
    pub chunk: Chunk,
    /// How its bytes are encoded.
    pub codec: Codec,
    /// Its bytes as they are to be stored, in order.
    pub pieces: Vec<Bytes>,
}

impl NewChunk {
    /// Bytes that it takes as stored.
    pub fn stored(&self) -> u32 {
        // A chunk has at most 4 MiB, and encoding adds little.
        self.pieces.iter().fold(0, |sum, piece| sum + u32::try_from(piece.len()).unwrap_or_default())
    }
}

impl From<Encoded> for NewChunk {
    fn from(encoded: Encoded) -> Self {
        let Header { hash, size, codec, .. } = encoded.header;
        Self { chunk: Chunk { hash, size }, codec, pieces: encoded.pieces }
    }
}

/// What a lane takes in at a time.
#[derive(Debug)]
pub struct Entry {
    /// A chunk to be there.
    pub chunk: Option<NewChunk>,
    /// A blob to be there, whose chunks are in this entry or were in earlier ones.
    pub blob: Option<Manifest>,
    /// A segment of an upload to be there, whose chunks are likewise.
    pub segment: Option<Segment>,
    /// Whose upload it is.
    pub reply: Reply,
    /// The memory that the bytes take; given back once they are written.
    pub memory: Option<OwnedSemaphorePermit>,
    /// Where the record stands of which this is a copy. It is written in any case, and what points there follows.
    pub moved_from: Option<Location>,
}

/// Who waits for an entry.
#[derive(Debug)]
pub struct Reply {
    /// The upload.
    pub ticket: Ticket,
    /// Where to say that the entry is durable and indexed, or why not.
    pub answer: Option<oneshot::Sender<Result<(), WriteError>>>,
}

impl Reply {
    /// Says that it is kept.
    pub fn succeed(self) {
        if let Some(answer) = self.answer {
            // The upload may have been given up.
            let _ = answer.send(Ok(()));
        }
    }

    /// Says that it is not kept, and spoils the rest of the upload.
    pub fn fail(self, error: WriteError) {
        self.ticket.fail(error);
        if let Some(answer) = self.answer {
            let _ = answer.send(Err(error));
        }
    }
}

/// An entry whose records stand in a pack.
#[derive(Debug)]
pub struct Appended {
    /// Who waits.
    pub reply: Reply,
    /// The chunk that was written for it.
    pub chunk: Option<ChunkRow>,
    /// The blob that was written for it.
    pub blob: Option<NewBlob>,
    /// The segment that was written for it.
    pub segment: Option<SegmentRow>,
    /// Where the record stood of which it is a copy.
    pub moved_from: Option<Location>,
}

impl Appended {
    /// The blob or upload that it makes, or adds to.
    pub fn subject(&self) -> Option<BlobId> {
        let upload = || Some(self.segment.as_ref()?.segment.upload);
        self.blob.as_ref().map(|blob| blob.row.id).or_else(upload)
    }

    /// Says that what was written stands in that pack.
    pub fn stand_in(&mut self, pack: PackId) {
        self.chunk.iter_mut().for_each(|chunk| chunk.location.pack = pack);
        self.blob.iter_mut().for_each(|blob| blob.row.manifest.pack = pack);
        self.segment.iter_mut().for_each(|segment| segment.location.pack = pack);
    }
}

/// Entries that were written together.
#[derive(Debug)]
pub struct Batch {
    /// Which lane wrote it. On a disk, a lane writes to one pack until it goes on to the next.
    pub lane: &'static str,
    /// Into which pack, and how far its records reach with them; `None` when there was nothing to write.
    pub pack: Option<PackRow>,
    /// Nothing more will be written to it.
    pub is_closed: bool,
    /// In order.
    pub entries: Vec<Appended>,
}

impl Batch {
    /// Says to all that they are not kept.
    pub fn fail(self, error: WriteError) {
        for entry in self.entries {
            entry.reply.fail(error);
        }
    }
}

/// What a lane needs beside the store of the packs.
#[derive(Clone)]
pub struct Context {
    /// For finding out which chunks are there.
    pub index: Index,
    /// How manifests are encoded.
    pub encoding: Arc<Encoding>,
    /// To be told of every write that fails.
    pub gate: Gate,
    /// What was done.
    pub counters: Arc<Counters>,
    /// The highest id that a pack has or had before this start.
    pub last: PackId,
    /// The name of the lane.
    pub lane: &'static str,
    /// What it writes is not likely to be read soon: it need not stay in the system's memory.
    pub is_cold: bool,
}

/// The sending end of a lane. The lane ends by itself, having finished what it was given, once all senders are gone.
#[derive(Clone, Debug)]
pub struct Lane {
    entries: mpsc::Sender<Entry>,
}

/// Tells when a lane has ended.
#[derive(Debug)]
pub struct Ended(oneshot::Receiver<()>);

impl Ended {
    /// It has ended when something is sent, or the sender is gone.
    pub fn new(ended: oneshot::Receiver<()>) -> Self {
        Self(ended)
    }

    /// Returns then.
    pub async fn wait(self) {
        // The sender is dropped at the latest when whoever has it ends.
        let _ = self.0.await;
    }
}

impl Lane {
    /// Starts a lane into `packs` that holds `queue` entries before its senders have to wait, and hands its batches to
    /// `commits`.
    ///
    /// Has to be called within a tokio runtime.
    pub fn start(
        packs: &Arc<dyn PackStore>,
        name: &'static str,
        queue: usize,
        context: Context,
        commits: mpsc::Sender<Batch>,
    ) -> std::io::Result<(Self, Ended)> {
        let (entries, incoming) = mpsc::channel(queue);
        let ended =
            Arc::clone(packs).start_lane(name, Context { lane: name, ..context }, incoming, commits)?;
        Ok((Self { entries }, ended))
    }

    /// Puts an entry at the end of the lane, waiting for room.
    pub async fn send(&self, entry: Entry) -> Result<(), WriteError> {
        self.entries.send(entry).await.map_err(|refused| {
            refused.0.reply.fail(WriteError::Failed);
            WriteError::Failed
        })
    }
}
