//! Links, as those meet them who were given one: the slug is the proof.

use holdall_sql::{On, retry, sql};

use super::lookup::Found;
use super::purge::BATCH;
use super::row::{self, link_text, node_text};
use super::work::Work;
use super::{Result, Store};
use crate::domain::authorize::{Action, Principal, authorize};
use crate::domain::error::Error;
use crate::domain::link::{DeleteKey, Form, Link, Slug};
use crate::domain::node::Node;

/// A link with the file that it opens.
struct Opened {
    link: Link,
    found: Found,
}

impl Store {
    /// The link with that slug and form, and the file that it opens now. With `download` that counts, where downloads are
    /// limited; at the first attempt too many the file is deleted.
    ///
    /// # Errors
    /// [`Error::NotFound`] alike when there is no such link, its time or its downloads are over, or its file is in the trash
    /// or expired.
    pub async fn open_link(&self, slug: &Slug, form: Form, download: bool, now: i64) -> Result<(Link, Node)> {
        let Opened { mut link, found } = open(&self.db, slug, form, now).await?;
        let bearer = Principal::LinkBearer { space: link.space, node: link.node, delete: false };
        authorize(&bearer, Action::ReadContent, &found.node)?;
        if !link.is_limited() {
            return Ok((link, found.node));
        }
        if download && self.count_download(&link).await? {
            link.downloads += 1;
        } else if download {
            self.delete_used_up(slug, &link, now).await?;
            return Err(Error::NotFound.into());
        } else if link.is_used_up() {
            return Err(Error::NotFound.into());
        }
        Ok((link, found.node))
    }

    /// Counts a download; false when there were as many as there may be.
    async fn count_download(&self, link: &Link) -> Result<bool> {
        let counted = retry(async || {
            sql("UPDATE links SET downloads = downloads + 1 WHERE link_id = $1 AND downloads < max_downloads")
                .bind(link.id.to_string())
                .execute(&self.db)
                .await
        })
        .await?;
        Ok(counted > 0)
    }

    /// Deletes the file of a link that is used up, in the name of its owner.
    async fn delete_used_up(&self, slug: &Slug, link: &Link, now: i64) -> Result<()> {
        let home = self.home_of(link.space).await?;
        let discarded = retry(async || {
            let mut work = Work::begin(self, &home, now).await?;
            let Opened { link, found } = open(work.tx().await?, slug, link.form, now).await?;
            // Somebody may have deleted it, and made another.
            if !link.is_used_up() {
                return Err(Error::NotFound.into());
            }
            authorize(&home.principal(), Action::Delete, &found.node)?;
            let discarded = work.discard(found, BATCH).await?;
            work.commit().await?;
            Ok::<_, super::Error>(discarded)
        })
        .await?;
        tracing::debug!(node = %discarded.node.id, "the file of a used-up link was deleted");
        Ok(())
    }

    /// Deletes the file of a link, and the link, for somebody who has the link's delete key.
    ///
    /// # Errors
    /// [`Error::NotFound`] as [`Store::open_link`], [`Error::Forbidden`] when the key is not the link's.
    pub async fn delete_by_link(
        &self,
        slug: &Slug,
        form: Form,
        key: Option<&DeleteKey>,
        now: i64,
    ) -> Result<()> {
        // Strangers do not get at the lock of a space.
        let opened = open(&self.db, slug, form, now).await?;
        opened.may_delete(key)?;
        let home = self.home_of(opened.link.space).await?;
        retry(async || {
            let mut work = Work::begin(self, &home, now).await?;
            let opened = open(work.tx().await?, slug, form, now).await?;
            opened.may_delete(key)?;
            work.delete_link(opened.link.id).await?;
            work.discard(opened.found, BATCH).await?;
            work.commit().await
        })
        .await
    }
}

impl Opened {
    fn may_delete(&self, key: Option<&DeleteKey>) -> Result<()> {
        if self.link.is_used_up() {
            return Err(Error::NotFound.into());
        }
        let delete = self.link.delete_key.zip(key).is_some_and(|(ours, shown)| ours.is(shown));
        let bearer = Principal::LinkBearer { space: self.link.space, node: self.link.node, delete };
        Ok(authorize(&bearer, Action::Delete, &self.found.node)?)
    }
}

/// Finds a link that is in force, used up or not.
async fn open<'a>(on: impl Into<On<'a>>, slug: &Slug, form: Form, now: i64) -> Result<Opened> {
    let row = sql(concat!(
        "WITH RECURSIVE up (node_id, parent_id, trashed_at) AS (
            SELECT n.node_id, n.parent_id, n.trashed_at
            FROM links l JOIN nodes n ON n.node_id = l.node_id WHERE l.slug = $1
            UNION ALL
            SELECT p.node_id, p.parent_id, p.trashed_at FROM up JOIN nodes p ON p.node_id = up.parent_id
         )
         SELECT ", link_text!(), ", ", node_text!(), ",
            (SELECT COUNT(*) FROM up), (SELECT COUNT(*) FROM up WHERE trashed_at IS NOT NULL),
            (SELECT p.policy FROM nodes p WHERE p.node_id = n.parent_id)
         FROM links l JOIN nodes n ON n.node_id = l.node_id LEFT JOIN versions v ON v.version_id = n.version_id
         WHERE l.slug = $1"
    ))
    .bind(slug.as_str())
    .fetch_optional(on)
    .await?
    .ok_or(Error::NotFound)?;
    let link = row::link(&row.get::<String>(0)?)?;
    let found = Found {
        node: row::node(&row.get::<String>(1)?)?,
        depth: usize::try_from(row::count(&row, 2)?.saturating_sub(1)).unwrap_or(usize::MAX),
        in_trash: row.get::<i64>(3)? > 0,
        below: false,
        folder: row::policy(&row.get::<Option<String>>(4)?.unwrap_or_default())?,
    };
    if link.form != form || link.is_expired(now) || found.in_trash || found.node.is_expired(now) {
        return Err(Error::NotFound.into());
    }
    Ok(Opened { link, found })
}
