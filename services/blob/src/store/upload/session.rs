//! What is known of uploads that can be resumed, while they are being written.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use blake3::Hasher;
use tokio::sync::{OnceCell, OwnedMutexGuard, watch};

use super::{UploadError, WriteError};
use crate::domain::BlobId;
use crate::store::index::{self, Index};

/// The epoch of the first writer.
pub const FIRST_EPOCH: i64 = 1;
/// The epoch of an upload that was given up: nobody comes after it.
pub const LAST_EPOCH: i64 = i64::MAX;

/// An upload that somebody has asked for lately.
#[derive(Debug)]
pub struct Session {
    /// The newest epoch that anybody has asked for.
    epoch: watch::Sender<i64>,
    /// Bytes that are durable.
    offset: AtomicU64,
    /// The index has heard of it.
    is_known: AtomicBool,
    /// It has become a blob.
    is_complete: AtomicBool,
    /// Of whoever writes.
    state: Arc<tokio::sync::Mutex<State>>,
}

/// What only one writer at a time may know and change.
#[derive(Debug)]
pub struct State {
    /// Bytes that are durable.
    pub offset: u64,
    /// Chunks of those.
    pub chunks: usize,
    /// Has seen the first [`hashed`](Self::hashed) bytes.
    pub hasher: Hasher,
    /// Never more than `offset`, and never within a chunk.
    pub hashed: u64,
    /// A write ended without an answer: only the index knows how far it came.
    pub is_uncertain: bool,
}

impl Session {
    async fn load(index: &Index, id: BlobId) -> Result<Self, index::Error> {
        let is_complete = index.blob(id).await?.is_some();
        let mut state = State { offset: 0, chunks: 0, hasher: Hasher::new(), hashed: 0, is_uncertain: false };
        let epoch = state.load(index, id).await?;
        Ok(Self {
            epoch: watch::Sender::new(epoch.unwrap_or(FIRST_EPOCH)),
            offset: AtomicU64::new(state.offset),
            is_known: AtomicBool::new(epoch.is_some()),
            is_complete: AtomicBool::new(is_complete),
            state: Arc::new(tokio::sync::Mutex::new(state)),
        })
    }

    /// Bytes that are durable.
    pub fn offset(&self) -> u64 {
        self.offset.load(Ordering::Acquire)
    }

    /// Whether the index has heard of it.
    pub fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Acquire)
    }

    /// Takes note of a state that the holder of the lock has changed, and that the index has.
    pub fn publish(&self, state: &State) {
        self.offset.store(state.offset, Ordering::Release);
        self.is_known.store(true, Ordering::Release);
    }

    /// Whether it has become a blob.
    pub fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Acquire)
    }

    /// Takes note that it has become a blob.
    pub fn complete(&self) {
        self.is_complete.store(true, Ordering::Release);
    }

    /// Whether it was given up.
    pub fn is_given_up(&self) -> bool {
        *self.epoch.borrow() == LAST_EPOCH
    }

    /// Whether `epoch` is the newest.
    pub fn check(&self, epoch: i64) -> Result<(), UploadError> {
        match *self.epoch.borrow() {
            newest if newest == epoch => Ok(()),
            LAST_EPOCH => Err(UploadError::Unknown),
            _ => Err(UploadError::Fenced),
        }
    }

    /// Returns once `epoch` is no longer the newest.
    pub fn fenced(&self, epoch: i64) -> impl Future<Output = ()> + use<> {
        let mut newest = self.epoch.subscribe();
        async move {
            // The sender is only gone when nobody writes any more.
            let _ = newest.wait_for(|newest| *newest != epoch).await;
        }
    }

    /// Begins a new epoch: from now on nobody of an older one is let in. Returns it.
    pub fn begin_epoch(&self) -> Result<i64, UploadError> {
        let mut begun = None;
        self.epoch.send_if_modified(|epoch| {
            begun = epoch.checked_add(1).filter(|next| *next < LAST_EPOCH);
            *epoch = begun.unwrap_or(*epoch);
            begun.is_some()
        });
        begun.ok_or(UploadError::Unknown)
    }

    /// Begins the last epoch.
    pub fn give_up(&self) {
        self.epoch.send_replace(LAST_EPOCH);
    }

    /// For whoever writes in the newest epoch, when nobody does.
    pub async fn try_lock(
        self: &Arc<Self>,
        index: &Index,
        id: BlobId,
        epoch: i64,
    ) -> Result<OwnedMutexGuard<State>, UploadError> {
        let newest = *self.epoch.borrow();
        if epoch < newest {
            self.check(epoch)?;
        }
        let mut state = Arc::clone(&self.state).try_lock_owned().map_err(|_| UploadError::Busy)?;
        // Another process may have begun it.
        state.is_uncertain |= epoch > newest;
        let state = self.settle(index, id, state).await?;
        self.check(epoch)?;
        Ok(state)
    }

    /// For whoever has begun an epoch: waits until those before have stopped.
    pub async fn lock(
        self: &Arc<Self>,
        index: &Index,
        id: BlobId,
    ) -> Result<OwnedMutexGuard<State>, UploadError> {
        let state = Arc::clone(&self.state).lock_owned().await;
        self.settle(index, id, state).await
    }

    /// As if a write had ended without an answer: reads again from the index how far the upload has come.
    pub async fn reload(
        &self,
        index: &Index,
        id: BlobId,
        mut state: OwnedMutexGuard<State>,
    ) -> Result<OwnedMutexGuard<State>, UploadError> {
        state.is_uncertain = true;
        self.settle(index, id, state).await
    }

    async fn settle(
        &self,
        index: &Index,
        id: BlobId,
        mut state: OwnedMutexGuard<State>,
    ) -> Result<OwnedMutexGuard<State>, UploadError> {
        if state.is_uncertain {
            let epoch = state.load(index, id).await.map_err(|error| failed(&error))?;
            self.offset.store(state.offset, Ordering::Release);
            self.is_known.store(epoch.is_some(), Ordering::Release);
            self.epoch.send_if_modified(|newest| {
                let is_newer = epoch.is_some_and(|epoch| epoch > *newest);
                *newest = epoch.unwrap_or(*newest).max(*newest);
                is_newer
            });
            if index.blob(id).await.map_err(|error| failed(&error))?.is_some() {
                self.complete();
            }
        }
        // Whoever had the lock before may have finished it.
        if self.is_complete() { Err(UploadError::Complete) } else { Ok(state) }
    }
}

impl State {
    /// Reads from the index how far the upload has come. Returns the newest epoch that is there.
    async fn load(&mut self, index: &Index, id: BlobId) -> Result<Option<i64>, index::Error> {
        let progress = index.progress(id).await?;
        self.offset = progress.chunks.iter().map(|chunk| u64::from(chunk.size)).sum();
        self.chunks = progress.chunks.len();
        if self.hashed > self.offset {
            (self.hasher, self.hashed) = (Hasher::new(), 0);
        }
        self.is_uncertain = false;
        Ok(progress.epoch)
    }
}

/// The sessions. At most so many are kept as there is room for; those that nobody uses go first.
pub struct Sessions {
    index: Index,
    room: usize,
    sessions: Mutex<HashMap<BlobId, Slot>>,
}

#[derive(Debug)]
struct Slot {
    session: Arc<OnceCell<Arc<Session>>>,
    used: Instant,
}

impl Slot {
    fn is_in_use(&self) -> bool {
        // Whoever uses a session holds it, or its state.
        Arc::strong_count(&self.session) > 1
            || self.session.get().is_some_and(|session| {
                Arc::strong_count(session) > 1 || Arc::strong_count(&session.state) > 1
            })
    }
}

impl Sessions {
    /// Room for `room` sessions.
    pub fn new(index: Index, room: usize) -> Self {
        Self { index, room, sessions: Mutex::default() }
    }

    /// The session of an upload.
    pub async fn get(&self, id: BlobId) -> Result<Arc<Session>, UploadError> {
        let cell = self.slot(id)?;
        let load = || async { Session::load(&self.index, id).await.map(Arc::new) };
        Ok(Arc::clone(cell.get_or_try_init(load).await.map_err(|error| failed(&error))?))
    }

    fn slot(&self, id: BlobId) -> Result<Arc<OnceCell<Arc<Session>>>, UploadError> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let used = Instant::now();
        if let Some(slot) = sessions.get_mut(&id) {
            slot.used = used;
            return Ok(Arc::clone(&slot.session));
        }
        if sessions.len() >= self.room {
            let idle = sessions.iter().filter(|(_, slot)| !slot.is_in_use());
            let longest = idle.min_by_key(|(_, slot)| slot.used).map(|(id, _)| *id);
            sessions.remove(&longest.ok_or(UploadError::Overloaded)?);
        }
        let session = Arc::default();
        sessions.insert(id, Slot { session: Arc::clone(&session), used });
        Ok(session)
    }

    /// Forgets what nobody has asked for in that time.
    pub fn forget_idle(&self, time: Duration) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, slot| slot.is_in_use() || slot.used.elapsed() < time);
    }

    /// Forgets a session whose upload has ended. Returns whether nobody uses it.
    pub fn forget(&self, id: BlobId) -> bool {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.get(&id).is_some_and(Slot::is_in_use) {
            return false;
        }
        sessions.remove(&id);
        true
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Says what the index has said, and no more.
pub fn failed(error: &index::Error) -> WriteError {
    tracing::error!(error = error as &dyn std::error::Error, "the index failed");
    WriteError::Failed
}
