//! What folders keep: deleting for good what is more than their policies allow, and what time has ended.

use std::collections::HashMap;

use holdall_sql::{dynamic, retry, sql};

use super::purge::BATCH;
use super::row::{self, list};
use super::work::Work;
use super::{Result, Store};
use crate::domain::id::{NodeId, SpaceId};

impl Store {
    /// Deletes files for good whose time is over at `now`, wherever they are.
    pub async fn sweep_expired(&self, now: i64) -> Result<()> {
        loop {
            let rows = sql(
                "SELECT node_id, space_id FROM nodes WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2",
            )
            .bind(now)
            .bind(i64::try_from(BATCH).unwrap_or(i64::MAX))
            .fetch_all(&self.db)
            .await?;
            if rows.is_empty() {
                return Ok(());
            }
            let mut files: HashMap<SpaceId, Vec<NodeId>> = HashMap::new();
            for row in &rows {
                files.entry(row::id(row, 1)?).or_default().push(row::id(row, 0)?);
            }
            for (space, files) in files {
                let home = self.home_of(space).await?;
                retry(async || {
                    let mut work = Work::begin(self, &home, now).await?;
                    let files = work.expired(&files).await?;
                    work.purge_files(&files).await?;
                    work.commit().await
                })
                .await?;
            }
        }
    }
}

impl Work {
    /// Those of some files that are still there and whose time is over.
    async fn expired(&mut self, files: &[NodeId]) -> Result<Vec<NodeId>> {
        let (files, placeholders) = list(files.iter().map(NodeId::to_string).collect(), 2);
        dynamic(format!("SELECT node_id FROM nodes WHERE expires_at <= $1 AND node_id IN {placeholders}"))
            .bind(self.now)
            .bind_all(files)
            .fetch_all(self.tx().await?)
            .await?
            .iter()
            .map(|row| row::id(row, 0))
            .collect()
    }

    /// Deletes for good what is in a folder beyond `most` files: those that expire first, then the oldest, but not `newest`.
    pub(super) async fn prune_files(&mut self, folder: NodeId, most: u32, newest: NodeId) -> Result<()> {
        if most == 0 {
            return Ok(());
        }
        loop {
            let excess = sql("SELECT node_id FROM nodes
                 WHERE parent_id = $1 AND kind = 2 AND trashed_at IS NULL AND node_id <> $2
                 ORDER BY CASE WHEN expires_at IS NULL THEN 0 ELSE 1 END, expires_at DESC, modified_at DESC, node_id DESC
                 LIMIT $3 OFFSET $4")
            .bind(folder.to_string())
            .bind(newest.to_string())
            .bind(i64::try_from(BATCH).unwrap_or(i64::MAX))
            .bind(most - 1)
            .fetch_all(self.tx().await?)
            .await?
            .iter()
            .map(|row| row::id(row, 0))
            .collect::<Result<Vec<NodeId>>>()?;
            if excess.is_empty() {
                return Ok(());
            }
            self.purge_files(&excess).await?;
        }
    }

    /// Deletes for good the oldest versions of a file beyond `most`.
    pub(super) async fn prune_versions(&mut self, file: NodeId, most: u32) -> Result<()> {
        if most == 0 {
            return Ok(());
        }
        let deleted = sql("DELETE FROM versions WHERE node_id = $1 AND sequence <=
                (SELECT sequence FROM versions WHERE node_id = $1 ORDER BY sequence DESC LIMIT 1 OFFSET $2)
             RETURNING blob_id, size")
        .bind(file.to_string())
        .bind(most)
        .fetch_all(self.tx().await?)
        .await?;
        self.release(&deleted).await
    }
}
