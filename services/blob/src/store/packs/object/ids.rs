//! Ids of packs that are made by many processes: milliseconds since 1970 (43 bits), then 20 random bits.
//!
//! The time makes them sort; the bits make it rare that two processes choose the same, and who makes the object first has it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::store::pack::PackId;

const RANDOM_BITS: u32 = 20;
/// How far the clocks of the processes may differ, and how long a batch may be under way, in milliseconds.
const MARGIN: i64 = 24 * 60 * 60 * 1000;

/// Chooses ids.
#[derive(Debug, Default)]
pub struct Ids {
    /// The latest time that was used, in milliseconds: a clock that is set back does not take ids along.
    latest: AtomicI64,
}

impl Ids {
    /// An id that is probably nobody's.
    pub fn next(&self) -> std::io::Result<PackId> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_millis()).unwrap_or_default();
        let time = self.latest.fetch_max(now, Ordering::Relaxed).max(now);
        let mut random = [0; 4];
        getrandom::fill(&mut random)?;
        let random = u32::from_le_bytes(random) & ((1 << RANDOM_BITS) - 1);
        Ok(PackId((time << RANDOM_BITS) | i64::from(random)))
    }
}

/// Packs with a lower id were in the index before `newest` was.
pub fn recheck_from(newest: PackId) -> PackId {
    PackId((newest.0 >> RANDOM_BITS).saturating_sub(MARGIN).max(0) << RANDOM_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_follow_the_clock() {
        let ids = Ids::default();
        let all: std::collections::HashSet<_> = (0..100).map(|_| ids.next().unwrap()).collect();
        assert!(all.len() > 95, "{}", all.len());
        // In 2200 they still have 16 digits and are positive.
        let late = Ids { latest: AtomicI64::new(7_258_118_400_000) };
        let id = late.next().unwrap();
        assert!(all.iter().all(|early| *early < id));
        assert_eq!(PackId::parse(&id.to_string()), Some(id));
    }

    #[test]
    fn a_day_is_looked_at_again() {
        let id = |time: i64, random: i64| PackId((time << RANDOM_BITS) | random);
        let now = 1_800_000_000_000;
        assert_eq!(recheck_from(id(now, 77)), id(now - 86_400_000, 0));
        assert_eq!(recheck_from(PackId(0)), PackId(0));
    }
}
