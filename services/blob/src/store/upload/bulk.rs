//! The way for large content: received, cut, hashed and appended at the same time.

use std::sync::Arc;

use blake3::{Hash, Hasher};
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::job::{Ends, Job, Work};
use super::pieces::Pieces;
use super::{List, PATIENCE, Shared, UploadError, acquire};
use crate::domain::manifest::{Chunk, MAX_CHUNKS};
use crate::store::counters::Counters;
use crate::store::lane::{Entry, Reply, Ticket, WriteError};

/// Bytes that are cut and hashed at a time.
const BATCH: usize = 1 << 20;

/// Content on its way through the bulk lane. After an error nothing more may be done with it.
#[derive(Debug)]
pub struct Bulk {
    shared: Arc<Shared>,
    ticket: Ticket,
    /// Received and not yet handed on.
    pieces: Pieces,
    memory: Option<OwnedSemaphorePermit>,
    work: Work,
    /// Chunks that were sent down the lane and not yet [taken](Self::take_chunks).
    chunks: Vec<Chunk>,
    /// Chunks that may still come.
    left: usize,
}

impl Bulk {
    /// For content that goes on behind what `content` has seen, which was cut into `chunks` chunks.
    pub fn new(shared: Arc<Shared>, content: Hasher, chunks: usize, ends: Ends) -> Self {
        Self {
            shared,
            ticket: Ticket::default(),
            pieces: Pieces::default(),
            memory: None,
            work: Work::Ready(Box::new(Job::new(content, ends))),
            chunks: Vec::new(),
            left: MAX_CHUNKS.saturating_sub(chunks),
        }
    }

    /// For content that begins with `pieces`, which take `memory` of the account for large content.
    pub fn beginning_with(shared: Arc<Shared>, pieces: Pieces, memory: OwnedSemaphorePermit) -> Self {
        let new = Self::new(shared, Hasher::new(), 0, Ends::ByContent);
        Self { pieces, memory: Some(memory), ..new }
    }

    /// Takes the next bytes, waiting while the store is busy.
    pub async fn push(&mut self, data: Bytes) -> Result<(), UploadError> {
        let memory = match tokio::time::timeout(PATIENCE, acquire(&self.shared.bulk_memory, data.len())).await
        {
            Ok(memory) => memory?,
            Err(_elapsed) => {
                self.end_chunk().await?;
                acquire(&self.shared.bulk_memory, data.len()).await?
            }
        };
        self.add_memory(memory);
        self.push_accounted(data).await
    }

    /// Accounts for `len` bytes that will come by [`push_accounted`](Self::push_accounted), of a chunk that must not be cut.
    /// While it waits it holds no other memory, once the chunk before has ended.
    pub async fn reserve(&mut self, len: usize) -> Result<(), UploadError> {
        self.settle().await?;
        let memory = acquire(&self.shared.bulk_memory, len).await?;
        self.add_memory(memory);
        Ok(())
    }

    fn add_memory(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.memory {
            Some(memory) => memory.merge(more),
            None => self.memory = Some(more),
        }
    }

    /// As [`push`](Self::push), for bytes that are accounted for.
    pub async fn push_accounted(&mut self, data: Bytes) -> Result<(), UploadError> {
        self.pieces.push(data);
        if self.pieces.len() >= BATCH {
            self.shared.admit()?;
            self.hand_on(false).await?;
        }
        Ok(())
    }

    /// Ends the present chunk with what was received, and waits until it is on its way.
    pub async fn end_chunk(&mut self) -> Result<(), UploadError> {
        self.hand_on(true).await?;
        self.settle().await
    }

    /// Hands on what was received, once what was handed on before is cut.
    pub async fn hand_on(&mut self, ends_chunk: bool) -> Result<(), UploadError> {
        let mut job = self.work.take().await?;
        self.send_chunks(&mut job).await?;
        job.input = self.pieces.take();
        job.is_last = ends_chunk;
        self.work = Work::start(job, &self.shared.encoding, &self.shared.compute);
        Ok(())
    }

    /// Waits until what was handed on is cut and on its way.
    pub async fn settle(&mut self) -> Result<(), UploadError> {
        let mut job = self.work.take().await?;
        self.send_chunks(&mut job).await?;
        self.work = Work::Ready(job);
        Ok(())
    }

    /// What has seen all content that was handed on, once that is [settled](Self::settle).
    pub fn content(&self) -> Option<&Hasher> {
        match &self.work {
            Work::Ready(job) => Some(&job.content),
            Work::Running(_) => None,
        }
    }

    /// The digest of all content, which ends here.
    pub async fn end(&mut self) -> Result<Hash, UploadError> {
        self.end_chunk().await?;
        Ok(self.content().ok_or(WriteError::Failed)?.finalize())
    }

    /// The chunks that have gone down the lane since this was called last.
    pub fn take_chunks(&mut self) -> Vec<Chunk> {
        std::mem::take(&mut self.chunks)
    }

    /// Those chunks, without taking them.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// What tells whether any of the chunks has failed.
    pub fn ticket(&self) -> Ticket {
        self.ticket.clone()
    }

    /// Puts a list of chunks behind all chunks that are on their way, or nothing, and says when everything up to there is
    /// durable and indexed.
    pub fn list(&self, list: List) -> impl Future<Output = Result<(), WriteError>> + use<> {
        let (lane, ticket) = (self.shared.bulk_lane.clone(), self.ticket.clone());
        list.send(lane, ticket, None, None)
    }

    /// Sends the chunks that were cut down the lane.
    async fn send_chunks(&mut self, job: &mut Job) -> Result<(), UploadError> {
        if let Some(error) = self.ticket.failure() {
            return Err(error.into());
        }
        for new in job.output.drain(..) {
            self.left = self.left.checked_sub(1).ok_or(UploadError::TooLarge)?;
            self.chunks.push(new.chunk);
            Counters::add(&self.shared.counters.bulk_bytes, new.chunk.size.into());
            let size = usize::try_from(new.chunk.size).unwrap_or(usize::MAX);
            let memory = self.memory.as_mut().and_then(|memory| memory.split(size));
            let reply = Reply { ticket: self.ticket.clone(), answer: None };
            self.shared
                .bulk_lane
                .send(Entry { chunk: Some(new), blob: None, segment: None, reply, memory, moved_from: None })
                .await?;
        }
        Ok(())
    }
}
