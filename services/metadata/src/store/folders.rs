//! Making folders, and saying what they do with the files in them.

use holdall_sql::retry;

use super::lookup::{resolve, walk};
use super::work::Work;
use super::{Result, Store, row};
use crate::domain::authorize::{Action, authorize};
use crate::domain::change::ChangeKind;
use crate::domain::error::Error;
use crate::domain::id::NodeId;
use crate::domain::idempotency::{Fingerprint, Key};
use crate::domain::name::Name;
use crate::domain::node::{Kind, Made, NewFolder, Node, NodeRef};
use crate::domain::path::MAX_DEPTH;
use crate::domain::policy::Policy;
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
            let parent = resolve(work.tx().await?, home, Action::UseFolder, &folder.parent, now).await?;
            parent.node.folder()?;
            if parent.depth + folder.names.len() > MAX_DEPTH {
                return Err(Error::InvalidPath("must not be deeper than 64 names").into());
            }
            let from = parent.node.id;
            let walked =
                walk(work.tx().await?, home, Action::UseFolder, from, &folder.names, None, now).await?;
            let missing = folder.names.get(walked.depth..).unwrap_or_default();
            let made = if missing.is_empty() {
                if !folder.parents || walked.node.kind != Kind::Folder {
                    return Err(Error::NameConflict.into());
                }
                let mut node = walked.node;
                if let Some(policy) = folder.policy {
                    work.set_policy(&mut node, policy)?;
                }
                Made { node, created: false }
            } else {
                walked.node.folder()?;
                work.purge_files(walked.expired.as_slice()).await?;
                let mut nodes = work.new_folders(walked.node.id, missing);
                if let Some(last) = nodes.last_mut() {
                    last.policy = folder.policy.unwrap_or_default();
                }
                work.insert_nodes(&nodes)?;
                Made { node: nodes.into_iter().next_back().unwrap_or(walked.node), created: true }
            };
            answers.add(&keys, &fingerprint, &made)?;
            work.remember(answers);
            work.commit().await?;
            Ok(made)
        })
        .await
    }

    /// Says what a folder does with the files directly in it.
    pub async fn set_folder_policy(
        &self,
        home: &Home,
        folder: &NodeRef,
        policy: Policy,
        precondition: &Precondition,
        now: i64,
    ) -> Result<Node> {
        retry(async || {
            let mut work = Work::begin(self, home, now).await?;
            let mut node = resolve(work.tx().await?, home, Action::SetPolicy, folder, now).await?.node;
            node.folder()?;
            precondition.check(Some(&node.etag()))?;
            work.set_policy(&mut node, policy)?;
            work.commit().await?;
            Ok(node)
        })
        .await
    }
}

impl Work {
    /// Does nothing when the folder has that policy already.
    fn set_policy(&mut self, folder: &mut Node, policy: Policy) -> Result<()> {
        authorize(&self.home.principal(), Action::SetPolicy, folder)?;
        if folder.policy == policy {
            return Ok(());
        }
        folder.policy = policy;
        folder.revision = self.record(ChangeKind::Policy, folder.id, None);
        self.update_node(folder)
    }

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
                    expires_at: None,
                    policy: Policy::NONE,
                };
                parent = id;
                node
            })
            .collect()
    }
}

fn fingerprint(folder: &NewFolder) -> Fingerprint {
    let (id, path) = match &folder.parent {
        NodeRef::Id(id) => (id.to_string(), String::new()),
        NodeRef::Path(path) => (String::new(), joined(path.names())),
    };
    let policy = folder.policy.map(|policy| row::policy_text(&policy).unwrap_or_else(|| "none".to_owned()));
    Fingerprint::of(
        "CreateFolder",
        &[
            id.as_bytes(),
            path.as_bytes(),
            joined(&folder.names).as_bytes(),
            &[u8::from(folder.parents)],
            policy.unwrap_or_default().as_bytes(),
        ],
    )
}

/// Names joined as in a path: no name contains a slash.
pub(super) fn joined(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join("/")
}
