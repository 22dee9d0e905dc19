//! Entries of the buffer that are committed together.

use super::super::Result;
use super::super::answers::Answers;
use super::super::work::Work;
use crate::domain::buffer::{Entry, Limits, NewEntry};
use crate::domain::id::{EntryId, UploadId};
use crate::domain::idempotency::{Fingerprint, Key};

/// What the commits of a transaction add to the buffer, not written yet.
pub(super) struct Batch {
    limits: Limits,
    new: Vec<Entry>,
    /// Uploads whose reservation ends.
    released: Vec<UploadId>,
}

impl Batch {
    /// Nothing yet, for a buffer with those limits.
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, new: Vec::new(), released: Vec::new() }
    }

    /// Decides on an entry. After a refusal nothing of it is left. `held` is what its upload has reserved.
    pub(super) async fn add(
        &mut self,
        work: &mut Work,
        new: &NewEntry,
        keys: &[Key],
        held: u64,
        answers: &mut Answers,
    ) -> Result<Entry> {
        let name = new.name.as_ref().map_or("", |name| name.as_str());
        let fingerprint = Fingerprint::of("CommitEntry", &[name.as_bytes(), &new.stored.digest.0]);
        if let Some(entry) = answers.find(keys, &fingerprint)? {
            return Ok(entry);
        }
        if let Err(full) = work.space.settle(held, new.stored.size) {
            // It may be given the room of those that it pushes out, of this transaction or before.
            self.write(work).await?;
            let one_less = self.limits.keep.saturating_sub(1);
            let mut after = work.space.clone();
            after.refund(work.beyond(one_less).await?);
            if after.settle(held, new.stored.size).is_err() {
                return Err(full.into());
            }
            work.trim_buffer(one_less).await?;
            work.space.settle(held, new.stored.size)?;
        }
        let sequence = match self.new.last() {
            Some(last) => last.sequence,
            None => work.last_entry().await?,
        };
        let entry = Entry {
            id: EntryId::new(work.now),
            sequence: sequence + 1,
            name: new.name.clone().map(String::from),
            blob: new.stored.blob,
            size: new.stored.size,
            digest: new.stored.digest,
            media_type: new.media_type.as_str().to_owned(),
            device: new.device.clone(),
            created_at: work.now,
            expires_at: self.limits.expiry(new.time_to_live, work.now),
        };
        if held > 0 {
            self.released.push(new.stored.upload);
        }
        answers.add(keys, &fingerprint, &entry)?;
        self.new.push(entry.clone());
        Ok(entry)
    }

    /// Writes what has gathered, and takes away what is too much then.
    pub(super) async fn write(&mut self, work: &mut Work) -> Result<()> {
        let new = std::mem::take(&mut self.new);
        if new.is_empty() {
            return Ok(());
        }
        work.insert_entries(&new)?;
        work.trim_buffer(self.limits.keep).await?;
        work.forget_uploads(&std::mem::take(&mut self.released)).await
    }
}
