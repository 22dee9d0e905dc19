//! What happens without being asked for.

use std::sync::Arc;
use std::time::Duration;

use holdall_runtime::clock::Clock;
use holdall_runtime::shutdown::Shutdown;

use crate::authority::Authority;
use crate::keys::Keyring;

/// How often the key directory is read. Much shorter than the time between the publication of a key and its first use.
const TEND_KEYS: Duration = Duration::from_secs(60);

/// How often old rows are deleted. Replicas may do it at the same time.
const SWEEP: Duration = Duration::from_secs(3_600);

/// Starts the jobs; they end with the shutdown.
pub fn start(authority: &Arc<Authority>, keys: &Arc<Keyring>, clock: &Clock, shutdown: &Shutdown) {
    let (keys, clock) = (Arc::clone(keys), clock.clone());
    every(TEND_KEYS, shutdown, move || {
        let (keys, now) = (Arc::clone(&keys), clock.now_seconds());
        async move {
            let tended = tokio::task::spawn_blocking(move || keys.tend(now)).await;
            if let Ok(Err(error)) = tended {
                tracing::error!(%error, "signing keys cannot be tended; those in use stay");
            }
        }
    });
    let authority = Arc::clone(authority);
    every(SWEEP, shutdown, move || {
        let authority = Arc::clone(&authority);
        async move {
            match authority.sweep().await {
                Ok(0) => {}
                Ok(rows) => tracing::info!(rows, "deleted ended sessions and old idempotency keys"),
                Err(error) => tracing::warn!(%error, "ended sessions were not deleted"),
            }
        }
    });
}

/// Does the work now and then again and again, that long after it was done.
fn every<Fut>(pause: Duration, shutdown: &Shutdown, work: impl Fn() -> Fut + Send + 'static)
where
    Fut: Future<Output = ()> + Send,
{
    let stop = shutdown.clone();
    shutdown.spawn(async move {
        loop {
            tokio::select! {
                () = stop.requested() => return,
                () = work() => {}
            }
            tokio::select! {
                () = stop.requested() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    });
}
