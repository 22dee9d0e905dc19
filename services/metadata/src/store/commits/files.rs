//! Files that are committed together.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::super::answers::Answers;
use super::super::stride::{STRIDE, Walked, Way, strides};
use super::super::uploads::{Slot, find};
use super::super::work::Work;
use super::super::{Result, folders};
use crate::domain::authorize::{Action, authorize};
use crate::domain::change::ChangeKind;
use crate::domain::error::Error;
use crate::domain::id::{NodeId, UploadId, VersionId};
use crate::domain::idempotency::{Fingerprint, Key};
use crate::domain::link::{Link, NewLink};
use crate::domain::node::{Kind, Node, Target};
use crate::domain::path::Path;
use crate::domain::policy::Policy;
use crate::domain::upload::{Commit, Committed};
use crate::domain::version::Version;

fn fingerprint(commit: &Commit) -> Fingerprint {
    let (id, path) = match &commit.target {
        Target::Node(id) => (id.to_string(), String::new()),
        Target::Child { parent, name } => (parent.to_string(), name.as_str().to_owned()),
        Target::Path(path) => (String::new(), folders::joined(path.names())),
    };
    let link = commit.link.as_ref().map(NewLink::asked).unwrap_or_default();
    Fingerprint::of(
        "CommitUpload",
        &[id.as_bytes(), path.as_bytes(), &commit.stored.digest.0, &[u8::from(commit.keep_both)], &link],
    )
}

/// What the commits of a transaction write, not written yet.
#[derive(Default)]
pub(super) struct Batch {
    nodes: Vec<Node>,
    updates: Vec<Node>,
    versions: Vec<(NodeId, Version)>,
    links: Vec<Link>,
    /// Folders with a new file that is to stay, and the most files that they may have.
    filled: HashMap<NodeId, (u32, NodeId)>,
    /// Files with a new version, and the most that they may have.
    renewed: HashMap<NodeId, u32>,
    /// Places that `nodes` take, and nodes that `updates` and `links` concern: what must not be read before it is written.
    taken: HashSet<(NodeId, String)>,
    changed: HashSet<NodeId>,
    /// Uploads whose reservation ends.
    released: Vec<UploadId>,
    /// Where paths led before anything was written.
    ahead: HashMap<Path, Walked>,
}

impl Batch {
    /// Finds out where the paths of commits lead, with few statements.
    pub(super) async fn look_ahead(
        &mut self,
        work: &mut Work,
        commits: impl Iterator<Item = &Commit>,
    ) -> Result<()> {
        let paths = commits.filter_map(|commit| match &commit.target {
            Target::Path(path) if path.names().len() <= STRIDE => Some(path),
            _ => None,
        });
        let paths: Vec<&Path> = paths.collect();
        // For one alone nothing is gained.
        if paths.len() > 1 {
            let ways: Vec<Way> = paths.iter().map(|path| (work.home.root, path.names().to_vec())).collect();
            let walked = strides(work.tx().await?, &ways).await?;
            let known = paths.into_iter().zip(walked);
            self.ahead.extend(known.filter_map(|(path, walked)| Some((path.clone(), walked?))));
        }
        Ok(())
    }

    /// Decides on a commit. After a refusal nothing of it is left. `held` is what its upload has reserved.
    pub(super) async fn add(
        &mut self,
        work: &mut Work,
        commit: &Commit,
        keys: &[Key],
        held: u64,
        answers: &mut Answers,
    ) -> Result<Committed> {
        let fingerprint = fingerprint(commit);
        if let Some(made) = answers.find(keys, &fingerprint)? {
            return Ok(made);
        }
        let home = work.home;
        let look = async |work: &mut Work, ahead| {
            let now = work.now;
            Ok::<_, super::super::Error>(
                find(work.tx().await?, &home, &commit.target, commit.keep_both, ahead, now).await?.0,
            )
        };
        let ahead = match &commit.target {
            Target::Path(path) => self.ahead.remove(path),
            Target::Node(_) | Target::Child { .. } => None,
        };
        let mut slot = look(work, ahead).await?;
        if self.touches(&slot) {
            self.write(work).await?;
            slot = look(work, None).await?;
        }
        slot.check(&commit.precondition)?;
        if let Some(link) = &commit.link {
            link.expiry.check(work.now)?;
        }
        let (node, created) = self.place(work, slot, commit, held).await?;
        let link = match &commit.link {
            Some(new) => {
                authorize(&home.principal(), Action::Share, &node)?;
                let link = new.make(node.id, home.space, work.now)?;
                self.changed.insert(node.id);
                self.links.push(link.clone());
                Some(link)
            }
            None => None,
        };
        if held > 0 {
            self.released.push(commit.stored.upload);
        }
        let committed = Committed { node, created, link };
        answers.add(keys, &fingerprint, &committed)?;
        Ok(committed)
    }

    /// Whether a place depends on what is not written yet.
    fn touches(&self, slot: &Slot<'_>) -> bool {
        match slot {
            Slot::Taken { file, .. } => self.changed.contains(&file.id),
            Slot::Free { parent, missing, expired, .. } => {
                expired.is_some_and(|file| self.changed.contains(&file))
                    || missing
                        .first()
                        .is_some_and(|name| self.taken.contains(&(*parent, name.as_str().to_owned())))
            }
            // The next name is chosen with regard to what is taken.
            Slot::Beside { .. } => false,
        }
    }

    async fn place(
        &mut self,
        work: &mut Work,
        slot: Slot<'_>,
        commit: &Commit,
        held: u64,
    ) -> Result<(Node, bool)> {
        match slot {
            Slot::Taken { file, folder } => self.renew(work, *file, folder, commit, held),
            Slot::Free { parent, missing, folder, expired } => {
                let (name, folders) = missing.split_last().ok_or(Error::NotAFile)?;
                work.purge_files(expired.as_slice()).await?;
                work.space.settle(held, commit.stored.size)?;
                work.name_device(&commit.device);
                let folders = work.new_folders(parent, folders);
                if let Some(first) = missing.first() {
                    self.taken.insert((parent, first.as_str().to_owned()));
                }
                let (parent, folder) = folders.last().map_or((parent, folder), |last| (last.id, last.policy));
                self.nodes.extend(folders);
                Ok((self.add_file(work, parent, name.as_str().to_owned(), folder, commit), true))
            }
            Slot::Beside { parent, name, folder } => {
                let name = work.next_name(parent, name, None, &self.taken).await?;
                work.space.settle(held, commit.stored.size)?;
                work.name_device(&commit.device);
                self.taken.insert((parent, name.clone()));
                Ok((self.add_file(work, parent, name, folder, commit), true))
            }
        }
    }

    /// Gives a file new content.
    fn renew(
        &mut self,
        work: &mut Work,
        mut file: Node,
        folder: Policy,
        commit: &Commit,
        held: u64,
    ) -> Result<(Node, bool)> {
        let expires_at = folder.expiry(work.now);
        let current = file.content()?;
        if current.digest == commit.stored.digest && current.media_type == commit.media_type.as_str() {
            work.space.release(held);
            // The content was written once more, and lives on from now.
            if file.expires_at != expires_at {
                file.expires_at = expires_at;
                work.make_stale();
                self.changed.insert(file.id);
                self.updates.push(file.clone());
            }
            return Ok((file, false));
        }
        work.space.settle(held, commit.stored.size)?;
        work.name_device(&commit.device);
        let version = new_version(work, ChangeKind::Content, file.id, commit);
        file.revision = version.sequence;
        file.modified_at = work.now;
        file.expires_at = expires_at;
        file.version = Some(version.clone());
        self.versions.push((file.id, version));
        self.changed.insert(file.id);
        self.updates.push(file.clone());
        if folder.max_versions > 0 {
            self.renewed.insert(file.id, folder.max_versions);
        }
        Ok((file, false))
    }

    /// Makes a file in a folder with that policy.
    fn add_file(
        &mut self,
        work: &mut Work,
        parent: NodeId,
        name: String,
        folder: Policy,
        commit: &Commit,
    ) -> Node {
        let id = NodeId::new(work.now);
        let version = new_version(work, ChangeKind::Created, id, commit);
        let node = Node {
            id,
            space: work.home.space,
            parent: Some(parent),
            name,
            kind: Kind::File,
            revision: version.sequence,
            created_at: work.now,
            modified_at: work.now,
            trashed_at: None,
            version: Some(version.clone()),
            expires_at: folder.expiry(work.now),
            policy: Policy::NONE,
        };
        self.versions.push((id, version));
        self.nodes.push(node.clone());
        if folder.max_files > 0 {
            self.filled.insert(parent, (folder.max_files, id));
        }
        node
    }

    /// Takes out the new files that newer ones push out of their folder, before anything of them is written: nobody has seen
    /// them, and all that is left is that they came and went.
    async fn push_out(&mut self, work: &mut Work) -> Result<()> {
        let mut gone = HashSet::new();
        for (&folder, &(most, newest)) in &self.filled {
            let new = self.nodes.iter().filter(|node| node.parent == Some(folder) && node.kind == Kind::File);
            let mut others: Vec<&Node> = new.filter(|node| node.id != newest).collect();
            // The order of `Work::prune_files`.
            others.sort_unstable_by_key(|node| {
                (node.expires_at.is_some(), Reverse((node.expires_at, node.modified_at, node.id)))
            });
            let stay = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(1);
            gone.extend(others.into_iter().skip(stay).map(|node| node.id));
        }
        if gone.is_empty() {
            return Ok(());
        }
        self.nodes.retain(|node| !gone.contains(&node.id));
        self.links.retain(|link| !gone.contains(&link.node));
        let mut blobs = Vec::with_capacity(gone.len());
        self.versions.retain(|(node, version)| {
            let stays = !gone.contains(node);
            if !stays {
                work.record(ChangeKind::Purged, *node, None);
                blobs.push((version.blob, version.size));
            }
            stays
        });
        work.release_blobs(blobs).await
    }

    /// Writes what has gathered.
    pub(super) async fn write(&mut self, work: &mut Work) -> Result<()> {
        self.push_out(work).await?;
        let batch = std::mem::take(self);
        work.insert_nodes(&batch.nodes)?;
        work.insert_versions(&batch.versions)?;
        for node in &batch.updates {
            work.update_node(node)?;
        }
        work.insert_links(&batch.links)?;
        for (file, most) in batch.renewed {
            work.prune_versions(file, most).await?;
        }
        for (folder, (most, newest)) in batch.filled {
            work.prune_files(folder, most, newest).await?;
        }
        work.forget_uploads(&batch.released).await
    }
}

fn new_version(work: &mut Work, kind: ChangeKind, node: NodeId, commit: &Commit) -> Version {
    let id = VersionId::new(work.now);
    Version {
        id,
        sequence: work.record(kind, node, Some(id)),
        blob: commit.stored.blob,
        size: commit.stored.size,
        digest: commit.stored.digest,
        media_type: commit.media_type.as_str().to_owned(),
        author: work.home.account,
        device: commit.device.clone(),
        created_at: work.now,
    }
}
