//! The buffer of a space.

use holdall_sql::{retry, sql};

use super::lists::{Page, limit};
use super::row::{self, entry_text};
use super::work::Work;
use super::{Result, Store};
use crate::domain::buffer::{Entry, NewEntry};
use crate::domain::error::Error;
use crate::domain::id::EntryId;
use crate::domain::idempotency::{Fingerprint, Key};
use crate::domain::space::Home;
use crate::domain::upload::Begun;

impl Store {
    /// Reserves room for an entry, as for an upload.
    pub async fn begin_entry(&self, home: &Home, size: Option<u64>, now: i64) -> Result<Begun> {
        self.admit(home, size, None, now).await
    }

    /// Makes stored bytes the latest entry. What is too much then, or over, makes room for it.
    pub async fn commit_entry(&self, home: &Home, new: &NewEntry, now: i64) -> Result<Entry> {
        let limits = self.terms.buffer;
        let keys = [Key::upload(new.stored.upload)];
        let name = new.name.as_ref().map_or("", |name| name.as_str());
        let fingerprint = Fingerprint::of("CommitEntry", &[name.as_bytes(), &new.stored.digest.0]);
        retry(async || {
            let mut work = Work::begin(self, home, now).await?;
            let mut answers = work.recall(&keys).await?;
            if let Some(entry) = answers.find(&keys, &fingerprint)? {
                return Ok(entry);
            }
            work.trim_buffer(limits.keep).await?;
            let held = work.reserved(std::iter::once(new.stored.upload)).await?;
            work.space.settle(held.values().sum(), new.stored.size)?;
            let mut entry = Entry {
                id: EntryId::new(now),
                sequence: 0,
                name: new.name.clone().map(String::from),
                blob: new.stored.blob,
                size: new.stored.size,
                digest: new.stored.digest,
                media_type: new.media_type.as_str().to_owned(),
                device: new.device.clone(),
                created_at: now,
                expires_at: limits.expiry(new.time_to_live, now),
            };
            entry.sequence = work.insert_entry(&entry).await?;
            if !held.is_empty() {
                work.forget_uploads(&[new.stored.upload]).await?;
            }
            answers.add(&keys, &fingerprint, &entry)?;
            work.remember(answers).await?;
            work.commit().await?;
            Ok(entry)
        })
        .await
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
                .fetch_all(&mut work.tx)
                .await?;
            work.release(&deleted).await?;
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
                    .fetch_all(&mut work.tx)
                    .await?;
                    work.release(&deleted).await?;
                    work.commit().await
                })
                .await?;
            }
        }
    }
}

impl Work {
    /// Deletes the entries that are over, and the oldest that are too many as soon as there is one more.
    async fn trim_buffer(&mut self, keep: u32) -> Result<()> {
        let deleted =
            sql("DELETE FROM buffer_entries WHERE space_id = $1 AND (expires_at <= $2 OR sequence <=
                (SELECT sequence FROM buffer_entries WHERE space_id = $1 AND expires_at > $2
                 ORDER BY sequence DESC LIMIT 1 OFFSET $3))
             RETURNING blob_id, size")
            .bind(self.home.space.to_string())
            .bind(self.now)
            .bind(keep.saturating_sub(1))
            .fetch_all(&mut self.tx)
            .await?;
        self.release(&deleted).await
    }

    /// Inserts an entry as the latest and returns its number.
    async fn insert_entry(&mut self, entry: &Entry) -> Result<u64> {
        let row = sql("INSERT INTO buffer_entries
                (entry_id, space_id, kind, name, blob_id, size, digest, media_type, device, created_at, expires_at, sequence)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
                (SELECT COALESCE(MAX(sequence), 0) + 1 FROM buffer_entries WHERE space_id = $2))
             RETURNING sequence")
        .bind(entry.id.to_string())
        .bind(self.home.space.to_string())
        .bind(if entry.name.is_some() { 2_i64 } else { 1 })
        .bind(entry.name.clone().unwrap_or_default())
        .bind(entry.blob.to_string())
        .bind(row::int(entry.size)?)
        .bind(row::digest_text(&entry.digest))
        .bind(entry.media_type.as_str())
        .bind(entry.device.as_str())
        .bind(entry.created_at)
        .bind(entry.expires_at)
        .fetch_one(&mut self.tx)
        .await?;
        row::count(&row, 0)
    }
}
