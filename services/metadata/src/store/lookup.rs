//! Finding nodes: by id, with what is above them, and by path, from the root down.

use holdall_sql::{On, sql};

use super::row::{self, node_text};
use super::stride::{STRIDE, Walked, stride};
use super::{Result, Store};
use crate::domain::authorize::{Action, authorize};
use crate::domain::error::Error;
use crate::domain::id::{NodeId, VersionId};
use crate::domain::name::Name;
use crate::domain::node::{Node, NodeRef};
use crate::domain::policy::Policy;
use crate::domain::space::Home;
use crate::domain::version::Version;

/// A node in its tree.
pub(super) struct Found {
    pub(super) node: Node,
    /// How many folders are above it.
    pub(super) depth: usize,
    /// Whether it or a folder above it is in the trash.
    pub(super) in_trash: bool,
    /// Whether the node asked about is it or above it.
    pub(super) below: bool,
    /// The policy of the folder it is in.
    pub(super) folder: Policy,
}

/// Finds a node whoever's it is, live or not, and tells whether it lies at or below `above`.
async fn by_id<'a>(on: impl Into<On<'a>>, id: NodeId, above: Option<NodeId>) -> Result<Option<Found>> {
    let row = sql(concat!(
        "WITH RECURSIVE up (node_id, parent_id, trashed_at) AS (
            SELECT node_id, parent_id, trashed_at FROM nodes WHERE node_id = $1
            UNION ALL
            SELECT p.node_id, p.parent_id, p.trashed_at FROM up JOIN nodes p ON p.node_id = up.parent_id
         )
         SELECT ",
        node_text!(),
        ",
            (SELECT COUNT(*) FROM up), (SELECT COUNT(*) FROM up WHERE trashed_at IS NOT NULL),
            (SELECT COUNT(*) FROM up WHERE node_id = $2),
            (SELECT p.policy FROM nodes p WHERE p.node_id = n.parent_id)
         FROM nodes n LEFT JOIN versions v ON v.version_id = n.version_id
         WHERE n.node_id = $1"
    ))
    .bind(id.to_string())
    .bind(above.map(|id| id.to_string()))
    .fetch_optional(on)
    .await?;
    row.map(|row| {
        let above = row::count(&row, 1)?.saturating_sub(1);
        Ok(Found {
            node: row::node(&row.get::<String>(0)?)?,
            depth: usize::try_from(above).unwrap_or(usize::MAX),
            in_trash: row.get::<i64>(2)? > 0,
            below: row.get::<i64>(3)? > 0,
            folder: row::policy(&row.get::<Option<String>>(4)?.unwrap_or_default())?,
        })
    })
    .transpose()
}

/// The caller's node with that id, live or in the trash.
pub(super) async fn any<'a>(
    on: impl Into<On<'a>>,
    home: &Home,
    action: Action,
    id: NodeId,
    now: i64,
) -> Result<Found> {
    let found = by_id(on, id, None).await?.ok_or(Error::NotFound)?;
    authorize(&home.principal(), action, &found.node)?;
    if found.node.is_expired(now) { Err(Error::NotFound.into()) } else { Ok(found) }
}

/// The caller's live node with that id.
pub(super) async fn live<'a>(
    on: impl Into<On<'a>>,
    home: &Home,
    action: Action,
    id: NodeId,
    now: i64,
) -> Result<Found> {
    live_and_below(on, home, action, id, None, now).await
}

/// The caller's live node with that id, and whether it lies at or below `above`.
pub(super) async fn live_and_below<'a>(
    on: impl Into<On<'a>>,
    home: &Home,
    action: Action,
    id: NodeId,
    above: Option<NodeId>,
    now: i64,
) -> Result<Found> {
    let found = by_id(on, id, above).await?.ok_or(Error::NotFound)?;
    authorize(&home.principal(), action, &found.node)?;
    if found.in_trash || found.node.is_expired(now) { Err(Error::NotFound.into()) } else { Ok(found) }
}

/// Follows `names` from the live folder `from` as far as there are live nodes. A file whose time is over is not there. `ahead` is
/// the first [`stride`] of it, when that was taken already.
pub(super) async fn walk<'a>(
    on: impl Into<On<'a>>,
    home: &Home,
    action: Action,
    from: NodeId,
    names: &[Name],
    ahead: Option<Walked>,
    now: i64,
) -> Result<Walked> {
    let mut on = on.into();
    let mut walked = match ahead {
        Some(walked) => walked,
        None => stride(again(&mut on), from, names.get(..STRIDE).unwrap_or(names)).await?,
    };
    while walked.depth < names.len() && walked.depth % STRIDE == 0 && walked.depth > 0 {
        let rest = names.get(walked.depth..).unwrap_or_default();
        let next = stride(again(&mut on), walked.node.id, rest.get(..STRIDE).unwrap_or(rest)).await?;
        if next.depth == 0 {
            break;
        }
        walked = Walked { depth: walked.depth + next.depth, ..next };
    }
    if walked.node.is_expired(now) {
        let (parent, depth) = walked.node.parent.zip(walked.depth.checked_sub(1)).ok_or(Error::NotFound)?;
        let expired = Some(walked.node.id);
        walked = Walked { depth, expired, ..stride(on, parent, &[]).await? };
    }
    authorize(&home.principal(), action, &walked.node)?;
    Ok(walked)
}

/// The same database or transaction once more.
pub(super) fn again<'a>(on: &'a mut On<'_>) -> On<'a> {
    match on {
        On::Database(db) => On::Database(db),
        On::Transaction(tx) => On::Transaction(tx),
    }
}

/// The caller's live node that a reference names.
pub(super) async fn resolve<'a>(
    on: impl Into<On<'a>>,
    home: &Home,
    action: Action,
    reference: &NodeRef,
    now: i64,
) -> Result<Found> {
    resolve_ahead(on, home, action, reference, None, now).await
}

/// As [`resolve`]; `ahead` as in [`walk`] from the root.
async fn resolve_ahead<'a>(
    on: impl Into<On<'a>>,
    home: &Home,
    action: Action,
    reference: &NodeRef,
    ahead: Option<Walked>,
    now: i64,
) -> Result<Found> {
    match reference {
        NodeRef::Id(id) => live(on, home, action, *id, now).await,
        NodeRef::Path(path) => {
            let names = path.names();
            let walked = walk(on, home, action, home.root, names, ahead, now).await?;
            if walked.depth < names.len() {
                return Err(Error::NotFound.into());
            }
            let Walked { node, depth, folder, .. } = walked;
            Ok(Found { node, depth, in_trash: false, below: false, folder })
        }
    }
}

impl Store {
    /// The caller's live node that a reference names.
    pub async fn node(&self, home: &Home, reference: &NodeRef, now: i64) -> Result<Node> {
        self.look(home, Action::See, reference, now).await
    }

    /// The caller's live node that a reference names, looked up together with what others look up.
    pub(super) async fn look(
        &self,
        home: &Home,
        action: Action,
        reference: &NodeRef,
        now: i64,
    ) -> Result<Node> {
        let ahead = match reference {
            NodeRef::Id(_) => None,
            NodeRef::Path(path) => self.strides.from(home.root, path.names()).await?,
        };
        Ok(resolve_ahead(&self.db, home, action, reference, ahead, now).await?.node)
    }

    /// The file that a reference names, and its current version or the one asked for.
    pub async fn content(
        &self,
        home: &Home,
        reference: &NodeRef,
        version: Option<VersionId>,
        now: i64,
    ) -> Result<(Node, Version)> {
        let node = self.look(home, Action::ReadContent, reference, now).await?;
        let current = node.content()?;
        let version = match version {
            Some(id) if id != current.id => self.earlier_version(home, &node, id).await?,
            _ => current.clone(),
        };
        Ok((node, version))
    }

    async fn earlier_version(&self, home: &Home, node: &Node, id: VersionId) -> Result<Version> {
        authorize(&home.principal(), Action::ReadHistory, node)?;
        let row = sql(concat!(
            "SELECT ",
            row::version_text!(),
            " FROM versions v WHERE v.version_id = $1 AND v.node_id = $2"
        ))
        .bind(id.to_string())
        .bind(node.id.to_string())
        .fetch_optional(&self.db)
        .await?
        .ok_or(Error::NotFound)?;
        row::version(&row.get::<String>(0)?)
    }
}
