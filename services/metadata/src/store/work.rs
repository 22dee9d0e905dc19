//! A change of one space, under its lock.

use holdall_sql::{Dialect, Transaction, insert, sql};
use tracing::Instrument;

use super::freshness::{Freshness, Moment};
use super::{Result, Store, row};
use crate::domain::change::{Change, ChangeKind};
use crate::domain::id::{NodeId, VersionId};
use crate::domain::node::Node;
use crate::domain::space::{Home, Space};
use crate::domain::version::Version;

/// A writing transaction that holds the lock of a space. Dropping it undoes everything.
pub(super) struct Work {
    pub(super) tx: Transaction,
    /// The counters as they will be.
    pub(super) space: Space,
    pub(super) home: Home,
    pub(super) now: i64,
    before: Space,
    freshness: Freshness,
    device: String,
    changes: Vec<Change>,
    loud: bool,
}

impl Work {
    /// Locks the caller's space for a change that has to be durable.
    pub(super) async fn begin(store: &Store, home: &Home, now: i64) -> Result<Self> {
        Self::lock(store, store.db.begin().await?, home, now).await
    }

    /// Locks the caller's space for a change that may be lost with the power: one that a later sweep makes good.
    pub(super) async fn begin_relaxed(store: &Store, home: &Home, now: i64) -> Result<Self> {
        Self::lock(store, store.db.begin_relaxed().await?, home, now).await
    }

    async fn lock(store: &Store, mut tx: Transaction, home: &Home, now: i64) -> Result<Self> {
        // On SQLite the transaction as a whole is the lock.
        let statement = match tx.dialect() {
            Dialect::Sqlite => sql("SELECT quota_bytes, used_bytes, reserved_bytes, change_sequence
                 FROM spaces WHERE space_id = $1"),
            Dialect::Postgres => sql("SELECT quota_bytes, used_bytes, reserved_bytes, change_sequence
                 FROM spaces WHERE space_id = $1 FOR UPDATE"),
        };
        let row = statement.bind(home.space.to_string()).fetch_one(&mut tx).await?;
        let space = row::space(&row, home)?;
        Ok(Self {
            tx,
            before: space.clone(),
            space,
            home: *home,
            now,
            freshness: store.freshness.clone(),
            device: String::new(),
            changes: Vec::new(),
            loud: false,
        })
    }

    /// Names the device that the following changes come from.
    pub(super) fn name_device(&mut self, device: &str) {
        device.clone_into(&mut self.device);
    }

    /// Says that answers read before may be wrong afterwards, though no change is noted for the log.
    pub(super) fn make_stale(&mut self) {
        self.loud = true;
    }

    /// Notes a change for the log and returns its number.
    pub(super) fn record(&mut self, kind: ChangeKind, node: NodeId, version: Option<VersionId>) -> u64 {
        let sequence = self.space.next_sequence();
        let (device, created_at) = (self.device.clone(), self.now);
        self.changes.push(Change { sequence, kind, node, version, device, created_at });
        sequence
    }

    /// Inserts nodes, each after its parent.
    pub(super) async fn insert_nodes(&mut self, nodes: &[Node]) -> Result<()> {
        let mut rows = Vec::with_capacity(nodes.len());
        for node in nodes {
            rows.push([
                node.id.to_string().into(),
                node.space.to_string().into(),
                node.parent.map(|id| id.to_string()).into(),
                node.name.as_str().into(),
                row::kind_number(node.kind).into(),
                row::int(node.revision)?.into(),
                node.created_at.into(),
                node.modified_at.into(),
                node.version.as_ref().map(|version| version.id.to_string()).into(),
                node.expires_at.into(),
                row::policy_text(&node.policy).into(),
            ]);
        }
        insert(
            &mut self.tx,
            "INSERT INTO nodes (node_id, space_id, parent_id, name, kind, revision, created_at, modified_at, version_id,
                expires_at, policy)",
            rows,
            "",
        )
        .await
        .map_err(taken)?;
        Ok(())
    }

    /// Inserts versions of nodes that are there.
    pub(super) async fn insert_versions(&mut self, versions: &[(NodeId, Version)]) -> Result<()> {
        let mut rows = Vec::with_capacity(versions.len());
        for (node, version) in versions {
            rows.push([
                version.id.to_string().into(),
                node.to_string().into(),
                row::int(version.sequence)?.into(),
                version.blob.to_string().into(),
                row::int(version.size)?.into(),
                row::digest_text(&version.digest).into(),
                version.media_type.as_str().into(),
                version.author.to_string().into(),
                version.device.as_str().into(),
                version.created_at.into(),
            ]);
        }
        insert(
            &mut self.tx,
            "INSERT INTO versions
                (version_id, node_id, sequence, blob_id, size, digest, media_type, author_id, device, created_at)",
            rows,
            "",
        )
        .await?;
        Ok(())
    }

    /// Writes back everything about a node that can change.
    pub(super) async fn update_node(&mut self, node: &Node) -> Result<()> {
        sql("UPDATE nodes SET parent_id = $2, name = $3, revision = $4, modified_at = $5, trashed_at = $6,
                version_id = $7, expires_at = $8, policy = $9
             WHERE node_id = $1")
        .bind(node.id.to_string())
        .bind(node.parent.map(|id| id.to_string()))
        .bind(node.name.as_str())
        .bind(row::int(node.revision)?)
        .bind(node.modified_at)
        .bind(node.trashed_at)
        .bind(node.version.as_ref().map(|version| version.id.to_string()))
        .bind(node.expires_at)
        .bind(row::policy_text(&node.policy))
        .execute(&mut self.tx)
        .await
        .map_err(taken)?;
        Ok(())
    }

    /// Writes the log and the counters, and makes it all durable and visible.
    pub(super) async fn commit(mut self) -> Result<()> {
        let quiet = self.changes.is_empty() && !self.loud;
        let mut rows = Vec::with_capacity(self.changes.len());
        for change in self.changes {
            rows.push([
                self.space.id.to_string().into(),
                row::int(change.sequence)?.into(),
                row::change_number(change.kind).into(),
                change.node.to_string().into(),
                change.version.map(|id| id.to_string()).into(),
                change.device.into(),
                change.created_at.into(),
            ]);
        }
        insert(
            &mut self.tx,
            "INSERT INTO changes (space_id, sequence, kind, node_id, version_id, device, created_at)",
            rows,
            "",
        )
        .await?;
        if self.space != self.before || !quiet {
            sql("UPDATE spaces SET used_bytes = $2, reserved_bytes = $3, change_sequence = $4, moment = COALESCE($5, moment)
                 WHERE space_id = $1")
                .bind(self.space.id.to_string())
                .bind(row::int(self.space.used)?)
                .bind(row::int(self.space.reserved)?)
                .bind(row::int(self.space.change_sequence)?)
                .bind((!quiet).then(|| Moment::fresh().number()))
                .execute(&mut self.tx)
                .await?;
        }
        if quiet {
            return Ok(self.tx.commit().await?);
        }
        // On a task of its own: when the caller goes away in the middle, the commit goes on, and must not be thought over.
        let changing = self.freshness.changing(self.space.id);
        let commit = async move {
            let committed = self.tx.commit().await;
            drop(changing);
            committed
        };
        let committed = tokio::spawn(commit.in_current_span());
        Ok(committed.await.map_err(|_| super::Error::OutcomeUnknown)??)
    }
}

/// The only key of a node that can be taken is its name in its folder: ids are new.
fn taken(error: holdall_sql::Error) -> super::Error {
    if error.is_unique_violation() { crate::domain::error::Error::NameConflict.into() } else { error.into() }
}
