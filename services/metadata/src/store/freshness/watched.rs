//! Moments of spaces that only this process changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::Moment;
use crate::domain::id::SpaceId;

/// Spaces share slots; a change of one makes what was read from its slot mates stale too, which costs time only.
const SLOTS: usize = 4096;

/// Knows when spaces change. Clones watch the same spaces.
#[derive(Clone)]
pub(in super::super) struct Watched(Arc<[Slot]>);

struct Slot {
    /// Changes whose commit is under way.
    changing: AtomicU64,
    /// Moves with the beginnings and ends of commits.
    epoch: AtomicI64,
}

impl Default for Watched {
    fn default() -> Self {
        // Not from where another process began: answers may outlive it elsewhere.
        let slot = || Slot { changing: AtomicU64::new(0), epoch: AtomicI64::new(Moment::fresh().0) };
        Self((0..SLOTS).map(|_| slot()).collect())
    }
}

impl Watched {
    fn slot(&self, space: SpaceId) -> Option<&Slot> {
        // The last bytes of a UUIDv7 are random.
        let [.., a, b] = *space.as_bytes();
        self.0.get(usize::from(u16::from_be_bytes([a, b])) % SLOTS)
    }

    /// See [`Freshness::moment`](super::Freshness::moment).
    pub(super) fn moment(&self, space: SpaceId) -> Option<Moment> {
        let slot = self.slot(space)?;
        if slot.changing.load(Ordering::SeqCst) > 0 {
            return None;
        }
        Some(Moment(slot.epoch.load(Ordering::SeqCst)))
    }

    /// See [`Freshness::changing`](super::Freshness::changing).
    pub(super) fn changing(&self, space: SpaceId) -> Changing {
        if let Some(slot) = self.slot(space) {
            slot.changing.fetch_add(1, Ordering::SeqCst);
            slot.epoch.fetch_add(1, Ordering::SeqCst);
        }
        Changing { watched: self.clone(), space }
    }
}

/// A space that is changing.
pub(in super::super) struct Changing {
    watched: Watched,
    space: SpaceId,
}

impl Drop for Changing {
    fn drop(&mut self) {
        if let Some(slot) = self.watched.slot(self.space) {
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
        let watched = Watched::default();
        let space = SpaceId::new(0);
        let before = watched.moment(space);
        assert!(before.is_some());
        assert_eq!(watched.moment(space), before);
        let one = watched.changing(space);
        let other = watched.changing(space);
        assert_eq!(watched.moment(space), None);
        drop(one);
        assert_eq!(watched.moment(space), None, "the other is still under way");
        drop(other);
        let after = watched.moment(space);
        assert!(after.is_some() && after != before);
    }

    #[test]
    fn no_moment_is_one_of_another_process() {
        let space = SpaceId::new(0);
        assert_ne!(Watched::default().moment(space), Watched::default().moment(space));
    }
}
