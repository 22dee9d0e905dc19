//! What the tests of several crates need. Nothing in a server uses it.

use std::time::Duration;

pub use crate::clock::ManualClock;

/// Waits until `condition` holds, asking again every few milliseconds.
///
/// # Panics
/// When it does not hold within `timeout`.
#[expect(clippy::panic, reason = "a test fails by panicking")]
#[track_caller]
pub fn eventually<F, Fut>(timeout: Duration, mut condition: F) -> impl Future<Output = ()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let caller = std::panic::Location::caller();
    async move {
        let asking = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(timeout, asking).await.is_err() {
            panic!("condition at {caller} did not hold within {timeout:?}");
        }
    }
}
