//! How often somebody may try: failed sign-ins by account and by source, registrations by source.
//!
//! Kept in the memory of one process and bounded; the least recently used entries go first. Replicas count for
//! themselves. A source is an IPv4 address or an IPv6 /64 network.
//!
//! * **Account and source.** The first five failures of a source at an account in a row cost nothing. Each one after
//!   that doubles a pause, from one minute to fifteen. A success, or half an hour without a failure, ends the row.
//! * **Account.** All sources together may fail 100 times in an hour at one account: 50 at once, and then one every 72
//!   seconds. Sources from which somebody has signed in to the account before are exempt, so that strangers cannot keep
//!   its owner out of a usual place; from a new place the owner waits at most those 72 seconds for a turn.
//! * **Source.** A source may fail 300 times in an hour at all accounts together, and register 20 accounts, likewise half
//!   of them at once.
//!
//! Names without an account count as those with one. What comes from an unknown source is only limited by account.
//!
//! Times are of the wall clock. Where it is set back, a pause never grows beyond its length.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::domain::{Error, LoginKey, Rule};

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;

/// The pause after the first failure that is not free, and the longest one.
const FIRST_PAUSE: i64 = 60 * SECOND;
const LONGEST_PAUSE: i64 = 15 * 60 * SECOND;

/// A row of failures is forgotten after this long without one.
const FORGET: i64 = 30 * 60 * SECOND;

/// Entries per table; some 100 bytes each.
const ENTRIES: u64 = 65_536;

/// The limits' numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Failures of a source at an account that cost nothing.
    pub free_failures: u32,
    /// Failures in an hour at an account.
    pub failures_per_account: u32,
    /// Failures in an hour of a source.
    pub failures_per_source: u32,
    /// Registrations in an hour of a source.
    pub registrations_per_source: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            free_failures: 5,
            failures_per_account: 100,
            failures_per_source: 300,
            registrations_per_source: 20,
        }
    }
}

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Nobody said.
    Unknown,
    /// One address, or for IPv6 the first address of its /64 network.
    Address(IpAddr),
}

impl Source {
    /// Reads the field `client_address`.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for what is neither empty nor an IP address.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Ok(Self::Unknown);
        }
        let address: IpAddr = text
            .parse()
            .map_err(|_| Error::InvalidField { field: "client_address", rule: Rule::NotAnIpAddress })?;
        Ok(Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from(network))
            }
            v4 => v4,
        }))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// What stands for an account: a hash, so that long names cost no more memory than short ones.
type Name = [u8; 16];

fn name(key: &LoginKey) -> Name {
    let hash: [u8; 32] = Sha256::digest(key.as_str()).into();
    let mut name = Name::default();
    name.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    name
}

/// The counters.
pub struct Limits(Option<Tables>);

struct Tables {
    rates: Rates,
    rows: Cache<(Name, Source), Arc<Mutex<Row>>>,
    usual: Cache<(Name, Source), ()>,
    accounts: Cache<Name, Arc<Mutex<Bucket>>>,
    sources: Cache<IpAddr, Arc<Mutex<Bucket>>>,
    registrations: Cache<IpAddr, Arc<Mutex<Bucket>>>,
}

impl Limits {
    /// Counters at zero; `None` for no limits at all.
    pub fn new(rates: Option<Rates>) -> Self {
        Self(rates.map(|rates| Tables {
            rates,
            rows: table(),
            usual: table(),
            accounts: table(),
            sources: table(),
            registrations: table(),
        }))
    }

    /// Whether somebody may try a password at an account now. Counts nothing.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub fn check_sign_in(&self, account: &LoginKey, source: Source, now: i64) -> Result<(), Error> {
        let Some(tables) = &self.0 else { return Ok(()) };
        let account = name(account);
        let mut wait = 0;
        if let Some(row) = tables.rows.get(&(account, source)) {
            wait = with(&row, |row| row.wait(&tables.rates, now));
        }
        if !tables.usual.contains_key(&(account, source))
            && let Some(bucket) = tables.accounts.get(&account)
        {
            wait = wait.max(with(&bucket, |bucket| bucket.wait(tables.rates.failures_per_account, now)));
        }
        if let Source::Address(address) = source
            && let Some(bucket) = tables.sources.get(&address)
        {
            wait = wait.max(with(&bucket, |bucket| bucket.wait(tables.rates.failures_per_source, now)));
        }
        refuse(wait)
    }

    /// Counts a wrong password, or a name without an account.
    pub fn failed(&self, account: &LoginKey, source: Source, now: i64) {
        let Some(tables) = &self.0 else { return };
        let account = name(account);
        with(&tables.rows.get_with((account, source), Arc::default), |row| row.count(now));
        if !tables.usual.contains_key(&(account, source)) {
            let bucket = tables.accounts.get_with(account, Arc::default);
            with(&bucket, |bucket| bucket.count(tables.rates.failures_per_account, now));
        }
        if let Source::Address(address) = source {
            let bucket = tables.sources.get_with(address, Arc::default);
            with(&bucket, |bucket| bucket.count(tables.rates.failures_per_source, now));
        }
    }

    /// Ends the row of failures of that source at that account, and remembers the source as a usual one.
    pub fn succeeded(&self, account: &LoginKey, source: Source) {
        let Some(tables) = &self.0 else { return };
        let pair = (name(account), source);
        tables.rows.invalidate(&pair);
        if source != Source::Unknown {
            tables.usual.insert(pair, ());
        }
    }

    /// Counts an attempt to register, if it may be made.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub fn register(&self, source: Source, now: i64) -> Result<(), Error> {
        let (Some(tables), Source::Address(address)) = (&self.0, source) else { return Ok(()) };
        let limit = tables.rates.registrations_per_source;
        let bucket = tables.registrations.get_with(address, Arc::default);
        refuse(with(&bucket, |bucket| {
            let wait = bucket.wait(limit, now);
            if wait == 0 {
                bucket.count(limit, now);
            }
            wait
        }))
    }
}

fn table<K: std::hash::Hash + Eq + Send + Sync + 'static, V: Clone + Send + Sync + 'static>() -> Cache<K, V> {
    Cache::builder().max_capacity(ENTRIES).eviction_policy(EvictionPolicy::lru()).build()
}

fn refuse(wait: i64) -> Result<(), Error> {
    match u64::try_from(wait) {
        Ok(micros) if micros > 0 => Err(Error::RateLimited { retry_after: Duration::from_micros(micros) }),
        _ => Ok(()),
    }
}

/// Failures in a row.
#[derive(Default)]
struct Row {
    failures: u32,
    last: i64,
}

impl Row {
    fn wait(&mut self, rates: &Rates, now: i64) -> i64 {
        self.last = self.last.min(now);
        let Some(beyond) = self.failures.checked_sub(rates.free_failures) else { return 0 };
        let pause =
            FIRST_PAUSE.checked_shl(beyond.min(16)).map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE));
        (self.last + pause - now).max(0)
    }

    fn count(&mut self, now: i64) {
        if now - self.last.min(now) > FORGET {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.last = now;
    }
}

/// A leaky bucket that holds half of an hour's limit and lets the other half leak in an hour, so that no hour sees more
/// than the limit (the generic cell rate algorithm of ITU-T I.371, with the time of emptiness as its only state).
#[derive(Default)]
struct Bucket {
    empty_at: i64,
}

impl Bucket {
    fn wait(&mut self, limit: u32, now: i64) -> i64 {
        self.settle(now);
        (self.empty_at + drop_time(limit) - now - HOUR).max(0)
    }

    fn count(&mut self, limit: u32, now: i64) {
        self.settle(now);
        self.empty_at += drop_time(limit);
    }

    /// An empty bucket does not save up, and a full one stays full where the clock was set back.
    fn settle(&mut self, now: i64) {
        self.empty_at = self.empty_at.clamp(now, now + HOUR);
    }
}

fn drop_time(limit: u32) -> i64 {
    HOUR / i64::from(limit / 2).max(1)
}

/// Works on a counter. Its lock is held for an instant and never across anything that can panic or wait.
fn with<T, R>(counter: &Mutex<T>, work: impl FnOnce(&mut T) -> R) -> R {
    work(&mut counter.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60 * SECOND;
    const NOW: i64 = 1_800_000_000 * SECOND;

    fn limits() -> Limits {
        Limits::new(Some(Rates::default()))
    }

    fn key(name: &str) -> LoginKey {
        LoginKey::of_login(name).unwrap()
    }

    fn from(address: &str) -> Source {
        Source::parse(address).unwrap()
    }

    /// Seconds to wait; 0 for none.
    fn wait(result: Result<(), Error>) -> u64 {
        match result {
            Ok(()) => 0,
            Err(Error::RateLimited { retry_after }) => retry_after.as_secs(),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn the_sixth_failure_in_a_row_starts_pauses_that_double() {
        let (limits, alice, home) = (limits(), key("alice"), from("192.0.2.1"));
        let mut now = NOW;
        for _ in 0..5 {
            assert_eq!(wait(limits.check_sign_in(&alice, home, now)), 0);
            limits.failed(&alice, home, now);
            now += SECOND;
        }
        for pause in [60, 120, 240, 480, 900, 900] {
            let since = now - SECOND;
            assert_eq!(wait(limits.check_sign_in(&alice, home, since)), pause);
            now = since + i64::try_from(pause).unwrap() * SECOND;
            assert_eq!(wait(limits.check_sign_in(&alice, home, now - 1)), 0, "rounded down");
            assert!(limits.check_sign_in(&alice, home, now - 1).is_err());
            assert!(limits.check_sign_in(&alice, home, now).is_ok());
            limits.failed(&alice, home, now);
            now += SECOND;
        }
    }

    #[test]
    fn a_row_belongs_to_one_account_and_one_source() {
        let (limits, alice, home) = (limits(), key("alice"), from("192.0.2.1"));
        for _ in 0..5 {
            limits.failed(&alice, home, NOW);
        }
        assert_eq!(wait(limits.check_sign_in(&key("ALICE"), home, NOW)), 60);
        assert_eq!(wait(limits.check_sign_in(&key("bob"), home, NOW)), 0);
        assert_eq!(wait(limits.check_sign_in(&alice, from("192.0.2.2"), NOW)), 0);
        assert_eq!(wait(limits.check_sign_in(&alice, Source::Unknown, NOW)), 0);
    }

    #[test]
    fn success_and_time_end_a_row() {
        let (limits, alice, home) = (limits(), key("alice"), from("192.0.2.1"));
        for _ in 0..5 {
            limits.failed(&alice, home, NOW);
        }
        limits.succeeded(&alice, home);
        limits.failed(&alice, home, NOW);
        assert_eq!(wait(limits.check_sign_in(&alice, home, NOW)), 0);
        for _ in 0..5 {
            limits.failed(&alice, home, NOW);
        }
        limits.failed(&alice, home, NOW + 31 * MINUTE);
        assert_eq!(wait(limits.check_sign_in(&alice, home, NOW + 31 * MINUTE)), 0);
    }

    #[test]
    fn many_sources_share_what_an_account_bears() {
        let (limits, alice, home) = (limits(), key("alice"), from("192.0.2.1"));
        limits.succeeded(&alice, home);
        for n in 0..50 {
            let source = from(&format!("198.51.100.{n}"));
            assert_eq!(wait(limits.check_sign_in(&alice, source, NOW)), 0);
            limits.failed(&alice, source, NOW);
        }
        let stranger = from("203.0.113.1");
        assert_eq!(wait(limits.check_sign_in(&alice, stranger, NOW)), 72);
        assert_eq!(wait(limits.check_sign_in(&alice, stranger, NOW + 72 * SECOND)), 0);
        // The owner's usual place is open all the time, and still limited for itself.
        assert_eq!(wait(limits.check_sign_in(&alice, home, NOW)), 0);
        for _ in 0..5 {
            limits.failed(&alice, home, NOW);
        }
        assert_eq!(wait(limits.check_sign_in(&alice, home, NOW)), 60);
    }

    #[test]
    fn one_source_at_many_accounts_is_slowed_down() {
        let (limits, office) = (limits(), from("2001:db8::1"));
        let mut failures = 0;
        for second in 0..3_600 {
            let (account, now) = (key(&format!("user{second}")), NOW + second * SECOND);
            if limits.check_sign_in(&account, office, now).is_ok() {
                limits.failed(&account, office, now);
                failures += 1;
            }
        }
        assert!((290..=300).contains(&failures), "{failures}");
        assert!(limits.check_sign_in(&key("x"), from("2001:db8::ffff"), NOW + 3_600 * SECOND - 1).is_err());
        assert!(limits.check_sign_in(&key("x"), from("2001:db8:0:1::1"), NOW + 3_600 * SECOND).is_ok());
    }

    #[test]
    fn registrations_are_counted_by_source() {
        let limits = limits();
        let made =
            (0..3_600).filter(|s| limits.register(from("192.0.2.1"), NOW + s * SECOND).is_ok()).count();
        assert_eq!(made, 19, "10 at once and 9 in the rest of the hour");
        assert!(limits.register(from("192.0.2.2"), NOW).is_ok());
        assert!((0..1_000).all(|_| limits.register(Source::Unknown, NOW).is_ok()));
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out() {
        let (limits, alice, home) = (limits(), key("alice"), from("192.0.2.1"));
        let tomorrow = NOW + 24 * HOUR;
        for _ in 0..300 {
            limits.failed(&alice, home, tomorrow);
        }
        assert_eq!(wait(limits.check_sign_in(&alice, home, NOW)), 900);
        assert_eq!(wait(limits.check_sign_in(&alice, home, NOW + HOUR)), 0);
        for _ in 0..20 {
            let _ = limits.register(home, tomorrow);
        }
        assert_eq!(wait(limits.register(home, NOW)), 360);
        assert_eq!(wait(limits.register(home, NOW + 6 * MINUTE)), 0);
    }

    #[test]
    fn sources_are_networks() {
        assert_eq!(from("::ffff:192.0.2.1"), from("192.0.2.1"));
        assert_eq!(from("2001:db8:1:2:3:4:5:6"), from("2001:db8:1:2::"));
        assert_ne!(from("2001:db8:1:2::"), from("2001:db8:1:3::"));
        assert_eq!(from(""), Source::Unknown);
        for bad in ["localhost", "192.0.2.1:80", "[::1]", " 192.0.2.1"] {
            assert!(matches!(Source::parse(bad), Err(Error::InvalidField { field: "client_address", .. })));
        }
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        let (limits, alice, home) = (Limits::new(None), key("alice"), from("192.0.2.1"));
        for _ in 0..1_000 {
            limits.failed(&alice, home, NOW);
            assert!(limits.register(home, NOW).is_ok());
        }
        assert!(limits.check_sign_in(&alice, home, NOW).is_ok());
    }
}
