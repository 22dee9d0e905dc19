//! Deleting for good what is in the trash.
//!
//! A subtree can be large, and a long transaction would hold up every other writer, so it goes in batches. Each batch starts
//! again from what is in the trash at that moment, goes down level by level, at most [`BATCH`] nodes of each, and deletes
//! from the lowest level up as far as it is sure to have seen all children. So a folder never goes before what is in it, and
//! nothing that was restored meanwhile is touched.

use std::collections::HashMap;

use holdall_sql::{dynamic, retry, sql};

use super::lookup::any;
use super::row::list;
use super::work::Work;
use super::{Result, Store, row};
use crate::domain::authorize::Action;
use crate::domain::change::ChangeKind;
use crate::domain::error::Error;
use crate::domain::id::NodeId;
use crate::domain::space::Home;

/// Nodes of one level that a batch looks at.
const BATCH: usize = 1024;

/// What to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// One node that was put into the trash by itself.
    Node(NodeId),
    /// Everything in the trash.
    All,
    /// What was put there before this time, in Unix microseconds.
    TrashedBefore(i64),
}

impl Store {
    /// Deletes nodes in the trash with all below them, their versions and links, and returns how many nodes that were.
    ///
    /// What was put into the trash by itself before a folder above it followed goes with that folder.
    pub async fn purge(&self, home: &Home, what: Purge, now: i64) -> Result<u64> {
        self.purge_by(home, what, now, BATCH).await
    }

    pub(super) async fn purge_by(&self, home: &Home, what: Purge, now: i64, batch: usize) -> Result<u64> {
        if let Purge::Node(id) = what {
            let found = any(&self.db, home, Action::Delete, id).await?;
            if found.node.trashed_at.is_none() {
                return Err(Error::NotTrashed.into());
            }
        }
        let mut purged = 0;
        loop {
            let done = retry(async || {
                let mut work = Work::begin(self, home, now).await?;
                let tops = work.tops(what, batch).await?;
                if tops.is_empty() {
                    return Ok(0);
                }
                let done = work.purge(&tops, batch).await?;
                work.commit().await?;
                Ok::<_, super::Error>(done)
            })
            .await?;
            if done == 0 {
                return Ok(purged);
            }
            purged += done;
        }
    }
}

impl Work {
    /// Some of the nodes to delete that were put into the trash by themselves.
    async fn tops(&mut self, what: Purge, batch: usize) -> Result<Vec<NodeId>> {
        let limit = i64::try_from(batch).unwrap_or(i64::MAX);
        let before = match what {
            Purge::Node(id) => {
                let row = sql("SELECT node_id FROM nodes WHERE node_id = $1 AND space_id = $2 AND trashed_at IS NOT NULL")
                    .bind(id.to_string())
                    .bind(self.home.space.to_string())
                    .fetch_optional(&mut self.tx)
                    .await?;
                return Ok(row.map(|_| id).into_iter().collect());
            }
            Purge::All => i64::MAX,
            Purge::TrashedBefore(time) => time,
        };
        sql("SELECT node_id FROM nodes WHERE space_id = $1 AND trashed_at IS NOT NULL AND trashed_at < $2
             ORDER BY trashed_at LIMIT $3")
        .bind(self.home.space.to_string())
        .bind(before)
        .bind(limit)
        .fetch_all(&mut self.tx)
        .await?
        .iter()
        .map(|row| row::id(row, 0))
        .collect()
    }

    /// Deletes what one batch can of `tops` and below; never nothing.
    async fn purge(&mut self, tops: &[NodeId], batch: usize) -> Result<u64> {
        // A top may lie below another one, so a node counts on the lowest level where it is met.
        let mut level_of: HashMap<NodeId, usize> = tops.iter().map(|&id| (id, 0)).collect();
        let mut level = tops.to_vec();
        // Levels from here down have all their children in `level_of`.
        let mut complete_from = 0;
        for depth in 1.. {
            level = self.children_of(&level, batch + 1).await?;
            if level.is_empty() {
                break;
            }
            if level.len() > batch {
                level.truncate(batch);
                complete_from = depth;
            }
            level_of.extend(level.iter().map(|&id| (id, depth)));
        }
        let mut doomed: Vec<(NodeId, usize)> =
            level_of.into_iter().filter(|&(_, depth)| depth >= complete_from).collect();
        doomed.sort_unstable_by_key(|&(id, depth)| (std::cmp::Reverse(depth), id));
        if complete_from == 0 {
            for &top in tops {
                self.record(ChangeKind::Purged, top, None);
            }
        }
        let doomed: Vec<NodeId> = doomed.into_iter().map(|(id, _)| id).collect();
        for ids in doomed.chunks(BATCH) {
            self.delete(ids).await?;
        }
        u64::try_from(doomed.len()).map_err(|_| super::Error::Corrupt("number"))
    }

    async fn children_of(&mut self, parents: &[NodeId], limit: usize) -> Result<Vec<NodeId>> {
        let (parents, placeholders) = list(parents.iter().map(NodeId::to_string).collect(), 1);
        dynamic(format!("SELECT node_id FROM nodes WHERE parent_id IN {placeholders} LIMIT {limit}"))
            .bind_all(parents)
            .fetch_all(&mut self.tx)
            .await?
            .iter()
            .map(|row| row::id(row, 0))
            .collect()
    }

    /// Deletes the rows of nodes that have no children but among those already deleted or in `ids`.
    async fn delete(&mut self, ids: &[NodeId]) -> Result<()> {
        let (ids, list) = list(ids.iter().map(NodeId::to_string).collect(), 1);
        let row = dynamic(format!(
            "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM versions WHERE node_id IN {list}"
        ))
        .bind_all(&ids)
        .fetch_one(&mut self.tx)
        .await?;
        self.space.refund(row::count(&row, 0)?);
        dynamic(format!(
            "INSERT INTO released_blobs (blob_id, released_at)
             SELECT DISTINCT blob_id, CAST(${} AS BIGINT) FROM versions WHERE node_id IN {list}
             ON CONFLICT DO NOTHING",
            ids.len() + 1
        ))
        .bind_all(&ids)
        .bind(self.now)
        .execute(&mut self.tx)
        .await?;
        for table in ["links", "versions", "nodes"] {
            dynamic(format!("DELETE FROM {table} WHERE node_id IN {list}"))
                .bind_all(&ids)
                .execute(&mut self.tx)
                .await?;
        }
        Ok(())
    }
}
