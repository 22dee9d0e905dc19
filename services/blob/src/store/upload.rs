//! Writing a blob: content is received, cut, hashed and appended at the same time.
//!
//! Content of up to [`SMALL`] bytes is one chunk, and goes with its manifest into the lane for small blobs. Beyond that the
//! bytes are cut and hashed on threads that may block, one batch after the other, while the next ones are received and the
//! chunks before are written through the bulk lane.
//!
//! What an upload holds in memory is accounted for byte by byte. Where all memory is given out, each upload that waits for
//! more ends the chunk it is gathering, so that its memory comes back: nobody waits for someone who waits.

use std::sync::Arc;
use std::time::Duration;

use blake3::{Hash, Hasher};
use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::lane::{Entry, Lane, NewChunk, Reply, Ticket, WriteError};
use super::packs::PackStore;
use crate::domain::manifest::{Chunk, MAX_CHUNKS, Manifest};
use crate::domain::{BlobId, SMALL, cut};

/// Bytes that are cut and hashed at a time.
const BATCH: usize = 1 << 20;
/// Pieces below this size are copied together: each costs a little memory and a part of a system call.
const PIECE: usize = 32 << 10;
/// How long an upload waits for memory before it ends its chunk.
const PATIENCE: Duration = Duration::from_millis(500);

/// Why a blob was not written. Nothing of it can be read.
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
    ticket: Ticket,
    /// Received and not yet handed on.
    pieces: Pieces,
    memory: Option<OwnedSemaphorePermit>,
    bulk: Option<Bulk>,
}

impl Upload {
    /// Begins a blob of at most `limit` bytes that will have that id. `space` is recorded with it.
    pub fn new(shared: Arc<Shared>, id: BlobId, space: Uuid, limit: u64) -> Result<Self, UploadError> {
        if shared.packs.is_full() {
            return Err(WriteError::Full.into());
        }
        Ok(Self {
            shared,
            id,
            space,
            limit,
            size: 0,
            ticket: Ticket::default(),
            pieces: Pieces::default(),
            memory: None,
            bulk: None,
        })
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
        if self.bulk.is_none() && self.pieces.len + data.len() > SMALL {
            self.grow().await?;
        }
        self.reserve(data.len()).await?;
        self.pieces.push(data);
        if self.bulk.is_some() && self.pieces.len >= BATCH {
            self.advance().await?;
        }
        Ok(())
    }

    /// Makes the blob durable, when `size` is how many bytes came and `digest`, if given, is theirs.
    pub async fn finish(mut self, size: u64, digest: Option<Hash>) -> Result<Written, UploadError> {
        if size != self.size {
            return Err(UploadError::WrongSize);
        }
        let expect = |actual: Hash| match digest {
            Some(expected) if expected != actual => Err(UploadError::WrongDigest),
            _ => Ok(actual),
        };
        let (lane, chunk, digest, chunks) = match self.bulk.take() {
            None => {
                let pieces = self.pieces.take();
                let mut hasher = Hasher::new();
                for piece in &pieces {
                    hasher.update(piece);
                }
                let digest = expect(hasher.finalize())?;
                let size = u32::try_from(self.size).map_err(|_| UploadError::TooLarge)?;
                let chunk = Chunk { hash: digest, size };
                let chunk = (size > 0).then_some(NewChunk { chunk, pieces });
                let chunks = chunk.iter().map(|new| new.chunk).collect();
                (&self.shared.small_lane, chunk, digest, chunks)
            }
            Some(mut bulk) => {
                let mut job = bulk.job.take().await?;
                job.input = self.pieces.take();
                job.is_last = true;
                bulk.job = Work::start(job);
                let mut job = bulk.job.take().await?;
                let digest = expect(job.content.finalize())?;
                self.bulk_chunks(&mut bulk, &mut job).await?;
                (&self.shared.bulk_lane, None, digest, bulk.chunks)
            }
        };
        let (answer, answered) = oneshot::channel();
        let blob = Some(Manifest::new(self.id, self.space, digest, chunks));
        let reply = Reply { ticket: self.ticket, answer: Some(answer) };
        lane.send(Entry { chunk, blob, reply, memory: self.memory, moved_from: None }).await?;
        answered.await.map_err(|_| WriteError::Failed)??;
        Ok(Written { id: self.id, size, digest })
    }

    /// Takes the way for large content from now on.
    async fn grow(&mut self) -> Result<(), UploadError> {
        // Held memory moves to the other account: first taken there, then given back here.
        let held = self.pieces.len;
        let memory = acquire(&self.shared.bulk_memory, held).await?;
        self.memory = Some(memory);
        self.bulk = Some(Bulk { job: Work::Ready(Box::default()), chunks: Vec::new() });
        Ok(())
    }

    /// Accounts for `len` more bytes.
    async fn reserve(&mut self, len: usize) -> Result<(), UploadError> {
        let account = if self.bulk.is_some() { &self.shared.bulk_memory } else { &self.shared.small_memory };
        let permit = match tokio::time::timeout(PATIENCE, acquire(account, len)).await {
            Ok(permit) => permit?,
            Err(_elapsed) => {
                if self.bulk.is_none() {
                    self.grow().await?;
                }
                self.end_chunk().await?;
                acquire(&self.shared.bulk_memory, len).await?
            }
        };
        match &mut self.memory {
            Some(memory) => memory.merge(permit),
            None => self.memory = Some(permit),
        }
        Ok(())
    }

    /// Hands on what was received, once what was handed on before is cut.
    async fn advance(&mut self) -> Result<(), UploadError> {
        if self.shared.packs.is_full() {
            return Err(WriteError::Full.into());
        }
        let Some(mut bulk) = self.bulk.take() else { return Ok(()) };
        let mut job = bulk.job.take().await?;
        self.bulk_chunks(&mut bulk, &mut job).await?;
        job.input = self.pieces.take();
        bulk.job = Work::start(job);
        self.bulk = Some(bulk);
        Ok(())
    }

    /// Hands on everything, as a chunk that ends here.
    async fn end_chunk(&mut self) -> Result<(), UploadError> {
        let Some(mut bulk) = self.bulk.take() else { return Ok(()) };
        let mut job = bulk.job.take().await?;
        job.input = self.pieces.take();
        job.is_last = true;
        bulk.job = Work::start(job);
        let mut job = bulk.job.take().await?;
        self.bulk_chunks(&mut bulk, &mut job).await?;
        bulk.job = Work::Ready(job);
        self.bulk = Some(bulk);
        Ok(())
    }

    /// Sends the chunks that were cut down the lane.
    async fn bulk_chunks(&mut self, bulk: &mut Bulk, job: &mut Job) -> Result<(), UploadError> {
        if let Some(error) = self.ticket.failure() {
            return Err(error.into());
        }
        for new in job.output.drain(..) {
            if bulk.chunks.len() >= MAX_CHUNKS {
                return Err(UploadError::TooLarge);
            }
            bulk.chunks.push(new.chunk);
            let size = usize::try_from(new.chunk.size).unwrap_or(usize::MAX);
            let memory = self.memory.as_mut().and_then(|memory| memory.split(size));
            let reply = Reply { ticket: self.ticket.clone(), answer: None };
            self.shared
                .bulk_lane
                .send(Entry { chunk: Some(new), blob: None, reply, memory, moved_from: None })
                .await?;
        }
        Ok(())
    }
}

async fn acquire(account: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, WriteError> {
    let bytes = u32::try_from(bytes).map_err(|_| WriteError::Failed)?;
    Arc::clone(account).acquire_many_owned(bytes).await.map_err(|_| WriteError::Failed)
}

/// The part of an upload that only large content needs.
#[derive(Debug)]
struct Bulk {
    job: Work,
    /// All that were cut so far.
    chunks: Vec<Chunk>,
}

/// Cutting and hashing: under way, or waiting for more.
#[derive(Debug)]
enum Work {
    Ready(Box<Job>),
    Running(JoinHandle<Box<Job>>),
}

impl Work {
    fn start(mut job: Box<Job>) -> Self {
        Self::Running(tokio::task::spawn_blocking(move || {
            job.run();
            job
        }))
    }

    /// The job, once it is done. Leaves a fresh one behind.
    async fn take(&mut self) -> Result<Box<Job>, WriteError> {
        match std::mem::replace(self, Self::Ready(Box::default())) {
            Self::Ready(job) => Ok(job),
            Self::Running(handle) => handle.await.map_err(|error| {
                tracing::error!(%error, "cutting content failed");
                WriteError::Failed
            }),
        }
    }
}

#[derive(Debug, Default)]
struct Job {
    input: Vec<Bytes>,
    /// The chunk ends with this input, wherever that is.
    is_last: bool,
    cutter: cut::Cutter,
    content: Hasher,
    /// Of the present chunk.
    hasher: Hasher,
    pieces: Vec<Bytes>,
    len: usize,
    output: Vec<NewChunk>,
}

impl Job {
    /// One pass over the input, piece by piece, while each is in the processor's cache.
    fn run(&mut self) {
        for mut piece in std::mem::take(&mut self.input) {
            self.content.update(&piece);
            while let Some(end) = self.cutter.scan(&piece) {
                let rest = piece.split_off(end);
                self.take(std::mem::replace(&mut piece, rest));
                self.end_chunk();
            }
            self.take(piece);
        }
        if std::mem::take(&mut self.is_last) {
            self.cutter.cut();
            self.end_chunk();
        }
    }

    fn take(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.hasher.update(&piece);
            self.len += piece.len();
            self.pieces.push(piece);
        }
    }

    fn end_chunk(&mut self) {
        // No chunk exceeds 4 MiB.
        if let (len @ 1.., pieces) = (std::mem::take(&mut self.len), std::mem::take(&mut self.pieces))
            && let Ok(size) = u32::try_from(len)
        {
            let chunk = Chunk { hash: self.hasher.finalize(), size };
            self.output.push(NewChunk { chunk, pieces });
        }
        self.hasher.reset();
    }
}

/// Bytes in the order of their arrival; small ones are copied together.
#[derive(Debug, Default)]
struct Pieces {
    done: Vec<Bytes>,
    tail: BytesMut,
    len: usize,
}

impl Pieces {
    fn push(&mut self, data: Bytes) {
        self.len += data.len();
        let is_first = self.done.is_empty() && self.tail.is_empty();
        if is_first || data.len() >= PIECE {
            self.seal();
            self.done.push(data);
        } else {
            self.tail.extend_from_slice(&data);
            if self.tail.len() >= PIECE {
                self.seal();
            }
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.done.push(std::mem::take(&mut self.tail).freeze());
        }
    }

    fn take(&mut self) -> Vec<Bytes> {
        self.seal();
        self.len = 0;
        std::mem::take(&mut self.done)
    }
}
