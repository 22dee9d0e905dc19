//! Wall-clock time as a value that is passed in, so that tests can set it.
//!
//! Only expiry and the times shown to people come from here. Timeouts and intervals use tokio's monotonic
//! clock, which a changed wall clock does not move.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the time of day comes from. Clones share the same source.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The operating system's clock.
    #[default]
    System,
    /// A clock that moves only when told to.
    Manual(ManualClock),
}

impl Clock {
    /// Microseconds since 1970-01-01T00:00:00Z, without leap seconds. Negative before it.
    pub fn now(&self) -> i64 {
        match self {
            Self::System => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => micros(since),
                Err(before) => -micros(before.duration()),
            },
            Self::Manual(clock) => clock.0.load(Ordering::SeqCst),
        }
    }

    /// [`now`](Self::now) in whole seconds, rounded down.
    pub fn now_seconds(&self) -> i64 {
        self.now().div_euclid(1_000_000)
    }
}

/// A clock for tests. Clones share the same time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that stands at `unix_us` microseconds since 1970.
    pub fn at(unix_us: i64) -> Self {
        Self(Arc::new(AtomicI64::new(unix_us)))
    }

    /// The same clock, to be passed to what takes a [`Clock`].
    pub fn clock(&self) -> Clock {
        Clock::Manual(self.clone())
    }

    /// Sets the time, forward or back.
    pub fn set(&self, unix_us: i64) {
        self.0.store(unix_us, Ordering::SeqCst);
    }

    /// Moves the time forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(micros(by), Ordering::SeqCst);
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let manual = ManualClock::at(5_000_001);
        let clock = manual.clock();
        assert_eq!((clock.now(), clock.now_seconds()), (5_000_001, 5));
        manual.advance(Duration::from_millis(2));
        assert_eq!(clock.now(), 5_002_001);
        manual.set(-1);
        assert_eq!((clock.now(), clock.now_seconds()), (-1, -1));
    }

    #[test]
    fn the_system_clock_counts_microseconds_of_this_century() {
        let now = Clock::System.now();
        assert!((1_700_000_000_000_000..4_100_000_000_000_000).contains(&now), "{now}");
    }
}
