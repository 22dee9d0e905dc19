//! Compaction: what is still wanted of packs that are mostly dead, or [not encrypted](encryption) as they would be today, moves
//! into new packs, and the old files go.
//!
//! ```text
//! records that rows point at ──read, verified──▶ lane ──durable──▶ rows follow
//! no row points into the pack ──▶ retired, durably ──a delay later──▶ file deleted, forgotten
//! ```
//!
//! A row follows only if it still points at the very record that was copied; whatever happened to it meanwhile, it goes on
//! pointing at sound bytes. A pack is retired in a transaction in which no row points into it, and only once nothing is
//! written to it any more. Stopped anywhere, nothing is lost: copies that no row follows are dead bytes of the new pack.
//!
//! A pack with a damaged record that is still wanted is not emptied: it goes into quarantine and stays as it is. One that is
//! encrypted with a key which is not here stays as it is, too.

mod encryption;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use self::encryption::Encryption;
use super::control::Control;
use crate::config::{CompactionConfig, micros};
use crate::domain::manifest::Manifest;
use crate::domain::payload::Encoding;
use crate::domain::record::Kind;
use crate::domain::seal::KeyId;
use crate::store::Store;
use crate::store::index::{self, PackRow};
use crate::store::lane::{Entry, NewChunk, Reply, Ticket, WriteError};
use crate::store::pack::{HEADER_LEN, Location, PackId};
use crate::store::packs::Pack;
use crate::store::scan::{Found, Scanner};

/// Bytes that are copied before rows follow.
const BATCH_BYTES: u64 = 8 << 20;
/// Records that are looked at before rows follow.
const BATCH_RECORDS: usize = 1024;

/// Why a pack was not compacted. Nothing is lost by it.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// A pack cannot be read now, or not be deleted.
    #[error("a pack cannot be read or deleted")]
    Packs(#[from] io::Error),
    /// The index failed.
    #[error("the index failed")]
    Index(#[from] index::Error),
    /// The copies cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// It is encrypted with a key that is not here.
    #[error("the key {0} is missing")]
    KeyMissing(KeyId),
}

/// What became of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No row points into it any more.
    Retired {
        /// Bytes of the records that were copied, headers included.
        copied: u64,
    },
    /// It holds something damaged that is still wanted.
    Quarantined,
    /// It is encrypted with a key that is not here. It is left alone until the next start.
    Locked(KeyId),
    /// The job may not go on; nothing is lost of what was copied.
    Stopped,
    /// There is nothing left in it to copy, but something else needs it for now.
    Waiting,
}

/// Moves what is wanted out of packs.
pub struct Compactor {
    store: Arc<Store>,
    /// In percent.
    dead_share: u64,
    /// Bytes that are read per second.
    rate: u64,
    /// How long a retired pack is kept for readers who know where things stood, in microseconds.
    delay: i64,
    encryption: Encryption,
    /// Whether all packs were seen to be encrypted as configured. What is written later is.
    is_encrypted: AtomicBool,
}

impl Compactor {
    /// As configured.
    pub fn new(store: Arc<Store>, config: &CompactionConfig) -> Self {
        let (dead_share, rate) = (u64::from(config.dead_share), config.rate.get().max(1));
        let encryption = Encryption::new(Arc::clone(&store));
        let is_encrypted = AtomicBool::new(false);
        Self { store, dead_share, rate, delay: micros(config.delay), encryption, is_encrypted }
    }

    /// The packs that are worth it: first those that give room back, then some of those that are not encrypted as they would
    /// be today. Without room these have to wait, since the old ones stay for a while.
    pub async fn candidates(&self) -> Result<Vec<PackRow>, CompactError> {
        let index = self.store.reader().index();
        let packs = index.packs().await?;
        let quarantined: HashSet<PackId> = index.quarantined_packs().await?.into_iter().collect();
        let live = index.live_bytes().await?;
        self.encryption.retain(&packs.iter().map(|pack| pack.id).collect());
        let is_worth_it = |pack: &PackRow| {
            let size = pack.indexed_to.saturating_sub(HEADER_LEN);
            let live = live.get(&pack.id).copied().unwrap_or_default();
            let dead = size.saturating_sub(live);
            let is_kept = quarantined.contains(&pack.id) || self.encryption.is_locked(pack.id);
            live == 0 || (!is_kept && dead * 100 >= size * self.dead_share)
        };
        let sealed = packs.into_iter().filter(|pack| self.store.is_sealed(pack.id));
        let (mut candidates, others): (Vec<_>, Vec<_>) = sealed.partition(is_worth_it);
        if self.store.packs().is_full() {
            return Ok(candidates);
        }
        let others = others.into_iter().filter(|pack| !quarantined.contains(&pack.id));
        let chosen = self.encryption.choose(others).await?;
        candidates.extend(chosen.packs);
        let is_over = candidates.is_empty() && !chosen.has_more && !self.encryption.has_locked();
        if is_over && quarantined.is_empty() && index.retired_packs().await?.is_empty() {
            self.tell();
        }
        Ok(candidates)
    }

    /// Says, once, that no pack needs an older key, or any when none is configured.
    fn tell(&self) {
        if !self.is_encrypted.swap(true, Ordering::Relaxed) {
            tracing::info!("all packs are encrypted as configured");
        }
    }

    /// Whether [`candidates`](Self::candidates) has found that no pack needs an older key, or any when none is configured.
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted.load(Ordering::Relaxed)
    }

    /// Empties a pack and retires it.
    pub async fn compact(&self, pack: PackRow, control: &Control, now: i64) -> Result<Outcome, CompactError> {
        let index = self.store.reader().index();
        let mut copied = 0;
        if index.rows_in(pack.id).await? > 0 {
            copied = match self.empty(pack, control).await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Ok(Outcome::Stopped),
                Err(CompactError::KeyMissing(key)) => {
                    self.encryption.lock(pack.id);
                    return Ok(Outcome::Locked(key));
                }
                Err(error) => return Err(error),
            };
        }
        if index.retire(pack.id, now).await? {
            return Ok(Outcome::Retired { copied });
        }
        if index.rows_in(pack.id).await? == 0 {
            return Ok(Outcome::Waiting);
        }
        index.quarantine(pack.id).await?;
        Ok(Outcome::Quarantined)
    }

    /// Copies every sound record of a pack that a row points at. Returns their bytes; `None` when it may not go on.
    async fn empty(&self, pack: PackRow, control: &Control) -> Result<Option<u64>, CompactError> {
        let Pack { len, bytes, .. } = Arc::clone(self.store.packs()).open(pack.id).await?;
        let mut scanner =
            Scanner::new(bytes, pack.id, pack.salt, HEADER_LEN, len, Arc::clone(self.store.encoding()));
        let mut copied = 0;
        loop {
            let from = scanner.position();
            let encoding = Arc::clone(self.store.encoding());
            let (returned, records, is_done) =
                tokio::task::spawn_blocking(move || read_batch(scanner, &encoding))
                    .await
                    .map_err(io::Error::other)??;
            scanner = returned;
            copied += self.copy(records).await?;
            if is_done {
                return Ok(Some(copied));
            }
            let read = scanner.position().saturating_sub(from);
            control.progress(|progress| progress.bytes += read);
            if !control.rest(Duration::from_millis(read.saturating_mul(1000) / self.rate)).await {
                return Ok(None);
            }
        }
    }

    /// Copies those of `records` that rows point at, and returns once rows have followed.
    async fn copy(&self, records: Vec<(Location, Record)>) -> Result<u64, CompactError> {
        let index = self.store.reader().index();
        let (mut hashes, mut blobs) = (Vec::new(), Vec::new());
        for (_, record) in &records {
            match record {
                Record::Chunk(new) => hashes.push(new.chunk.hash),
                Record::Manifest(manifest) => blobs.push(manifest.id()),
            }
        }
        let chunks = index.locate(&hashes).await?;
        let blobs = index.locate_blobs(&blobs).await?;
        let is_wanted = |(location, record): &(Location, Record)| match record {
            Record::Chunk(new) => chunks.get(&new.chunk.hash).is_some_and(|row| row.location == *location),
            Record::Manifest(manifest) => blobs.get(&manifest.id()) == Some(location),
        };
        let wanted: Vec<_> = records.into_iter().filter(is_wanted).collect();
        let (mut copied, mut left) = (0, wanted.len());
        let ticket = Ticket::default();
        let mut last = None;
        for (location, record) in wanted {
            left -= 1;
            copied += crate::domain::record::HEADER_LEN as u64 + u64::from(location.stored);
            let answer = (left == 0).then(|| {
                let (answer, answered) = oneshot::channel();
                last = Some(answered);
                answer
            });
            let (chunk, blob) = match record {
                Record::Chunk(new) => (Some(new), None),
                Record::Manifest(manifest) => (None, Some(manifest)),
            };
            let reply = Reply { ticket: ticket.clone(), answer };
            let entry = Entry { chunk, blob, segment: None, reply, memory: None, moved_from: Some(location) };
            self.store.send_copy(entry).await?;
        }
        if let Some(answered) = last {
            answered.await.map_err(|_| WriteError::Failed)??;
        }
        Ok(copied)
    }

    /// Deletes the files of packs that have been retired for long enough. Returns how many.
    pub async fn sweep(&self, now: i64) -> Result<u64, CompactError> {
        let index = self.store.reader().index();
        let mut deleted = 0;
        for (pack, retired_at) in index.retired_packs().await? {
            if retired_at <= now.saturating_sub(self.delay) {
                Arc::clone(self.store.packs()).delete(pack).await?;
                index.forget(pack).await?;
                deleted += 1;
            }
        }
        if deleted > 0 {
            self.store.reader().forget_places();
        }
        Ok(deleted)
    }
}

/// A record with what is needed to write it again.
enum Record {
    Chunk(NewChunk),
    Manifest(Manifest),
}

type Batch = (Scanner, Vec<(Location, Record)>, bool);

/// The next sound records, and whether they are the last.
fn read_batch(mut scanner: Scanner, encoding: &Encoding) -> Result<Batch, CompactError> {
    let mut records = Vec::new();
    let mut bytes = 0;
    while bytes < BATCH_BYTES && records.len() < BATCH_RECORDS {
        let Some(found) = scanner.next()? else { return Ok((scanner, records, true)) };
        let payload = scanner.take_payload();
        bytes += payload.len() as u64;
        match found {
            // As it would be written today: that is how keys are changed.
            Found::Chunk(row) => {
                let encoded =
                    encoding.encode(Kind::Chunk, row.hash, vec![payload]).map_err(io::Error::other)?;
                records.push((row.location, Record::Chunk(encoded.into())));
            }
            Found::Blob(blob) => {
                if let Some(manifest) = Manifest::decode(&payload) {
                    records.push((blob.row.manifest, Record::Manifest(manifest)));
                }
            }
            // They do not move: the pack waits until their upload has ended.
            Found::Segment(_) => {}
            Found::Locked(key) => return Err(CompactError::KeyMissing(key)),
        }
    }
    Ok((scanner, records, false))
}
