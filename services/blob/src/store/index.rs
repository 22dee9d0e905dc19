//! The index: which blobs there are, and where chunks stand in the packs.
//!
//! The packs are the truth; every row here can be found again by reading them. So a commit need not reach the disk before
//! it is relied on, but what it speaks of must have.
//!
//! # A blob and the deletion of its chunks
//!
//! Chunks are shared, so a blob may be added while a chunk of it, last used by a blob that is gone, is being deleted. What
//! must not be is a blob in the index whose chunk is not. Either side decides within one transaction:
//!
//! * Who adds a blob (`write`) looks each of its chunks up, and adds it only when all are there and sound.
//! * Who deletes a chunk (`collect`) looks for blobs that need it, and deletes it only when there is none.
//!
//! On SQLite transactions that write run one after the other, and there is no more to it. On PostgreSQL they run side by side
//! at READ COMMITTED, where each statement sees what was committed before it began, and neither would see the other. So both
//! take the lock of the chunk's row before they look:
//!
//! * The adder reads the row `FOR KEY SHARE` (or has just inserted it, or met it with `ON CONFLICT DO UPDATE`, which lock it
//!   too) and keeps the lock until its blob is committed.
//! * The deleter first reads the row `FOR UPDATE`, passing over those that somebody has locked, and looks for blobs *in the
//!   next statement*, which sees all that was committed before the lock was had. In one statement it would not: PostgreSQL
//!   looks again at a row that was changed while it waited, but not at one that was only locked.
//!
//! If the adder is first, the deleter passes the row over or sees the blob. If the deleter is first, the adder waits and then
//! finds the row gone. No clock has a part in this. The marks `condemned_at` only say when to look, and give uploads that
//! found a chunk to be there the time to end.

mod collect;
mod copies;
mod jobs;
mod packs;
mod possession;
mod read;
mod uploads;
mod write;

use blake3::Hash;
use holdall_sql::{Database, Dialect, Migration, Migrations, Row, Transient, Value, values};
use uuid::Uuid;

pub use self::collect::Deleted;
pub use self::jobs::Lease;
pub use self::packs::Moved;
pub use self::uploads::{Progress, SegmentRow};
use super::pack::{Location, PackId};
use crate::domain::BlobId;
use crate::domain::manifest::Manifest;
use crate::domain::record::{Codec, Salt};

/// The schema of the index.
pub const MIGRATIONS: Migrations = Migrations {
    sqlite: &[Migration {
        version: 1,
        name: "index of packs",
        sql: include_str!("../../migrations/sqlite/1_index.sql"),
    }],
    postgres: &[Migration {
        version: 1,
        name: "index of packs",
        sql: include_str!("../../migrations/postgres/1_index.sql"),
    }],
};

/// Why the index did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed. Unless it does not know, nothing was changed.
    #[error(transparent)]
    Database(#[from] holdall_sql::Error),
    /// A row holds something that no release of ours has written.
    #[error("the index holds an unexpected {0}")]
    Unexpected(&'static str),
}

impl Transient for Error {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_transient())
    }
}

/// Most hashes asked for by one statement.
const MAX_HASHES: usize = 256;

/// Where a chunk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRow {
    /// Its name.
    pub hash: Hash,
    /// Its bytes, once decoded.
    pub size: u32,
    /// Where its payload stands.
    pub location: Location,
    /// How that is encoded.
    pub codec: Codec,
}

/// A blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobRow {
    /// Its name.
    pub id: BlobId,
    /// Bytes of content.
    pub size: u64,
    /// BLAKE3-256 of the content.
    pub digest: Hash,
    /// Where the payload of its manifest's record stands.
    pub manifest: Location,
}

/// A blob to be added, with what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBlob {
    /// The blob.
    pub row: BlobRow,
    /// The space that it is for; nil when it has none.
    pub space: Uuid,
    /// The names of its chunks.
    pub chunks: Vec<Hash>,
}

impl NewBlob {
    /// The blob of `manifest`, whose record's payload stands at `location`.
    pub fn new(manifest: &Manifest, location: Location) -> Self {
        let row = BlobRow {
            id: manifest.id(),
            size: manifest.size(),
            digest: manifest.digest(),
            manifest: location,
        };
        let chunks = manifest.chunks().iter().map(|chunk| chunk.hash).collect();
        Self { row, space: manifest.space(), chunks }
    }

    /// Whether it is found by its digest: one that has a single chunk needs no references, and one without content nothing.
    fn is_single(&self) -> bool {
        self.chunks.len() <= 1
    }
}

/// How far a pack is indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackRow {
    /// The pack.
    pub id: PackId,
    /// Its salt.
    pub salt: Salt,
    /// Offset up to which its records are in the index.
    pub indexed_to: u64,
}

/// What is added together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// How far packs are indexed with it.
    pub packs: Vec<PackRow>,
    /// Chunks.
    pub chunks: Vec<ChunkRow>,
    /// Blobs.
    pub blobs: Vec<NewBlob>,
    /// Segments of uploads, in the order in which they were written.
    pub segments: Vec<SegmentRow>,
}

impl Rows {
    /// About how many rows of the database that will be.
    pub fn count(&self) -> usize {
        let blobs = self.blobs.iter().map(|blob| 1 + blob.chunks.len());
        let segments = self.segments.iter().map(|row| 2 + row.segment.chunks.len());
        self.packs.len() + self.chunks.len() + blobs.chain(segments).sum::<usize>()
    }
}

/// The index.
#[derive(Clone)]
pub struct Index {
    database: Database,
}

impl Index {
    /// Over a database with the schema of [`MIGRATIONS`].
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The database below.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// What makes a `SELECT` keep others from deleting the rows that it returns, until the transaction ends.
    fn keep(&self) -> &'static str {
        match self.database.dialect() {
            // Whoever writes is alone.
            Dialect::Sqlite => "",
            Dialect::Postgres => "FOR KEY SHARE",
        }
    }

    /// What makes a `SELECT` take the rows that it returns for itself, without those that others have.
    fn take(&self) -> &'static str {
        match self.database.dialect() {
            Dialect::Sqlite => "",
            Dialect::Postgres => "FOR UPDATE SKIP LOCKED",
        }
    }
}

/// Placeholders for `len` values, rounded up to a power of two so that few different statements are prepared.
fn list(len: usize) -> String {
    list_from(1, len)
}

/// As [`list`], with placeholders numbered from `first`.
fn list_from(first: usize, len: usize) -> String {
    values(first, len.next_power_of_two(), 1)
}

/// The values for [`list`]: the last one stands in for what is missing.
fn padded<T: Name>(names: &[T]) -> impl Iterator<Item = Value> {
    let missing = names.len().next_power_of_two() - names.len();
    names.iter().chain(names.iter().rev().take(1).cycle().take(missing)).map(Name::value)
}

/// What rows are called by.
trait Name {
    fn value(&self) -> Value;
}

impl Name for Hash {
    fn value(&self) -> Value {
        bytes(self)
    }
}

impl Name for BlobId {
    fn value(&self) -> Value {
        self.to_string().into()
    }
}

fn bytes(hash: &Hash) -> Value {
    hash.as_bytes().into()
}

fn blob_id(text: &str) -> Result<BlobId, Error> {
    BlobId::parse(text).ok_or(Error::Unexpected("blob id"))
}

fn location(location: &Location) -> Result<[Value; 3], Error> {
    Ok([location.pack.0.into(), number(location.position)?, location.stored.into()])
}

/// A row of `hash, size, pack, position, stored, codec`.
fn chunk_row(row: &Row) -> Result<ChunkRow, Error> {
    Ok(ChunkRow {
        hash: hash(row.get(0)?)?,
        size: natural(row.get(1)?)?,
        location: place(row, 2)?,
        codec: codec(row.get(5)?)?,
    })
}

/// `pack, position, stored` from the column `first` on.
fn place(row: &Row, first: usize) -> Result<Location, Error> {
    Ok(Location {
        pack: PackId(row.get(first)?),
        position: natural(row.get(first + 1)?)?,
        stored: natural(row.get(first + 2)?)?,
    })
}

fn number(value: u64) -> Result<Value, Error> {
    i64::try_from(value).map(Value::from).map_err(|_| Error::Unexpected("number"))
}

fn natural<T: TryFrom<i64>>(value: i64) -> Result<T, Error> {
    T::try_from(value).map_err(|_| Error::Unexpected("number"))
}

fn codec(number: i64) -> Result<Codec, Error> {
    u8::try_from(number).ok().and_then(Codec::from_number).ok_or_else(|| Error::Unexpected("codec"))
}

fn hash(bytes: Vec<u8>) -> Result<Hash, Error> {
    bytes.try_into().map(Hash::from_bytes).map_err(|_| Error::Unexpected("hash"))
}

#[cfg(test)]
mod conformance;
