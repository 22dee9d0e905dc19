//! Which packs there are, what of them is still wanted, and rows that follow records into other packs.

use std::collections::HashMap;

use holdall_sql::{Transaction, Value, dynamic, sql, values};

use super::{
    ChunkRow, Error, Index, MAX_HASHES, PackRow, blob_id, bytes, chunk_row, list, location, natural, number,
    padded, place,
};
use crate::domain::BlobId;
use crate::domain::record;
use crate::store::pack::{Location, PackId};

/// Rows that one statement takes along.
const MAX_MOVES: usize = 32;

/// A record that was copied: a row that points at the old one shall point at the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// A chunk.
    Chunk {
        /// Where it stood.
        from: Location,
        /// Where it stands too.
        to: ChunkRow,
    },
    /// The manifest of a blob.
    Blob {
        /// Whose.
        id: BlobId,
        /// Where it stood.
        from: Location,
        /// Where it stands too.
        to: Location,
    },
}

impl Index {
    /// All packs that the index has heard of, but for those that are retired.
    pub async fn packs(&self) -> Result<Vec<PackRow>, Error> {
        let rows = sql("SELECT id, salt, indexed_to FROM packs WHERE retired_at IS NULL ORDER BY id")
            .fetch_all(&self.database)
            .await?;
        rows.iter()
            .map(|row| {
                let salt = row.get::<Vec<u8>>(1)?.try_into().map_err(|_| Error::Unexpected("salt"))?;
                Ok(PackRow { id: PackId(row.get(0)?), salt, indexed_to: natural(row.get(2)?)? })
            })
            .collect()
    }

    /// The packs that are retired, and since when, in Unix microseconds.
    pub async fn retired_packs(&self) -> Result<Vec<(PackId, i64)>, Error> {
        let rows =
            sql("SELECT id, retired_at FROM packs WHERE retired_at IS NOT NULL ORDER BY retired_at, id")
                .fetch_all(&self.database)
                .await?;
        rows.iter().map(|row| Ok((PackId(row.get(0)?), row.get(1)?))).collect()
    }

    /// The packs that are in quarantine.
    pub async fn quarantined_packs(&self) -> Result<Vec<PackId>, Error> {
        let rows = sql("SELECT id FROM packs WHERE quarantined = 1").fetch_all(&self.database).await?;
        rows.iter().map(|row| Ok(PackId(row.get(0)?))).collect()
    }

    /// How many bytes of the records in each pack rows point at, headers included. A pack without any is not listed.
    ///
    /// Reads the whole index.
    pub async fn live_bytes(&self) -> Result<HashMap<PackId, u64>, Error> {
        let mut live = HashMap::new();
        for table in ["chunks", "blobs"] {
            let text = format!(
                "SELECT pack, CAST(SUM(stored + {}) AS BIGINT) FROM {table} GROUP BY pack",
                record::HEADER_LEN
            );
            for row in dynamic(text).fetch_all(&self.database).await? {
                *live.entry(PackId(row.get(0)?)).or_default() += natural::<u64>(row.get(1)?)?;
            }
        }
        Ok(live)
    }

    /// Blobs that refer to a chunk that is in no row, a few at most.
    pub async fn incomplete_blobs(&self) -> Result<Vec<BlobId>, Error> {
        let rows = sql("SELECT DISTINCT blob FROM refs \
             WHERE NOT EXISTS (SELECT 1 FROM chunks WHERE chunks.hash = refs.hash) ORDER BY blob LIMIT 1000")
        .fetch_all(&self.database)
        .await?;
        rows.iter().map(|row| blob_id(&row.get::<String>(0)?)).collect()
    }

    /// How many rows of chunks and blobs point into a pack. Those of segments do not count: they follow no record, and are gone
    /// when their upload has ended.
    pub async fn rows_in(&self, pack: PackId) -> Result<u64, Error> {
        let row = sql("SELECT CAST((SELECT COUNT(*) FROM chunks WHERE pack = $1) \
             + (SELECT COUNT(*) FROM blobs WHERE pack = $1) AS BIGINT)")
        .bind(pack.0)
        .fetch_one(&self.database)
        .await?;
        natural(row.get(0)?)
    }

    /// The next chunks in a pack from the offset `from` on, in order.
    pub async fn chunks_in(&self, pack: PackId, from: u64, limit: u32) -> Result<Vec<ChunkRow>, Error> {
        let rows = sql("SELECT hash, size, pack, position, stored, codec FROM chunks \
             WHERE pack = $1 AND position >= $2 ORDER BY position LIMIT $3")
        .bind(pack.0)
        .bind(number(from)?)
        .bind(limit)
        .fetch_all(&self.database)
        .await?;
        rows.iter().map(chunk_row).collect()
    }

    /// The blobs whose manifests stand next in a pack from the offset `from` on, and where, in order.
    pub async fn blobs_in(
        &self,
        pack: PackId,
        from: u64,
        limit: u32,
    ) -> Result<Vec<(BlobId, Location)>, Error> {
        let rows = sql("SELECT id, pack, position, stored FROM blobs \
             WHERE pack = $1 AND position >= $2 ORDER BY position LIMIT $3")
        .bind(pack.0)
        .bind(number(from)?)
        .bind(limit)
        .fetch_all(&self.database)
        .await?;
        rows.iter().map(|row| Ok((blob_id(&row.get::<String>(0)?)?, place(row, 1)?))).collect()
    }

    /// Where the manifests of those of `ids` stand that are there.
    pub async fn locate_blobs(&self, ids: &[BlobId]) -> Result<HashMap<BlobId, Location>, Error> {
        let mut found = HashMap::new();
        for ids in ids.chunks(MAX_HASHES) {
            let text =
                format!("SELECT id, pack, position, stored FROM blobs WHERE id IN {}", list(ids.len()));
            for row in dynamic(text).bind_all(padded(ids)).fetch_all(&self.database).await? {
                found.insert(blob_id(&row.get::<String>(0)?)?, place(&row, 1)?);
            }
        }
        Ok(found)
    }

    /// Lets rows follow records that were copied, where they still point at the old ones, in one transaction.
    pub async fn follow(&self, moved: &[Moved]) -> Result<(), Error> {
        let (mut chunks, mut blobs) = (Vec::new(), Vec::new());
        for moved in moved {
            match moved {
                Moved::Chunk { from, to } => {
                    let [pack, position, stored] = location(&to.location)?;
                    let (hash, codec) = (bytes(&to.hash), i64::from(to.codec.number()).into());
                    let (from_pack, from_position) = (from.pack.0.into(), number(from.position)?);
                    chunks.push([hash, from_pack, from_position, pack, position, stored, codec]);
                }
                Moved::Blob { id, from, to } => {
                    let [pack, position, stored] = location(to)?;
                    let (id, from_pack) = (id.to_string().into(), from.pack.0.into());
                    blobs.push([id, from_pack, number(from.position)?, pack, position, stored]);
                }
            }
        }
        let mut tx = self.database.begin().await?;
        for rows in chunks.chunks(MAX_MOVES) {
            let text = format!(
                "UPDATE chunks SET pack = new.column4, position = new.column5, stored = new.column6, \
                 codec = new.column7, damaged = 0 FROM (VALUES {}) AS new \
                 WHERE chunks.hash = new.column1 AND chunks.pack = new.column2 AND chunks.position = new.column3",
                values(1, 7, rows.len())
            );
            update(&mut tx, text, rows).await?;
        }
        for rows in blobs.chunks(MAX_MOVES) {
            let text = format!(
                "UPDATE blobs SET pack = new.column4, position = new.column5, stored = new.column6 \
                 FROM (VALUES {}) AS new \
                 WHERE blobs.id = new.column1 AND blobs.pack = new.column2 AND blobs.position = new.column3",
                values(1, 6, rows.len())
            );
            update(&mut tx, text, rows).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Retires a pack that no row points into; returns whether it did. The pack must not be written to any more.
    ///
    /// When this returns, that and all before it outlives a loss of power. So the file may go: else the index could come back
    /// as it was when it needed the file.
    pub async fn retire(&self, pack: PackId, now: i64) -> Result<bool, Error> {
        let mut tx = self.database.begin_flushed().await?;
        let retired = sql("UPDATE packs SET retired_at = $2 WHERE id = $1 AND retired_at IS NULL \
             AND NOT EXISTS (SELECT 1 FROM chunks WHERE pack = $1) \
             AND NOT EXISTS (SELECT 1 FROM blobs WHERE pack = $1) \
             AND NOT EXISTS (SELECT 1 FROM segments WHERE pack = $1)")
        .bind(pack.0)
        .bind(now)
        .execute(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(retired == 1)
    }

    /// Forgets a retired pack, whose file is gone; but not the one with the highest id of all, which keeps that id from being
    /// given again: an index that a loss of power sets back would take the new pack for the retired one.
    pub async fn forget(&self, pack: PackId) -> Result<(), Error> {
        sql(
            "DELETE FROM packs WHERE id = $1 AND retired_at IS NOT NULL AND id < (SELECT MAX(id) FROM packs)",
        )
        .bind(pack.0)
        .execute(&self.database)
        .await?;
        Ok(())
    }

    /// Puts a pack into quarantine: it holds something damaged that is still wanted.
    pub async fn quarantine(&self, pack: PackId) -> Result<(), Error> {
        sql("UPDATE packs SET quarantined = 1 WHERE id = $1").bind(pack.0).execute(&self.database).await?;
        Ok(())
    }
}

async fn update<const N: usize>(
    tx: &mut Transaction,
    text: String,
    rows: &[[Value; N]],
) -> Result<(), Error> {
    dynamic(text).bind_all(rows.iter().flatten().cloned()).execute(tx).await?;
    Ok(())
}
