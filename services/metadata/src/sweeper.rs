//! The background task that clears away what time has ended.

use std::time::Duration;

use holdall_runtime::clock::Clock;
use holdall_runtime::shutdown::Shutdown;

use crate::domain::link::Form;
use crate::store::{Result, Store};

/// How often. What is late by this much does no harm: expired reservations are also released when their room is needed.
const INTERVAL: Duration = Duration::from_secs(60);

/// How long answers to repeated requests are kept, in microseconds.
const ANSWERS_KEPT: i64 = 24 * 3600 * 1_000_000;

/// How long expired links are kept in which their owners may still take an interest, in microseconds.
const SHORT_LINKS_KEPT: i64 = 30 * 24 * 3600 * 1_000_000;

/// The same for those that programs make.
const LINKS_KEPT: i64 = 24 * 3600 * 1_000_000;

/// Starts the task; it ends with `shutdown`. `trash_kept` is in microseconds.
pub(crate) fn spawn(store: Store, clock: Clock, shutdown: &Shutdown, trash_kept: i64) {
    let stop = shutdown.token();
    shutdown.spawn(async move {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Not at once: a start has better things to do.
        ticks.tick().await;
        let sweeping = async {
            loop {
                ticks.tick().await;
                if let Err(error) = sweep(&store, clock.now(), trash_kept).await {
                    tracing::warn!(%error, "sweeping failed; it will be tried again");
                }
            }
        };
        // Every step is a transaction, so it may be dropped anywhere.
        stop.run_until_cancelled(sweeping).await;
    });
}

async fn sweep(store: &Store, now: i64, trash_kept: i64) -> Result<()> {
    store.sweep_uploads(now).await?;
    store.sweep_answers(now.saturating_sub(ANSWERS_KEPT)).await?;
    store.sweep_expired(now).await?;
    store.sweep_buffers(now).await?;
    for form in Form::ALL {
        let kept = if form == Form::Short { SHORT_LINKS_KEPT } else { LINKS_KEPT };
        store.sweep_links(form, now.saturating_sub(kept)).await?;
    }
    store.sweep_trash(now.saturating_sub(trash_kept), now).await
}
