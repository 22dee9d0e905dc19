//! Reading from packs: every chunk is verified before a byte of it is handed out.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use blake3::Hash;
use bytes::Bytes;
use futures::stream::BoxStream;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::{Semaphore, oneshot};

use super::counters::Counters;
use super::download;
use super::index::{self, ChunkRow, Index};
use super::pack::{Location, PackId};
use super::packs::{self, PackStore, Then, is_loss};
use super::run::{self, Coming, Run};
use crate::domain::manifest::{Chunk, Manifest, Part};
use crate::domain::payload::{DecodeError, Encoding, decoding_room, is_quick_to_decode};
use crate::domain::record::{Header, Kind};
use crate::domain::seal::KeyId;
use crate::domain::{BlobId, SMALL};

/// What a cache keeps beside an entry, in bytes, about.
const CACHE_ENTRY: usize = 160;

/// Why bytes were not handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// What is stored is not what was stored once, or is missing. It was logged.
    #[error("stored bytes are damaged or missing")]
    Corrupt,
    /// The disk or the index did not answer, or a key is missing. It was logged.
    #[error("the store cannot be read")]
    Failed,
}

/// How much memory reading may take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For chunks on their way out.
    pub memory: usize,
    /// For keeping small chunks that were read.
    pub chunk_cache: u64,
    /// For keeping manifests that were read.
    pub blob_cache: u64,
}

/// What is done with a chunk once it is read.
type ThenChunk = Box<dyn FnOnce(Result<Bytes, ReadError>) + Send>;

/// A blob that can be read.
#[derive(Clone, Debug)]
pub struct Blob {
    size: u64,
    digest: Hash,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    Empty,
    /// A single chunk.
    Chunk(ChunkRow),
    Chunks(Arc<Manifest>),
}

impl Blob {
    /// Bytes of content.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// BLAKE3-256 of the content.
    pub fn digest(&self) -> Hash {
        self.digest
    }

    fn weight(&self) -> usize {
        size_of::<Self>()
            + match &self.body {
                Body::Chunks(manifest) => manifest.weight(),
                Body::Empty | Body::Chunk(_) => 0,
            }
    }
}

/// Content in order: in one piece, or in several that come with time.
pub enum Content {
    /// All of it.
    Whole(Bytes),
    /// Pieces of at most [`SMALL`] bytes. After an error there are no more.
    Pieces(BoxStream<'static, Result<Bytes, ReadError>>),
}

/// Reads from packs. Clones share everything.
#[derive(Clone)]
pub struct Reader {
    index: Index,
    packs: Arc<dyn PackStore>,
    encoding: Arc<Encoding>,
    counters: Arc<Counters>,
    blobs: Cache<BlobId, Blob>,
    chunks: Cache<[u8; 32], Bytes>,
    /// Memory for reads under way.
    reading: Arc<Semaphore>,
    held: Cache<u64, Bytes>,
    next_held: Arc<AtomicU64>,
}

/// A chunk that was verified and is kept for one reader. When memory is short, that of the reader who has not come for the
/// longest time is taken back: nobody waits for somebody who does not read.
pub struct Held {
    key: u64,
    cache: Cache<u64, Bytes>,
}

impl Held {
    /// The chunk, if it is still there.
    pub fn get(&self) -> Option<Bytes> {
        self.cache.get(&self.key)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.cache.invalidate(&self.key);
    }
}

impl Reader {
    /// A reader with empty caches.
    pub fn new(
        index: Index,
        packs: Arc<dyn PackStore>,
        encoding: Arc<Encoding>,
        counters: Arc<Counters>,
        limits: &Limits,
    ) -> Self {
        let weight = |len: usize| u32::try_from(len + CACHE_ENTRY).unwrap_or(u32::MAX);
        let reading = limits.memory / 2;
        Self {
            index,
            packs,
            encoding,
            counters,
            blobs: Cache::builder()
                .max_capacity(limits.blob_cache)
                .weigher(move |_, blob: &Blob| weight(blob.weight()))
                .build(),
            chunks: Cache::builder()
                .max_capacity(limits.chunk_cache)
                .weigher(move |_, bytes: &Bytes| weight(bytes.len()))
                .build(),
            reading: Arc::new(Semaphore::new(reading.min(Semaphore::MAX_PERMITS))),
            held: Cache::builder()
                .max_capacity((limits.memory - reading) as u64)
                .weigher(move |_, bytes: &Bytes| weight(bytes.len()))
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            next_held: Arc::default(),
        }
    }

    /// How what it reads is encoded.
    pub fn encoding(&self) -> &Arc<Encoding> {
        &self.encoding
    }

    /// The index it reads.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// How many runs of a large blob to hold ahead of the one that is being handed out.
    pub fn read_ahead(&self) -> usize {
        self.packs.read_ahead()
    }

    /// A run that begins with this chunk and may become `chunks` long. It may take a quarter of the memory that is free: the more
    /// readers there are, the shorter are their runs.
    pub fn run(&self, first: ChunkRow, chunks: usize) -> Run {
        let to_read = self.reading.available_permits() as u64;
        let to_hold = self.held.policy().max_capacity().unwrap_or_default();
        let memory = to_read.min(to_hold.saturating_sub(self.held.weighted_size())) / 4;
        Run::new(first, run::Limits { chunks, span: self.packs.longest_run(), memory })
    }

    /// Bytes of the chunks that are held for readers.
    #[cfg(test)]
    pub fn held_bytes(&self) -> u64 {
        self.held.run_pending_tasks();
        self.held.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }

    /// The blob with that id.
    pub async fn blob(&self, id: BlobId) -> Result<Option<Blob>, ReadError> {
        if let Some(blob) = self.counters.blob_cache.count(self.blobs.get(&id)) {
            return Ok(Some(blob));
        }
        let found = self.index.blob(id).await.map_err(|error| index_failed(&error))?;
        let Some((row, chunk)) = found else { return Ok(None) };
        let body = match chunk {
            _ if row.size == 0 => Body::Empty,
            Some(chunk) => Body::Chunk(chunk),
            None => Body::Chunks(Arc::new(self.manifest(id, row.manifest).await?)),
        };
        let blob = Blob { size: row.size, digest: row.digest, body };
        self.blobs.insert(id, blob.clone());
        Ok(Some(blob))
    }

    /// The bytes of a blob that lie in `range`; what lies beyond its end is left out.
    pub async fn content(&self, id: BlobId, blob: &Blob, range: Range<u64>) -> Result<Content, ReadError> {
        let range = range.start.min(blob.size)..range.end.min(blob.size);
        let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
        match &blob.body {
            _ if range.is_empty() => Ok(Content::Whole(Bytes::new())),
            Body::Empty => Ok(Content::Whole(Bytes::new())),
            Body::Chunk(row) if at(u64::from(row.size)) <= SMALL => {
                let bytes = self.small_chunk(id, row).await?;
                slice(&bytes, at(range.start)..at(range.end)).map(Content::Whole)
            }
            Body::Chunk(row) => {
                let chunk = Chunk { hash: row.hash, size: row.size };
                let part = Part { chunk, bytes: at(range.start)..at(range.end) };
                Ok(Content::Pieces(download::stream(self.clone(), [part].into())))
            }
            Body::Chunks(manifest) => {
                let parts = manifest.parts(range).collect();
                Ok(Content::Pieces(download::stream(self.clone(), parts)))
            }
        }
    }

    /// Where chunks stand.
    pub async fn locate(&self, hashes: &[Hash]) -> Result<HashMap<Hash, ChunkRow>, ReadError> {
        self.index.locate(hashes).await.map_err(|error| index_failed(&error))
    }

    /// Begins to read a run, once there is memory for all of it, and keeps the chunks that are sound.
    pub async fn hold(&self, run: Run) -> Result<Coming, ReadError> {
        // At once: of several who had a part each, none might get the rest. Reading ends by itself and waits for nobody.
        let memory = u32::try_from(run.memory()).unwrap_or(u32::MAX);
        let memory = Arc::clone(&self.reading).acquire_many_owned(memory).await;
        let mut memory = memory.map_err(|_closed| ReadError::Failed)?;
        let mut chunks = VecDeque::new();
        let mut reads = Vec::new();
        for row in run.into_rows() {
            let memory = memory.split(usize::try_from(run::memory(&row)).unwrap_or(usize::MAX));
            let (held, next_held) = (self.held.clone(), Arc::clone(&self.next_held));
            let (chunk, then) = answer(move |bytes| {
                let bytes = bytes?;
                let held = Held { key: next_held.fetch_add(1, Ordering::Relaxed), cache: held };
                held.cache.insert(held.key, bytes);
                // Takes back what is too much, at once rather than some time.
                held.cache.run_pending_tasks();
                drop(memory);
                Ok(held)
            });
            chunks.push_back(chunk);
            reads.push((row.location, self.on_stored(row, false, then)));
        }
        Ok(Coming::new(chunks, Arc::clone(&self.packs).read_run(reads)))
    }

    /// The bytes of a small chunk, wherever it stands by now.
    async fn small_chunk(&self, id: BlobId, row: &ChunkRow) -> Result<Bytes, ReadError> {
        let cached = self.chunks.get(row.hash.as_bytes());
        if let Some(bytes) = self.counters.chunk_cache.count(cached) {
            Counters::add(&self.counters.cached_read_bytes, bytes.len() as u64);
            return Ok(bytes);
        }
        // What the system has in memory takes microseconds: not worth another thread.
        let bytes = match self.read_cached(row) {
            Some(bytes) => bytes,
            None => match self.read_elsewhere(*row).await {
                // It may have been written anew since the blob was looked up.
                Err(ReadError::Corrupt) => {
                    self.blobs.invalidate(&id);
                    let rows = self.locate(&[row.hash]).await?;
                    let moved = rows.get(&row.hash).filter(|found| found.location != row.location);
                    self.read_elsewhere(*moved.ok_or(ReadError::Corrupt)?).await?
                }
                bytes => bytes?,
            },
        };
        self.chunks.insert(*row.hash.as_bytes(), bytes.clone());
        Ok(bytes)
    }

    /// The chunk, if it can be had without waiting and is sound.
    fn read_cached(&self, row: &ChunkRow) -> Option<Bytes> {
        if !is_quick_to_decode(row.codec, row.size) {
            return None;
        }
        let stored = self.packs.read_now(&row.location)?;
        let len = stored.len() as u64;
        let bytes = self.encoding.decode(&header(row), stored).ok()?;
        Counters::add(&self.counters.pack_read_bytes, len);
        Some(bytes)
    }

    async fn read_elsewhere(&self, row: ChunkRow) -> Result<Bytes, ReadError> {
        let (bytes, then) = answer(|bytes| bytes);
        self.read_from(row, false, then);
        bytes.await.map_err(|error| crashed(&error))?
    }

    /// Begins to read and verify a chunk.
    fn read_from(&self, row: ChunkRow, was_asked: bool, then: ThenChunk) {
        Arc::clone(&self.packs).read(row.location, self.on_stored(row, was_asked, then));
    }

    /// What is done with what was read of a chunk: `then` with the chunk, if it is sound. What is gone may have moved meanwhile,
    /// unless that was asked already: then it is read from there.
    fn on_stored(&self, row: ChunkRow, was_asked: bool, then: ThenChunk) -> Then {
        let reader = self.clone();
        let runtime = tokio::runtime::Handle::try_current();
        // Made here for the same reason as room for what is read: see `DiskPacks::read`.
        let room = decoding_room(row.codec, row.size);
        Box::new(move |stored: io::Result<Bytes>| match (stored, runtime) {
            (Err(error), Ok(runtime)) if !was_asked && is_loss(&error) => {
                runtime.spawn(async move {
                    match reader.locate(&[row.hash]).await {
                        Err(error) => then(Err(error)),
                        Ok(rows) => match rows.get(&row.hash) {
                            Some(found) if found.location != row.location => {
                                reader.read_from(*found, true, then);
                            }
                            _ => then(reader.sound(&row, Err(error), room)),
                        },
                    }
                });
            }
            (stored, _) => then(reader.sound(&row, stored, room)),
        })
    }

    /// The chunk, if what was read is sound. On damage the index is told, so that no new blob relies on the chunk.
    fn sound(&self, row: &ChunkRow, stored: io::Result<Bytes>, room: Vec<u8>) -> Result<Bytes, ReadError> {
        let problem = match stored {
            Ok(stored) => {
                Counters::add(&self.counters.pack_read_bytes, stored.len() as u64);
                match self.encoding.decode_into(&header(row), stored, room) {
                    Ok(bytes) => return Ok(bytes),
                    Err(DecodeError::Damaged) => DecodeError::Damaged.to_string(),
                    Err(DecodeError::KeyMissing(key)) => return Err(self.key_missing(row.location.pack, key)),
                }
            }
            Err(error) if is_loss(&error) => error.to_string(),
            Err(error) => {
                tracing::error!(pack = %row.location.pack, %error, "cannot read a chunk");
                return Err(ReadError::Failed);
            }
        };
        let (pack, position) = (row.location.pack, row.location.position);
        tracing::error!(chunk = %row.hash, %pack, position, problem, "a chunk is damaged");
        Counters::add(&self.counters.damaged, 1);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (index, row) = (self.index.clone(), *row);
            runtime.spawn(async move {
                if let Err(error) = index.damage(&row).await {
                    index_failed(&error);
                }
            });
        }
        Err(ReadError::Corrupt)
    }

    /// What is encrypted with a key that is not here may be sound: it is not counted as damaged.
    fn key_missing(&self, pack: PackId, key: KeyId) -> ReadError {
        tracing::error!(%pack, %key, "the key that was used for encryption is missing from blob.encryption.key_files");
        Counters::add(&self.counters.keys_missing, 1);
        ReadError::Failed
    }

    /// The manifest of a blob, wherever it stands by now.
    async fn manifest(&self, id: BlobId, location: Location) -> Result<Manifest, ReadError> {
        match self.manifest_at(id, location).await {
            Err(ReadError::Corrupt) => {
                let found = self.index.locate_blobs(&[id]).await.map_err(|error| index_failed(&error))?;
                match found.get(&id) {
                    Some(moved) if *moved != location => self.manifest_at(id, *moved).await,
                    _ => {
                        tracing::error!(blob = %id, pack = %location.pack, "a manifest is damaged");
                        Counters::add(&self.counters.damaged, 1);
                        Err(ReadError::Corrupt)
                    }
                }
            }
            result => result,
        }
    }

    async fn manifest_at(&self, id: BlobId, location: Location) -> Result<Manifest, ReadError> {
        let reader = self.clone();
        // The index does not say how it is encoded; the record does.
        let read = packs::read(&self.packs, location.record(), move |record| {
            let record = record?;
            Counters::add(&reader.counters.pack_read_bytes, record.len() as u64);
            Ok(reader.encoding.decode_record(record))
        });
        match read.await.map_err(|error| crashed(&error))? {
            Ok(decoded) => {
                let bytes = match decoded {
                    Ok((header, bytes)) if header.kind == Kind::Manifest => Some(bytes),
                    Ok(_) | Err(DecodeError::Damaged) => None,
                    Err(DecodeError::KeyMissing(key)) => return Err(self.key_missing(location.pack, key)),
                };
                let manifest = bytes.and_then(|bytes| Manifest::decode(&bytes));
                manifest.filter(|manifest| manifest.id() == id).ok_or(ReadError::Corrupt)
            }
            Err::<_, io::Error>(error) => {
                tracing::warn!(blob = %id, pack = %location.pack, %error, "cannot read a manifest");
                Err(if is_loss(&error) { ReadError::Corrupt } else { ReadError::Failed })
            }
        }
    }

    /// Forgets blobs that were deleted.
    pub fn forget(&self, blobs: &[BlobId]) {
        blobs.iter().for_each(|id| self.blobs.invalidate(id));
    }

    /// Forgets where everything stands.
    pub fn forget_places(&self) {
        self.blobs.invalidate_all();
    }
}

/// Where what `then` makes of a chunk comes, and what has it made: on a thread that may block and compute.
fn answer<T: Send + 'static>(
    then: impl FnOnce(Result<Bytes, ReadError>) -> T + Send + 'static,
) -> (oneshot::Receiver<T>, ThenChunk) {
    let (done, result) = oneshot::channel();
    let then = Box::new(move |bytes| {
        // Nobody may be waiting any more.
        let _ = done.send(then(bytes));
    });
    (result, then)
}

/// What the record of a chunk says.
fn header(row: &ChunkRow) -> Header {
    let ChunkRow { hash, size, location, codec } = *row;
    Header { kind: Kind::Chunk, codec, stored: location.stored, size, hash }
}

/// A part of a chunk.
pub fn slice(bytes: &Bytes, range: Range<usize>) -> Result<Bytes, ReadError> {
    if range.end > bytes.len() || range.start > range.end {
        tracing::error!("a chunk is shorter than its manifest says");
        return Err(ReadError::Corrupt);
    }
    Ok(bytes.slice(range))
}

fn index_failed(error: &index::Error) -> ReadError {
    tracing::error!(error = error as &dyn std::error::Error, "the index failed");
    ReadError::Failed
}

/// What to say when the thread that read is gone.
pub fn crashed(error: &impl std::error::Error) -> ReadError {
    tracing::error!(%error, "reading ended early");
    ReadError::Failed
}
