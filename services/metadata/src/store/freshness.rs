//! Whether what was read from a space is still so.
//!
//! On SQLite this process is the only writer, so it knows when a space changes, and an answer read since the last change can
//! be given again without asking the database. On PostgreSQL other replicas write too, and nothing is ever known to be fresh.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::id::SpaceId;

/// Spaces share slots; a change of one makes what was read from its slot mates stale too, which costs time only.
const SLOTS: usize = 4096;

/// Tells when spaces change. Clones watch the same spaces.
#[derive(Clone)]
pub(super) struct Freshness(Option<Arc<[Slot]>>);

#[derive(Default)]
struct Slot {
    /// Changes whose commit is under way.
    changing: AtomicU64,
    /// Counts beginnings and ends of commits.
    epoch: AtomicU64,
}

/// A moment in the life of a space: equal moments have no change between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Moment(u64);

impl Freshness {
    /// For a database that only this process writes.
    pub(super) fn watching() -> Self {
        Self(Some((0..SLOTS).map(|_| Slot::default()).collect()))
    }

    /// For a database that others write too.
    pub(super) fn unknown() -> Self {
        Self(None)
    }

    fn slot(&self, space: SpaceId) -> Option<&Slot> {
        // The last bytes of a UUIDv7 are random.
        let [.., a, b] = *space.as_bytes();
        self.0.as_ref()?.get(usize::from(u16::from_be_bytes([a, b])) % SLOTS)
    }

    /// The present moment of a space; `None` while it is changing, or when that is not known.
    pub(super) fn moment(&self, space: SpaceId) -> Option<Moment> {
        let slot = self.slot(space)?;
        if slot.changing.load(Ordering::SeqCst) > 0 {
            return None;
        }
        Some(Moment(slot.epoch.load(Ordering::SeqCst)))
    }

    /// Says that a space is changing, until the value is dropped. To be held from before a commit until it is certain that
    /// nothing of it happens any more.
    pub(super) fn changing(&self, space: SpaceId) -> Changing {
        if let Some(slot) = self.slot(space) {
            slot.changing.fetch_add(1, Ordering::SeqCst);
            slot.epoch.fetch_add(1, Ordering::SeqCst);
        }
        Changing { freshness: self.clone(), space }
    }
}

/// A space that is changing.
pub(super) struct Changing {
    freshness: Freshness,
    space: SpaceId,
}

impl Drop for Changing {
    fn drop(&mut self) {
        if let Some(slot) = self.freshness.slot(self.space) {
            slot.epoch.fetch_add(1, Ordering::SeqCst);
            slot.changing.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_ends_with_the_next_change() {
        let freshness = Freshness::watching();
        let space = SpaceId::new(0);
        let before = freshness.moment(space);
        assert!(before.is_some());
        assert_eq!(freshness.moment(space), before);
        let one = freshness.changing(space);
        let other = freshness.changing(space);
        assert_eq!(freshness.moment(space), None);
        drop(one);
        assert_eq!(freshness.moment(space), None, "the other is still under way");
        drop(other);
        let after = freshness.moment(space);
        assert!(after.is_some() && after != before);
    }

    #[test]
    fn where_others_write_nothing_is_known() {
        let freshness = Freshness::unknown();
        assert_eq!(freshness.moment(SpaceId::new(0)), None);
        drop(freshness.changing(SpaceId::new(0)));
    }
}
