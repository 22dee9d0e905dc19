//! What is done now and then: uploads that have ended are forgotten.

use std::sync::{Arc, Weak};
use std::time::Duration;

use holdall_runtime::clock::Clock;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::store::Store;

/// How often.
const INTERVAL: Duration = Duration::from_secs(10 * 60);
/// How long an upload is kept that nobody can go on with, in microseconds: a call that came in time may still be under way.
const GRACE: i64 = 3600 * 1_000_000;
/// How long an upload that nobody asks for is kept in mind.
const IDLE: Duration = Duration::from_secs(15 * 60);

/// Begins to. Ends by itself once the store is gone.
pub fn start(store: &Arc<Store>, clock: Clock) -> JoinHandle<()> {
    let store = Arc::downgrade(store);
    tokio::spawn(async move { run(&store, &clock).await })
}

async fn run(store: &Weak<Store>, clock: &Clock) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(store) = store.upgrade() else { return };
        store.forget_idle(IDLE);
        match store.forget_uploads(clock.now().saturating_sub(GRACE)).await {
            Ok(0) => {}
            Ok(uploads) => tracing::info!(uploads, "uploads that have ended were forgotten"),
            Err(error) => tracing::warn!(%error, "uploads that have ended are forgotten later"),
        }
    }
}
