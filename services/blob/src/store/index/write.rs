//! Adding what was written.

use std::collections::HashSet;

use blake3::Hash;
use holdall_sql::{Statement, Transaction, Value, dynamic, execute_each, insert, values};

use super::{
    ChunkRow, Error, Index, MAX_HASHES, NewBlob, PackRow, Rows, blob_id, bytes, hash, list, location, number,
    padded, uploads,
};
use crate::domain::BlobId;

/// Most rows inserted by one statement: each number of rows is a statement of its own to prepare and keep.
pub(super) const MAX_ROWS: usize = 64;

/// So many statements are cheaper each by itself than in a transaction, whose begin and commit are two more.
const FEW: usize = 3;

const INSERT_BLOBS: &str = "INSERT INTO blobs (id, size, digest, space, pack, position, stored)";

impl Index {
    /// Adds `rows`: first chunks, then blobs, then segments of uploads, then how far packs are indexed. A blob or sound chunk
    /// that is there already stays as it is; a damaged or condemned chunk is replaced, and so is a segment of the same start.
    ///
    /// A blob or segment that needs a chunk which is neither here nor sound is not added. Returns the names of the blobs and
    /// uploads of those.
    ///
    /// After an error some rows may be there, in this order. What they say is true all the same.
    pub async fn add(&self, rows: &Rows) -> Result<HashSet<BlobId>, Error> {
        let (single, several): (Vec<_>, Vec<_>) = rows.blobs.iter().partition(|blob| blob.is_single());
        let chunks = upsert_chunks(&rows.chunks)?;
        let blobs = single.chunks(MAX_ROWS).map(|blobs| self.insert_single(blobs));
        let blobs = blobs.collect::<Result<Vec<_>, _>>()?;
        let packs = upsert_packs(&rows.packs)?;
        if several.is_empty() && rows.segments.is_empty() && chunks.len() + blobs.len() + packs.len() <= FEW {
            let others = chunks.len();
            let added = execute_each(chunks.into_iter().chain(blobs).collect(), &self.database).await?;
            let refused = if added.into_iter().skip(others).sum::<u64>() < single.len() as u64 {
                absent(&single, self.ids_present(&single).fetch_all(&self.database).await?)?
            } else {
                HashSet::new()
            };
            for statement in packs {
                statement.execute(&self.database).await?;
            }
            return Ok(refused);
        }
        let mut tx = self.database.begin().await?;
        for statement in chunks {
            statement.execute(&mut tx).await?;
        }
        let mut refused = HashSet::new();
        for (statement, blobs) in blobs.into_iter().zip(single.chunks(MAX_ROWS)) {
            if statement.execute(&mut tx).await? < blobs.len() as u64 {
                refused.extend(absent(blobs, self.ids_present(blobs).fetch_all(&mut tx).await?)?);
            }
        }
        if !several.is_empty() {
            let added = rows.chunks.iter().map(|chunk| chunk.hash).collect();
            let (complete, incomplete) = self.complete(&mut tx, several, added).await?;
            refused.extend(incomplete);
            insert_several(&mut tx, &complete).await?;
        }
        if !rows.segments.is_empty() {
            let added = rows.chunks.iter().map(|chunk| chunk.hash).collect();
            refused.extend(self.add_segments(&mut tx, &rows.segments, added).await?);
        }
        for statement in packs {
            statement.execute(&mut tx).await?;
        }
        tx.commit().await?;
        Ok(refused)
    }

    /// As [`Index::add`], for what a pack was found to hold: blobs are added whether or not their chunks are there, which may
    /// stand in a pack that was not read yet, or be lost.
    pub async fn replay(&self, rows: &Rows) -> Result<(), Error> {
        let (single, several): (Vec<_>, Vec<_>) = rows.blobs.iter().partition(|blob| blob.is_single());
        let mut tx = self.database.begin().await?;
        for statement in upsert_chunks(&rows.chunks)? {
            statement.execute(&mut tx).await?;
        }
        insert(&mut tx, INSERT_BLOBS, blob_values(&single)?, "ON CONFLICT (id) DO NOTHING").await?;
        insert_several(&mut tx, &several).await?;
        uploads::insert_segments(&mut tx, &rows.segments.iter().collect::<Vec<_>>()).await?;
        for statement in upsert_packs(&rows.packs)? {
            statement.execute(&mut tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Those of `hashes` that name a sound chunk. What was condemned is so no more: it will be there for as long again.
    pub async fn known(&self, hashes: &[Hash]) -> Result<HashSet<Hash>, Error> {
        let mut known = HashSet::new();
        for hashes in hashes.chunks(MAX_HASHES) {
            let text = format!(
                "SELECT hash, condemned_at FROM chunks WHERE damaged = 0 AND hash IN {}",
                list(hashes.len())
            );
            let mut condemned = Vec::new();
            for row in dynamic(text).bind_all(padded(hashes)).fetch_all(&self.database).await? {
                let hash = hash(row.get(0)?)?;
                match row.get::<Option<i64>>(1)? {
                    None => drop(known.insert(hash)),
                    Some(_) => condemned.push(hash),
                }
            }
            if !condemned.is_empty() {
                known.extend(self.spare_chunks(&condemned).await?);
            }
        }
        Ok(known)
    }

    /// Takes the mark from chunks; returns those that are still there and sound.
    async fn spare_chunks(&self, hashes: &[Hash]) -> Result<Vec<Hash>, Error> {
        let mut tx = self.database.begin().await?;
        let text = format!(
            "UPDATE chunks SET condemned_at = NULL WHERE damaged = 0 AND hash IN {} RETURNING hash",
            list(hashes.len())
        );
        let rows = dynamic(text).bind_all(padded(hashes)).fetch_all(&mut tx).await?;
        tx.commit().await?;
        rows.iter().map(|row| hash(row.get(0)?)).collect()
    }

    /// Inserts blobs of which each is there only with its one chunk, if it has one.
    pub(super) fn insert_single(&self, blobs: &[&NewBlob]) -> Result<Statement, Error> {
        let text = format!(
            "{INSERT_BLOBS} SELECT column1, column2, column3, column4, column5, column6, column7 FROM (VALUES {}) AS new \
             WHERE column2 = 0 OR EXISTS (SELECT 1 FROM chunks WHERE hash = column3 AND damaged = 0 {}) \
             ON CONFLICT (id) DO NOTHING",
            values(1, 7, blobs.len()),
            self.keep(),
        );
        Ok(dynamic(text).bind_all(blob_values(blobs)?.into_iter().flatten()))
    }

    /// Which of `blobs` are there.
    fn ids_present(&self, blobs: &[&NewBlob]) -> Statement {
        let ids: Vec<_> = blobs.iter().map(|blob| blob.row.id).collect();
        dynamic(format!("SELECT id FROM blobs WHERE id IN {}", list(ids.len()))).bind_all(padded(&ids))
    }

    /// Parts `blobs` into those that have all their chunks, which then stay until the transaction ends, and the names of the
    /// others. `added` are chunks that the transaction has added.
    async fn complete<'a>(
        &self,
        tx: &mut Transaction,
        blobs: Vec<&'a NewBlob>,
        added: HashSet<Hash>,
    ) -> Result<(Vec<&'a NewBlob>, Vec<BlobId>), Error> {
        let all = blobs.iter().flat_map(|blob| &blob.chunks).copied();
        let present = self.present(tx, all, added).await?;
        let is_complete = |blob: &&NewBlob| blob.chunks.iter().all(|hash| present.contains(hash));
        let (complete, incomplete): (Vec<_>, Vec<_>) = blobs.into_iter().partition(is_complete);
        Ok((complete, incomplete.into_iter().map(|blob| blob.row.id).collect()))
    }

    /// Those of `all` chunks that are there and sound, which then stay until the transaction ends. `added` are chunks that the
    /// transaction has added.
    pub(super) async fn present(
        &self,
        tx: &mut Transaction,
        all: impl Iterator<Item = Hash>,
        added: HashSet<Hash>,
    ) -> Result<HashSet<Hash>, Error> {
        let mut asked = added.clone();
        let wanted: Vec<Hash> = all.filter(|hash| asked.insert(*hash)).collect();
        let mut present = added;
        for hashes in wanted.chunks(MAX_HASHES) {
            let text = format!(
                "SELECT hash FROM chunks WHERE damaged = 0 AND hash IN {} {}",
                list(hashes.len()),
                self.keep()
            );
            for row in dynamic(text).bind_all(padded(hashes)).fetch_all(&mut *tx).await? {
                present.insert(hash(row.get(0)?)?);
            }
        }
        Ok(present)
    }
}

/// Those of `blobs` of which `rows` know nothing.
fn absent(blobs: &[&NewBlob], rows: Vec<holdall_sql::Row>) -> Result<HashSet<BlobId>, Error> {
    let mut absent: HashSet<BlobId> = blobs.iter().map(|blob| blob.row.id).collect();
    for row in rows {
        absent.remove(&blob_id(&row.get::<String>(0)?)?);
    }
    Ok(absent)
}

/// Inserts blobs of several chunks, with their references.
async fn insert_several(tx: &mut Transaction, blobs: &[&NewBlob]) -> Result<(), Error> {
    for blobs in blobs.chunks(MAX_ROWS) {
        insert(&mut *tx, INSERT_BLOBS, blob_values(blobs)?, "ON CONFLICT (id) DO NOTHING").await?;
    }
    for blob in blobs {
        insert_refs(tx, blob.row.id, blob.chunks.iter()).await?;
    }
    Ok(())
}

/// Notes that a blob, or an upload that will be one, needs `chunks`.
pub(super) async fn insert_refs(
    tx: &mut Transaction,
    blob: BlobId,
    chunks: impl Iterator<Item = &Hash>,
) -> Result<(), Error> {
    let mut seen = HashSet::new();
    let distinct: Vec<_> = chunks.filter(|hash| seen.insert(**hash)).collect();
    for hashes in distinct.chunks(MAX_HASHES) {
        let rows = hashes.iter().map(|hash| [bytes(hash), blob.to_string().into()]).collect();
        insert(&mut *tx, "INSERT INTO refs (hash, blob)", rows, "ON CONFLICT DO NOTHING").await?;
    }
    Ok(())
}

fn blob_values(blobs: &[&NewBlob]) -> Result<Vec<[Value; 7]>, Error> {
    let values = blobs.iter().map(|NewBlob { row, space, .. }| {
        let [pack, position, stored] = location(&row.manifest)?;
        let (id, space) = (row.id.to_string().into(), space.to_string().into());
        Ok([id, number(row.size)?, bytes(&row.digest), space, pack, position, stored])
    });
    values.collect()
}

fn upsert_chunks(chunks: &[ChunkRow]) -> Result<Vec<Statement>, Error> {
    // A statement may not meet the same row twice.
    let mut seen = HashSet::new();
    let chunks: Vec<_> = chunks.iter().filter(|chunk| seen.insert(chunk.hash)).collect();
    let statements = chunks.chunks(MAX_ROWS).map(|chunks| {
        let values = chunks.iter().map(|chunk| {
            let [pack, position, stored] = location(&chunk.location)?;
            let codec = i64::from(chunk.codec.number()).into();
            Ok([bytes(&chunk.hash), chunk.size.into(), pack, position, stored, codec])
        });
        Ok(upsert(
            "INSERT INTO chunks (hash, size, pack, position, stored, codec)",
            values.collect::<Result<_, Error>>()?,
            "ON CONFLICT (hash) DO UPDATE SET size = excluded.size, pack = excluded.pack, \
             position = excluded.position, stored = excluded.stored, codec = excluded.codec, damaged = 0, \
             condemned_at = NULL WHERE chunks.damaged = 1 OR chunks.condemned_at IS NOT NULL",
        ))
    });
    statements.collect()
}

fn upsert_packs(packs: &[PackRow]) -> Result<Vec<Statement>, Error> {
    let statements = packs.chunks(MAX_ROWS).map(|packs| {
        let values =
            packs.iter().map(|pack| Ok([pack.id.0.into(), pack.salt.into(), number(pack.indexed_to)?]));
        Ok(upsert(
            "INSERT INTO packs (id, salt, indexed_to)",
            values.collect::<Result<_, Error>>()?,
            "ON CONFLICT (id) DO UPDATE SET indexed_to = excluded.indexed_to",
        ))
    });
    statements.collect()
}

/// A statement that inserts `rows`.
pub(super) fn upsert<const N: usize>(head: &str, rows: Vec<[Value; N]>, tail: &str) -> Statement {
    let text = format!("{head} VALUES {} {tail}", values(1, N, rows.len()));
    dynamic(text).bind_all(rows.into_iter().flatten())
}
