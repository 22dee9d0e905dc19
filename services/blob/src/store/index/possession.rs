//! What a space has.

use std::collections::HashSet;

use blake3::Hash;
use holdall_sql::dynamic;
use uuid::Uuid;

use super::{Error, Index, MAX_HASHES, hash, list_from, padded};

impl Index {
    /// Those of `hashes` that name a sound chunk of a blob of that space: what it need not send again. Blobs that metadata
    /// does not use any more do not count.
    pub async fn held(&self, space: Uuid, hashes: &[Hash]) -> Result<HashSet<Hash>, Error> {
        let mut held = HashSet::new();
        for hashes in hashes.chunks(MAX_HASHES) {
            let text = format!(
                "SELECT c.hash FROM chunks c WHERE c.damaged = 0 AND c.hash IN {} AND (\
                 EXISTS (SELECT 1 FROM blobs b WHERE b.digest = c.hash AND b.space = $1 AND b.condemned_at IS NULL) \
                 OR EXISTS (SELECT 1 FROM refs r JOIN blobs b ON b.id = r.blob \
                 WHERE r.hash = c.hash AND b.space = $1 AND b.condemned_at IS NULL))",
                list_from(2, hashes.len())
            );
            let rows = dynamic(text).bind(space.to_string()).bind_all(padded(hashes));
            for row in rows.fetch_all(&self.database).await? {
                held.insert(hash(row.get(0)?)?);
            }
        }
        Ok(held)
    }
}
