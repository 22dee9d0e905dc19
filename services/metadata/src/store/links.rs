//! Links.

use holdall_sql::{dynamic, retry, sql};

use super::lists::{Page, limit};
use super::lookup::live;
use super::row::{self, link_columns, node_text};
use super::work::Work;
use super::{Result, Store};
use crate::domain::authorize::{Action, Principal, authorize};
use crate::domain::error::Error;
use crate::domain::id::{LinkId, NodeId};
use crate::domain::idempotency::{Fingerprint, Key};
use crate::domain::link::{self, Link, Slug};
use crate::domain::node::Node;
use crate::domain::precondition::Precondition;
use crate::domain::space::Home;

impl Store {
    /// Makes a link to a file.
    pub async fn create_link(
        &self,
        home: &Home,
        node: NodeId,
        expires_at: Option<i64>,
        key: Option<&Key>,
        now: i64,
    ) -> Result<Link> {
        let fingerprint = Fingerprint::of(
            "CreateLink",
            &[node.as_bytes(), &expires_at.map(i64::to_le_bytes).unwrap_or_default()],
        );
        let keys: Vec<Key> = key.cloned().into_iter().collect();
        retry(async || {
            let mut work = Work::begin(self, home, now).await?;
            let mut answers = work.recall(&keys).await?;
            if let Some(link) = answers.find(&keys, &fingerprint)? {
                return Ok(link);
            }
            let expires_at = link::expiry(expires_at, now)?;
            live(&mut work.tx, home, Action::Share, node).await?.node.content()?;
            let link = Link {
                id: LinkId::new(now),
                slug: Slug::new()?,
                space: home.space,
                node,
                created_at: now,
                expires_at,
                revision: 1,
            };
            sql("INSERT INTO links (link_id, slug, space_id, node_id, created_at, expires_at, revision)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(link.id.to_string())
            .bind(link.slug.as_str())
            .bind(link.space.to_string())
            .bind(link.node.to_string())
            .bind(link.created_at)
            .bind(link.expires_at)
            .bind(row::int(link.revision)?)
            .execute(&mut work.tx)
            .await?;
            answers.add(&keys, &fingerprint, &link)?;
            work.remember(answers).await?;
            work.commit().await?;
            Ok(link)
        })
        .await
    }

    /// One of the caller's links.
    pub async fn link(&self, home: &Home, id: LinkId) -> Result<Link> {
        self.find_link(&self.db, home, id).await
    }

    /// The caller's links, the newest first, after a time and id; those to one node, or all.
    pub async fn links(
        &self,
        home: &Home,
        node: Option<NodeId>,
        after: Option<(i64, LinkId)>,
        size: u32,
    ) -> Result<Page<Link>> {
        let (time, id) = after.map_or((i64::MAX, String::new()), |(time, id)| (time, id.to_string()));
        let only = if node.is_some() { "AND l.node_id = $5" } else { "" };
        let text = format!(
            "SELECT {} FROM links l WHERE l.space_id = $1 AND (l.created_at, l.link_id) < ($2, $3) {only}
             ORDER BY l.created_at DESC, l.link_id DESC LIMIT $4",
            link_columns!()
        );
        let rows = dynamic(text)
            .bind(home.space.to_string())
            .bind(time)
            .bind(id)
            .bind(limit(size))
            .bind_all(node.map(|id| id.to_string()))
            .fetch_all(&self.db)
            .await?;
        Page::of(&rows, size, |row| row::link(row, 0))
    }

    /// Changes when a link stops working.
    pub async fn update_link(
        &self,
        home: &Home,
        id: LinkId,
        expires_at: Option<i64>,
        precondition: &Precondition,
        now: i64,
    ) -> Result<Link> {
        retry(async || {
            let mut work = Work::begin(self, home, now).await?;
            let mut link = self.find_link(&mut work.tx, home, id).await?;
            precondition.check(Some(&link.etag()))?;
            link.expires_at = link::expiry(expires_at, now)?;
            link.revision += 1;
            sql("UPDATE links SET expires_at = $2, revision = $3 WHERE link_id = $1")
                .bind(link.id.to_string())
                .bind(link.expires_at)
                .bind(row::int(link.revision)?)
                .execute(&mut work.tx)
                .await?;
            work.commit().await?;
            Ok(link)
        })
        .await
    }

    /// Ends a link.
    pub async fn delete_link(
        &self,
        home: &Home,
        id: LinkId,
        precondition: &Precondition,
        now: i64,
    ) -> Result<()> {
        retry(async || {
            let mut work = Work::begin(self, home, now).await?;
            let link = self.find_link(&mut work.tx, home, id).await?;
            precondition.check(Some(&link.etag()))?;
            sql("DELETE FROM links WHERE link_id = $1")
                .bind(link.id.to_string())
                .execute(&mut work.tx)
                .await?;
            work.commit().await
        })
        .await
    }

    async fn find_link<'a>(
        &self,
        on: impl Into<holdall_sql::On<'a>>,
        home: &Home,
        id: LinkId,
    ) -> Result<Link> {
        let row = sql(concat!(
            "SELECT ",
            link_columns!(),
            " FROM links l WHERE l.link_id = $1 AND l.space_id = $2"
        ))
        .bind(id.to_string())
        .bind(home.space.to_string())
        .fetch_optional(on)
        .await?
        .ok_or(Error::NotFound)?;
        row::link(&row, 0)
    }

    /// The link with that slug and the file that it opens now.
    ///
    /// # Errors
    /// [`Error::NotFound`] alike when there is no such link, its time is over, or its file is in the trash.
    pub async fn open_link(&self, slug: &Slug, now: i64) -> Result<(Link, Node)> {
        let row = sql(concat!(
            "WITH RECURSIVE up (node_id, parent_id, trashed_at) AS (
                SELECT n.node_id, n.parent_id, n.trashed_at
                FROM links l JOIN nodes n ON n.node_id = l.node_id WHERE l.slug = $1
                UNION ALL
                SELECT p.node_id, p.parent_id, p.trashed_at FROM up JOIN nodes p ON p.node_id = up.parent_id
             )
             SELECT ", node_text!(), ", (SELECT COUNT(*) FROM up WHERE trashed_at IS NOT NULL), ", link_columns!(), "
             FROM links l JOIN nodes n ON n.node_id = l.node_id LEFT JOIN versions v ON v.version_id = n.version_id
             WHERE l.slug = $1"
        ))
        .bind(slug.as_str())
        .fetch_optional(&self.db)
        .await?
        .ok_or(Error::NotFound)?;
        let node = row::node(&row.get::<String>(0)?)?;
        let in_trash = row.get::<i64>(1)? > 0;
        let link = row::link(&row, 2)?;
        if in_trash || link.is_expired(now) {
            return Err(Error::NotFound.into());
        }
        authorize(&Principal::LinkBearer { space: link.space, node: link.node }, Action::ReadContent, &node)?;
        Ok((link, node))
    }
}
