//! Uploads before their commit: finding their place, reserving room, giving up.

use std::collections::HashMap;

use holdall_sql::{On, dynamic, retry, sql};

use super::lookup::{again, live, walk};
use super::row::list;
use super::stride::Walked;
use super::work::Work;
use super::{Result, Store, row};
use crate::domain::authorize::Action;
use crate::domain::error::Error;
use crate::domain::id::{NodeId, UploadId};
use crate::domain::name::Name;
use crate::domain::node::{Node, Target};
use crate::domain::path::MAX_DEPTH;
use crate::domain::policy::Policy;
use crate::domain::precondition::Precondition;
use crate::domain::space::Home;
use crate::domain::upload::Begun;

/// Where an upload goes.
pub(super) enum Slot<'a> {
    /// To a file that is there, in a folder with that policy.
    Taken { file: Box<Node>, folder: Policy },
    /// To a place below `parent`: the last name is the file's, those before it are folders to be made. The first may be that of a
    /// file whose time is over.
    Free { parent: NodeId, missing: &'a [Name], folder: Policy, expired: Option<NodeId> },
    /// To a place beside what has the name.
    Beside { parent: NodeId, name: &'a Name, folder: Policy },
}

impl Slot<'_> {
    /// Passes when the condition holds for the content that is there.
    pub(super) fn check(&self, precondition: &Precondition) -> Result<()> {
        let current = match self {
            Self::Taken { file, .. } => Some(file.content()?.content_etag()),
            Self::Free { .. } | Self::Beside { .. } => None,
        };
        Ok(precondition.check(current.as_deref())?)
    }
}

/// Finds the place that a target names, and the room in the space when that was at hand. `ahead` as in [`walk`] along a path.
pub(super) async fn find<'a, 't>(
    on: impl Into<On<'a>>,
    home: &Home,
    target: &'t Target,
    keep_both: bool,
    ahead: Option<Walked>,
    now: i64,
) -> Result<(Slot<'t>, Option<u64>)> {
    let mut on = on.into();
    let (from, names, above) = match target {
        Target::Node(id) => {
            let found = live(on, home, Action::WriteContent, *id, now).await?;
            found.node.content()?;
            return Ok((Slot::Taken { file: Box::new(found.node), folder: found.folder }, None));
        }
        Target::Child { parent, name } => {
            let folder = live(again(&mut on), home, Action::UseFolder, *parent, now).await?;
            folder.node.folder()?;
            (*parent, std::slice::from_ref(name), folder.depth)
        }
        Target::Path(path) => (home.root, path.names(), 0),
    };
    if above + names.len() > MAX_DEPTH {
        return Err(Error::InvalidPath("must not be deeper than 64 names").into());
    }
    let walked = walk(on, home, Action::WriteContent, from, names, ahead, now).await?;
    let missing = names.get(walked.depth..).unwrap_or_default();
    let Walked { node, folder, room, expired, .. } = walked;
    let slot = match (missing, names.last(), node.parent) {
        ([], Some(name), Some(parent)) if keep_both => Slot::Beside { parent, name, folder },
        ([], ..) => {
            node.content()?;
            Slot::Taken { file: Box::new(node), folder }
        }
        _ => {
            node.folder()?;
            Slot::Free { parent: node.id, missing, folder: node.policy, expired }
        }
    };
    Ok((slot, Some(room)))
}

impl Store {
    /// Checks early what can be, and reserves room for `size` bytes where that is known and large.
    pub async fn begin_upload(
        &self,
        home: &Home,
        target: &Target,
        keep_both: bool,
        size: Option<u64>,
        precondition: &Precondition,
        now: i64,
    ) -> Result<Begun> {
        let ahead = match target {
            Target::Path(path) => self.strides.from(home.root, path.names()).await?,
            Target::Node(_) | Target::Child { .. } => None,
        };
        let (slot, room) = find(&self.db, home, target, keep_both, ahead, now).await?;
        slot.check(precondition)?;
        self.admit(home, size, room, now).await
    }

    /// Reserves room for `size` bytes where that is known and large. `room` is what there is, when that was at hand.
    pub(super) async fn admit(
        &self,
        home: &Home,
        size: Option<u64>,
        room: Option<u64>,
        now: i64,
    ) -> Result<Begun> {
        let expires_at = now.saturating_add(self.terms.upload_lifetime);
        let begun = |max_size| Begun { id: UploadId::new(now), max_size, expires_at };
        if let Some(size) = size.filter(|&size| size > self.terms.reserve_above) {
            let begun = begun(size);
            match self.reserve(home, &begun, now).await {
                Err(super::Error::Refused(Error::QuotaExceeded)) => {
                    // What expired uploads still hold is room.
                    self.sweep_space(home, now).await?;
                    self.reserve(home, &begun, now).await?;
                }
                done => done?,
            }
            return Ok(begun);
        }
        let room = match room {
            Some(room) => room,
            None => self.space(home).await?.room(),
        };
        match size {
            Some(size) if size > room => Err(Error::QuotaExceeded.into()),
            Some(size) => Ok(begun(size)),
            None => Ok(begun(room)),
        }
    }

    async fn reserve(&self, home: &Home, upload: &Begun, now: i64) -> Result<()> {
        retry(async || {
            let mut work = Work::begin_relaxed(self, home, now).await?;
            work.space.reserve(upload.max_size)?;
            sql("INSERT INTO uploads (upload_id, space_id, size, expires_at) VALUES ($1, $2, $3, $4)")
                .bind(upload.id.to_string())
                .bind(home.space.to_string())
                .bind(row::int(upload.max_size)?)
                .bind(upload.expires_at)
                .execute(work.tx().await?)
                .await?;
            work.commit().await
        })
        .await
    }

    /// Gives back what an upload reserved, if it still holds anything.
    pub async fn abort_upload(&self, home: &Home, upload: UploadId, now: i64) -> Result<()> {
        // Most uploads are small and hold nothing: a look costs less than a transaction.
        let held = sql("SELECT size FROM uploads WHERE upload_id = $1 AND space_id = $2")
            .bind(upload.to_string())
            .bind(home.space.to_string())
            .fetch_optional(&self.db)
            .await?;
        if held.is_none() {
            return Ok(());
        }
        retry(async || {
            let mut work = Work::begin_relaxed(self, home, now).await?;
            let held = work.reserved(std::iter::once(upload)).await?;
            work.space.release(held.values().sum());
            work.forget_uploads(&[upload]).await?;
            work.commit().await
        })
        .await
    }
}

impl Work {
    /// What uploads hold reserved, of those that hold anything.
    pub(super) async fn reserved(
        &mut self,
        uploads: impl Iterator<Item = UploadId>,
    ) -> Result<HashMap<UploadId, u64>> {
        if self.space.reserved == 0 {
            return Ok(HashMap::new());
        }
        let (ids, placeholders) = list(uploads.map(|id| id.to_string()).collect(), 2);
        let text = format!(
            "SELECT upload_id, size FROM uploads WHERE space_id = $1 AND upload_id IN {placeholders}"
        );
        let rows =
            dynamic(text).bind(self.home.space.to_string()).bind_all(ids).fetch_all(self.tx().await?).await?;
        rows.iter().map(|row| Ok((row::id(row, 0)?, row::count(row, 1)?))).collect()
    }

    /// Deletes the reservations of uploads; their room is released by the caller.
    pub(super) async fn forget_uploads(&mut self, uploads: &[UploadId]) -> Result<()> {
        if uploads.is_empty() {
            return Ok(());
        }
        let (ids, placeholders) = list(uploads.iter().map(UploadId::to_string).collect(), 1);
        let text = format!("DELETE FROM uploads WHERE upload_id IN {placeholders}");
        dynamic(text).bind_all(ids).execute(self.tx().await?).await?;
        Ok(())
    }
}
