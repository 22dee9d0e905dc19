//! Renaming and moving.

use holdall_sql::{retry, sql};

use super::lookup::{live, live_and_below};
use super::work::Work;
use super::{Result, Store};
use crate::domain::authorize::Action;
use crate::domain::change::ChangeKind;
use crate::domain::error::Error;
use crate::domain::id::NodeId;
use crate::domain::name::Name;
use crate::domain::node::{Kind, Node, NodeUpdate};
use crate::domain::path::MAX_DEPTH;
use crate::domain::precondition::Precondition;
use crate::domain::space::Home;

impl Store {
    /// Gives a node another name, another folder, or both.
    pub async fn update_node(
        &self,
        home: &Home,
        id: NodeId,
        update: &NodeUpdate,
        precondition: &Precondition,
        now: i64,
    ) -> Result<Node> {
        retry(async || {
            let mut work = Work::begin(self, home, now).await?;
            let found = live(work.tx().await?, home, Action::Move, id, now).await?;
            found.node.not_root()?;
            precondition.check(Some(&found.node.etag()))?;
            let mut node = found.node;
            let from = node.parent.ok_or(Error::RootImmutable)?;
            let to = match update.parent.filter(|&parent| parent != from) {
                Some(parent) => {
                    let action = Action::UseFolder;
                    let place = live_and_below(work.tx().await?, home, action, parent, Some(id), now).await?;
                    place.node.folder()?;
                    if place.below {
                        return Err(Error::WouldCycle.into());
                    }
                    work.fits_below(&node, place.depth, found.depth).await?;
                    Some(place.node)
                }
                None => None,
            };
            let folder = to.as_ref().map_or(from, |folder| folder.id);
            let name = update.name.clone().map_or_else(|| Name::parse(&node.name), Ok)?;
            let stays = |name: &str| to.is_none() && name == node.name;
            if stays(name.as_str()) {
                return Ok(node);
            }
            let name = work.name_for(id, folder, &name, update.keep_both).await?;
            if stays(&name) {
                return Ok(node);
            }
            node.name = name;
            node.parent = Some(folder);
            node.modified_at = now;
            node.revision =
                work.record(ChangeKind::Moved, node.id, node.version.as_ref().map(|version| version.id));
            match &to {
                Some(folder) => work.arrive(&mut node, folder).await?,
                None => work.update_node(&node)?,
            }
            work.commit().await?;
            Ok(node)
        })
        .await
    }
}

impl Work {
    /// Passes when `node`, with all that is live below it, stays within the depth of paths in a folder at `depth`.
    /// Needs a look at what is below only when the node goes down from `before`.
    pub(super) async fn fits_below(&mut self, node: &Node, depth: usize, before: usize) -> Result<()> {
        let depth = depth + 1;
        let below = MAX_DEPTH.checked_sub(depth).ok_or(TOO_DEEP)?;
        if node.kind == Kind::File || depth <= before {
            return Ok(());
        }
        let too_deep = sql("WITH RECURSIVE down (node_id, depth) AS (
                SELECT CAST($1 AS TEXT), CAST(0 AS BIGINT)
                UNION ALL
                SELECT n.node_id, down.depth + 1
                FROM down JOIN nodes n ON n.parent_id = down.node_id AND n.trashed_at IS NULL
                WHERE down.depth <= $2
             )
             SELECT depth FROM down WHERE depth > $2 LIMIT 1")
        .bind(node.id.to_string())
        .bind(i64::try_from(below).unwrap_or(i64::MAX))
        .fetch_optional(self.tx().await?)
        .await?;
        if too_deep.is_some() { Err(TOO_DEEP.into()) } else { Ok(()) }
    }
}

const TOO_DEEP: Error =
    Error::InvalidField { field: "parent_id", problem: "must not put anything deeper than 64 folders" };
