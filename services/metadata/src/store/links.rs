//! Links, as their owner has them.

use holdall_sql::{On, Row, Statement, dynamic, inserts, retry, sql};

use super::lists::{Page, limit};
use super::lookup::live;
use super::row::{self, link_text, node_text};
use super::work::Work;
use super::{Result, Store};
use crate::domain::authorize::Action;
use crate::domain::error::Error;
use crate::domain::id::{LinkId, NodeId};
use crate::domain::idempotency::{Fingerprint, Key};
use crate::domain::link::{Form, Link, LinkUpdate, NewLink, Slug};
use crate::domain::node::Node;
use crate::domain::precondition::Precondition;
use crate::domain::space::Home;

/// A link with the file that it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedNode {
    /// The link.
    pub link: Link,
    /// The file as it is now; `None` when it is in the trash, its time is over, or it was not asked for.
    pub node: Option<Node>,
}

/// Which links to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkFilter {
    /// Only those to this node.
    pub node: Option<NodeId>,
    /// Only those of this form.
    pub form: Option<Form>,
}

impl Store {
    /// Makes a link to a file; with `reuse` one that is there will do, if it has at least half of the time before it.
    pub async fn create_link(
        &self,
        home: &Home,
        node: NodeId,
        new: &NewLink,
        reuse: bool,
        key: Option<&Key>,
        now: i64,
    ) -> Result<Link> {
        let fingerprint = Fingerprint::of("CreateLink", &[node.as_bytes(), &new.asked(), &[u8::from(reuse)]]);
        let keys: Vec<Key> = key.cloned().into_iter().collect();
        retry(async || {
            let mut work = Work::begin(self, home, now).await?;
            let mut answers = work.recall(&keys).await?;
            if let Some(link) = answers.find(&keys, &fingerprint)? {
                return Ok(link);
            }
            new.expiry.check(now)?;
            live(work.tx().await?, home, Action::Share, node, now).await?.node.content()?;
            let there = if reuse { work.link_like(node, new).await? } else { None };
            let link = match there {
                Some(link) => link,
                None => {
                    let link = new.make(node, home.space, now)?;
                    work.insert_links(std::slice::from_ref(&link))?;
                    link
                }
            };
            answers.add(&keys, &fingerprint, &link)?;
            work.remember(answers);
            work.commit().await?;
            Ok(link)
        })
        .await
    }

    /// One of the caller's links, with its file.
    pub async fn link(&self, home: &Home, id: LinkId, now: i64) -> Result<LinkedNode> {
        self.linked_node(home, "l.link_id = $2", id.to_string(), now).await
    }

    /// The caller's link with that slug, with its file.
    pub async fn link_by_slug(&self, home: &Home, slug: &Slug, now: i64) -> Result<LinkedNode> {
        self.linked_node(home, "l.slug = $2", slug.as_str().to_owned(), now).await
    }

    async fn linked_node(
        &self,
        home: &Home,
        which: &'static str,
        value: String,
        now: i64,
    ) -> Result<LinkedNode> {
        let page = format!("SELECT l.* FROM links l WHERE l.space_id = $1 AND {which}");
        let row = dynamic(with_nodes(&page))
            .bind(home.space.to_string())
            .bind(value)
            .fetch_optional(&self.db)
            .await?
            .ok_or(Error::NotFound)?;
        linked_node(&row, now)
    }

    /// The caller's links, the newest first, after a time and id.
    pub async fn links(
        &self,
        home: &Home,
        filter: LinkFilter,
        after: Option<(i64, LinkId)>,
        size: u32,
    ) -> Result<Page<LinkedNode>> {
        let text = format!("SELECT {} FROM ({}) AS l ORDER BY {LATEST}", link_text!(), page(filter));
        let rows = select(text, home, filter, after, size).fetch_all(&self.db).await?;
        Page::of(&rows, size, |row| Ok(LinkedNode { link: row::link(&row.get::<String>(0)?)?, node: None }))
    }

    /// [`Store::links`], with their files.
    pub async fn links_with_nodes(
        &self,
        home: &Home,
        filter: LinkFilter,
        after: Option<(i64, LinkId)>,
        size: u32,
        now: i64,
    ) -> Result<Page<LinkedNode>> {
        let text = with_nodes(&page(filter));
        let rows = select(text, home, filter, after, size).fetch_all(&self.db).await?;
        Page::of(&rows, size, |row| linked_node(row, now))
    }

    /// Changes when a link stops working, or what it calls the file.
    pub async fn update_link(
        &self,
        home: &Home,
        id: LinkId,
        update: &LinkUpdate,
        precondition: &Precondition,
        now: i64,
    ) -> Result<Link> {
        retry(async || {
            let mut work = Work::begin(self, home, now).await?;
            let before = find_link(work.tx().await?, home, id).await?;
            precondition.check(Some(&before.etag()))?;
            let mut link = before.clone();
            if let Some(expiry) = update.expiry {
                expiry.check(now)?;
                link.expires_at = expiry.time(now);
            }
            if let Some(name) = &update.file_name {
                link.file_name.clone_from(name);
            }
            if link == before {
                return Ok(link);
            }
            link.revision += 1;
            let changed =
                sql("UPDATE links SET expires_at = $2, file_name = $3, revision = $4 WHERE link_id = $1")
                    .bind(link.id.to_string())
                    .bind(link.expires_at)
                    .bind(link.file_name.as_str())
                    .bind(row::int(link.revision)?)
                    .execute(work.tx().await?)
                    .await?;
            // A sweep does not wait for the space's lock.
            if changed == 0 {
                return Err(Error::NotFound.into());
            }
            work.make_stale();
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
            let link = find_link(work.tx().await?, home, id).await?;
            precondition.check(Some(&link.etag()))?;
            work.delete_link(link.id).await?;
            work.commit().await
        })
        .await
    }
}

impl Work {
    /// Inserts links to nodes that are there.
    pub(super) fn insert_links(&mut self, links: &[Link]) -> Result<()> {
        let mut rows = Vec::with_capacity(links.len());
        for link in links {
            rows.push([
                link.id.to_string().into(),
                link.slug.as_str().into(),
                i64::from(link.form.number()).into(),
                link.space.to_string().into(),
                link.node.to_string().into(),
                link.created_at.into(),
                link.expires_at.into(),
                row::int(link.revision)?.into(),
                link.file_name.as_str().into(),
                link.max_downloads.into(),
                link.delete_key.map(|key| key.reveal()).into(),
            ]);
        }
        self.write(inserts(
            "INSERT INTO links (link_id, slug, form, space_id, node_id, created_at, expires_at, revision, file_name,
                max_downloads, delete_key)",
            rows,
            "",
        ));
        Ok(())
    }

    pub(super) async fn delete_link(&mut self, id: LinkId) -> Result<()> {
        self.make_stale();
        sql("DELETE FROM links WHERE link_id = $1").bind(id.to_string()).execute(self.tx().await?).await?;
        Ok(())
    }

    /// A link to a file that can stand for a new one: of the same form and with the same name, good for any number of
    /// downloads, with at least half of the time before it, and of those the one that ends first.
    async fn link_like(&mut self, node: NodeId, new: &NewLink) -> Result<Option<Link>> {
        let length = i64::try_from(new.form.length()).unwrap_or(i64::MAX);
        let row = sql(concat!(
            "SELECT ",
            link_text!(),
            " FROM links l
             WHERE l.node_id = $1 AND l.space_id = $2 AND l.form = $3 AND length(l.slug) = $4 AND l.file_name = $5
                AND l.max_downloads = 0 AND l.delete_key IS NULL AND (l.expires_at IS NULL OR l.expires_at >= $6)
             ORDER BY CASE WHEN l.expires_at IS NULL THEN 1 ELSE 0 END, l.expires_at, l.link_id LIMIT 1"
        ))
        .bind(node.to_string())
        .bind(self.home.space.to_string())
        .bind(i64::from(new.form.number()))
        .bind(length)
        .bind(new.file_name.as_str())
        .bind(new.expiry.half(self.now).unwrap_or(i64::MAX))
        .fetch_optional(self.tx().await?)
        .await?;
        row.map(|row| row::link(&row.get::<String>(0)?)).transpose()
    }
}

async fn find_link<'a>(on: impl Into<On<'a>>, home: &Home, id: LinkId) -> Result<Link> {
    let row = sql(concat!("SELECT ", link_text!(), " FROM links l WHERE l.link_id = $1 AND l.space_id = $2"))
        .bind(id.to_string())
        .bind(home.space.to_string())
        .fetch_optional(on)
        .await?
        .ok_or(Error::NotFound)?;
    row::link(&row.get::<String>(0)?)
}

const LATEST: &str = "l.created_at DESC, l.link_id DESC";

/// A page of the links of a space, for [`select`].
fn page(filter: LinkFilter) -> String {
    let node = if filter.node.is_some() { "AND l.node_id = $6" } else { "" };
    let form = if filter.form.is_some() { "AND l.form = $5" } else { "AND CAST($5 AS BIGINT) = 0" };
    format!(
        "SELECT l.* FROM links l WHERE l.space_id = $1 AND (l.created_at, l.link_id) < ($2, $3) {form} {node}
         ORDER BY {LATEST} LIMIT $4"
    )
}

fn select(
    text: String,
    home: &Home,
    filter: LinkFilter,
    after: Option<(i64, LinkId)>,
    size: u32,
) -> Statement {
    let (time, id) = after.map_or((i64::MAX, String::new()), |(time, id)| (time, id.to_string()));
    dynamic(text)
        .bind(home.space.to_string())
        .bind(time)
        .bind(id)
        .bind(limit(size))
        .bind(filter.form.map_or(0, |form| i64::from(form.number())))
        .bind_all(filter.node.map(|id| id.to_string()))
}

/// The statement that gives the links of `page` as [`linked_node`] reads them.
fn with_nodes(page: &str) -> String {
    format!(
        "WITH RECURSIVE page AS ({page}),
         up (start, parent_id, trashed_at) AS (
            SELECT n.node_id, n.parent_id, n.trashed_at FROM page l JOIN nodes n ON n.node_id = l.node_id
            UNION
            SELECT up.start, p.parent_id, p.trashed_at FROM up JOIN nodes p ON p.node_id = up.parent_id
         )
         SELECT {}, CASE WHEN n.node_id NOT IN (SELECT start FROM up WHERE trashed_at IS NOT NULL) THEN {} END
         FROM page l JOIN nodes n ON n.node_id = l.node_id LEFT JOIN versions v ON v.version_id = n.version_id
         ORDER BY {LATEST}",
        link_text!(),
        node_text!()
    )
}

fn linked_node(row: &Row, now: i64) -> Result<LinkedNode> {
    let node: Option<String> = row.get(1)?;
    let node = node.map(|text| row::node(&text)).transpose()?;
    Ok(LinkedNode {
        link: row::link(&row.get::<String>(0)?)?,
        node: node.filter(|node| !node.is_expired(now)),
    })
}
