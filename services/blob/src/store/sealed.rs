//! Which packs are not written to any more, with all that was written to them in the index.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use super::pack::PackId;

/// The packs of earlier starts, and those of this one that a lane has left behind.
#[derive(Debug)]
pub struct Sealed {
    earlier: PackId,
    left: Mutex<HashSet<PackId>>,
}

impl Sealed {
    /// Packs up to the id `earlier` were there before.
    pub fn new(earlier: PackId) -> Self {
        Self { earlier, left: Mutex::default() }
    }

    /// Whether nothing will be added to a pack. False also for one that was never heard of.
    pub fn contains(&self, pack: PackId) -> bool {
        pack <= self.earlier || self.left.lock().unwrap_or_else(PoisonError::into_inner).contains(&pack)
    }

    /// Says that the lane which wrote to a pack has gone on to another, and that the last that it wrote is in the index or was
    /// given up.
    pub fn add(&self, pack: PackId) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).insert(pack);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_left_behind_is_sealed() {
        let sealed = Sealed::new(PackId(3));
        assert_eq!([3, 4, 5].map(|id| sealed.contains(PackId(id))), [true, false, false]);
        sealed.add(PackId(5));
        assert_eq!([3, 4, 5].map(|id| sealed.contains(PackId(id))), [true, false, true]);
    }
}
