//! Committing many uploads with few statements and one flush.
//!
//! Commits of one space run one after another in any case. Those that arrive while one is under way wait together and then
//! share a transaction: each is looked at in turn, with the effects of those before it, and what they write goes out together.
//! A lone commit waits for nobody.
//!
//! A commit runs on a task of its own, so it comes to its end also when its caller goes away.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use holdall_sql::{Transient, retry};
use tokio::sync::oneshot;

use super::answers::Answers;
use super::uploads::{Slot, find};
use super::work::Work;
use super::{Error, Result, Store};
use crate::domain::authorize::{Action, authorize};
use crate::domain::change::ChangeKind;
use crate::domain::id::{NodeId, SpaceId, VersionId};
use crate::domain::idempotency::{Fingerprint, Key};
use crate::domain::link::{Link, NewLink};
use crate::domain::node::{Kind, Node, Target};
use crate::domain::policy::Policy;
use crate::domain::space::Home;
use crate::domain::upload::{Commit, Committed};
use crate::domain::version::Version;
use crate::domain::{self};

/// Most commits that share a transaction.
const BATCH: usize = 64;

/// Commits that wait, by space. A space that is listed has a task that works on it.
#[derive(Clone, Default)]
pub(super) struct Commits(Arc<Mutex<HashMap<SpaceId, Vec<Waiting>>>>);

/// A commit and whom to tell.
struct Waiting {
    commit: Commit,
    now: i64,
    answer: oneshot::Sender<Result<Committed>>,
}

impl Commits {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<SpaceId, Vec<Waiting>>) -> T) -> T {
        // A panic while it is locked is not possible: nothing in here runs code of others.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a commit; true when nobody works on the space yet.
    fn add(&self, space: SpaceId, waiting: Waiting) -> bool {
        self.with(|spaces| match spaces.get_mut(&space) {
            Some(queue) => {
                queue.push(waiting);
                false
            }
            None => {
                spaces.insert(space, vec![waiting]);
                true
            }
        })
    }

    /// What waits longest; when nothing waits, the space is no longer listed.
    fn take(&self, space: SpaceId) -> Vec<Waiting> {
        self.with(|spaces| match spaces.get_mut(&space) {
            Some(queue) if !queue.is_empty() => queue.drain(..queue.len().min(BATCH)).collect(),
            _ => {
                spaces.remove(&space);
                Vec::new()
            }
        })
    }
}

/// Takes a space off the list when its task ends before its time, so that the next commit starts another one.
struct Listed<'a> {
    commits: &'a Commits,
    space: Option<SpaceId>,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        if let Some(space) = self.space {
            self.commits.with(|spaces| spaces.remove(&space));
        }
    }
}

impl Store {
    /// Makes stored bytes the current content of a file.
    ///
    /// Content that the file has already, of the same media type, makes no new version.
    pub async fn commit_upload(&self, home: &Home, commit: &Commit, now: i64) -> Result<Committed> {
        let (answer, answered) = oneshot::channel();
        if self.commits.add(home.space, Waiting { commit: commit.clone(), now, answer }) {
            let (store, home) = (self.clone(), *home);
            tokio::spawn(async move { store.commit_waiting(&home).await });
        }
        answered.await.unwrap_or(Err(Error::OutcomeUnknown))
    }

    async fn commit_waiting(&self, home: &Home) {
        let mut listed = Listed { commits: &self.commits, space: Some(home.space) };
        loop {
            let waiting = self.commits.take(home.space);
            if waiting.is_empty() {
                // It is off the list, and another task may have listed it again.
                listed.space = None;
                return;
            }
            self.commit_batch(home, waiting).await;
        }
    }

    /// Commits and tells everybody.
    async fn commit_batch(&self, home: &Home, waiting: Vec<Waiting>) {
        let commits: Vec<(&Commit, i64)> =
            waiting.iter().map(|waiting| (&waiting.commit, waiting.now)).collect();
        let mut results = self.commit_or_retry(home, &commits).await;
        if let (Err(error), [_, _, ..]) = (&results, &commits[..]) {
            tracing::warn!(%error, commits = commits.len(), "uploads could not be committed together");
            let mut each = Vec::with_capacity(commits.len());
            for commit in &commits {
                each.push(match error {
                    error if error.is_transient() => Err(Error::Busy),
                    Error::OutcomeUnknown | Error::Sql(holdall_sql::Error::Unknown(_)) => {
                        Err(Error::OutcomeUnknown)
                    }
                    // One that cannot be done takes no other along.
                    _ => self
                        .commit_or_retry(home, &[*commit])
                        .await
                        .and_then(|mut results| results.pop().unwrap_or(Err(Error::OutcomeUnknown))),
                });
            }
            results = Ok(each);
        }
        let results = results.unwrap_or_else(|error| vec![Err(error)]);
        for (waiting, result) in waiting.into_iter().zip(results) {
            // Whoever went away does not want to know.
            let _ = waiting.answer.send(result);
        }
    }

    async fn commit_or_retry(
        &self,
        home: &Home,
        commits: &[(&Commit, i64)],
    ) -> Result<Vec<Result<Committed>>> {
        retry(async || self.commit_together(home, commits).await).await
    }

    /// One transaction. A refusal concerns one commit; any other error means that nothing was done.
    async fn commit_together(
        &self,
        home: &Home,
        commits: &[(&Commit, i64)],
    ) -> Result<Vec<Result<Committed>>> {
        let first = commits.first().map(|(_, now)| *now).unwrap_or_default();
        let mut work = Work::begin(self, home, first).await?;
        let keys: Vec<Key> = commits.iter().flat_map(|(commit, _)| keys(commit)).collect();
        let mut answers = work.recall(&keys).await?;
        let mut reserved = work.reserved(commits.iter().map(|(commit, _)| commit.stored.upload)).await?;
        let mut batch = Batch::default();
        let mut results = Vec::with_capacity(commits.len());
        for (commit, now) in commits {
            work.now = *now;
            let held = reserved.get(&commit.stored.upload).copied().unwrap_or_default();
            let result = batch.add(&mut work, commit, held, &mut answers).await;
            match result {
                Ok(made) => {
                    reserved.remove(&commit.stored.upload);
                    results.push(Ok(made));
                }
                Err(Error::Refused(refusal)) => results.push(Err(Error::Refused(refusal))),
                Err(error) => return Err(error),
            }
        }
        batch.write(&mut work).await?;
        work.remember(answers).await?;
        work.commit().await?;
        Ok(results)
    }
}

/// Under what a commit is remembered: a receipt works once, and so does the caller's own key.
fn keys(commit: &Commit) -> Vec<Key> {
    std::iter::once(Key::upload(commit.stored.upload)).chain(commit.key.clone()).collect()
}

fn fingerprint(commit: &Commit) -> Fingerprint {
    let (id, path) = match &commit.target {
        Target::Node(id) => (id.to_string(), String::new()),
        Target::Child { parent, name } => (parent.to_string(), name.as_str().to_owned()),
        Target::Path(path) => (String::new(), super::folders::joined(path.names())),
    };
    let link = commit.link.as_ref().map(NewLink::asked).unwrap_or_default();
    Fingerprint::of(
        "CommitUpload",
        &[id.as_bytes(), path.as_bytes(), &commit.stored.digest.0, &[u8::from(commit.keep_both)], &link],
    )
}

/// What the commits of a transaction write, not written yet.
#[derive(Default)]
struct Batch {
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
    released: Vec<domain::id::UploadId>,
}

impl Batch {
    /// Decides on a commit. After a refusal nothing of it is left. `held` is what its upload has reserved.
    async fn add(
        &mut self,
        work: &mut Work,
        commit: &Commit,
        held: u64,
        answers: &mut Answers,
    ) -> Result<Committed> {
        let (keys, fingerprint) = (keys(commit), fingerprint(commit));
        if let Some(made) = answers.find(&keys, &fingerprint)? {
            return Ok(made);
        }
        let home = work.home;
        let look = async |work: &mut Work| {
            let now = work.now;
            Ok::<_, Error>(find(&mut work.tx, &home, &commit.target, commit.keep_both, now).await?.0)
        };
        let mut slot = look(work).await?;
        if self.touches(&slot) {
            self.write(work).await?;
            slot = look(work).await?;
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
        answers.add(&keys, &fingerprint, &committed)?;
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
                let (name, folders) = missing.split_last().ok_or(domain::error::Error::NotAFile)?;
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

    /// Writes what has gathered.
    async fn write(&mut self, work: &mut Work) -> Result<()> {
        let batch = std::mem::take(self);
        work.insert_nodes(&batch.nodes).await?;
        work.insert_versions(&batch.versions).await?;
        for node in &batch.updates {
            work.update_node(node).await?;
        }
        work.insert_links(&batch.links).await?;
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
