//! Clearing away what time has ended. Every sweep may run in several processes at once.

use holdall_sql::{retry, sql};

use super::purge::Purge;
use super::work::Work;
use super::{Result, Store, row};
use crate::domain::space::Home;

/// Rows, or spaces, that one step takes on.
const STEP: i64 = 500;

impl Store {
    /// Gives back the room of uploads that have expired at `now`.
    pub async fn sweep_uploads(&self, now: i64) -> Result<()> {
        loop {
            let homes = self
                .homes_with("SELECT DISTINCT space_id FROM uploads WHERE expires_at <= $1 LIMIT $2", now)
                .await?;
            if homes.is_empty() {
                return Ok(());
            }
            for home in homes {
                self.sweep_space(&home, now).await?;
            }
        }
    }

    /// Gives back the room of the expired uploads of one space.
    pub(super) async fn sweep_space(&self, home: &Home, now: i64) -> Result<()> {
        retry(async || {
            let mut work = Work::begin_relaxed(self, home, now).await?;
            let rows = sql("DELETE FROM uploads WHERE space_id = $1 AND expires_at <= $2 RETURNING size")
                .bind(home.space.to_string())
                .bind(now)
                .fetch_all(&mut work.tx)
                .await?;
            for row in rows {
                work.space.release(row::count(&row, 0)?);
            }
            work.commit().await
        })
        .await
    }

    /// Forgets answers given before `before`.
    pub async fn sweep_answers(&self, before: i64) -> Result<()> {
        loop {
            let gone = retry(async || {
                let mut tx = self.db.begin_relaxed().await?;
                let gone = sql("DELETE FROM answers WHERE (account_id, key) IN
                        (SELECT account_id, key FROM answers WHERE created_at < $1 LIMIT $2)")
                .bind(before)
                .bind(STEP)
                .execute(&mut tx)
                .await?;
                tx.commit().await?;
                Ok::<_, super::Error>(gone)
            })
            .await?;
            if gone == 0 {
                return Ok(());
            }
        }
    }

    /// Deletes for good what was put into the trash before `before`.
    pub async fn sweep_trash(&self, before: i64, now: i64) -> Result<()> {
        loop {
            let homes = self
                .homes_with("SELECT DISTINCT space_id FROM nodes WHERE trashed_at < $1 LIMIT $2", before)
                .await?;
            if homes.is_empty() {
                return Ok(());
            }
            for home in homes {
                self.purge(&home, Purge::TrashedBefore(before), now).await?;
            }
        }
    }

    /// The homes of some spaces that `spaces` finds for a time.
    async fn homes_with(&self, spaces: &'static str, time: i64) -> Result<Vec<Home>> {
        let mut homes = Vec::new();
        for row in sql(spaces).bind(time).bind(STEP).fetch_all(&self.db).await? {
            let row = sql("SELECT owner_id, space_id, root_id FROM spaces WHERE space_id = $1")
                .bind(row.get::<String>(0)?)
                .fetch_one(&self.db)
                .await?;
            homes.push(Home {
                account: row::id(&row, 0)?,
                space: row::id(&row, 1)?,
                root: row::id(&row, 2)?,
            });
        }
        Ok(homes)
    }
}
