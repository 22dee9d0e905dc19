//! Which blobs are in use. Metadata is the one that knows; blob asks before it deletes.
//!
//! A blob is in use as long as any version or buffer entry has it, wherever that is: several may, and a version in the trash
//! is one. New ones come from receipts, which expire, and from others that are there. One that is being made while the last
//! other one is deleted may not be seen at that moment. So a blob counts as in use, too, as long as it is on the list of the
//! released, which it is from the same transaction on; blob takes it off, and then waits.

use holdall_sql::{dynamic, retry, sql};

use super::row::{self, list};
use super::{Result, Store};
use crate::domain::id::BlobId;

impl Store {
    /// The name of this database.
    pub async fn instance(&self) -> Result<String> {
        Ok(sql("SELECT instance_id FROM instance").fetch_one(&self.db).await?.get(0)?)
    }

    /// Some of the blobs that have lost a version or a buffer entry, the first to do so first.
    pub async fn released(&self, limit: u32) -> Result<Vec<BlobId>> {
        sql("SELECT blob_id FROM released_blobs ORDER BY released_at, blob_id LIMIT $1")
            .bind(limit)
            .fetch_all(&self.db)
            .await?
            .iter()
            .map(|row| row::id(row, 0))
            .collect()
    }

    /// Takes blobs off that list.
    pub async fn acknowledge_released(&self, blobs: &[BlobId]) -> Result<()> {
        if blobs.is_empty() {
            return Ok(());
        }
        let (blobs, placeholders) = list(blobs.iter().map(BlobId::to_string).collect(), 1);
        retry(async || {
            // What a loss of power brings back is only asked about once more.
            let mut tx = self.db.begin_relaxed().await?;
            dynamic(format!("DELETE FROM released_blobs WHERE blob_id IN {placeholders}"))
                .bind_all(&blobs)
                .execute(&mut tx)
                .await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// Those of `blobs` that are in use, or on the list of the released.
    pub async fn live(&self, blobs: &[BlobId]) -> Result<Vec<BlobId>> {
        if blobs.is_empty() {
            return Ok(Vec::new());
        }
        let (blobs, placeholders) = list(blobs.iter().map(BlobId::to_string).collect(), 1);
        // One statement, so that what moves from one table to the other is not missed.
        dynamic(format!(
            "SELECT blob_id FROM versions WHERE blob_id IN {placeholders} \
             UNION SELECT blob_id FROM buffer_entries WHERE blob_id IN {placeholders} \
             UNION SELECT blob_id FROM released_blobs WHERE blob_id IN {placeholders}"
        ))
        .bind_all(blobs)
        .fetch_all(&self.db)
        .await?
        .iter()
        .map(|row| row::id(row, 0))
        .collect()
    }
}
