//! What a copy of the index, or one that nobody writes to, says of packs and of blobs that cannot be read.

use std::collections::{BTreeSet, HashMap};

use blake3::Hash;
use holdall_sql::{dynamic, sql};

use super::{Error, Index, MAX_HASHES, PackRow, blob_id, bytes, hash, list, natural, padded};
use crate::domain::BlobId;
use crate::store::pack::PackId;

/// Blobs that one query names, at most.
const NAMED: u32 = 100_000;

impl Index {
    /// All packs that are not retired, each with the offset up to which rows rely on it. All of that was durable before the
    /// rows were written.
    ///
    /// Reads the whole index.
    pub async fn packs_in_use(&self) -> Result<Vec<(PackRow, u64)>, Error> {
        let mut ends = HashMap::<PackId, u64>::new();
        for table in ["chunks", "blobs", "segments"] {
            let text =
                format!("SELECT pack, CAST(MAX(position + stored) AS BIGINT) FROM {table} GROUP BY pack");
            for row in dynamic(text).fetch_all(&self.database).await? {
                let end = ends.entry(PackId(row.get(0)?)).or_default();
                *end = (*end).max(natural(row.get(1)?)?);
            }
        }
        let end = |pack: &PackRow| ends.get(&pack.id).copied().unwrap_or_default().max(pack.indexed_to);
        Ok(self.packs().await?.into_iter().map(|pack| (pack, end(&pack))).collect())
    }

    /// Size and digest of those of `ids` that are there.
    pub async fn contents(&self, ids: &[BlobId]) -> Result<HashMap<BlobId, (u64, Hash)>, Error> {
        let mut found = HashMap::new();
        for ids in ids.chunks(MAX_HASHES) {
            let text = format!("SELECT id, size, digest FROM blobs WHERE id IN {}", list(ids.len()));
            for row in dynamic(text).bind_all(padded(ids)).fetch_all(&self.database).await? {
                found.insert(blob_id(&row.get::<String>(0)?)?, (natural(row.get(1)?)?, hash(row.get(2)?)?));
            }
        }
        Ok(found)
    }

    /// Blobs of a single chunk that is in no row, a few at most: what [`Index::incomplete_blobs`] does not see.
    pub async fn lone_incomplete_blobs(&self) -> Result<Vec<BlobId>, Error> {
        let rows = sql("SELECT id FROM blobs WHERE size > 0 \
             AND NOT EXISTS (SELECT 1 FROM refs WHERE refs.blob = blobs.id) \
             AND NOT EXISTS (SELECT 1 FROM chunks WHERE chunks.hash = blobs.digest) LIMIT 1000")
        .fetch_all(&self.database)
        .await?;
        rows.iter().map(|row| blob_id(&row.get::<String>(0)?)).collect()
    }

    /// The blobs that need a chunk, many at most.
    pub async fn blobs_with_chunk(&self, chunk: &Hash) -> Result<BTreeSet<BlobId>, Error> {
        let rows = sql("SELECT id FROM blobs WHERE digest = $1 \
             UNION SELECT blob FROM refs WHERE hash = $1 LIMIT $2")
        .bind(bytes(chunk))
        .bind(NAMED)
        .fetch_all(&self.database)
        .await?;
        rows.iter().map(|row| blob_id(&row.get::<String>(0)?)).collect()
    }

    /// The blobs that need something in a pack, many at most.
    pub async fn blobs_with_pack(&self, pack: PackId) -> Result<BTreeSet<BlobId>, Error> {
        let rows = sql("SELECT id FROM blobs WHERE pack = $1 \
             UNION SELECT refs.blob FROM chunks JOIN refs ON refs.hash = chunks.hash WHERE chunks.pack = $1 \
             UNION SELECT blobs.id FROM chunks JOIN blobs ON blobs.digest = chunks.hash WHERE chunks.pack = $1 \
             LIMIT $2")
        .bind(pack.0)
        .bind(NAMED)
        .fetch_all(&self.database)
        .await?;
        rows.iter().map(|row| blob_id(&row.get::<String>(0)?)).collect()
    }
}
