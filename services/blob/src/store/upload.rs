//! Writing a blob: content is received, cut, hashed and appended at the same time.
//!
//! Content of up to [`SMALL`] bytes is one chunk, and goes with its manifest into the lane for small blobs. Beyond that the
//! bytes are cut and hashed on threads that may block, one batch after the other, while the next ones are received and the
//! chunks before are written through the bulk lane.
//!
//! What an upload holds in memory is accounted for byte by byte. Where all memory is given out, each upload that waits for
//! more ends the chunk it is gathering, so that its memory comes back: nobody waits for someone who waits.

mod bulk;
pub mod delta;
mod digest;
mod job;
mod pieces;
pub mod resume;
pub(super) mod session;

use std::sync::Arc;
use std::time::{Duration, Instant};

use blake3::{Hash, Hasher};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinError;
use uuid::Uuid;

use self::bulk::Bulk;
use self::pieces::Pieces;
use super::compute::Compute;
use super::counters::Counters;
use super::gate::Gate;
use super::lane::{Entry, Lane, NewChunk, Reply, Ticket, WriteError};
use super::packs::PackStore;
use super::reader::ReadError;
use crate::domain::manifest::Manifest;
use crate::domain::payload::Encoding;
use crate::domain::record::Kind;
use crate::domain::seal::SealError;
use crate::domain::segment::Segment;
use crate::domain::{BlobId, SMALL};

/// How long an upload waits for memory before it ends its chunk.
const PATIENCE: Duration = Duration::from_millis(500);

/// Why a blob, or a part of one, was not written. Nothing of it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// More bytes came than may be written.
    #[error("more bytes arrived than the grant allows")]
    TooLarge,
    /// Another number of bytes came than the writer says to have sent.
    #[error("another number of bytes arrived than was announced")]
    WrongSize,
    /// Other bytes came than the writer says to have sent.
    #[error("the bytes that arrived have another digest than was announced")]
    WrongDigest,
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] WriteError),
    /// What was written before cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is no such upload: it was given up.
    #[error("there is no such upload")]
    Unknown,
    /// The upload is a blob already.
    #[error("the upload is finished")]
    Complete,
    /// Somebody has taken the upload over.
    #[error("another writer has taken this upload over")]
    Fenced,
    /// Somebody writes the upload at this moment.
    #[error("this upload is being written at this moment")]
    Busy,
    /// The upload has another number of bytes, this one.
    #[error("the upload ends elsewhere")]
    WrongOffset(u64),
    /// The space has as many unfinished uploads as it may have.
    #[error("there are too many unfinished uploads")]
    TooMany,
    /// More uploads are being written than there is room for.
    #[error("too many uploads are being written")]
    Overloaded,
}

/// A blob that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its name.
    pub id: BlobId,
    /// Bytes of content.
    pub size: u64,
    /// BLAKE3-256 of the content.
    pub digest: Hash,
}

/// What uploads share.
#[derive(Debug)]
pub struct Shared {
    /// For blobs of up to [`SMALL`] bytes.
    pub small_lane: Lane,
    /// For all others.
    pub bulk_lane: Lane,
    /// Memory for content that is not known to be large, in bytes.
    pub small_memory: Arc<Semaphore>,
    /// Memory for all other content, in bytes.
    pub bulk_memory: Arc<Semaphore>,
    /// Where the packs are, and whether there is room.
    pub packs: Arc<dyn PackStore>,
    /// How content is encoded…
    pub encoding: Arc<Encoding>,
    /// …and by whom.
    pub compute: Compute,
    /// Whether writes have failed of late.
    pub gate: Gate,
    /// What was done.
    pub counters: Arc<Counters>,
}

impl Shared {
    /// Whether content is taken in.
    pub(super) fn admit(&self) -> Result<(), WriteError> {
        let counters = &self.counters;
        match self.gate.trouble().map(WriteError::from) {
            _ if self.packs.is_full() => {
                Counters::add(&counters.refused_full, 1);
                Err(WriteError::Full)
            }
            Some(error) => {
                Counters::add(&counters.refused_degraded, 1);
                Err(error)
            }
            None => Ok(()),
        }
    }
}

/// A blob that is being written. Dropped, it is given up: what has gone into packs by then is of no use to anyone and
/// waits to be collected.
#[derive(Debug)]
pub struct Upload {
    shared: Arc<Shared>,
    id: BlobId,
    space: Uuid,
    limit: u64,
    size: u64,
    /// Received, while it is not known to be large.
    pieces: Pieces,
    memory: Option<OwnedSemaphorePermit>,
    bulk: Option<Bulk>,
}

impl Upload {
    /// Begins a blob of at most `limit` bytes that will have that id. `space` is recorded with it.
    pub fn new(shared: Arc<Shared>, id: BlobId, space: Uuid, limit: u64) -> Result<Self, UploadError> {
        shared.admit()?;
        let pieces = Pieces::default();
        Ok(Self { shared, id, space, limit, size: 0, pieces, memory: None, bulk: None })
    }

    /// Takes the next bytes, waiting while the store is busy.
    pub async fn push(&mut self, data: Bytes) -> Result<(), UploadError> {
        if data.is_empty() {
            return Ok(());
        }
        self.size += data.len() as u64;
        if self.size > self.limit {
            return Err(UploadError::TooLarge);
        }
        if self.bulk.is_none() && self.pieces.len() + data.len() > SMALL {
            self.grow().await?;
        }
        if self.bulk.is_none() {
            let memory = acquire(&self.shared.small_memory, data.len());
            if let Ok(more) = tokio::time::timeout(PATIENCE, memory).await {
                match &mut self.memory {
                    Some(memory) => memory.merge(more?),
                    None => self.memory = Some(more?),
                }
                self.pieces.push(data);
                return Ok(());
            }
            self.grow().await?;
        }
        match &mut self.bulk {
            Some(bulk) => bulk.push(data).await,
            None => Err(WriteError::Failed.into()),
        }
    }

    /// Makes the blob durable, when `size` is how many bytes came and `digest`, if given, is theirs.
    pub async fn finish(mut self, size: u64, digest: Option<Hash>) -> Result<Written, UploadError> {
        if size != self.size {
            return Err(UploadError::WrongSize);
        }
        let (id, shared) = (self.id, Arc::clone(&self.shared));
        let is_bulk = self.bulk.is_some();
        let (digest, sent) = match self.bulk.take() {
            None => self.finish_small(digest).await?,
            Some(mut bulk) => {
                let actual = expect(digest, bulk.end().await?)?;
                let blob = Manifest::new(self.id, self.space, actual, bulk.take_chunks());
                let sent = Instant::now();
                bulk.list(List::Blob(blob)).await?;
                (actual, sent)
            }
        };
        shared.counters.answered(is_bulk, sent.elapsed());
        Ok(Written { id, size, digest })
    }

    async fn finish_small(mut self, digest: Option<Hash>) -> Result<(Hash, Instant), UploadError> {
        let pieces = self.pieces.take();
        let mut hasher = Hasher::new();
        for piece in &pieces {
            hasher.update(piece);
        }
        let digest = expect(digest, hasher.finalize())?;
        let shared = &self.shared;
        let chunk = match self.size {
            0 => None,
            _ => Some(encode_small(shared, digest, pieces).await?),
        };
        Counters::add(&shared.counters.small_bytes, self.size);
        let chunks = chunk.iter().map(|new| new.chunk).collect();
        let blob = List::Blob(Manifest::new(self.id, self.space, digest, chunks));
        let sent = Instant::now();
        blob.send(shared.small_lane.clone(), Ticket::default(), chunk, self.memory).await?;
        Ok((digest, sent))
    }

    /// Takes the way for large content from now on.
    async fn grow(&mut self) -> Result<(), UploadError> {
        // Held memory moves to the other account: first taken there, then given back here.
        let memory = acquire(&self.shared.bulk_memory, self.pieces.len()).await?;
        let pieces = std::mem::take(&mut self.pieces);
        self.bulk = Some(Bulk::beginning_with(Arc::clone(&self.shared), pieces, memory));
        self.memory = None;
        Ok(())
    }
}

/// What names chunks that are there.
pub(super) enum List {
    /// All of a blob.
    Blob(Manifest),
    /// Some of an upload.
    Segment(Segment),
    /// None: to wait for those that are on their way.
    Nothing,
}

impl List {
    /// Goes down a lane, behind `chunk` and all that went there for the same upload; returns when all of this is durable and
    /// indexed.
    pub async fn send(
        self,
        lane: Lane,
        ticket: Ticket,
        chunk: Option<NewChunk>,
        memory: Option<OwnedSemaphorePermit>,
    ) -> Result<(), WriteError> {
        let (answer, answered) = oneshot::channel();
        let (blob, segment) = match self {
            Self::Blob(blob) => (Some(blob), None),
            Self::Segment(segment) => (None, Some(segment)),
            Self::Nothing => (None, None),
        };
        let reply = Reply { ticket, answer: Some(answer) };
        lane.send(Entry { chunk, blob, segment, reply, memory, moved_from: None }).await?;
        answered.await.map_err(|_| WriteError::Failed)?
    }
}

fn expect(expected: Option<Hash>, actual: Hash) -> Result<Hash, UploadError> {
    match expected {
        Some(expected) if expected != actual => Err(UploadError::WrongDigest),
        _ => Ok(actual),
    }
}

/// Encodes a chunk, on another thread when that would keep others waiting.
async fn encode_small(shared: &Shared, hash: Hash, pieces: Vec<Bytes>) -> Result<NewChunk, WriteError> {
    let draft = shared.encoding.draft(Kind::Chunk, hash, pieces);
    let encoded = if draft.is_quick() {
        shared.encoding.finish(draft)
    } else {
        let encoding = Arc::clone(&shared.encoding);
        let work = shared.compute.run(move || encoding.finish(draft));
        work.await.map_err(|error| crashed(&error))?
    };
    encoded.map(NewChunk::from).map_err(|error| unencoded(&error))
}

fn unencoded(error: &SealError) -> WriteError {
    tracing::error!(%error, "cannot encode a chunk");
    WriteError::Failed
}

fn crashed(error: &JoinError) -> WriteError {
    tracing::error!(%error, "encoding content failed");
    WriteError::Failed
}

async fn acquire(account: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, WriteError> {
    let bytes = u32::try_from(bytes).map_err(|_| WriteError::Failed)?;
    Arc::clone(account).acquire_many_owned(bytes).await.map_err(|_| WriteError::Failed)
}
