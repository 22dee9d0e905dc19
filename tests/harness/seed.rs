//! Randomness that can be repeated.

use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// A generator whose seed is printed, so that a failure can be repeated: `HOLDALL_E2E_SEED=N cargo test …`.
pub struct Seed(SmallRng);

impl Seed {
    /// A new seed, or the one in the environment.
    pub fn new(test: &str) -> Self {
        Self::or(test, rand::random)
    }

    /// The same seed each time, or the one in the environment.
    pub fn fixed(test: &str, seed: u64) -> Self {
        Self::or(test, || seed)
    }

    fn or(test: &str, default: impl FnOnce() -> u64) -> Self {
        let seed = match std::env::var("HOLDALL_E2E_SEED") {
            Ok(text) => text.parse().expect("HOLDALL_E2E_SEED is a number"),
            Err(_) => default(),
        };
        println!("{test}: HOLDALL_E2E_SEED={seed}");
        Self(SmallRng::seed_from_u64(seed))
    }

    /// Another generator, made from this one, for somebody who works beside others.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(SmallRng::from_rng(&mut self.0))
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0.random_range(0..limit)
    }

    /// One of those.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let index = self.0.random_range(0..from.len());
        &from[index]
    }
}
