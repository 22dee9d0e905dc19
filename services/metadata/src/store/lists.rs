//! Lists, a page at a time, each in the order of an index.

use holdall_sql::{dynamic, sql};

use super::lookup::live;
use super::row::{self, node_text, version_text};
use super::{Result, Store};
use crate::domain::authorize::{Action, authorize};
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::id::NodeId;
use crate::domain::name::Name;
use crate::domain::node::{ChildPosition, Node, NodeRef, Order, Sort};
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

/// A live node that was found by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// It.
    pub node: Node,
    /// The names from the root to it, joined by `/`.
    pub path: String,
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
        sort: Sort,
        after: Option<&ChildPosition>,
        size: u32,
        now: i64,
    ) -> Result<Page<Node>> {
        let (direction, beyond) = if sort.descending { ("DESC", '<') } else { ("ASC", '>') };
        let (by, from, values) = match (sort.by, after) {
            (Order::Name, None) => (format!("n.name {direction}"), String::new(), vec![]),
            (Order::Name, Some(ChildPosition::Name(name))) => {
                (format!("n.name {direction}"), format!("AND n.name {beyond} $4"), vec![name.as_str().into()])
            }
            (Order::Modified, None) => {
                (format!("n.modified_at {direction}, n.node_id {direction}"), String::new(), vec![])
            }
            (Order::Modified, Some(ChildPosition::Modified(time, id))) => (
                format!("n.modified_at {direction}, n.node_id {direction}"),
                format!("AND (n.modified_at, n.node_id) {beyond} ($4, $5)"),
                vec![(*time).into(), id.to_string().into()],
            ),
            _ => return Err(Error::InvalidPageToken.into()),
        };
        // The whole page as one text: see `row`. No node holds the separator U+001E.
        let text = format!(
            "SELECT string_agg(node, '\x1e') FROM (
                SELECT {} AS node FROM nodes n LEFT JOIN versions v ON v.version_id = n.version_id
                WHERE n.parent_id = $1 AND n.trashed_at IS NULL AND (n.expires_at IS NULL OR n.expires_at > $3) {from} ORDER BY {by} LIMIT $2
             ) AS page",
            node_text!()
        );
        let row = dynamic(text)
            .bind(folder.to_string())
            .bind(limit(size))
            .bind(now)
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
    pub async fn folder(&self, home: &Home, reference: &NodeRef, now: i64) -> Result<Node> {
        let node = self.look(home, Action::UseFolder, reference, now).await?;
        node.folder()?;
        Ok(node)
    }

    /// The nodes with a name that are not in the trash themselves, after an id, in the order of their ids: each with its path,
    /// or nothing where it is not live.
    pub async fn named(
        &self,
        home: &Home,
        name: &Name,
        after: Option<NodeId>,
        size: u32,
        now: i64,
    ) -> Result<Page<(NodeId, Option<Named>)>> {
        // A way up that meets the trash does not come to the root.
        let rows = sql(concat!(
            "WITH RECURSIVE named (node_id) AS (
                SELECT node_id FROM nodes
                WHERE space_id = $1 AND name = $2 AND trashed_at IS NULL AND node_id > $3 ORDER BY node_id LIMIT $4
             ),
             up (node_id, parent_id, path) AS (
                SELECT n.node_id, n.parent_id, n.name FROM named JOIN nodes n ON n.node_id = named.node_id
                UNION ALL
                SELECT up.node_id, p.parent_id,
                    CASE WHEN p.parent_id IS NULL THEN up.path ELSE p.name || '/' || up.path END
                FROM up JOIN nodes p ON p.node_id = up.parent_id WHERE p.trashed_at IS NULL
             )
             SELECT ",
            node_text!(),
            ", up.path
             FROM named JOIN nodes n ON n.node_id = named.node_id
             LEFT JOIN versions v ON v.version_id = n.version_id
             LEFT JOIN up ON up.node_id = n.node_id AND up.parent_id IS NULL
             ORDER BY n.node_id"
        ))
        .bind(home.space.to_string())
        .bind(name.as_str())
        .bind(after.map_or(String::new(), |id| id.to_string()))
        .bind(limit(size))
        .fetch_all(&self.db)
        .await?;
        Page::of(&rows, size, |row| {
            let node = row::node(&row.get::<String>(0)?)?;
            authorize(&home.principal(), Action::See, &node)?;
            let path = row.get::<Option<String>>(1)?.filter(|_| !node.is_expired(now));
            Ok((node.id, path.map(|path| Named { node, path })))
        })
    }

    /// The folders above a node, the root first.
    pub async fn ancestors(&self, home: &Home, id: NodeId, now: i64) -> Result<Vec<Node>> {
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
            if node.trashed_at.is_some() || node.is_expired(now) {
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
        now: i64,
    ) -> Result<Page<Version>> {
        live(&self.db, home, Action::ReadHistory, file, now).await?.node.content()?;
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
    pub async fn trash(
        &self,
        home: &Home,
        after: Option<(i64, NodeId)>,
        size: u32,
        now: i64,
    ) -> Result<Page<Node>> {
        let (time, id) = after.map_or((i64::MAX, String::new()), |(time, id)| (time, id.to_string()));
        let rows = sql(concat!(
            "SELECT ",
            node_text!(),
            " FROM nodes n LEFT JOIN versions v ON v.version_id = n.version_id
             WHERE n.space_id = $1 AND n.trashed_at IS NOT NULL AND (n.trashed_at, n.node_id) < ($2, $3)
                AND (n.expires_at IS NULL OR n.expires_at > $5)
             ORDER BY n.trashed_at DESC, n.node_id DESC LIMIT $4"
        ))
        .bind(home.space.to_string())
        .bind(time)
        .bind(id)
        .bind(limit(size))
        .bind(now)
        .fetch_all(&self.db)
        .await?;
        Page::of(&rows, size, |row| row::node(&row.get::<String>(0)?))
    }

    /// Tells the log of changes from what it was before a backup was restored. Stays the same while this process runs.
    pub async fn feed_epoch(&self) -> Result<&str> {
        Ok(self.feed_epoch.get_or_try_init(|| self.read_feed_epoch()).await?)
    }

    async fn read_feed_epoch(&self) -> Result<String> {
        Ok(sql("SELECT feed_epoch FROM instance").fetch_one(&self.db).await?.get(0)?)
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
