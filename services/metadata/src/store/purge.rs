//! Deleting for good: what is in the trash, what skips it, what a space holds.
//!
//! A subtree can be large, and a long transaction would hold up every other writer, so it goes in batches. Each batch starts
//! again from what is to be deleted at that moment, goes down level by level, at most [`BATCH`] nodes of each, and deletes
//! from the lowest level up as far as it is sure to have seen all children. So a folder never goes before what is in it, and
//! nothing that was restored meanwhile is touched.

use std::collections::HashMap;

use holdall_sql::{Row, dynamic, insert, retry, sql};

use super::lookup::any;
use super::row::list;
use super::work::Work;
use super::{Result, Store, row};
use crate::domain::authorize::Action;
use crate::domain::change::ChangeKind;
use crate::domain::error::Error;
use crate::domain::id::{BlobId, NodeId};
use crate::domain::node::NodeRef;
use crate::domain::policy::Policy;
use crate::domain::precondition::Precondition;
use crate::domain::space::Home;

/// Nodes of one level that a batch looks at.
pub(super) const BATCH: usize = 1024;

/// What to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// One node that was put into the trash by itself.
    Node(NodeId),
    /// Everything in the trash.
    All,
    /// What was put there before this time, in Unix microseconds.
    TrashedBefore(i64),
    /// Everything in the space, whether in the trash or not.
    Everything,
}

/// What became of one batch.
pub(super) struct Purged {
    /// How many nodes it deleted.
    pub(super) nodes: u64,
    /// Whether nothing is left of what was to be deleted.
    pub(super) complete: bool,
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
            let found = any(&self.db, home, Action::Delete, id, now).await?;
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
                Ok::<_, super::Error>(done.nodes)
            })
            .await?;
            if done == 0 {
                return Ok(purged);
            }
            purged += done;
        }
    }

    /// Deletes everything in a space for good, but for its root, and returns how many nodes that were. What uploads under way
    /// have reserved ends with them.
    pub async fn empty_space(&self, home: &Home, now: i64) -> Result<u64> {
        let purged = self.purge(home, Purge::Everything, now).await?;
        self.clear_buffer(home, now).await?;
        self.set_folder_policy(home, &NodeRef::Id(home.root), Policy::NONE, &Precondition::None, now).await?;
        Ok(purged)
    }
}

impl Work {
    /// Some of the nodes to delete with all below them.
    async fn tops(&mut self, what: Purge, batch: usize) -> Result<Vec<NodeId>> {
        let limit = i64::try_from(batch).unwrap_or(i64::MAX);
        let before = match what {
            Purge::Node(id) => {
                let row = sql("SELECT node_id FROM nodes WHERE node_id = $1 AND space_id = $2 AND trashed_at IS NOT NULL")
                    .bind(id.to_string())
                    .bind(self.home.space.to_string())
                    .fetch_optional(self.tx().await?)
                    .await?;
                return Ok(row.map(|_| id).into_iter().collect());
            }
            Purge::Everything => return self.children_of(&[self.home.root], batch).await,
            Purge::All => i64::MAX,
            Purge::TrashedBefore(time) => time,
        };
        sql("SELECT node_id FROM nodes WHERE space_id = $1 AND trashed_at IS NOT NULL AND trashed_at < $2
             ORDER BY trashed_at LIMIT $3")
        .bind(self.home.space.to_string())
        .bind(before)
        .bind(limit)
        .fetch_all(self.tx().await?)
        .await?
        .iter()
        .map(|row| row::id(row, 0))
        .collect()
    }

    /// Deletes what one batch can of `tops` and below; never nothing.
    pub(super) async fn purge(&mut self, tops: &[NodeId], batch: usize) -> Result<Purged> {
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
        let nodes = u64::try_from(doomed.len()).map_err(|_| super::Error::Corrupt("number"))?;
        Ok(Purged { nodes, complete: complete_from == 0 })
    }

    /// Deletes files for good.
    pub(super) async fn purge_files(&mut self, files: &[NodeId]) -> Result<()> {
        for &file in files {
            self.record(ChangeKind::Purged, file, None);
        }
        for ids in files.chunks(BATCH) {
            self.delete(ids).await?;
        }
        Ok(())
    }

    async fn children_of(&mut self, parents: &[NodeId], limit: usize) -> Result<Vec<NodeId>> {
        let (parents, placeholders) = list(parents.iter().map(NodeId::to_string).collect(), 1);
        dynamic(format!("SELECT node_id FROM nodes WHERE parent_id IN {placeholders} LIMIT {limit}"))
            .bind_all(parents)
            .fetch_all(self.tx().await?)
            .await?
            .iter()
            .map(|row| row::id(row, 0))
            .collect()
    }

    /// Deletes the rows of nodes that have no children but among those already deleted or in `ids`.
    async fn delete(&mut self, ids: &[NodeId]) -> Result<()> {
        let (ids, list) = list(ids.iter().map(NodeId::to_string).collect(), 1);
        let versions =
            dynamic(format!("DELETE FROM versions WHERE node_id IN {list} RETURNING blob_id, size"))
                .bind_all(&ids)
                .fetch_all(self.tx().await?)
                .await?;
        self.release(&versions).await?;
        for table in ["links", "nodes"] {
            dynamic(format!("DELETE FROM {table} WHERE node_id IN {list}"))
                .bind_all(&ids)
                .execute(self.tx().await?)
                .await?;
        }
        Ok(())
    }

    /// As [`Work::release_blobs`], given rows of `blob_id, size`.
    pub(super) async fn release(&mut self, deleted: &[Row]) -> Result<()> {
        let blobs = deleted.iter().map(|row| Ok((row::id(row, 0)?, row::count(row, 1)?)));
        self.release_blobs(blobs.collect::<Result<_>>()?).await
    }

    /// Refunds content that is deleted, given as blobs and their sizes, and notes them for the collection of garbage.
    pub(super) async fn release_blobs(&mut self, deleted: Vec<(BlobId, u64)>) -> Result<()> {
        let mut rows = Vec::with_capacity(deleted.len());
        for (blob, size) in deleted {
            self.space.refund(size);
            rows.push([blob.to_string().into(), self.now.into()]);
        }
        insert(
            self.tx().await?,
            "INSERT INTO released_blobs (blob_id, released_at)",
            rows,
            "ON CONFLICT DO NOTHING",
        )
        .await?;
        Ok(())
    }
}
