//! The collection of garbage: what metadata does not use any more is deleted, in two steps that are a grace apart.
//!
//! ```text
//! in use ──not in use──▶ condemned ──a grace later still not in use──▶ deleted, its chunks condemned
//!                            │
//!                            └──in use after all──▶ in use
//! chunk  ──nothing needs it──▶ condemned ──a grace later still nothing needs it──▶ row deleted
//! ```
//!
//! The bytes go later, when packs are compacted. Which blobs to ask about is learnt in two ways. Metadata lists those that
//! lost a user: soon, but only hints. And every blob is asked about once in each cycle: those that were never committed, and
//! those whose hint was lost. In the same way every chunk is looked at once in a cycle.
//!
//! # Why nothing that is in use is deleted
//!
//! * The grace is longer than the life of any receipt. A receipt is made, with its expiry, before its blob can be condemned; so
//!   when the blob is asked about for the second time, no receipt can bring it into use any more.
//! * A blob may lose its last user while another is being made of it, and be seen without any. But from the same moment on it is
//!   on metadata's list, and counts as in use until it is taken off; only then it is condemned, anew if it was already. So it is
//!   deleted a grace after its last release at the earliest, and the other is long made by then.
//! * A read grant lives for minutes; one that is given while a blob is in use has long expired when the blob is deleted.
//! * A chunk is deleted only in a transaction in which no blob needs it, and a blob is added only in one in which its chunks are
//!   there: see [`index`](crate::store::index).
//! * Without an answer from metadata, and from the right one, nothing is condemned or deleted.

use std::collections::HashSet;

use blake3::Hash;

use super::roots::{MAX_BLOBS, Roots, RootsError};
use crate::domain::BlobId;
use crate::store::index::Index;

/// Chunks that are looked at, or deleted, in one transaction.
const CHUNKS: u32 = 512;

/// What collecting needs.
pub struct Collector<R> {
    index: Index,
    roots: R,
    /// In microseconds.
    grace: i64,
}

/// How far a cycle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// Blobs up to this one were asked about.
    Blobs(Option<BlobId>),
    /// Chunks up to this one were looked at.
    Chunks(Option<Hash>),
    /// All is done, since a time in Unix microseconds.
    Done(i64),
}

impl Walk {
    /// As text, for the index.
    pub fn to_text(self) -> String {
        match self {
            Self::Blobs(None) => String::new(),
            Self::Blobs(Some(id)) => format!("blobs {id}"),
            Self::Chunks(None) => "chunks".to_owned(),
            Self::Chunks(Some(hash)) => format!("chunks {hash}"),
            Self::Done(at) => format!("done {at}"),
        }
    }

    /// From its text; from the beginning when it makes no sense.
    pub fn parse(text: &str) -> Self {
        let parsed = match text.split_once(' ') {
            None if text == "chunks" => Some(Self::Chunks(None)),
            Some(("blobs", id)) => BlobId::parse(id).map(|id| Self::Blobs(Some(id))),
            Some(("chunks", hash)) => Hash::from_hex(hash).ok().map(|hash| Self::Chunks(Some(hash))),
            Some(("done", at)) => at.parse().ok().map(Self::Done),
            _ => None,
        };
        parsed.unwrap_or(Self::Blobs(None))
    }
}

/// What a step did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Blobs that were marked.
    pub condemned: u64,
    /// Blobs that were in use again.
    pub spared: u64,
    /// Blobs that were deleted.
    pub deleted: Vec<BlobId>,
    /// Chunks that were deleted.
    pub chunks: u64,
    /// Bytes that these take in packs.
    pub stored: u64,
    /// Blobs that the cycle has come by.
    pub walked: u64,
    /// Whether there is more to do at once.
    pub has_more: bool,
}

impl<R: Roots> Collector<R> {
    /// A collector that deletes what has been out of use for `grace` microseconds.
    pub fn new(index: Index, roots: R, grace: i64) -> Self {
        Self { index, roots, grace }
    }

    /// Asks about some of the blobs that metadata lists.
    pub async fn hints(&self, now: i64) -> Result<Progress, RootsError> {
        let blobs = self.roots.released().await?;
        if blobs.is_empty() {
            return Ok(Progress::default());
        }
        // In this order: what is on the list counts as in use. A hint that is lost in between is made up for by the next cycle.
        self.roots.acknowledge(&blobs).await?;
        let condemned = self.condemn(&blobs, now).await?;
        Ok(Progress { condemned, has_more: true, ..Progress::default() })
    }

    /// Goes on with a cycle.
    pub async fn walk(&self, walk: &mut Walk, now: i64) -> Result<Progress, RootsError> {
        let mut progress = Progress { has_more: true, ..Progress::default() };
        match *walk {
            Walk::Blobs(after) => {
                // What is younger may be of an upload under way, and is met in a later cycle.
                let before = BlobId::new(now.saturating_sub(self.grace));
                let blobs = self.index.blobs_after(after, before, MAX_BLOBS).await?;
                progress.condemned = self.condemn(&blobs, now).await?;
                progress.walked = blobs.len() as u64;
                *walk = blobs.last().map_or(Walk::Chunks(None), |last| Walk::Blobs(Some(*last)));
            }
            Walk::Chunks(after) => {
                let last = self.index.condemn_chunks(after, CHUNKS, now).await?;
                *walk = last.map_or(Walk::Done(now), |last| Walk::Chunks(Some(last)));
            }
            Walk::Done(_) => progress.has_more = false,
        }
        Ok(progress)
    }

    /// Deletes some of the blobs that have been condemned for long enough, and spares those that are in use again.
    pub async fn due(&self, now: i64) -> Result<Progress, RootsError> {
        let cutoff = now.saturating_sub(self.grace);
        let blobs = self.index.condemned_blobs(cutoff, MAX_BLOBS).await?;
        let live = self.live(&blobs).await?;
        let (live, dead): (Vec<_>, Vec<_>) = blobs.into_iter().partition(|blob| live.contains(blob));
        self.index.spare_blobs(&live).await?;
        let mut progress = Progress { spared: live.len() as u64, ..Progress::default() };
        for blob in dead {
            if self.index.delete_blob(blob, cutoff, now).await? {
                progress.deleted.push(blob);
            }
        }
        progress.has_more = !progress.deleted.is_empty();
        Ok(progress)
    }

    /// Deletes some of the chunks that have been condemned for long enough, and spares those that are needed again.
    pub async fn reap(&self, now: i64) -> Result<Progress, RootsError> {
        let deleted = self.index.delete_chunks(now.saturating_sub(self.grace), CHUNKS).await?;
        Ok(Progress {
            chunks: deleted.chunks,
            stored: deleted.stored,
            has_more: deleted.chunks + deleted.spared > 0,
            ..Progress::default()
        })
    }

    async fn condemn(&self, blobs: &[BlobId], now: i64) -> Result<u64, RootsError> {
        let live = self.live(blobs).await?;
        let dead: Vec<_> = blobs.iter().copied().filter(|blob| !live.contains(blob)).collect();
        Ok(self.index.condemn_blobs(&dead, now).await?)
    }

    async fn live(&self, blobs: &[BlobId]) -> Result<HashSet<BlobId>, RootsError> {
        if blobs.is_empty() { Ok(HashSet::new()) } else { self.roots.live(blobs).await }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_walk_is_can_be_written_down() {
        let hash = blake3::hash(b"x");
        for walk in [
            Walk::Blobs(None),
            Walk::Blobs(Some(BlobId::new(7))),
            Walk::Chunks(None),
            Walk::Chunks(Some(hash)),
            Walk::Done(-5),
        ] {
            assert_eq!(Walk::parse(&walk.to_text()), walk);
        }
        for text in ["x", "blobs", "blobs x", "chunks x", "done", "done x"] {
            assert_eq!(Walk::parse(text), Walk::Blobs(None), "{text}");
        }
    }
}
