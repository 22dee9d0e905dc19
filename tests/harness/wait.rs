//! Waiting for something to become true.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// How long anything may take on a slow, busy machine before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until `check` gives something, and fails the test when it does not within a minute.
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Fails the test when `future` does not end within `limit`.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} took longer than {limit:?}"),
    }
}
