//! Whether new content is taken in, once a write has failed.
//!
//! After a failure everybody is refused at once, rather than being let to send content that cannot be kept. Meanwhile the
//! store tries by itself, once a second, whether it can be written to, and lets everybody in again when it can. Reading goes on.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rustix::io::Errno;
use tokio::runtime::Handle;

use super::counters::Counters;
use super::lane::WriteError;

/// Time between two probes.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a write failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no room, or no quota is left.
    Full,
    /// The file system takes no writes, which is also what some do after an error.
    ReadOnly,
    /// The process or the system has no more files to open.
    TooManyFiles,
    /// Anything else: the disk itself, as a rule.
    Other,
}

impl Trouble {
    /// All that there are.
    pub const ALL: [Self; 4] = [Self::Full, Self::ReadOnly, Self::TooManyFiles, Self::Other];

    fn of(error: &io::Error) -> Self {
        match (error.kind(), error.raw_os_error().map(Errno::from_raw_os_error)) {
            (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => Self::Full,
            (io::ErrorKind::ReadOnlyFilesystem, _) => Self::ReadOnly,
            (_, Some(Errno::MFILE | Errno::NFILE)) => Self::TooManyFiles,
            _ => Self::Other,
        }
    }
}

impl From<Trouble> for WriteError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Full => Self::Full,
            Trouble::ReadOnly | Trouble::TooManyFiles | Trouble::Other => Self::Failed,
        }
    }
}

/// Lets uploads in, or not. Clones share everything.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    probe: Box<dyn Fn() -> BoxFuture<'static, io::Result<()>> + Send + Sync>,
    counters: Arc<Counters>,
    runtime: Handle,
}

#[derive(Default)]
struct State {
    trouble: Option<Trouble>,
    /// How many failures were reported.
    reports: u64,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Gate").field(&self.0.lock().trouble).finish()
    }
}

impl Gate {
    /// An open one. `probe` tells whether the store can be written to.
    ///
    /// Has to be called within a tokio runtime.
    pub fn new<F>(counters: Arc<Counters>, probe: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let (state, runtime) = (Mutex::default(), Handle::current());
        let probe = Box::new(move || probe().boxed());
        Self(Arc::new(Inner { state, probe, counters, runtime }))
    }

    /// Why nobody is let in, if that is so.
    pub fn trouble(&self) -> Option<Trouble> {
        self.0.lock().trouble
    }

    /// A write or flush has failed. Nobody is let in until a probe succeeds that began after this. Returns what to tell those
    /// whose write it was.
    pub fn report(&self, error: &io::Error) -> WriteError {
        let trouble = Trouble::of(error);
        Counters::add(self.0.counters.write_error(trouble), 1);
        let mut state = self.0.lock();
        state.reports += 1;
        if state.trouble.replace(trouble).is_none() {
            self.0.counters.degraded.store(1, Ordering::Relaxed);
            tracing::error!(?trouble, %error, "the store cannot be written to; uploads are refused until it can");
            self.0.runtime.spawn(watch(Arc::downgrade(&self.0)));
        }
        trouble.into()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether uploads can be let in again.
    async fn probe(&self) -> bool {
        let reports = self.lock().reports;
        let result = (self.probe)().await;
        let mut state = self.lock();
        match result {
            Ok(()) if state.reports == reports => {
                state.trouble = None;
                self.counters.degraded.store(0, Ordering::Relaxed);
                tracing::warn!("the store can be written to again");
                true
            }
            Ok(()) => false,
            Err(error) => {
                let trouble = Trouble::of(&error);
                if state.trouble.replace(trouble) != Some(trouble) {
                    tracing::error!(?trouble, %error, "the store still cannot be written to");
                }
                false
            }
        }
    }
}

/// Probes until that succeeds, or the store is gone.
async fn watch(gate: Weak<Inner>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        let Some(gate) = gate.upgrade() else { return };
        if gate.probe().await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use holdall_runtime::testing::eventually;

    use super::*;

    fn error(errno: Errno) -> io::Error {
        errno.into()
    }

    #[test]
    fn errors_are_told_apart() {
        for (errno, trouble) in [
            (Errno::NOSPC, Trouble::Full),
            (Errno::DQUOT, Trouble::Full),
            (Errno::ROFS, Trouble::ReadOnly),
            (Errno::MFILE, Trouble::TooManyFiles),
            (Errno::NFILE, Trouble::TooManyFiles),
            (Errno::IO, Trouble::Other),
            (Errno::NOENT, Trouble::Other),
        ] {
            assert_eq!(Trouble::of(&error(errno)), trouble);
        }
        assert_eq!(Trouble::of(&io::ErrorKind::WriteZero.into()), Trouble::Other);
    }

    #[tokio::test]
    async fn it_opens_when_a_probe_succeeds() {
        let counters = Arc::<Counters>::default();
        // The first two probes find a full disk, the third one none.
        let probes = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&probes);
        let gate = Gate::new(Arc::clone(&counters), move || {
            let is_full = count.fetch_add(1, Ordering::Relaxed) < 2;
            async move { if is_full { Err(error(Errno::NOSPC)) } else { Ok(()) } }
        });
        assert_eq!(gate.trouble(), None);
        assert_eq!(gate.report(&error(Errno::IO)), WriteError::Failed);
        assert_eq!(gate.report(&error(Errno::IO)), WriteError::Failed);
        assert_eq!(gate.trouble(), Some(Trouble::Other));
        assert_eq!(counters.degraded.load(Ordering::Relaxed), 1);
        eventually(Duration::from_secs(60), async || gate.trouble() == Some(Trouble::Full)).await;
        eventually(Duration::from_secs(60), async || gate.trouble().is_none()).await;
        assert_eq!(probes.load(Ordering::Relaxed), 3, "by one, not by everybody who reported");
        assert_eq!(counters.degraded.load(Ordering::Relaxed), 0);
        assert_eq!(counters.write_error(Trouble::Other).load(Ordering::Relaxed), 2);
        // And closes again.
        assert_eq!(gate.report(&error(Errno::NOSPC)), WriteError::Full);
        assert_eq!(gate.trouble(), Some(Trouble::Full));
    }

    #[tokio::test]
    async fn a_failure_during_a_probe_counts() {
        let (failed, has_failed) = tokio::sync::watch::channel(false);
        let gate = Gate::new(Arc::default(), move || {
            let mut has_failed = has_failed.clone();
            async move {
                has_failed.wait_for(|has_failed| *has_failed).await.unwrap();
                Ok(())
            }
        });
        gate.report(&error(Errno::IO));
        let probe = gate.0.probe();
        tokio::pin!(probe);
        assert!(futures::poll!(&mut probe).is_pending());
        gate.report(&error(Errno::IO));
        failed.send(true).unwrap();
        assert!(!probe.await);
        assert_eq!(gate.trouble(), Some(Trouble::Other));
        assert!(gate.0.probe().await);
        assert_eq!(gate.trouble(), None);
    }
}
