//! Committing many uploads with few statements and one flush: those that become [files], and those that become [entries] of
//! the buffer.
//!
//! Commits of one space run one after another in any case. Those that arrive while one is under way wait together and then
//! share a transaction: each is looked at in turn, with the effects of those before it, and what they write goes out together.
//! A lone commit waits for nobody.
//!
//! A commit runs on a task of its own, so it comes to its end also when its caller goes away.

mod entries;
mod files;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use holdall_runtime::trace;
use holdall_sql::retry;
use tokio::sync::oneshot;
use tracing::{Instrument, Span};

use super::answers::Answers;
use super::work::Work;
use super::{Error, Result, Store};
use crate::domain::buffer::{Entry, NewEntry};
use crate::domain::id::{SpaceId, UploadId};
use crate::domain::idempotency::Key;
use crate::domain::space::Home;
use crate::domain::upload::{self, Committed};

/// Most commits that share a transaction.
const BATCH: usize = 64;

/// Stored bytes that are to become something.
#[derive(Clone)]
enum Commit {
    /// The content of a file.
    File(Box<upload::Commit>),
    /// The latest entry of the buffer.
    Entry(Box<NewEntry>),
}

impl Commit {
    /// The upload that brought the bytes.
    fn upload(&self) -> UploadId {
        match self {
            Self::File(commit) => commit.stored.upload,
            Self::Entry(entry) => entry.stored.upload,
        }
    }

    /// Under what it is remembered: a receipt works once, and so does the caller's own key.
    fn keys(&self) -> Vec<Key> {
        let key = match self {
            Self::File(commit) => commit.key.clone(),
            Self::Entry(_) => None,
        };
        std::iter::once(Key::upload(self.upload())).chain(key).collect()
    }
}

/// What became of a commit.
enum Made {
    File(Box<Committed>),
    Entry(Box<Entry>),
}

/// Commits that wait, by space. A space that is listed has a task that works on it.
#[derive(Clone, Default)]
pub(super) struct Commits(Arc<Mutex<HashMap<SpaceId, Vec<Waiting>>>>);

/// A commit and whom to tell.
struct Waiting {
    commit: Commit,
    now: i64,
    span: Span,
    answer: oneshot::Sender<Result<Made>>,
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
    pub async fn commit_upload(&self, home: &Home, commit: &upload::Commit, now: i64) -> Result<Committed> {
        match self.commit(home, Commit::File(Box::new(commit.clone())), now).await? {
            Made::File(committed) => Ok(*committed),
            Made::Entry(_) => Err(Error::Corrupt("answer")),
        }
    }

    /// Makes stored bytes the latest entry of the buffer. What is too much then, or over, makes room for it.
    pub async fn commit_entry(&self, home: &Home, new: &NewEntry, now: i64) -> Result<Entry> {
        match self.commit(home, Commit::Entry(Box::new(new.clone())), now).await? {
            Made::Entry(entry) => Ok(*entry),
            Made::File(_) => Err(Error::Corrupt("answer")),
        }
    }

    async fn commit(&self, home: &Home, commit: Commit, now: i64) -> Result<Made> {
        let (answer, answered) = oneshot::channel();
        if self.commits.add(home.space, Waiting { commit, now, span: Span::current(), answer }) {
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
            let span = trace::shared(waiting.iter().map(|waiting| &waiting.span));
            self.commit_batch(home, waiting).instrument(span).await;
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
                    Error::Busy | Error::Sql(holdall_sql::Error::Busy(_)) => Err(Error::Busy),
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

    async fn commit_or_retry(&self, home: &Home, commits: &[(&Commit, i64)]) -> Result<Vec<Result<Made>>> {
        retry(async || self.commit_together(home, commits).await).await
    }

    /// One transaction. A refusal concerns one commit; any other error means that nothing was done.
    async fn commit_together(&self, home: &Home, commits: &[(&Commit, i64)]) -> Result<Vec<Result<Made>>> {
        let first = commits.first().map(|(_, now)| *now).unwrap_or_default();
        let mut work = Work::begin(self, home, first).await?;
        let keys: Vec<Key> = commits.iter().flat_map(|(commit, _)| commit.keys()).collect();
        let mut answers = work.recall(&keys).await?;
        let mut reserved = work.reserved(commits.iter().map(|(commit, _)| commit.upload())).await?;
        let mut batch =
            Batch { files: files::Batch::default(), entries: entries::Batch::new(self.terms.buffer) };
        let files = commits.iter().filter_map(|(commit, _)| match commit {
            Commit::File(commit) => Some(&**commit),
            Commit::Entry(_) => None,
        });
        batch.files.look_ahead(&mut work, files).await?;
        let mut results = Vec::with_capacity(commits.len());
        for (commit, now) in commits {
            work.now = *now;
            let held = reserved.get(&commit.upload()).copied().unwrap_or_default();
            match batch.add(&mut work, commit, held, &mut answers).await {
                Ok(made) => {
                    reserved.remove(&commit.upload());
                    results.push(Ok(made));
                }
                Err(Error::Refused(refusal)) => results.push(Err(Error::Refused(refusal))),
                Err(error) => return Err(error),
            }
        }
        batch.files.write(&mut work).await?;
        batch.entries.write(&mut work).await?;
        work.remember(answers);
        work.commit().await?;
        Ok(results)
    }
}

/// What the commits of a transaction write, not written yet.
struct Batch {
    files: files::Batch,
    entries: entries::Batch,
}

impl Batch {
    /// Decides on a commit. After a refusal nothing of it is left. `held` is what its upload has reserved.
    async fn add(
        &mut self,
        work: &mut Work,
        commit: &Commit,
        held: u64,
        answers: &mut Answers,
    ) -> Result<Made> {
        let keys = commit.keys();
        Ok(match commit {
            Commit::File(commit) => {
                Made::File(Box::new(self.files.add(work, commit, &keys, held, answers).await?))
            }
            Commit::Entry(new) => {
                Made::Entry(Box::new(self.entries.add(work, new, &keys, held, answers).await?))
            }
        })
    }
}
