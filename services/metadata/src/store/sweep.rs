//! Clearing away what time has ended. Every sweep may run in several processes at once.

use holdall_sql::{retry, sql};

use super::purge::Purge;
use super::work::Work;
use super::{Result, Store, row};
use crate::domain::link::Form;
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
                .fetch_all(work.tx().await?)
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

    /// Deletes links of one form that expired by `before`.
    pub async fn sweep_links(&self, form: Form, before: i64) -> Result<()> {
        loop {
            let gone = retry(async || {
                let mut tx = self.db.begin_relaxed().await?;
                // Asked twice, because one that is being changed may have more time when it is found.
                let gone = sql("DELETE FROM links WHERE expires_at <= $2 AND link_id IN
                        (SELECT link_id FROM links WHERE form = $1 AND expires_at <= $2 LIMIT $3)")
                .bind(i64::from(form.number()))
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

    /// The homes of some spaces that `spaces` finds for a time.
    pub(super) async fn homes_with(&self, spaces: &'static str, time: i64) -> Result<Vec<Home>> {
        let mut homes = Vec::new();
        for row in sql(spaces).bind(time).bind(STEP).fetch_all(&self.db).await? {
            homes.push(self.home_of(row::id(&row, 0)?).await?);
        }
        Ok(homes)
    }
}
