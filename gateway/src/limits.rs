//! How often somebody may ask, where an API of ours promises such a limit or strangers could make something grow.
//!
//! Fixed windows: the first call opens one, and when it is over the next call opens another. What is counted is kept in
//! memory; each process counts for itself.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use holdall_runtime::clock::Clock;

/// Windows that are kept at once, about 100 bytes each. Beyond it those that are over are dropped, and should that not do,
/// all of them: forgetting is the lesser evil.
const KEPT: usize = 200_000;

/// Something that is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Names what is counted; each name has windows of its own.
    pub name: &'static str,
    /// The most in a window; 0 for any number.
    pub most: u64,
    /// How long a window is.
    pub window: Duration,
}

impl Rule {
    /// So many in a minute.
    pub const fn per_minute(name: &'static str, most: u64) -> Self {
        Self { name, most, window: Duration::from_secs(60) }
    }

    /// So many in a day.
    pub const fn per_day(name: &'static str, most: u64) -> Self {
        Self { name, most, window: Duration::from_secs(24 * 3600) }
    }
}

/// Counts.
pub struct Limits {
    enabled: bool,
    clock: Clock,
    windows: Mutex<HashMap<(&'static str, String), Window>>,
}

#[derive(Clone, Copy)]
struct Window {
    /// Unix microseconds.
    ends_at: i64,
    used: u64,
}

impl Limits {
    /// Counts from nothing; when not `enabled`, everything is allowed.
    pub fn new(enabled: bool, clock: Clock) -> Self {
        Self { enabled, clock, windows: Mutex::default() }
    }

    /// Counts `amount` for `who`.
    ///
    /// # Errors
    /// When it would be more than the rule allows, how long to wait; nothing is counted then.
    pub fn take(&self, rule: Rule, who: &str, amount: u64) -> Result<(), Duration> {
        if !self.enabled || rule.most == 0 {
            return Ok(());
        }
        let now = self.clock.now();
        let length = i64::try_from(rule.window.as_micros()).unwrap_or(i64::MAX);
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= KEPT {
            windows.retain(|_, window| window.ends_at > now);
            if windows.len() >= KEPT {
                windows.clear();
            }
        }
        let fresh = Window { ends_at: now.saturating_add(length), used: 0 };
        let window = windows.entry((rule.name, who.to_owned())).or_insert(fresh);
        // A clock that was set back must not keep anybody out for longer than a window.
        if window.ends_at <= now || window.ends_at > fresh.ends_at {
            *window = fresh;
        }
        let used = window.used.saturating_add(amount);
        if used > rule.most {
            return Err(Duration::from_micros(u64::try_from(window.ends_at - now).unwrap_or_default()));
        }
        window.used = used;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use holdall_runtime::clock::ManualClock;

    use super::*;

    const RULE: Rule = Rule::per_minute("test", 2);

    fn limits() -> (Limits, ManualClock) {
        let clock = ManualClock::at(1_000_000_000);
        (Limits::new(true, clock.clock()), clock)
    }

    #[test]
    fn a_window_opens_with_the_first_call_and_ends_after_its_length() {
        let (limits, clock) = limits();
        assert_eq!(limits.take(RULE, "a", 1), Ok(()));
        clock.advance(Duration::from_secs(59));
        assert_eq!(limits.take(RULE, "a", 1), Ok(()));
        assert_eq!(limits.take(RULE, "a", 1), Err(Duration::from_secs(1)));
        clock.advance(Duration::from_secs(1));
        assert_eq!(limits.take(RULE, "a", 2), Ok(()));
        assert!(limits.take(RULE, "a", 1).is_err());
    }

    #[test]
    fn names_and_callers_are_counted_apart() {
        let (limits, _) = limits();
        assert_eq!(limits.take(RULE, "a", 2), Ok(()));
        assert_eq!(limits.take(RULE, "b", 2), Ok(()));
        assert_eq!(limits.take(Rule::per_minute("other", 1), "a", 1), Ok(()));
        assert!(limits.take(RULE, "a", 1).is_err());
    }

    #[test]
    fn what_is_refused_is_not_counted() {
        let (limits, _) = limits();
        assert!(limits.take(Rule::per_day("bytes", 10), "a", 11).is_err());
        assert_eq!(limits.take(Rule::per_day("bytes", 10), "a", 10), Ok(()));
    }

    #[test]
    fn nothing_is_limited_where_limits_are_off() {
        let (on, _) = limits();
        let off = Limits::new(false, ManualClock::at(0).clock());
        for _ in 0..5 {
            assert_eq!(off.take(RULE, "a", 1), Ok(()));
            assert_eq!(on.take(Rule::per_minute("free", 0), "a", 1), Ok(()));
        }
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_out() {
        let (limits, clock) = limits();
        assert_eq!(limits.take(RULE, "a", 2), Ok(()));
        clock.set(0);
        assert_eq!(limits.take(RULE, "a", 1), Ok(()));
    }
}
