//! Spaces: a tree, its quota, its counters.

use super::authorize::Principal;
use super::error::Error;
use super::id::{AccountId, NodeId, SpaceId};

/// The largest quota, and so the largest content: sums of two stay far from the limits of 64 bits.
pub const MAX_BYTES: u64 = 1 << 60;

/// A tree with a quota. `used + reserved` never grows beyond `quota`, though a quota may be lowered below them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Which one.
    pub id: SpaceId,
    /// Whose it is.
    pub owner: AccountId,
    /// The folder that everything else is in.
    pub root: NodeId,
    /// Most bytes.
    pub quota: u64,
    /// Bytes of all versions of all nodes, the trash included, and of the buffer.
    pub used: u64,
    /// Bytes that uploads under way have reserved.
    pub reserved: u64,
    /// The number of the latest change; 0 before the first.
    pub change_sequence: u64,
}

/// What kind of account a space belongs to: decides what it starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A person, or a program of one.
    Person,
    /// The installation itself.
    System,
}

/// An account's own space: what every call starts from. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// Whose.
    pub account: AccountId,
    /// Which space.
    pub space: SpaceId,
    /// Its root folder.
    pub root: NodeId,
}

impl Home {
    /// Its owner, as one who asks.
    #[must_use]
    pub fn principal(&self) -> Principal {
        Principal::Account { account: self.account, space: self.space }
    }
}

impl Space {
    /// Bytes that are neither used nor reserved.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.quota.saturating_sub(self.used.saturating_add(self.reserved))
    }

    /// Sets `size` bytes aside.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`]; nothing is set aside then.
    pub fn reserve(&mut self, size: u64) -> Result<(), Error> {
        if size > self.room() {
            return Err(Error::QuotaExceeded);
        }
        self.reserved += size;
        Ok(())
    }

    /// Gives back what [`Space::reserve`] set aside.
    pub fn release(&mut self, size: u64) {
        self.reserved = self.reserved.saturating_sub(size);
    }

    /// Counts `size` bytes as used by an upload that holds `held` bytes reserved. What it holds does not stand in its own way,
    /// what others hold is honoured.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`]; nothing is counted or released then.
    pub fn settle(&mut self, held: u64, size: u64) -> Result<(), Error> {
        let mut after = self.clone();
        after.release(held);
        if size > after.room() {
            return Err(Error::QuotaExceeded);
        }
        after.used += size;
        *self = after;
        Ok(())
    }

    /// Counts `size` bytes as no longer used.
    pub fn refund(&mut self, size: u64) {
        self.used = self.used.saturating_sub(size);
    }

    /// The number for the next change.
    pub fn next_sequence(&mut self) -> u64 {
        self.change_sequence += 1;
        self.change_sequence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(quota: u64, used: u64, reserved: u64) -> Space {
        Space {
            id: SpaceId::new(0),
            owner: AccountId::new(0),
            root: NodeId::new(0),
            quota,
            used,
            reserved,
            change_sequence: 0,
        }
    }

    #[test]
    fn the_last_byte_can_be_had_and_no_more() {
        let mut space = space(100, 40, 50);
        assert_eq!(space.room(), 10);
        assert_eq!(space.reserve(11), Err(Error::QuotaExceeded));
        assert_eq!(space.settle(0, 11), Err(Error::QuotaExceeded));
        assert_eq!(space.settle(0, 4), Ok(()));
        assert_eq!(space.reserve(6), Ok(()));
        assert_eq!((space.used, space.reserved, space.room()), (44, 56, 0));
        assert_eq!(space.reserve(0), Ok(()));
        assert_eq!(space.reserve(1), Err(Error::QuotaExceeded));
    }

    #[test]
    fn an_upload_does_not_stand_in_its_own_way() {
        let mut space = space(100, 0, 0);
        space.reserve(60).unwrap();
        space.reserve(40).unwrap();
        assert_eq!(space.settle(60, 61), Err(Error::QuotaExceeded));
        assert_eq!((space.used, space.reserved), (0, 100));
        assert_eq!(space.settle(60, 60), Ok(()));
        assert_eq!((space.used, space.reserved), (60, 40));
    }

    #[test]
    fn a_lowered_quota_leaves_no_room_and_breaks_nothing() {
        let mut space = space(10, 100, 5);
        assert_eq!(space.room(), 0);
        assert_eq!(space.settle(0, 1), Err(Error::QuotaExceeded));
        space.refund(95);
        assert_eq!(space.room(), 0);
        space.release(5);
        assert_eq!(space.room(), 5);
    }

    #[test]
    fn absurd_sizes_are_refused_without_overflow() {
        let mut space = space(MAX_BYTES, MAX_BYTES - 1, 0);
        assert_eq!(space.reserve(u64::MAX), Err(Error::QuotaExceeded));
        assert_eq!(space.settle(0, u64::MAX), Err(Error::QuotaExceeded));
    }
}
