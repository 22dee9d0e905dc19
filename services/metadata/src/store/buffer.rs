//! The buffer of a space.

use holdall_sql::{Row, inserts, retry, sql};

use super::lists::{Page, limit};
use super::row::{self, entry_text};
use super::work::Work;
use super::{Result, Store};
use crate::domain::buffer::Entry;
use crate::domain::error::Error;
use crate::domain::id::EntryId;
use crate::domain::space::Home;
use crate::domain::upload::Begun;

/// Entries of the space $1 that are over at $2, or that $3 others came after.
macro_rules! beyond {
    () => {
        "space_id = $1 AND (expires_at <= $2 OR sequence <=
            (SELECT sequence FROM buffer_entries WHERE space_id = $1 AND expires_at > $2
             ORDER BY sequence DESC LIMIT 1 OFFSET $3))"
    };
}

impl Store {
    /// Reserves room for an entry, as for an upload.
    pub async fn begin_entry(&self, home: &Home, size: Option<u64>, now: i64) -> Result<Begun> {
        self.admit(home, size, None, now).await
    }

    /// An entry of the caller's, or the latest.
    pub async fn entry(&self, home: &Home, id: Option<EntryId>, now: i64) -> Result<Entry> {
        let statement = match id {
            Some(id) => sql(concat!(
                "SELECT ",
                entry_text!(),
                " FROM buffer_entries b WHERE b.space_id = $1 AND b.expires_at > $2 AND b.entry_id = $3"
            ))
            .bind(home.space.to_string())
            .bind(now)
            .bind(id.to_string()),
            None => sql(concat!(
                "SELECT ",
                entry_text!(),
                " FROM buffer_entries b WHERE b.space_id = $1 AND b.expires_at > $2 ORDER BY b.sequence DESC LIMIT 1"
            ))
            .bind(home.space.to_string())
            .bind(now),
        };
        let row = statement.fetch_optional(&self.db).await?.ok_or(Error::NotFound)?;
        row::entry(&row.get::<String>(0)?)
    }

    /// The caller's entries, the latest first, below the number `before`.
    pub async fn entries(
        &self,
        home: &Home,
        before: Option<u64>,
        size: u32,
        now: i64,
    ) -> Result<Page<Entry>> {
        let rows = sql(concat!(
            "SELECT ",
            entry_text!(),
            " FROM buffer_entries b
             WHERE b.space_id = $1 AND b.expires_at > $2 AND b.sequence < $3 ORDER BY b.sequence DESC LIMIT $4"
        ))
        .bind(home.space.to_string())
        .bind(now)
        .bind(before.map_or(Ok(i64::MAX), row::int)?)
        .bind(limit(size))
        .fetch_all(&self.db)
        .await?;
        Page::of(&rows, size, |row| row::entry(&row.get::<String>(0)?))
    }

    /// Deletes all of the caller's entries for good.
    pub async fn clear_buffer(&self, home: &Home, now: i64) -> Result<()> {
        retry(async || {
            let mut work = Work::begin(self, home, now).await?;
            let deleted = sql("DELETE FROM buffer_entries WHERE space_id = $1 RETURNING blob_id, size")
                .bind(home.space.to_string())
                .fetch_all(work.tx().await?)
                .await?;
            work.release_entries(&deleted).await?;
            work.commit().await
        })
        .await
    }

    /// Deletes the entries whose time is over at `now`.
    pub async fn sweep_buffers(&self, now: i64) -> Result<()> {
        loop {
            let homes = self
                .homes_with(
                    "SELECT DISTINCT space_id FROM buffer_entries WHERE expires_at <= $1 LIMIT $2",
                    now,
                )
                .await?;
            if homes.is_empty() {
                return Ok(());
            }
            for home in homes {
                retry(async || {
                    let mut work = Work::begin(self, &home, now).await?;
                    let deleted = sql("DELETE FROM buffer_entries WHERE space_id = $1 AND expires_at <= $2
                         RETURNING blob_id, size")
                    .bind(home.space.to_string())
                    .bind(now)
                    .fetch_all(work.tx().await?)
                    .await?;
                    work.release_entries(&deleted).await?;
                    work.commit().await
                })
                .await?;
            }
        }
    }
}

impl Work {
    /// Deletes the entries that are over, and the oldest beyond `keep`.
    pub(super) async fn trim_buffer(&mut self, keep: u32) -> Result<()> {
        let deleted =
            sql(concat!("DELETE FROM buffer_entries WHERE ", beyond!(), " RETURNING blob_id, size"))
                .bind(self.home.space.to_string())
                .bind(self.now)
                .bind(keep)
                .fetch_all(self.tx().await?)
                .await?;
        self.release_entries(&deleted).await
    }

    /// How many bytes [`Work::trim_buffer`] would give back.
    pub(super) async fn beyond(&mut self, keep: u32) -> Result<u64> {
        // PostgreSQL's sum of integers is a NUMERIC.
        let row = sql(concat!(
            "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM buffer_entries WHERE ",
            beyond!()
        ))
        .bind(self.home.space.to_string())
        .bind(self.now)
        .bind(keep)
        .fetch_one(self.tx().await?)
        .await?;
        row::count(&row, 0)
    }

    /// Gives back what entries took that were deleted.
    async fn release_entries(&mut self, deleted: &[Row]) -> Result<()> {
        if !deleted.is_empty() {
            self.make_stale();
        }
        self.release(deleted).await
    }

    /// The number of the latest entry; 0 for none.
    pub(super) async fn last_entry(&mut self) -> Result<u64> {
        let row = sql("SELECT COALESCE(MAX(sequence), 0) FROM buffer_entries WHERE space_id = $1")
            .bind(self.home.space.to_string())
            .fetch_one(self.tx().await?)
            .await?;
        row::count(&row, 0)
    }

    /// Inserts entries.
    pub(super) fn insert_entries(&mut self, entries: &[Entry]) -> Result<()> {
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            rows.push([
                entry.id.to_string().into(),
                self.home.space.to_string().into(),
                row::int(entry.sequence)?.into(),
                (if entry.name.is_some() { 2_i64 } else { 1 }).into(),
                entry.name.clone().unwrap_or_default().into(),
                entry.blob.to_string().into(),
                row::int(entry.size)?.into(),
                row::digest_text(&entry.digest).into(),
                entry.media_type.as_str().into(),
                entry.device.as_str().into(),
                entry.created_at.into(),
                entry.expires_at.into(),
            ]);
        }
        self.make_stale();
        self.write(inserts(
            "INSERT INTO buffer_entries
                (entry_id, space_id, sequence, kind, name, blob_id, size, digest, media_type, device, created_at, expires_at)",
            rows,
            "",
        ));
        Ok(())
    }
}
