//! Looking up what is read.

use std::collections::HashMap;

use blake3::Hash;
use holdall_sql::{dynamic, sql};

use super::{
    BlobRow, ChunkRow, Error, Index, MAX_HASHES, bytes, chunk_row, codec, hash, list, location, natural,
    number, padded, place,
};
use crate::domain::BlobId;
use crate::store::pack::PackId;

impl Index {
    /// The rows of those of `hashes` that are there, sound or not.
    pub async fn locate(&self, hashes: &[Hash]) -> Result<HashMap<Hash, ChunkRow>, Error> {
        let mut found = HashMap::new();
        for hashes in hashes.chunks(MAX_HASHES) {
            let text = format!(
                "SELECT hash, size, pack, position, stored, codec FROM chunks WHERE hash IN {}",
                list(hashes.len())
            );
            for row in dynamic(text).bind_all(padded(hashes)).fetch_all(&self.database).await? {
                let chunk = chunk_row(&row)?;
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
            manifest: place(&row, 2)?,
        };
        let chunk = match row.get::<Option<i64>>(5)? {
            None => None,
            Some(size) => Some(ChunkRow {
                hash: blob.digest,
                size: natural(size)?,
                location: place(&row, 6)?,
                codec: codec(row.get(9)?)?,
            }),
        };
        Ok(Some((blob, chunk)))
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
