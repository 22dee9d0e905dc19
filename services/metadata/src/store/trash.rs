//! Putting nodes into the trash and taking them out.

use holdall_sql::retry;

use super::lookup::{Found, any, live, resolve};
use super::purge::{BATCH, Purge};
use super::work::Work;
use super::{Result, Store};
use crate::domain::authorize::Action;
use crate::domain::change::ChangeKind;
use crate::domain::error::Error;
use crate::domain::id::NodeId;
use crate::domain::name::Name;
use crate::domain::node::{Kind, Node, NodeRef};
use crate::domain::precondition::Precondition;
use crate::domain::space::Home;

/// What became of a node that was to be deleted.
pub(super) struct Discarded {
    pub(super) node: Node,
    /// Whether it is to be purged, being too much for one transaction.
    pub(super) unfinished: bool,
}

impl Store {
    /// Puts a node into the trash; what is below it goes along. From a folder that skips the trash it is deleted for good.
    pub async fn trash_node(
        &self,
        home: &Home,
        reference: &NodeRef,
        precondition: &Precondition,
        now: i64,
    ) -> Result<Node> {
        self.trash_by(home, reference, precondition, now, BATCH).await
    }

    pub(super) async fn trash_by(
        &self,
        home: &Home,
        reference: &NodeRef,
        precondition: &Precondition,
        now: i64,
        batch: usize,
    ) -> Result<Node> {
        let discarded = retry(async || {
            let mut work = Work::begin(self, home, now).await?;
            let found = resolve(work.tx().await?, home, Action::Delete, reference, now).await?;
            found.node.not_root()?;
            precondition.check(Some(&found.node.etag()))?;
            let discarded = work.discard(found, batch).await?;
            work.commit().await?;
            Ok::<_, super::Error>(discarded)
        })
        .await?;
        self.finish(home, &discarded, now, batch).await;
        Ok(discarded.node)
    }

    /// Deletes what is left of a node. When that fails the next sweep does it.
    async fn finish(&self, home: &Home, discarded: &Discarded, now: i64, batch: usize) {
        if discarded.unfinished
            && let Err(error) = self.purge_by(home, Purge::Node(discarded.node.id), now, batch).await
        {
            tracing::warn!(%error, "a folder could not be deleted at once; the next sweep does it");
        }
    }

    /// Takes a node out of the trash, to where it was or elsewhere.
    pub async fn restore_node(
        &self,
        home: &Home,
        id: NodeId,
        parent: Option<NodeId>,
        name: Option<&Name>,
        now: i64,
    ) -> Result<Node> {
        retry(async || {
            let mut work = Work::begin(self, home, now).await?;
            let found = any(work.tx().await?, home, Action::Delete, id, now).await?;
            let mut node = found.node;
            if node.trashed_at.is_none() {
                return Err(Error::NotTrashed.into());
            }
            let parent = parent.or(node.parent).ok_or(Error::RootImmutable)?;
            // A live folder is never below this node, which is not live.
            let place = live(work.tx().await?, home, Action::UseFolder, parent, now).await?;
            place.node.folder()?;
            if node.parent != Some(parent) || name.is_some_and(|name| name.as_str() != node.name) {
                node.modified_at = now;
            }
            // The folder it was in may have been moved down meanwhile.
            work.fits_below(&node, place.depth, 0).await?;
            let name = name.cloned().map_or_else(|| Name::parse(&node.name), Ok)?;
            node.name = work.name_for(node.id, parent, &name, false).await?;
            node.parent = Some(parent);
            node.trashed_at = None;
            node.revision =
                work.record(ChangeKind::Restored, node.id, node.version.as_ref().map(|version| version.id));
            work.arrive(&mut node, &place.node).await?;
            work.commit().await?;
            Ok(node)
        })
        .await
    }
}

impl Work {
    /// Puts a node into the trash, or deletes as much of it for good as one batch can when its folder skips the trash.
    pub(super) async fn discard(&mut self, found: Found, batch: usize) -> Result<Discarded> {
        let mut node = found.node;
        node.trashed_at = Some(self.now);
        if found.folder.skip_trash {
            let complete = match node.kind {
                Kind::File => {
                    self.purge_files(&[node.id]).await?;
                    true
                }
                Kind::Folder => self.purge(&[node.id], batch).await?.complete,
            };
            if complete {
                return Ok(Discarded { node, unfinished: false });
            }
            // So long ago that the next sweep ends what breaks off here.
            node.trashed_at = Some(0);
        }
        node.revision =
            self.record(ChangeKind::Trashed, node.id, node.version.as_ref().map(|version| version.id));
        self.update_node(&node)?;
        node.trashed_at = Some(self.now);
        Ok(Discarded { node, unfinished: found.folder.skip_trash })
    }

    /// Writes a node back that came into `folder`, where the policy of that now applies to it.
    pub(super) async fn arrive(&mut self, node: &mut Node, folder: &Node) -> Result<()> {
        if node.kind == Kind::Folder {
            return self.update_node(node);
        }
        node.expires_at = folder.policy.expiry(self.now);
        self.update_node(node)?;
        self.prune_files(folder.id, folder.policy.max_files, node.id).await
    }
}
