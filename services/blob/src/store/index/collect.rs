//! Deleting what is not needed any more. How this and adding stay out of each other's way: see [`index`](super).
//!
//! Blobs and chunks are first marked, and deleted by a later call that finds the mark to be old enough and the reason for it
//! to hold still. A chunk is needed when a blob has its name as digest, or refers to it.

use blake3::Hash;
use holdall_sql::{Row, Transaction, dynamic, sql};

use super::{Error, Index, MAX_HASHES, blob_id, hash, list, list_from, natural, padded};
use crate::domain::BlobId;

/// That no blob needs a row of `chunks`.
const UNNEEDED: &str = "NOT EXISTS (SELECT 1 FROM refs WHERE refs.hash = chunks.hash) \
                        AND NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.digest = chunks.hash)";

/// References that one statement deletes.
const REFS: u32 = 256;

/// What was done with chunks that had been condemned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Chunks that are gone.
    pub chunks: u64,
    /// Bytes of them in packs, which are of no use any more.
    pub stored: u64,
    /// Chunks that are needed again.
    pub spared: u64,
}

impl Index {
    /// The next blobs after `after`, in the order of their ids, that are not condemned and whose ids are below `before`.
    pub async fn blobs_after(
        &self,
        after: Option<BlobId>,
        before: BlobId,
        limit: u32,
    ) -> Result<Vec<BlobId>, Error> {
        let rows = sql(
            "SELECT id FROM blobs WHERE id > $1 AND id < $2 AND condemned_at IS NULL ORDER BY id LIMIT $3",
        )
        .bind(after.map(|id| id.to_string()).unwrap_or_default())
        .bind(before.to_string())
        .bind(limit)
        .fetch_all(&self.database)
        .await?;
        ids(&rows)
    }

    /// Marks blobs that metadata does not use, anew those that are marked already. Returns how many are there.
    pub async fn condemn_blobs(&self, ids: &[BlobId], now: i64) -> Result<u64, Error> {
        let mut count = 0;
        for ids in ids.chunks(MAX_HASHES) {
            let text = format!("UPDATE blobs SET condemned_at = $1 WHERE id IN {}", list_from(2, ids.len()));
            count += dynamic(text).bind(now).bind_all(padded(ids)).execute(&self.database).await?;
        }
        Ok(count)
    }

    /// Some of the blobs that were condemned at `cutoff` or before, the oldest marks first.
    pub async fn condemned_blobs(&self, cutoff: i64, limit: u32) -> Result<Vec<BlobId>, Error> {
        let rows = sql("SELECT id FROM blobs WHERE condemned_at <= $1 ORDER BY condemned_at, id LIMIT $2")
            .bind(cutoff)
            .bind(limit)
            .fetch_all(&self.database)
            .await?;
        ids(&rows)
    }

    /// Takes the mark from blobs.
    pub async fn spare_blobs(&self, ids: &[BlobId]) -> Result<(), Error> {
        for ids in ids.chunks(MAX_HASHES) {
            let text = format!("UPDATE blobs SET condemned_at = NULL WHERE id IN {}", list(ids.len()));
            dynamic(text).bind_all(padded(ids)).execute(&self.database).await?;
        }
        Ok(())
    }

    /// Deletes a blob that was condemned at `cutoff` or before, and marks those of its chunks that nothing else needs. Returns
    /// whether it did.
    pub async fn delete_blob(&self, id: BlobId, cutoff: i64, now: i64) -> Result<bool, Error> {
        let mut tx = self.database.begin().await?;
        let text = format!("SELECT digest FROM blobs WHERE id = $1 AND condemned_at <= $2 {}", self.take());
        let row = dynamic(text).bind(id.to_string()).bind(cutoff).fetch_optional(&mut tx).await?;
        let Some(row) = row else { return Ok(false) };
        sql("DELETE FROM blobs WHERE id = $1").bind(id.to_string()).execute(&mut tx).await?;
        let mut chunks = vec![hash(row.get(0)?)?];
        while !chunks.is_empty() {
            condemn_unneeded(&mut tx, &chunks, now).await?;
            let rows = sql(
                "DELETE FROM refs WHERE blob = $1 AND hash IN (SELECT hash FROM refs WHERE blob = $1 LIMIT $2) RETURNING hash",
            )
            .bind(id.to_string())
            .bind(REFS)
            .fetch_all(&mut tx)
            .await?;
            chunks = rows.iter().map(|row| hash(row.get(0)?)).collect::<Result<_, Error>>()?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Marks those of the next chunks after `after`, in the order of their names, that nothing needs. Returns the last one
    /// looked at, and `None` at the end.
    pub async fn condemn_chunks(
        &self,
        after: Option<Hash>,
        limit: u32,
        now: i64,
    ) -> Result<Option<Hash>, Error> {
        let after = after.map(|hash| hash.as_bytes().to_vec()).unwrap_or_default();
        let last = sql("SELECT hash FROM chunks WHERE hash > $1 ORDER BY hash LIMIT 1 OFFSET $2")
            .bind(after.clone())
            .bind(limit.max(1) - 1)
            .fetch_optional(&self.database)
            .await?;
        let last = last.map(|row| hash(row.get(0)?)).transpose()?;
        let until = last.map_or_else(|| vec![0xff; 33], |hash| hash.as_bytes().to_vec());
        let text = format!(
            "UPDATE chunks SET condemned_at = $1 WHERE hash > $2 AND hash <= $3 AND condemned_at IS NULL AND {UNNEEDED}"
        );
        dynamic(text).bind(now).bind(after).bind(until).execute(&self.database).await?;
        Ok(last)
    }

    /// Deletes some of the chunks that were condemned at `cutoff` or before, but for those that a blob needs by now: from
    /// these it takes the mark.
    pub async fn delete_chunks(&self, cutoff: i64, limit: u32) -> Result<Deleted, Error> {
        let mut tx = self.database.begin().await?;
        let text = format!(
            "SELECT hash FROM chunks WHERE condemned_at <= $1 ORDER BY condemned_at LIMIT $2 {}",
            self.take()
        );
        let rows = dynamic(text).bind(cutoff).bind(limit).fetch_all(&mut tx).await?;
        let taken = rows.iter().map(|row| hash(row.get(0)?)).collect::<Result<Vec<_>, Error>>()?;
        let mut deleted = Deleted::default();
        for hashes in taken.chunks(MAX_HASHES) {
            delete_taken(&mut tx, hashes, &mut deleted).await?;
        }
        tx.commit().await?;
        Ok(deleted)
    }
}

async fn condemn_unneeded(tx: &mut Transaction, hashes: &[Hash], now: i64) -> Result<(), Error> {
    let text = format!(
        "UPDATE chunks SET condemned_at = $1 WHERE condemned_at IS NULL AND {UNNEEDED} AND hash IN {}",
        list_from(2, hashes.len())
    );
    dynamic(text).bind(now).bind_all(padded(hashes)).execute(&mut *tx).await?;
    Ok(())
}

/// Has to be statements of their own, after the rows were locked: see [`index`](super).
async fn delete_taken(tx: &mut Transaction, hashes: &[Hash], deleted: &mut Deleted) -> Result<(), Error> {
    let list = list(hashes.len());
    let text = format!("DELETE FROM chunks WHERE {UNNEEDED} AND hash IN {list} RETURNING stored");
    for row in dynamic(text).bind_all(padded(hashes)).fetch_all(&mut *tx).await? {
        deleted.chunks += 1;
        deleted.stored += natural::<u64>(row.get(0)?)?;
    }
    let text = format!("UPDATE chunks SET condemned_at = NULL WHERE hash IN {list}");
    deleted.spared += dynamic(text).bind_all(padded(hashes)).execute(&mut *tx).await?;
    Ok(())
}

fn ids(rows: &[Row]) -> Result<Vec<BlobId>, Error> {
    rows.iter().map(|row| blob_id(&row.get::<String>(0)?)).collect()
}
