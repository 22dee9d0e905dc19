//! Making folders, renaming, moving, trashing, restoring.

use holdall_sql::{retry, sql};

use super::lookup::{any, live, live_and_below, resolve, walk};
use super::work::Work;
use super::{Result, Store};
use crate::domain::authorize::Action;
use crate::domain::change::ChangeKind;
use crate::domain::error::Error;
use crate::domain::id::NodeId;
use crate::domain::idempotency::{Fingerprint, Key};
use crate::domain::name::Name;
use crate::domain::node::{Kind, Made, NewFolder, Node, NodeRef};
use crate::domain::path::MAX_DEPTH;
use crate::domain::precondition::Precondition;
use crate::domain::space::Home;

impl Store {
    /// Makes a folder.
    pub async fn create_folder(
        &self,
        home: &Home,
        folder: &NewFolder,
        key: Option<&Key>,
        now: i64,
    ) -> Result<Made> {
        let fingerprint = fingerprint(folder);
        let keys: Vec<Key> = key.cloned().into_iter().collect();
        retry(async || {
            let mut work = Work::begin(self, home, now).await?;
            let mut answers = work.recall(&keys).await?;
            if let Some(made) = answers.find(&keys, &fingerprint)? {
                return Ok(made);
            }
            let parent = resolve(&mut work.tx, home, Action::UseFolder, &folder.parent).await?;
            parent.node.folder()?;
            if parent.depth + folder.names.len() > MAX_DEPTH {
                return Err(Error::InvalidPath("must not be deeper than 64 names").into());
            }
            let walked = walk(&mut work.tx, home, Action::UseFolder, parent.node.id, &folder.names).await?;
            let missing = folder.names.get(walked.depth..).unwrap_or_default();
            let made = if missing.is_empty() {
                if !folder.parents || walked.node.kind != Kind::Folder {
                    return Err(Error::NameConflict.into());
                }
                Made { node: walked.node, created: false }
            } else {
                walked.node.folder()?;
                let nodes = work.new_folders(walked.node.id, missing);
                work.insert_nodes(&nodes).await?;
                Made { node: nodes.into_iter().next_back().unwrap_or(walked.node), created: true }
            };
            answers.add(&keys, &fingerprint, &made)?;
            work.remember(answers).await?;
            work.commit().await?;
            Ok(made)
        })
        .await
    }

    /// Gives a node another name, another folder, or both.
    pub async fn update_node(
        &self,
        home: &Home,
        id: NodeId,
        name: Option<&Name>,
        parent: Option<NodeId>,
        precondition: &Precondition,
        now: i64,
    ) -> Result<Node> {
        retry(async || {
            let mut work = Work::begin(self, home, now).await?;
            let found = live(&mut work.tx, home, Action::Move, id).await?;
            found.node.not_root()?;
            precondition.check(Some(&found.node.etag()))?;
            let mut node = found.node;
            if let Some(parent) = parent.filter(|&parent| node.parent != Some(parent)) {
                let place =
                    live_and_below(&mut work.tx, home, Action::UseFolder, parent, Some(node.id)).await?;
                place.node.folder()?;
                if place.below {
                    return Err(Error::WouldCycle.into());
                }
                work.fits_below(&node, place.depth, found.depth).await?;
                node.parent = Some(parent);
            } else if name.is_none_or(|name| name.as_str() == node.name) {
                return Ok(node);
            }
            if let Some(name) = name {
                name.as_str().clone_into(&mut node.name);
            }
            node.modified_at = now;
            node.revision =
                work.record(ChangeKind::Moved, node.id, node.version.as_ref().map(|version| version.id));
            work.update_node(&node).await?;
            work.commit().await?;
            Ok(node)
        })
        .await
    }

    /// Puts a node into the trash; what is below it goes along.
    pub async fn trash_node(
        &self,
        home: &Home,
        reference: &NodeRef,
        precondition: &Precondition,
        now: i64,
    ) -> Result<Node> {
        retry(async || {
            let mut work = Work::begin(self, home, now).await?;
            let mut node = resolve(&mut work.tx, home, Action::Delete, reference).await?.node;
            node.not_root()?;
            precondition.check(Some(&node.etag()))?;
            node.trashed_at = Some(now);
            node.revision =
                work.record(ChangeKind::Trashed, node.id, node.version.as_ref().map(|version| version.id));
            work.update_node(&node).await?;
            work.commit().await?;
            Ok(node)
        })
        .await
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
            let found = any(&mut work.tx, home, Action::Delete, id).await?;
            let mut node = found.node;
            if node.trashed_at.is_none() {
                return Err(Error::NotTrashed.into());
            }
            let parent = parent.or(node.parent).ok_or(Error::RootImmutable)?;
            // A live folder is never below this node, which is not live.
            let place = live(&mut work.tx, home, Action::UseFolder, parent).await?;
            place.node.folder()?;
            if node.parent != Some(parent) || name.is_some_and(|name| name.as_str() != node.name) {
                node.modified_at = now;
            }
            // The folder it was in may have been moved down meanwhile.
            work.fits_below(&node, place.depth, 0).await?;
            node.parent = Some(parent);
            if let Some(name) = name {
                name.as_str().clone_into(&mut node.name);
            }
            node.trashed_at = None;
            node.revision =
                work.record(ChangeKind::Restored, node.id, node.version.as_ref().map(|version| version.id));
            work.update_node(&node).await?;
            work.commit().await?;
            Ok(node)
        })
        .await
    }
}

impl Work {
    /// A chain of new folders below `parent`, noted in the log.
    pub(super) fn new_folders(&mut self, parent: NodeId, names: &[Name]) -> Vec<Node> {
        let mut parent = parent;
        names
            .iter()
            .map(|name| {
                let id = NodeId::new(self.now);
                let revision = self.record(ChangeKind::Created, id, None);
                let node = Node {
                    id,
                    space: self.home.space,
                    parent: Some(parent),
                    name: name.as_str().to_owned(),
                    kind: Kind::Folder,
                    revision,
                    created_at: self.now,
                    modified_at: self.now,
                    trashed_at: None,
                    version: None,
                };
                parent = id;
                node
            })
            .collect()
    }

    /// Passes when `node`, with all that is live below it, stays within the depth of paths in a folder at `depth`.
    /// Needs a look at what is below only when the node goes down from `before`.
    async fn fits_below(&mut self, node: &Node, depth: usize, before: usize) -> Result<()> {
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
        .fetch_optional(&mut self.tx)
        .await?;
        if too_deep.is_some() { Err(TOO_DEEP.into()) } else { Ok(()) }
    }
}

const TOO_DEEP: Error =
    Error::InvalidField { field: "parent_id", problem: "must not put anything deeper than 64 folders" };

fn fingerprint(folder: &NewFolder) -> Fingerprint {
    let (id, path) = match &folder.parent {
        NodeRef::Id(id) => (id.to_string(), String::new()),
        NodeRef::Path(path) => (String::new(), joined(path.names())),
    };
    Fingerprint::of(
        "CreateFolder",
        &[id.as_bytes(), path.as_bytes(), joined(&folder.names).as_bytes(), &[u8::from(folder.parents)]],
    )
}

/// Names joined as in a path: no name contains a slash.
pub(super) fn joined(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join("/")
}
