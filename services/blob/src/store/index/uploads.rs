//! Uploads that can be resumed: which there are, and how far they have come.

use std::collections::{BTreeMap, HashSet};

use blake3::Hash;
use holdall_sql::{Transaction, sql};
use uuid::Uuid;

use super::write::{MAX_ROWS, insert_refs, upsert};
use super::{Error, Index, blob_id, location, natural, number};
use crate::domain::BlobId;
use crate::domain::manifest::{Chunk, decode_chunks, encode_chunks};
use crate::domain::segment::Segment;
use crate::store::pack::Location;

/// A segment of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRow {
    /// The segment.
    pub segment: Segment,
    /// Where the payload of its record stands.
    pub location: Location,
}

/// How far an upload has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The newest epoch; `None` when the index has not heard of the upload.
    pub epoch: Option<i64>,
    /// The chunks of its segments, in order.
    pub chunks: Vec<Chunk>,
}

/// Adds segments, and that their uploads need their chunks. Of two that start at the same offset the later one stays.
pub(super) async fn insert_segments(tx: &mut Transaction, rows: &[&SegmentRow]) -> Result<(), Error> {
    // A statement may not meet the same row twice.
    let mut uploads = BTreeMap::new();
    let mut segments = BTreeMap::new();
    for &row in rows {
        let segment = &row.segment;
        insert_refs(tx, segment.upload, segment.chunks.iter().map(|chunk| &chunk.hash)).await?;
        let newest = uploads.entry(segment.upload).or_insert(segment);
        if segment.epoch > newest.epoch {
            *newest = segment;
        }
        if !segment.chunks.is_empty() {
            segments.insert((segment.upload, segment.start), row);
        }
    }
    for uploads in uploads.into_values().collect::<Vec<_>>().chunks(MAX_ROWS) {
        let values = uploads.iter().map(|segment| {
            [
                segment.upload.to_string().into(),
                segment.space.to_string().into(),
                segment.epoch.into(),
                segment.expires_at.into(),
            ]
        });
        let statement = upsert(
            "INSERT INTO uploads (id, space, epoch, expires_at)",
            values.collect(),
            "ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch WHERE uploads.epoch < excluded.epoch",
        );
        statement.execute(&mut *tx).await?;
    }
    for segments in segments.into_values().collect::<Vec<_>>().chunks(MAX_ROWS) {
        let values = segments.iter().map(|row| {
            let [pack, position, stored] = location(&row.location)?;
            let mut chunks = Vec::new();
            encode_chunks(&row.segment.chunks, &mut chunks);
            let upload = row.segment.upload.to_string().into();
            Ok([upload, number(row.segment.start)?, chunks.into(), pack, position, stored])
        });
        let statement = upsert(
            "INSERT INTO segments (upload, start, chunks, pack, position, stored)",
            values.collect::<Result<_, Error>>()?,
            "ON CONFLICT (upload, start) DO UPDATE SET chunks = excluded.chunks, pack = excluded.pack, \
             position = excluded.position, stored = excluded.stored",
        );
        statement.execute(&mut *tx).await?;
    }
    Ok(())
}

impl Index {
    /// Adds those segments whose chunks are all there and sound, and before which nobody has begun a newer epoch or added one at
    /// the same offset, in whatever process; returns the uploads of the others. `added` are chunks that the transaction has
    /// added.
    pub(super) async fn add_segments(
        &self,
        tx: &mut Transaction,
        rows: &[SegmentRow],
        added: HashSet<Hash>,
    ) -> Result<Vec<BlobId>, Error> {
        let all = rows.iter().flat_map(|row| &row.segment.chunks).map(|chunk| chunk.hash);
        let present = self.present(tx, all, added).await?;
        let is_complete =
            |row: &&SegmentRow| row.segment.chunks.iter().all(|chunk| present.contains(&chunk.hash));
        let (complete, incomplete): (Vec<_>, Vec<_>) = rows.iter().partition(is_complete);
        let mut refused: Vec<_> = incomplete.into_iter().map(|row| row.segment.upload).collect();
        for row in complete {
            if is_next(tx, &row.segment).await? {
                insert_segments(tx, &[row]).await?;
            } else {
                refused.push(row.segment.upload);
            }
        }
        Ok(refused)
    }

    /// How far an upload has come.
    pub async fn progress(&self, upload: BlobId) -> Result<Progress, Error> {
        let id = upload.to_string();
        let row =
            sql("SELECT epoch FROM uploads WHERE id = $1").bind(&*id).fetch_optional(self.database()).await?;
        let Some(row) = row else { return Ok(Progress::default()) };
        let mut progress = Progress { epoch: Some(row.get(0)?), chunks: Vec::new() };
        let mut end = 0;
        let rows = sql("SELECT start, chunks FROM segments WHERE upload = $1 ORDER BY start")
            .bind(id)
            .fetch_all(self.database())
            .await?;
        for row in rows {
            // Elsewhere starts only what was never acknowledged.
            if natural::<u64>(row.get(0)?)? == end {
                let chunks =
                    decode_chunks(&row.get::<Vec<u8>>(1)?).ok_or(Error::Unexpected("list of chunks"))?;
                end += chunks.iter().map(|chunk| u64::from(chunk.size)).sum::<u64>();
                progress.chunks.extend(chunks);
            }
        }
        Ok(progress)
    }

    /// How many uploads of a space are neither finished nor given up.
    pub async fn count_uploads(&self, space: Uuid) -> Result<u64, Error> {
        let row = sql("SELECT COUNT(*) FROM uploads WHERE space = $1 AND epoch < $2 \
             AND NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.id = uploads.id)")
        .bind(space.to_string())
        .bind(i64::MAX)
        .fetch_one(self.database())
        .await?;
        natural(row.get(0)?)
    }

    /// Up to `limit` uploads behind `after`, in order, that are finished or were void at `now` (Unix microseconds).
    pub async fn ended_uploads(
        &self,
        now: i64,
        after: Option<BlobId>,
        limit: u32,
    ) -> Result<Vec<BlobId>, Error> {
        let rows = sql(
            "SELECT id FROM uploads WHERE id > $1 AND (expires_at <= $2 OR id IN (SELECT id FROM blobs)) \
                        ORDER BY id LIMIT $3",
        )
        .bind(after.map(|id| id.to_string()).unwrap_or_default())
        .bind(now)
        .bind(i64::from(limit))
        .fetch_all(self.database())
        .await?;
        rows.iter().map(|row| blob_id(&row.get::<String>(0)?)).collect()
    }

    /// Forgets the segments of an upload. What they needed is needed by its blob, if there is one, or not at all.
    pub async fn forget_segments(&self, upload: BlobId) -> Result<(), Error> {
        let mut tx = self.database().begin().await?;
        forget_segments(&mut tx, upload).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Forgets an upload, with its segments.
    pub async fn forget_upload(&self, upload: BlobId) -> Result<(), Error> {
        let mut tx = self.database().begin().await?;
        forget_segments(&mut tx, upload).await?;
        sql("DELETE FROM uploads WHERE id = $1").bind(upload.to_string()).execute(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Whether a segment may be added now. Keeps others from adding to its upload until the transaction ends.
async fn is_next(tx: &mut Transaction, segment: &Segment) -> Result<bool, Error> {
    // An epoch begins once only, and it may be given up more often.
    let begins = segment.chunks.is_empty() && segment.epoch < i64::MAX;
    let text = if begins {
        "INSERT INTO uploads (id, space, epoch, expires_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch WHERE uploads.epoch < excluded.epoch"
    } else {
        "INSERT INTO uploads (id, space, epoch, expires_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch WHERE uploads.epoch <= excluded.epoch"
    };
    let noted = sql(text)
        .bind(segment.upload.to_string())
        .bind(segment.space.to_string())
        .bind(segment.epoch)
        .bind(segment.expires_at)
        .execute(&mut *tx)
        .await?;
    if noted == 0 || segment.chunks.is_empty() {
        return Ok(noted > 0);
    }
    let there = sql("SELECT start FROM segments WHERE upload = $1 AND start = $2")
        .bind(segment.upload.to_string())
        .bind(number(segment.start)?)
        .fetch_optional(&mut *tx)
        .await?;
    Ok(there.is_none())
}

async fn forget_segments(tx: &mut Transaction, upload: BlobId) -> Result<(), Error> {
    for text in [
        "DELETE FROM segments WHERE upload = $1",
        "DELETE FROM refs WHERE blob = $1 AND NOT EXISTS (SELECT 1 FROM blobs WHERE id = $1)",
    ] {
        sql(text).bind(upload.to_string()).execute(&mut *tx).await?;
    }
    Ok(())
}
