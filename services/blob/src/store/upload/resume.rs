//! Writing a blob in several goes, each of which can break off at any point.
//!
//! What is durable of an upload is a chain of [segments](crate::domain::segment), in packs and in the index. A writer adds one
//! whenever enough chunks have come, and one at the end of its go; the last one ends a chunk there. The upload becomes a blob,
//! under the same id, when its list of chunks is written as a manifest.
//!
//! One writer at a time: whoever takes over begins a new epoch, after which no segment of an older one is added.

use std::sync::Arc;
use std::time::Duration;

use blake3::Hash;
use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::bulk::Bulk;
use super::digest::{self, WINDOW};
use super::job::Ends;
use super::session::{LAST_EPOCH, Session, State, failed};
use super::{List, Shared, UploadError, WriteError, Written, expect};
use crate::domain::BlobId;
use crate::domain::manifest::{Chunk, Manifest};
use crate::domain::segment::{MAX_CHUNKS, Segment};
use crate::store::Store;
use crate::store::index::Index;
use crate::store::lane::Ticket;

pub use super::session::FIRST_EPOCH;

/// A segment is added whenever so many bytes have come.
const SEGMENT: u64 = 32 << 20;
/// Uploads that are looked at together when those that have ended are forgotten.
const PAGE: u32 = 256;

/// What an upload may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Its id, and that of the blob.
    pub id: BlobId,
    /// The space it is for; nil for none.
    pub space: Uuid,
    /// Bytes that it may have.
    pub limit: u64,
    /// When it is void, in Unix microseconds.
    pub expires_at: i64,
}

impl Terms {
    fn segment(&self, epoch: i64, start: u64, chunks: Vec<Chunk>) -> Segment {
        let Self { id: upload, space, expires_at, .. } = *self;
        Segment { upload, space, epoch, start, expires_at, chunks }
    }
}

impl Store {
    /// Bytes of an upload that are durable, and whether it has become a blob.
    pub async fn upload_offset(&self, terms: &Terms) -> Result<(u64, bool), UploadError> {
        let session = self.sessions.get(terms.id).await?;
        match () {
            () if session.is_complete() => {
                let blob = self.blob_of(terms).await?.ok_or(UploadError::Unknown)?;
                Ok((blob.size, true))
            }
            () if session.is_given_up() => Err(UploadError::Unknown),
            () => Ok((session.offset(), false)),
        }
    }

    /// Stops whoever writes an upload, for good. Returns the epoch to go on with, and the bytes that are durable.
    pub async fn take_over(&self, terms: &Terms) -> Result<(i64, u64), UploadError> {
        let (shared, session) = (self.shared()?, self.open_session(terms).await?);
        self.admit(terms, &session).await?;
        let epoch = session.begin_epoch()?;
        let state = session.lock(self.index(), terms.id).await?;
        session.check(epoch)?;
        let record = terms.segment(epoch, state.offset, Vec::new());
        let state = Adding::start(&shared, Ticket::default(), &session, state, record).done().await?;
        Ok((epoch, state.offset))
    }

    /// Begins to write behind the `offset` bytes of an upload that are durable.
    pub async fn write_at(&self, terms: Terms, epoch: i64, offset: u64) -> Result<Writer, UploadError> {
        let (shared, session) = (self.shared()?, self.open_session(&terms).await?);
        shared.admit()?;
        let mut state = session.try_lock(self.index(), terms.id, epoch).await?;
        if state.offset != offset {
            // Another process may have written it.
            state = session.reload(self.index(), terms.id, state).await?;
            session.check(epoch)?;
        }
        if state.offset != offset {
            return Err(UploadError::WrongOffset(state.offset));
        }
        self.admit(&terms, &session).await?;
        let bulk = Bulk::new(Arc::clone(&shared), state.hasher.clone(), state.chunks, Ends::ByContent);
        let has_seen_all = state.hashed == offset;
        let held = Held::Here(state);
        Ok(Writer { shared, session, terms, epoch, held, bulk, start: offset, end: offset, has_seen_all })
    }

    /// Makes a blob of an upload whose `size` bytes are durable, when `digest`, if given, is theirs. Made again, it says the same.
    pub async fn finish_upload(
        &self,
        terms: &Terms,
        epoch: i64,
        size: u64,
        digest: Option<Hash>,
    ) -> Result<Written, UploadError> {
        let (shared, session) = (self.shared()?, self.sessions.get(terms.id).await?);
        let locked = if session.is_complete() {
            Err(UploadError::Complete)
        } else {
            match session.try_lock(self.index(), terms.id, epoch).await {
                Ok(state) if state.offset != size => session.reload(self.index(), terms.id, state).await,
                locked => locked,
            }
        };
        let mut state = match locked {
            Err(UploadError::Complete) => {
                let written = self.blob_of(terms).await?.ok_or(UploadError::Unknown)?;
                if written.size != size {
                    return Err(UploadError::WrongSize);
                }
                expect(digest, written.digest)?;
                return Ok(written);
            }
            state => state?,
        };
        if state.offset != size {
            return Err(UploadError::WrongSize);
        }
        let chunks = self.index().progress(terms.id).await.map_err(|error| failed(&error))?.chunks;
        self.hash(&mut state, &chunks).await?;
        let actual = expect(digest, state.hasher.finalize())?;
        session.check(epoch)?;
        let blob = List::Blob(Manifest::new(terms.id, terms.space, actual, chunks));
        let (id, index) = (terms.id, self.index().clone());
        // It goes on when nobody waits for it any more.
        let finishing = tokio::spawn(async move {
            let done = blob.send(shared.bulk_lane.clone(), Ticket::default(), None, None).await;
            match done {
                Ok(()) => {
                    session.complete();
                    forget(&index, id).await;
                }
                Err(_) => state.is_uncertain = true,
            }
            done
        });
        finishing.await.map_err(|_| WriteError::Failed)??;
        Ok(Written { id: terms.id, size, digest: actual })
    }

    /// Gives an upload up, for good. One that has become a blob stays one.
    pub async fn abort_upload(&self, terms: &Terms) -> Result<(), UploadError> {
        let (shared, session) = (self.shared()?, self.sessions.get(terms.id).await?);
        if session.is_complete() {
            return Err(UploadError::Complete);
        }
        session.give_up();
        let state = session.lock(self.index(), terms.id).await?;
        let record = terms.segment(LAST_EPOCH, state.offset, Vec::new());
        let _state = Adding::start(&shared, Ticket::default(), &session, state, record).done().await?;
        self.index().forget_segments(terms.id).await.map_err(|error| failed(&error))?;
        Ok(())
    }

    /// Forgets uploads that are finished, or were void at `now` (Unix microseconds) and that nobody writes. Returns how many.
    pub async fn forget_uploads(&self, now: i64) -> Result<usize, UploadError> {
        let (mut forgotten, mut last) = (0, None);
        loop {
            let ended = self.index().ended_uploads(now, last, PAGE).await.map_err(|error| failed(&error))?;
            let Some(next) = ended.last().copied() else { return Ok(forgotten) };
            last = Some(next);
            for id in ended {
                if self.sessions.forget(id) {
                    self.index().forget_upload(id).await.map_err(|error| failed(&error))?;
                    forgotten += 1;
                }
            }
        }
    }

    /// Keeps nothing in mind of uploads that nobody has asked for in that time.
    pub fn forget_idle(&self, time: Duration) {
        self.sessions.forget_idle(time);
    }

    async fn open_session(&self, terms: &Terms) -> Result<Arc<Session>, UploadError> {
        let session = self.sessions.get(terms.id).await?;
        match () {
            () if session.is_complete() => Err(UploadError::Complete),
            () if session.is_given_up() => Err(UploadError::Unknown),
            () => Ok(session),
        }
    }

    /// Whether the space may have one more upload, when this is one that the index has not heard of.
    async fn admit(&self, terms: &Terms, session: &Session) -> Result<(), UploadError> {
        if session.is_known() {
            return Ok(());
        }
        let count = self.index().count_uploads(terms.space).await.map_err(|error| failed(&error))?;
        if count >= self.max_uploads {
            return Err(UploadError::TooMany);
        }
        Ok(())
    }

    async fn blob_of(&self, terms: &Terms) -> Result<Option<Written>, UploadError> {
        let found = self.index().blob(terms.id).await.map_err(|error| failed(&error))?;
        Ok(found.map(|(row, _)| Written { id: row.id, size: row.size, digest: row.digest }))
    }

    /// Reads again what the hasher has not seen: after a restart, or where a writer broke off.
    async fn hash(&self, state: &mut State, chunks: &[Chunk]) -> Result<(), UploadError> {
        let (mut at, mut rest) = (0, chunks);
        while let Some((first, others)) = rest.split_first()
            && at < state.hashed
        {
            at += u64::from(first.size);
            rest = others;
        }
        for window in rest.chunks(WINDOW) {
            // What was read counts, even when whoever waits for it goes away.
            state.hasher = digest::update(self.reader(), state.hasher.clone(), window).await?;
            state.hashed += sum(window);
        }
        Ok(())
    }
}

/// Forgets an upload that has become a blob. What stays behind is forgotten later.
async fn forget(index: &Index, id: BlobId) {
    if let Err(error) = index.forget_upload(id).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "a finished upload is forgotten later");
    }
}

/// Somebody who writes an upload.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    session: Arc<Session>,
    terms: Terms,
    epoch: i64,
    held: Held,
    bulk: Bulk,
    /// Where the next segment starts.
    start: u64,
    /// Where the next byte goes.
    end: u64,
    /// The hasher had seen all content before this.
    has_seen_all: bool,
}

/// The state, which is away while a segment is being added.
#[derive(Debug)]
enum Held {
    Here(OwnedMutexGuard<State>),
    Away(Adding),
    /// Lost to an error.
    Gone,
}

impl Writer {
    /// Why this one has to stop, if it has to.
    pub fn check(&self) -> Result<(), UploadError> {
        self.session.check(self.epoch)
    }

    /// Returns once somebody has taken over.
    pub fn fenced(&self) -> impl Future<Output = ()> + use<> {
        self.session.fenced(self.epoch)
    }

    /// Takes the next bytes, waiting while the store is busy.
    pub async fn push(&mut self, data: Bytes) -> Result<(), UploadError> {
        if data.is_empty() {
            return Ok(());
        }
        let end = self.end.saturating_add(data.len() as u64);
        if end > self.terms.limit {
            return Err(UploadError::TooLarge);
        }
        self.end = end;
        self.bulk.push(data).await?;
        let chunks = self.bulk.chunks();
        if sum(chunks) >= SEGMENT || chunks.len() >= MAX_CHUNKS / 2 {
            self.add_segment().await?;
        }
        Ok(())
    }

    /// Makes everything durable, and returns how much that is.
    pub async fn finish(mut self) -> Result<u64, UploadError> {
        self.bulk.end_chunk().await?;
        self.add_segment().await?;
        let mut state = self.state().await?;
        if self.has_seen_all
            && let Some(content) = self.bulk.content()
        {
            (state.hasher, state.hashed) = (content.clone(), state.offset);
        }
        Ok(state.offset)
    }

    /// Makes durable what can be kept of a go that broke off: whole chunks.
    pub async fn keep(mut self) -> Result<(), UploadError> {
        self.bulk.settle().await?;
        self.add_segment().await?;
        self.state().await?;
        Ok(())
    }

    /// Adds what has gone down the lane as a segment, once the one before is durable.
    async fn add_segment(&mut self) -> Result<(), UploadError> {
        if self.bulk.chunks().is_empty() {
            return Ok(());
        }
        let state = self.state().await?;
        self.check()?;
        let chunks = self.bulk.take_chunks();
        let (start, ticket) = (self.start, self.bulk.ticket());
        self.start += sum(&chunks);
        let segment = self.terms.segment(self.epoch, start, chunks);
        self.held = Held::Away(Adding::start(&self.shared, ticket, &self.session, state, segment));
        Ok(())
    }

    /// The state, once it is back.
    async fn state(&mut self) -> Result<OwnedMutexGuard<State>, UploadError> {
        match std::mem::replace(&mut self.held, Held::Gone) {
            Held::Here(state) => Ok(state),
            Held::Away(adding) => adding.done().await,
            Held::Gone => Err(WriteError::Failed.into()),
        }
    }
}

/// A segment on its way. It gets there whether or not anybody waits for it.
#[derive(Debug)]
struct Adding(JoinHandle<Result<OwnedMutexGuard<State>, WriteError>>);

impl Adding {
    fn start(
        shared: &Shared,
        ticket: Ticket,
        session: &Arc<Session>,
        mut state: OwnedMutexGuard<State>,
        segment: Segment,
    ) -> Self {
        let (lane, session) = (shared.bulk_lane.clone(), Arc::clone(session));
        let (bytes, chunks) = (sum(&segment.chunks), segment.chunks.len());
        Self(tokio::spawn(async move {
            match List::Segment(segment).send(lane, ticket, None, None).await {
                Ok(()) => {
                    state.offset += bytes;
                    state.chunks += chunks;
                    session.publish(&state);
                    Ok(state)
                }
                Err(error) => {
                    state.is_uncertain = true;
                    Err(error)
                }
            }
        }))
    }

    async fn done(self) -> Result<OwnedMutexGuard<State>, UploadError> {
        Ok(self.0.await.map_err(|_| WriteError::Failed)??)
    }
}

fn sum(chunks: &[Chunk]) -> u64 {
    chunks.iter().map(|chunk| u64::from(chunk.size)).sum()
}
