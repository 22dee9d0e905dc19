//! The program itself, over TCP: whatever befalls it, nothing that it has acknowledged is lost and no wrong byte is served.
//!
//! - [`home`]: a data directory, and a server on it. [`calls`]: writing and reading. [`content`]: bytes made from a seed.
//! - [`ledger`]: what was acknowledged, and whether all of it is still there. [`scenario`]: what writers do, in every way there
//!   is.
//! - [`strace`]: errors and kills at system calls. [`mount`]: file systems of our own.
//!
//! Some tests go on for longer when asked to by environment variables: see CONTRIBUTING.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

#[path = "../bucket/mod.rs"]
mod bucket;
mod bucket_kills;
mod calls;
mod content;
mod damage;
mod faults;
mod files;
mod home;
mod jobs;
mod kills;
mod ledger;
mod lifecycle;
mod memory;
mod metrics;
mod mount;
mod offline;
mod power;
mod scenario;
mod strace;

/// A number from the environment, for tests that can go on for longer.
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().expect(variable))
}
