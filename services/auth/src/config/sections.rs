//! The sections, each inert data with defaults.

use std::path::PathBuf;
use std::time::Duration;

use holdall_runtime::config::{HumanDuration, Invalid, Validate};
use serde::{Deserialize, Serialize};

use crate::authority::Policy;
use crate::domain::{Lifetime, Lifetimes};
use crate::limits::Rates;
use crate::password::Cost;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// `[registration]`: who may register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrationConfig {
    /// Whether anybody can register an account.
    pub open: bool,
}

impl Default for RegistrationConfig {
    fn default() -> Self {
        Self { open: true }
    }
}

/// `[password]`: what passwords have to be like, and what hashing them with Argon2id costs.
///
/// Higher costs take effect for an account at its next sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PasswordConfig {
    /// The fewest characters of a new password.
    pub min_length: usize,
    /// Memory of one hash in KiB.
    pub memory_kib: u32,
    /// Passes over that memory.
    pub iterations: u32,
    /// Lanes.
    pub lanes: u32,
    /// Hashes that run at once; 0 for as many as there are cores.
    pub concurrency: usize,
    /// Hashes that wait for their turn; more are refused.
    pub queue: usize,
    /// How long one waits for its turn.
    pub wait: HumanDuration,
}

impl Default for PasswordConfig {
    fn default() -> Self {
        Self {
            min_length: 8,
            memory_kib: 19_456,
            iterations: 2,
            lanes: 1,
            concurrency: 0,
            queue: 32,
            wait: HumanDuration::from_secs(2),
        }
    }
}

impl PasswordConfig {
    pub(crate) fn cost(&self) -> Cost {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Cost {
            memory_kib: self.memory_kib,
            iterations: self.iterations,
            lanes: self.lanes,
            running: if self.concurrency == 0 { cores() } else { self.concurrency },
            waiting: self.queue,
            wait: self.wait.get(),
        }
    }
}

impl Validate for PasswordConfig {
    fn validate(&self) -> Result<(), Invalid> {
        if !(1..=256).contains(&self.min_length) {
            return Err(Invalid::new("min_length", "must be from 1 to 256"));
        }
        // A thousand of them would need more memory than there is anywhere.
        if self.concurrency > 1_024 || self.queue > 65_536 {
            return Err(Invalid::new("concurrency", "must be at most 1024, and queue at most 65536"));
        }
        positive("wait", self.wait)?;
        let params = self.cost().params();
        params.map(drop).map_err(|error| {
            Invalid::new("memory_kib", format!("does not go with iterations and lanes: {error}"))
        })
    }
}

/// `[sessions]`: how long sessions live, by what they are for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionsConfig {
    /// Browsers.
    pub web: LifetimeConfig,
    /// Programs and the command line.
    pub api: LifetimeConfig,
    /// Devices that keep folders in sync.
    pub sync: LifetimeConfig,
    /// Clients of the older APIs.
    pub legacy: LifetimeConfig,
}

/// How long sessions of one kind live. What is not said stays as [`SessionsConfig`] has it for that kind: the layers of a
/// configuration are merged key by key, and the default here never gets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LifetimeConfig {
    /// Without being extended.
    pub idle: HumanDuration,
    /// In any case.
    pub absolute: HumanDuration,
}

impl Default for LifetimeConfig {
    fn default() -> Self {
        SessionsConfig::default().api
    }
}

impl Default for SessionsConfig {
    fn default() -> Self {
        let days = |idle, absolute| LifetimeConfig {
            idle: HumanDuration::from_secs(idle * DAY),
            absolute: HumanDuration::from_secs(absolute * DAY),
        };
        Self { web: days(7, 30), api: days(90, 90), sync: days(90, 365), legacy: days(5, 365) }
    }
}

impl SessionsConfig {
    fn lifetimes(&self) -> Lifetimes {
        let lifetime =
            |config: LifetimeConfig| Lifetime { idle: config.idle.get(), absolute: config.absolute.get() };
        Lifetimes {
            web: lifetime(self.web),
            api: lifetime(self.api),
            sync: lifetime(self.sync),
            legacy: lifetime(self.legacy),
        }
    }
}

impl Validate for SessionsConfig {
    fn validate(&self) -> Result<(), Invalid> {
        for (kind, lifetime) in
            [("web", self.web), ("api", self.api), ("sync", self.sync), ("legacy", self.legacy)]
        {
            positive("idle", lifetime.idle).map_err(|invalid| invalid.within(kind))?;
            if lifetime.idle > lifetime.absolute {
                return Err(Invalid::new("idle", "must not be longer than absolute").within(kind));
            }
        }
        Ok(())
    }
}

/// `[signing]`: what access tokens are signed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SigningConfig {
    /// The directory with the key files (see [`keys`](crate::keys)); `keys` in the data directory when absent. Replicas
    /// need the same one.
    pub keys_dir: Option<PathBuf>,
    /// How long an access token lives. What a session was ended for can be done with it for as long, except here and
    /// through the gateway.
    pub token_lifetime: HumanDuration,
    /// Whether keys are made and deleted. Off where the directory cannot be written.
    pub rotate: bool,
    /// How long a key signs.
    pub rotate_after: HumanDuration,
}

impl Default for SigningConfig {
    fn default() -> Self {
        Self {
            keys_dir: None,
            token_lifetime: HumanDuration::from_secs(5 * 60),
            rotate: true,
            rotate_after: HumanDuration::from_secs(90 * DAY),
        }
    }
}

impl Validate for SigningConfig {
    fn validate(&self) -> Result<(), Invalid> {
        let lifetime = self.token_lifetime.get();
        if !(Duration::from_secs(120)..=Duration::from_secs(HOUR)).contains(&lifetime) {
            return Err(Invalid::new("token_lifetime", "must be from 2m to 1h"));
        }
        if self.rotate_after.get() < Duration::from_secs(DAY) {
            return Err(Invalid::new("rotate_after", "must be at least 1d"));
        }
        Ok(())
    }
}

/// `[delegation]`: who may act for others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DelegationConfig {
    /// Files with the keys shared with those who act for others: each 64 hexadecimal digits. The first one seals, all
    /// open; the handles of sessions that are reused are derived from them. Nobody acts for others when there are none.
    pub key_files: Vec<PathBuf>,
}

/// `[rate_limits]`: how often somebody may try (see [`limits`](crate::limits)). Each process counts for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimitsConfig {
    /// Whether there are limits.
    pub enabled: bool,
    /// Failed sign-ins of a source at an account in a row before pauses begin.
    pub free_failures: u32,
    /// Failed sign-ins in an hour at an account, from all sources.
    pub failures_per_account: u32,
    /// Failed sign-ins in an hour of a source, at all accounts.
    pub failures_per_source: u32,
    /// Registrations in an hour of a source.
    pub registrations_per_source: u32,
}

impl Default for RateLimitsConfig {
    fn default() -> Self {
        let rates = Rates::default();
        Self {
            enabled: true,
            free_failures: rates.free_failures,
            failures_per_account: rates.failures_per_account,
            failures_per_source: rates.failures_per_source,
            registrations_per_source: rates.registrations_per_source,
        }
    }
}

impl RateLimitsConfig {
    pub(crate) fn rates(&self) -> Option<Rates> {
        self.enabled.then_some(Rates {
            free_failures: self.free_failures,
            failures_per_account: self.failures_per_account,
            failures_per_source: self.failures_per_source,
            registrations_per_source: self.registrations_per_source,
        })
    }
}

impl Validate for RateLimitsConfig {
    fn validate(&self) -> Result<(), Invalid> {
        for (key, value, least) in [
            ("free_failures", self.free_failures, 1),
            ("failures_per_account", self.failures_per_account, 2),
            ("failures_per_source", self.failures_per_source, 2),
            ("registrations_per_source", self.registrations_per_source, 2),
        ] {
            if value < least {
                return Err(Invalid::new(key, format!("must be at least {least}")));
            }
        }
        Ok(())
    }
}

/// What the sections say about the rules.
pub(crate) fn policy(config: &super::Config) -> Policy {
    Policy {
        registration_open: config.registration.open,
        shortest_password: config.password.min_length,
        lifetimes: config.sessions.lifetimes(),
        token_lifetime: config.signing.token_lifetime.get(),
    }
}

fn positive(key: &str, value: HumanDuration) -> Result<(), Invalid> {
    if value.get().is_zero() { Err(Invalid::new(key, "must be longer than 0")) } else { Ok(()) }
}
