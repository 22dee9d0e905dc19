//! Finding nodes: by id, with what is above them, and by path, from the root down.

use std::fmt::Write as _;
use std::sync::LazyLock;

use holdall_sql::{On, sql};

use super::row::{self, node_text};
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

/// The end of a walk along names.
pub(super) struct Walked {
    /// The last node that is there.
    pub(super) node: Node,
    /// How many of the names led to it.
    pub(super) depth: usize,
    /// Bytes of room in its space.
    pub(super) room: u64,
    /// The policy of the folder it is in, when a name led to it.
    pub(super) folder: Policy,
    /// A file whose time is over, which still has the next name.
    pub(super) expired: Option<NodeId>,
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

/// Follows `names` from the live folder `from` as far as there are live nodes. A file whose time is over is not there.
pub(super) async fn walk<'a>(
    on: impl Into<On<'a>>,
    home: &Home,
    action: Action,
    from: NodeId,
    names: &[Name],
    now: i64,
) -> Result<Walked> {
    let mut on = on.into();
    let mut walked = stride(again(&mut on), from, names.get(..STRIDE).unwrap_or(names)).await?;
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

/// Most names that one statement follows: SQLite joins at most 64 tables.
const STRIDE: usize = 24;

/// The statements that follow 0, 1, 2, … names. A chain of outer joins, each on the index of names, is several times as fast
/// as a recursive query.
static STRIDES: LazyLock<Vec<String>> = LazyLock::new(|| {
    (0..=STRIDE)
        .map(|names| {
            let mut joins = String::new();
            let mut found = String::new();
            let mut depth = String::new();
            let mut policy = String::new();
            for at in (1..=names).rev() {
                // Writing to a string does not fail.
                let _ = write!(found, "n{at}.node_id, ");
                let _ = write!(depth, "WHEN n{at}.node_id IS NOT NULL THEN {at} ");
                let _ = write!(policy, "WHEN n{at}.node_id IS NOT NULL THEN n{}.policy ", at - 1);
            }
            for at in 1..=names {
                let _ = write!(
                    joins,
                    "LEFT JOIN nodes n{at} ON n{at}.parent_id = n{}.node_id AND n{at}.name = ${} AND n{at}.trashed_at IS NULL ",
                    at - 1,
                    at + 1
                );
            }
            format!(
                "SELECT {}, CAST(CASE {depth}WHEN n0.node_id IS NOT NULL THEN 0 END AS BIGINT),
                    s.quota_bytes - s.used_bytes - s.reserved_bytes,
                    CASE {policy}WHEN n0.node_id IS NULL THEN n0.policy END
                 FROM nodes n0 {joins}
                 JOIN nodes n ON n.node_id = COALESCE({found}n0.node_id, NULL)
                 JOIN spaces s ON s.space_id = n.space_id
                 LEFT JOIN versions v ON v.version_id = n.version_id
                 WHERE n0.node_id = $1",
                node_text!()
            )
        })
        .collect()
});

/// [`walk`] along at most [`STRIDE`] names.
async fn stride(on: On<'_>, from: NodeId, names: &[Name]) -> Result<Walked> {
    let text = STRIDES.get(names.len()).ok_or(Error::InvalidPath("is too deep"))?;
    let row = sql(text)
        .bind(from.to_string())
        .bind_all(names.iter().map(Name::as_str))
        .fetch_optional(on)
        .await?
        .ok_or(Error::NotFound)?;
    Ok(Walked {
        node: row::node(&row.get::<String>(0)?)?,
        depth: usize::try_from(row::count(&row, 1)?).unwrap_or(usize::MAX),
        // A lowered quota leaves less than nothing.
        room: u64::try_from(row.get::<i64>(2)?).unwrap_or_default(),
        folder: row::policy(&row.get::<Option<String>>(3)?.unwrap_or_default())?,
        expired: None,
    })
}

/// The caller's live node that a reference names.
pub(super) async fn resolve<'a>(
    on: impl Into<On<'a>>,
    home: &Home,
    action: Action,
    reference: &NodeRef,
    now: i64,
) -> Result<Found> {
    match reference {
        NodeRef::Id(id) => live(on, home, action, *id, now).await,
        NodeRef::Path(path) => {
            let names = path.names();
            let walked = walk(on, home, action, home.root, names, now).await?;
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
        Ok(resolve(&self.db, home, Action::See, reference, now).await?.node)
    }

    /// The file that a reference names, and its current version or the one asked for.
    pub async fn content(
        &self,
        home: &Home,
        reference: &NodeRef,
        version: Option<VersionId>,
        now: i64,
    ) -> Result<(Node, Version)> {
        let node = resolve(&self.db, home, Action::ReadContent, reference, now).await?.node;
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
