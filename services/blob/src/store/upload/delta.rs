//! Writing a blob of which the store holds a part already: its chunks are named, and only those are sent that the writer's
//! space does not hold.
//!
//! What a space holds is what blobs of that space are made of. What others hold is asked for, and recognized only once it has
//! come: nobody learns of content that is not theirs.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use blake3::{Hash, Hasher};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::bulk::Bulk;
use super::digest::{self, WINDOW};
use super::job::Ends;
use super::session::failed;
use super::{List, PATIENCE, UploadError, Written, acquire, expect};
use crate::domain::manifest::{Chunk, Manifest};
use crate::domain::{BlobId, cut};
use crate::store::Store;

/// Most chunks that can be named.
pub const MAX_LISTED: u32 = 256 << 10;
/// Memory for a named chunk, in bytes: it may stand in the list, in the set, and in the queue.
const LISTED: usize = 128;
/// Memory for named chunks, in bytes.
const LISTS: usize = 2 * LISTED * MAX_LISTED as usize;

/// The memory for lists of chunks.
pub fn list_memory() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(LISTS))
}

/// A blob whose chunks are named.
pub struct Delta {
    store: Arc<Store>,
    id: BlobId,
    space: Uuid,
    /// Bytes of the whole.
    size: u64,
    /// How many chunks will be named.
    count: usize,
    /// Those that were.
    chunks: Vec<Chunk>,
    /// Bytes of those.
    listed: u64,
    /// The names of those that were asked for.
    asked: HashSet<Hash>,
    /// Those that have not come, in order.
    missing: VecDeque<Chunk>,
    /// Bytes that have come of the first of them.
    come: usize,
    /// Those that have come whole and were not compared yet.
    uncompared: VecDeque<Chunk>,
    bulk: Bulk,
    _memory: OwnedSemaphorePermit,
}

impl Store {
    /// Begins a blob of `size` bytes under that id, of which `count` chunks will be named.
    pub async fn delta(
        self: &Arc<Self>,
        id: BlobId,
        space: Uuid,
        size: u64,
        count: u32,
    ) -> Result<Delta, UploadError> {
        let shared = self.shared()?;
        shared.admit()?;
        if count > MAX_LISTED {
            return Err(UploadError::TooLarge);
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if (count == 0) != (size == 0) {
            return Err(UploadError::WrongSize);
        }
        // Held until the end, and never waited for by somebody who holds some.
        let memory = acquire(&self.list_memory, count.saturating_mul(LISTED));
        let memory = tokio::time::timeout(PATIENCE, memory).await.map_err(|_| UploadError::Overloaded)??;
        Ok(Delta {
            store: Arc::clone(self),
            id,
            space,
            size,
            count,
            chunks: Vec::new(),
            listed: 0,
            asked: HashSet::new(),
            missing: VecDeque::new(),
            come: 0,
            uncompared: VecDeque::new(),
            bulk: Bulk::new(shared, Hasher::new(), 0, Ends::AsTold),
            _memory: memory,
        })
    }
}

impl Delta {
    /// Whether all chunks were named.
    pub fn is_listed(&self) -> bool {
        self.chunks.len() == self.count
    }

    /// Takes the names of the next chunks; returns the numbers of those that have to be sent, counted from the first of the
    /// blob.
    pub async fn list(&mut self, chunks: &[Chunk]) -> Result<Vec<u32>, UploadError> {
        let first = self.chunks.len();
        self.listed += chunks.iter().map(|chunk| u64::from(chunk.size)).sum::<u64>();
        let is_over = first + chunks.len() > self.count || self.listed > self.size;
        let is_short = first + chunks.len() == self.count && self.listed < self.size;
        // Of all but the last chunk of a blob the cutter makes no smaller ones, and each has its cost.
        let is_small = |chunk: &Chunk| usize::try_from(chunk.size).is_ok_and(|size| size < cut::MIN);
        let but_last = self
            .chunks
            .last()
            .into_iter()
            .chain(chunks)
            .take((chunks.len() + usize::from(first > 0)).saturating_sub(1));
        if is_over || is_short || but_last.into_iter().any(is_small) {
            return Err(UploadError::WrongSize);
        }
        let held = if self.space.is_nil() {
            HashSet::new()
        } else {
            let hashes: Vec<_> = chunks.iter().map(|chunk| chunk.hash).collect();
            self.store.index().held(self.space, &hashes).await.map_err(|error| failed(&error))?
        };
        let mut missing = Vec::new();
        for (number, chunk) in (first..).zip(chunks) {
            if !held.contains(&chunk.hash) && self.asked.insert(chunk.hash) {
                missing.push(u32::try_from(number).unwrap_or(u32::MAX));
                self.missing.push_back(*chunk);
            }
        }
        self.chunks.extend(chunks);
        Ok(missing)
    }

    /// Takes the next bytes of the chunks that have to be sent, in order, waiting while the store is busy.
    pub async fn push(&mut self, mut data: Bytes) -> Result<(), UploadError> {
        while !data.is_empty() {
            let chunk = *self.missing.front().ok_or(UploadError::TooLarge)?;
            let size = usize::try_from(chunk.size).map_err(|_| UploadError::TooLarge)?;
            if self.come == 0 {
                self.bulk.reserve(size).await?;
                self.compare()?;
            }
            let piece = data.split_to(data.len().min(size - self.come));
            self.come += piece.len();
            self.bulk.push_accounted(piece).await?;
            if self.come == size {
                self.bulk.hand_on(true).await?;
                self.missing.pop_front();
                self.uncompared.push_back(chunk);
                self.come = 0;
            }
        }
        Ok(())
    }

    /// Makes the blob durable, when everything has come and `digest`, if given, is that of the whole, which is read again for
    /// this: that chunks are the right ones says nothing of their order and number.
    pub async fn finish(mut self, digest: Option<Hash>) -> Result<Written, UploadError> {
        if !self.is_listed() || !self.missing.is_empty() {
            return Err(UploadError::WrongSize);
        }
        self.bulk.settle().await?;
        self.compare()?;
        self.bulk.list(List::Nothing).await?;
        let mut hasher = Hasher::new();
        for window in self.chunks.chunks(WINDOW) {
            hasher = digest::update(self.store.reader(), hasher, window).await?;
        }
        let digest = expect(digest, hasher.finalize())?;
        let blob = Manifest::new(self.id, self.space, digest, self.chunks);
        self.bulk.list(List::Blob(blob)).await?;
        Ok(Written { id: self.id, size: self.size, digest })
    }

    /// Whether the chunks that were cut are those that were named.
    fn compare(&mut self) -> Result<(), UploadError> {
        for chunk in self.bulk.take_chunks() {
            if self.uncompared.pop_front() != Some(chunk) {
                return Err(UploadError::WrongDigest);
            }
        }
        Ok(())
    }
}
