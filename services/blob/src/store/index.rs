//! The index: which blobs there are, and where chunks stand in the packs.
//!
//! The packs are the truth; every row here can be found again by reading them. So a commit need not reach the disk before
//! it is relied on, but what it speaks of must have.

mod uploads;

use std::collections::{HashMap, HashSet};

use blake3::Hash;
use holdall_sql::{Database, Migration, Migrations, Statement, Transient, Value, dynamic, sql, values};

pub use self::uploads::{Progress, SegmentRow};
use super::pack::{Location, PackId};
use crate::domain::BlobId;
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

/// Most rows inserted by one statement: each number of rows is a statement of its own to prepare and keep.
const MAX_ROWS: usize = 32;

/// So many statements are cheaper one by one than in a transaction, whose begin and commit are two more.
const FEW: usize = 3;

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
    pub blobs: Vec<BlobRow>,
    /// Segments of uploads, in the order in which they were written.
    pub segments: Vec<SegmentRow>,
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

    /// Adds `rows`: first chunks, then blobs and segments of uploads, then how far packs are indexed. A blob or sound chunk that
    /// is there already stays as it is; a damaged chunk is replaced, and so is a segment that starts at the same offset.
    ///
    /// After an error some rows may be there, in this order. What they say is true all the same.
    pub async fn add(&self, rows: &Rows) -> Result<(), Error> {
        let mut statements = Vec::new();
        // A statement may not meet the same row twice.
        let mut seen = HashSet::new();
        let chunks: Vec<_> = rows.chunks.iter().filter(|chunk| seen.insert(chunk.hash)).collect();
        for chunks in chunks.chunks(MAX_ROWS) {
            let values = chunks.iter().map(|chunk| {
                let [pack, position, stored] = location(&chunk.location)?;
                let codec = i64::from(chunk.codec.number()).into();
                Ok([bytes(&chunk.hash), chunk.size.into(), pack, position, stored, codec])
            });
            statements.push(upsert(
                "INSERT INTO chunks (hash, size, pack, position, stored, codec)",
                values.collect::<Result<_, Error>>()?,
                "ON CONFLICT (hash) DO UPDATE SET size = excluded.size, pack = excluded.pack, \
                 position = excluded.position, stored = excluded.stored, codec = excluded.codec, damaged = 0 \
                 WHERE chunks.damaged = 1",
            ));
        }
        for blobs in rows.blobs.chunks(MAX_ROWS) {
            let values = blobs.iter().map(|blob| {
                let [pack, position, stored] = location(&blob.manifest)?;
                Ok([
                    blob.id.to_string().into(),
                    number(blob.size)?,
                    bytes(&blob.digest),
                    pack,
                    position,
                    stored,
                ])
            });
            statements.push(upsert(
                "INSERT INTO blobs (id, size, digest, pack, position, stored)",
                values.collect::<Result<_, Error>>()?,
                "ON CONFLICT (id) DO NOTHING",
            ));
        }
        statements.extend(uploads::statements(&rows.segments)?);
        for packs in rows.packs.chunks(MAX_ROWS) {
            let values =
                packs.iter().map(|pack| Ok([pack.id.0.into(), pack.salt.into(), number(pack.indexed_to)?]));
            statements.push(upsert(
                "INSERT INTO packs (id, salt, indexed_to)",
                values.collect::<Result<_, Error>>()?,
                "ON CONFLICT (id) DO UPDATE SET indexed_to = excluded.indexed_to",
            ));
        }
        if statements.len() <= FEW {
            for statement in statements {
                statement.execute(&self.database).await?;
            }
        } else {
            let mut tx = self.database.begin().await?;
            for statement in statements {
                statement.execute(&mut tx).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// Those of `hashes` that name a sound chunk.
    pub async fn known(&self, hashes: &[Hash]) -> Result<HashSet<Hash>, Error> {
        let mut known = HashSet::new();
        for hashes in hashes.chunks(MAX_HASHES) {
            let text =
                format!("SELECT hash FROM chunks WHERE damaged = 0 AND hash IN {}", list(hashes.len()));
            for row in dynamic(text).bind_all(padded(hashes)).fetch_all(&self.database).await? {
                known.insert(hash(row.get(0)?)?);
            }
        }
        Ok(known)
    }

    /// The rows of those of `hashes` that are there, sound or not.
    pub async fn locate(&self, hashes: &[Hash]) -> Result<HashMap<Hash, ChunkRow>, Error> {
        let mut found = HashMap::new();
        for hashes in hashes.chunks(MAX_HASHES) {
            let text = format!(
                "SELECT hash, size, pack, position, stored, codec FROM chunks WHERE hash IN {}",
                list(hashes.len())
            );
            for row in dynamic(text).bind_all(padded(hashes)).fetch_all(&self.database).await? {
                let chunk = ChunkRow {
                    hash: hash(row.get(0)?)?,
                    size: natural(row.get(1)?)?,
                    location: Location {
                        pack: PackId(row.get(2)?),
                        position: natural(row.get(3)?)?,
                        stored: natural(row.get(4)?)?,
                    },
                    codec: codec(row.get(5)?)?,
                };
                found.insert(chunk.hash, chunk);
            }
        }
        Ok(found)
    }

    /// A blob, and the row of its chunk when it has but one.
    pub async fn blob(&self, id: BlobId) -> Result<Option<(BlobRow, Option<ChunkRow>)>, Error> {
        let row = sql(
            "SELECT b.size, b.digest, b.pack, b.position, b.stored, c.size, c.pack, c.position, c.stored, c.codec \
             FROM blobs b LEFT JOIN chunks c ON c.hash = b.digest WHERE b.id = $1",
        )
        .bind(id.to_string())
        .fetch_optional(&self.database)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let blob = BlobRow {
            id,
            size: natural(row.get(0)?)?,
            digest: hash(row.get(1)?)?,
            manifest: Location {
                pack: PackId(row.get(2)?),
                position: natural(row.get(3)?)?,
                stored: natural(row.get(4)?)?,
            },
        };
        let chunk = match row.get::<Option<i64>>(5)? {
            None => None,
            Some(size) => Some(ChunkRow {
                hash: blob.digest,
                size: natural(size)?,
                location: Location {
                    pack: PackId(row.get(6)?),
                    position: natural(row.get(7)?)?,
                    stored: natural(row.get(8)?)?,
                },
                codec: codec(row.get(9)?)?,
            }),
        };
        Ok(Some((blob, chunk)))
    }

    /// All packs that the index has heard of.
    pub async fn packs(&self) -> Result<Vec<PackRow>, Error> {
        let rows =
            sql("SELECT id, salt, indexed_to FROM packs ORDER BY id").fetch_all(&self.database).await?;
        rows.iter()
            .map(|row| {
                let salt = row.get::<Vec<u8>>(1)?.try_into().map_err(|_| Error::Unexpected("salt"))?;
                Ok(PackRow { id: PackId(row.get(0)?), salt, indexed_to: natural(row.get(2)?)? })
            })
            .collect()
    }

    /// Says that no new blob may rely on this chunk's stored bytes. Nothing happens when it has moved since.
    pub async fn damage(&self, chunk: &ChunkRow) -> Result<(), Error> {
        let [pack, position, _] = location(&chunk.location)?;
        sql("UPDATE chunks SET damaged = 1 WHERE hash = $1 AND pack = $2 AND position = $3")
            .bind(bytes(&chunk.hash))
            .bind(pack)
            .bind(position)
            .execute(&self.database)
            .await?;
        Ok(())
    }

    /// As [`Index::damage`], for every chunk of a pack that reaches beyond the offset `len`. Returns how many.
    pub async fn damage_beyond(&self, pack: PackId, len: u64) -> Result<u64, Error> {
        let count =
            sql("UPDATE chunks SET damaged = 1 WHERE pack = $1 AND position + stored > $2 AND damaged = 0")
                .bind(pack.0)
                .bind(number(len)?)
                .execute(&self.database)
                .await?;
        Ok(count)
    }
}

/// A statement that inserts `rows`.
fn upsert<const N: usize>(head: &str, rows: Vec<[Value; N]>, tail: &str) -> Statement {
    let text = format!("{head} VALUES {} {tail}", values(1, N, rows.len()));
    dynamic(text).bind_all(rows.into_iter().flatten())
}

/// Placeholders for `len` values, rounded up to a power of two so that few different statements are prepared.
fn list(len: usize) -> String {
    values(1, len.next_power_of_two(), 1)
}

/// The values for [`list`]: the last one stands in for what is missing.
fn padded(hashes: &[Hash]) -> impl Iterator<Item = Value> {
    let missing = hashes.len().next_power_of_two() - hashes.len();
    hashes.iter().chain(hashes.iter().rev().take(1).cycle().take(missing)).map(bytes)
}

fn bytes(hash: &Hash) -> Value {
    hash.as_bytes().into()
}

fn location(location: &Location) -> Result<[Value; 3], Error> {
    Ok([location.pack.0.into(), number(location.position)?, location.stored.into()])
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
