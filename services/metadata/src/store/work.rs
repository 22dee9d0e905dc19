//! A change of one space, under its lock.

use holdall_sql::{Dialect, Statement, Transaction, execute_together, inserts, sql};
use tracing::Instrument;

use super::freshness::{Freshness, Moment};
use super::{Result, Store, row};
use crate::domain::change::{Change, ChangeKind};
use crate::domain::error::Error;
use crate::domain::id::{NodeId, VersionId};
use crate::domain::node::Node;
use crate::domain::space::{Home, Space};
use crate::domain::version::Version;

/// A writing transaction that holds the lock of a space. Dropping it undoes everything.
pub(super) struct Work {
    tx: Transaction,
    /// The counters as they will be.
    pub(super) space: Space,
    pub(super) home: Home,
    pub(super) now: i64,
    before: Space,
    freshness: Freshness,
    device: String,
    changes: Vec<Change>,
    /// Not sent yet.
    writes: Vec<Statement>,
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
            writes: Vec::new(),
            loud: false,
        })
    }

    /// The transaction, which sees all that was written so far.
    pub(super) async fn tx(&mut self) -> Result<&mut Transaction> {
        let writes = std::mem::take(&mut self.writes);
        execute_together(writes, &mut self.tx).await.map_err(taken)?;
        Ok(&mut self.tx)
    }

    /// Adds statements that go out before the next one that is run on the transaction, or with its commit: all at once, and
    /// independent of each other as [`execute_together`] asks.
    pub(super) fn write(&mut self, statements: impl IntoIterator<Item = Statement>) {
        self.writes.extend(statements);
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
    pub(super) fn insert_nodes(&mut self, nodes: &[Node]) -> Result<()> {
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
        self.write(inserts(
            "INSERT INTO nodes (node_id, space_id, parent_id, name, kind, revision, created_at, modified_at, version_id,
                expires_at, policy)",
            rows,
            "",
        ));
        Ok(())
    }

    /// Inserts versions of nodes that are there, or inserted already.
    pub(super) fn insert_versions(&mut self, versions: &[(NodeId, Version)]) -> Result<()> {
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
        self.write(inserts(
            "INSERT INTO versions
                (version_id, node_id, sequence, blob_id, size, digest, media_type, author_id, device, created_at)",
            rows,
            "",
        ));
        Ok(())
    }

    /// Writes back everything about a node that can change.
    pub(super) fn update_node(&mut self, node: &Node) -> Result<()> {
        let update = sql(
            "UPDATE nodes SET parent_id = $1, name = $2, revision = $3, modified_at = $4, trashed_at = $5,
                version_id = $6, expires_at = $7, policy = $8
             WHERE node_id = $9",
        )
        .bind(node.parent.map(|id| id.to_string()))
        .bind(node.name.as_str())
        .bind(row::int(node.revision)?)
        .bind(node.modified_at)
        .bind(node.trashed_at)
        .bind(node.version.as_ref().map(|version| version.id.to_string()))
        .bind(node.expires_at)
        .bind(row::policy_text(&node.policy))
        .bind(node.id.to_string());
        self.write([update]);
        Ok(())
    }

    /// Writes the log and the counters, and makes it all durable and visible.
    pub(super) async fn commit(mut self) -> Result<()> {
        let quiet = self.changes.is_empty() && !self.loud;
        let mut rows = Vec::with_capacity(self.changes.len());
        for change in std::mem::take(&mut self.changes) {
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
        self.write(inserts(
            "INSERT INTO changes (space_id, sequence, kind, node_id, version_id, device, created_at)",
            rows,
            "",
        ));
        if self.space != self.before || !quiet {
            let update = sql("UPDATE spaces SET used_bytes = $1, reserved_bytes = $2, change_sequence = $3,
                    moment = COALESCE($4, moment)
                 WHERE space_id = $5")
            .bind(row::int(self.space.used)?)
            .bind(row::int(self.space.reserved)?)
            .bind(row::int(self.space.change_sequence)?)
            .bind((!quiet).then(|| Moment::fresh().number()))
            .bind(self.space.id.to_string());
            self.write([update]);
        }
        self.tx().await?;
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

/// The only key of a node that can be taken is its name in its folder, and of a link its slug: ids are new.
fn taken(error: holdall_sql::Error) -> super::Error {
    match &error {
        holdall_sql::Error::UniqueViolation { on } if on.starts_with("nodes") => Error::NameConflict.into(),
        // The dice fell as they did before. Once more, then.
        holdall_sql::Error::UniqueViolation { on } if on.starts_with("links") => super::Error::Busy,
        _ => error.into(),
    }
}
