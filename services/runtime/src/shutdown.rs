//! The end of a process: a request to stop, work that is waited for, and a limit on the waiting.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tells every part of a process when to stop. Clones are the same shutdown.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begun: CancellationToken,
    token: CancellationToken,
    drain: Duration,
    tasks: TaskTracker,
    limit: Duration,
    requested_at: OnceLock<Instant>,
    cut_off: AtomicUsize,
}

/// How a process came to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything under way was finished.
    Complete,
    /// The limit came first; this many tasks and connections were cut off.
    CutOff(usize),
}

impl Shutdown {
    /// A shutdown that nobody has asked for, with `limit` for the work under way once somebody does.
    pub fn new(limit: Duration) -> Self {
        Self::with_drain(Duration::ZERO, limit)
    }

    /// The same, with `drain` between the beginning and the request: health checks say NOT_SERVING in it, and everything else
    /// goes on, so that whoever sends new work can learn to send it elsewhere.
    pub fn with_drain(drain: Duration, limit: Duration) -> Self {
        Self(Arc::new(Inner {
            begun: CancellationToken::new(),
            token: CancellationToken::new(),
            drain,
            tasks: TaskTracker::new(),
            limit,
            requested_at: OnceLock::new(),
            cut_off: AtomicUsize::new(0),
        }))
    }

    /// Asks everything to stop. Asking again changes nothing.
    pub fn request(&self) {
        self.0.begun.cancel();
        self.0.requested_at.get_or_init(Instant::now);
        self.0.token.cancel();
    }

    /// Begins to end: [`request`](Self::request)s after the time to drain.
    pub async fn begin(&self) {
        self.0.begun.cancel();
        if !self.0.drain.is_zero() {
            tokio::time::sleep(self.0.drain).await;
        }
        self.request();
    }

    /// True once it begins.
    pub fn has_begun(&self) -> bool {
        self.0.begun.is_cancelled()
    }

    /// Returns when it begins.
    pub async fn begun(&self) {
        self.0.begun.cancelled().await;
    }

    /// True once somebody has asked.
    pub fn is_requested(&self) -> bool {
        self.0.token.is_cancelled()
    }

    /// Returns when somebody asks.
    pub async fn requested(&self) {
        self.0.token.cancelled().await;
    }

    /// Returns when the limit has passed since somebody asked.
    pub async fn expired(&self) {
        self.requested().await;
        let requested_at = *self.0.requested_at.get_or_init(Instant::now);
        tokio::time::sleep_until(requested_at + self.0.limit).await;
    }

    /// For code that takes a token. Cancel through [`request`](Self::request) only.
    pub fn token(&self) -> CancellationToken {
        self.0.token.clone()
    }

    /// Runs a background task that ends by itself soon after [`requested`](Self::requested), and is waited
    /// for.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.tasks.spawn(task);
    }

    /// Asks everything to stop and waits until it has, or until the limit.
    pub async fn drain(&self) -> Drained {
        self.request();
        self.0.tasks.close();
        let running = tokio::select! {
            biased;
            () = self.0.tasks.wait() => 0,
            () = self.expired() => self.0.tasks.len(),
        };
        match running + self.0.cut_off.load(Ordering::SeqCst) {
            0 => Drained::Complete,
            cut_off => Drained::CutOff(cut_off),
        }
    }

    /// Notes that something was cut off at the limit that [`drain`](Self::drain) does not know of.
    pub(crate) fn note_cut_off(&self) {
        self.0.cut_off.fetch_add(1, Ordering::SeqCst);
    }

    /// From now on SIGTERM and SIGINT ask for the shutdown, and a second one ends the process at once (exit
    /// code 128 + signal).
    pub fn on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            loop {
                let (name, number) = tokio::select! {
                    _ = terminate.recv() => ("SIGTERM", SignalKind::terminate().as_raw_value()),
                    _ = interrupt.recv() => ("SIGINT", SignalKind::interrupt().as_raw_value()),
                };
                if shutdown.has_begun() {
                    tracing::warn!(signal = name, "stopping at once");
                    std::process::exit(128 + number);
                }
                tracing::info!(signal = name, drain = ?shutdown.0.drain, limit = ?shutdown.0.limit, "stopping");
                let ending = shutdown.clone();
                tokio::spawn(async move { ending.begin().await });
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tasks_are_waited_for() {
        let shutdown = Shutdown::new(Duration::from_secs(30));
        let (done, mut is_done) = tokio::sync::oneshot::channel();
        let asked = shutdown.clone();
        shutdown.spawn(async move {
            asked.requested().await;
            tokio::time::sleep(Duration::from_secs(29)).await;
            let _ = done.send(());
        });
        assert!(!shutdown.is_requested());
        assert_eq!(shutdown.drain().await, Drained::Complete);
        assert!(is_done.try_recv().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn it_begins_before_it_is_requested() {
        let shutdown = Shutdown::with_drain(Duration::from_secs(5), Duration::from_secs(30));
        let since = Instant::now();
        let ending = shutdown.clone();
        tokio::spawn(async move { ending.begin().await });
        shutdown.begun().await;
        assert!(shutdown.has_begun() && !shutdown.is_requested());
        shutdown.requested().await;
        assert!((Duration::from_secs(5)..Duration::from_secs(6)).contains(&since.elapsed()));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_has_a_limit_that_counts_from_the_request() {
        let shutdown = Shutdown::new(Duration::from_secs(30));
        shutdown.spawn(std::future::pending());
        shutdown.request();
        tokio::time::sleep(Duration::from_secs(20)).await;
        let before = Instant::now();
        assert_eq!(shutdown.drain().await, Drained::CutOff(1));
        let waited = before.elapsed();
        assert!((Duration::from_secs(10)..Duration::from_secs(11)).contains(&waited), "{waited:?}");
    }
}
