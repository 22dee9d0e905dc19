//! Lists, a page at a time, each in the order of an index.

use holdall_sql::{dynamic, sql};

use super::lookup::{live, resolve};
use super::row::{self, node_text, version_text};
use super::{Result, Store};
use crate::domain::authorize::{Action, authorize};
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::id::NodeId;
use crate::domain::node::{ChildPosition, Node, NodeRef, Order};
use crate::domain::space::Home;
use crate::domain::version::Version;

/// Some items of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// In the order of the list.
    pub items: Vec<T>,
    /// Whether there are more after them.
    pub has_more: bool,
}

impl<T> Page<T> {
    /// Reads a page of `size` from rows of which one more was asked for.
    pub(super) fn of<R>(
        rows: impl IntoIterator<Item = R>,
        size: u32,
        read: impl Fn(R) -> Result<T>,
    ) -> Result<Self> {
        let mut rows = rows.into_iter();
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let items = rows.by_ref().take(size).map(read).collect::<Result<_>>()?;
        Ok(Self { items, has_more: rows.next().is_some() })
    }
}

/// A row more than the page, to learn whether there is another page.
pub(super) fn limit(size: u32) -> i64 {
    i64::from(size) + 1
}

impl Store {
    /// The live children of a folder after a position.
    pub async fn children(
        &self,
        home: &Home,
        folder: NodeId,
        order: Order,
        descending: bool,
        after: Option<&ChildPosition>,
        size: u32,
    ) -> Result<Page<Node>> {
        let (direction, beyond) = if descending { ("DESC", '<') } else { ("ASC", '>') };
        let (by, from, values) = match (order, after) {
            (Order::Name, None) => (format!("n.name {direction}"), String::new(), vec![]),
            (Order::Name, Some(ChildPosition::Name(name))) => {
                (format!("n.name {direction}"), format!("AND n.name {beyond} $3"), vec![name.as_str().into()])
            }
            (Order::Modified, None) => {
                (format!("n.modified_at {direction}, n.node_id {direction}"), String::new(), vec![])
            }
            (Order::Modified, Some(ChildPosition::Modified(time, id))) => (
                format!("n.modified_at {direction}, n.node_id {direction}"),
                format!("AND (n.modified_at, n.node_id) {beyond} ($3, $4)"),
                vec![(*time).into(), id.to_string().into()],
            ),
            _ => return Err(Error::InvalidPageToken.into()),
        };
        // The whole page as one text: see `row`. No node holds the separator U+001E.
        let text = format!(
            "SELECT string_agg(node, '\x1e') FROM (
                SELECT {} AS node FROM nodes n LEFT JOIN versions v ON v.version_id = n.version_id
                WHERE n.parent_id = $1 AND n.trashed_at IS NULL {from} ORDER BY {by} LIMIT $2
             ) AS page",
            node_text!()
        );
        let row = dynamic(text)
            .bind(folder.to_string())
            .bind(limit(size))
            .bind_all::<holdall_sql::Value>(values)
            .fetch_one(&self.db)
            .await?;
        let nodes: Option<String> = row.get(0)?;
        let page = Page::of(nodes.iter().flat_map(|nodes| nodes.split('\x1e')), size, row::node)?;
        for node in &page.items {
            authorize(&home.principal(), Action::See, node)?;
        }
        Ok(page)
    }

    /// The caller's live folder that a reference names, for listing it.
    pub async fn folder(&self, home: &Home, reference: &NodeRef) -> Result<Node> {
        let node = resolve(&self.db, home, Action::UseFolder, reference).await?.node;
        node.folder()?;
        Ok(node)
    }

    /// The folders above a node, the root first.
    pub async fn ancestors(&self, home: &Home, id: NodeId) -> Result<Vec<Node>> {
        let rows = sql(concat!(
            "WITH RECURSIVE up (node_id, parent_id, height) AS (
                SELECT node_id, parent_id, CAST(0 AS BIGINT) FROM nodes WHERE node_id = $1
                UNION ALL
                SELECT p.node_id, p.parent_id, up.height + 1 FROM up JOIN nodes p ON p.node_id = up.parent_id
             )
             SELECT ", node_text!(), "
             FROM up JOIN nodes n ON n.node_id = up.node_id LEFT JOIN versions v ON v.version_id = n.version_id
             ORDER BY up.height DESC"
        ))
        .bind(id.to_string())
        .fetch_all(&self.db)
        .await?;
        let mut nodes =
            rows.iter().map(|row| row::node(&row.get::<String>(0)?)).collect::<Result<Vec<_>>>()?;
        let node = nodes.pop().ok_or(Error::NotFound)?;
        for node in nodes.iter().chain([&node]) {
            authorize(&home.principal(), Action::See, node)?;
            if node.trashed_at.is_some() {
                return Err(Error::NotFound.into());
            }
        }
        Ok(nodes)
    }

    /// The versions of a file, the newest first, below the number `before`.
    pub async fn versions(
        &self,
        home: &Home,
        file: NodeId,
        before: Option<u64>,
        size: u32,
    ) -> Result<Page<Version>> {
        live(&self.db, home, Action::ReadHistory, file).await?.node.content()?;
        let rows = sql(concat!(
            "SELECT ",
            version_text!(),
            " FROM versions v
             WHERE v.node_id = $1 AND v.sequence < $2 ORDER BY v.sequence DESC LIMIT $3"
        ))
        .bind(file.to_string())
        .bind(before.map_or(Ok(i64::MAX), row::int)?)
        .bind(limit(size))
        .fetch_all(&self.db)
        .await?;
        Page::of(&rows, size, |row| row::version(&row.get::<String>(0)?))
    }

    /// What was put into the trash by itself, the latest first, after a time and id.
    pub async fn trash(&self, home: &Home, after: Option<(i64, NodeId)>, size: u32) -> Result<Page<Node>> {
        let (time, id) = after.map_or((i64::MAX, String::new()), |(time, id)| (time, id.to_string()));
        let rows = sql(concat!(
            "SELECT ",
            node_text!(),
            " FROM nodes n LEFT JOIN versions v ON v.version_id = n.version_id
             WHERE n.space_id = $1 AND n.trashed_at IS NOT NULL AND (n.trashed_at, n.node_id) < ($2, $3)
             ORDER BY n.trashed_at DESC, n.node_id DESC LIMIT $4"
        ))
        .bind(home.space.to_string())
        .bind(time)
        .bind(id)
        .bind(limit(size))
        .fetch_all(&self.db)
        .await?;
        Page::of(&rows, size, |row| row::node(&row.get::<String>(0)?))
    }

    /// The changes after a number, in order.
    ///
    /// Changes become visible in the order of their numbers (see the [module](super)), so a reader that goes on from the last
    /// one it saw misses none.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for a number that no change has yet.
    pub async fn changes(&self, home: &Home, after: u64, size: u32) -> Result<Page<Change>> {
        const UNKNOWN: Error =
            Error::InvalidField { field: "after_sequence", problem: "was never given out" };
        let after = i64::try_from(after).map_err(|_| UNKNOWN)?;
        let rows = sql("SELECT sequence, kind, node_id, version_id, device, created_at FROM changes
             WHERE space_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3")
        .bind(home.space.to_string())
        .bind(after)
        .bind(limit(size))
        .fetch_all(&self.db)
        .await?;
        if rows.is_empty() && after > 0 && row::int(self.space(home).await?.change_sequence)? < after {
            return Err(UNKNOWN.into());
        }
        Page::of(&rows, size, row::change)
    }
}
