//! Whether what we call answers at all.
//!
//! A time limit for a call has to be as long as the slowest one that is well. Where nothing answers any more, because a
//! server is frozen or a network swallows packets, nobody should have to wait that long. So a call that takes long makes us
//! ask something small beside it: as long as that is answered the call may go on, and when it is not the call is given up.
//! Where a line is full the small question may wait longer than that behind large ones, so other calls that were answered
//! meanwhile count as its answer.

use std::fmt;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

/// How long a call runs before somebody asks, and between two questions.
const PATIENCE: Duration = Duration::from_millis(700);
/// How long an answer to the question is waited for.
const LIMIT: Duration = Duration::from_secs(1);
/// How long an answer holds: all who wait share one.
const FRESH: Duration = Duration::from_millis(500);

type Ask = Box<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// Watches over calls to one place. Clones share what they find out.
#[derive(Clone)]
pub struct Presence(Arc<Shared>);

struct Shared {
    of: &'static str,
    ask: Ask,
    last: Mutex<Option<(Instant, bool)>>,
    /// When another call was answered last.
    heard: StdMutex<Option<Instant>>,
}

/// Nothing answers there. A call that was given up may have been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} does not answer")]
pub struct Silent(&'static str);

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Presence").field(&self.0.of).finish()
    }
}

impl Presence {
    /// Of what is named `of` in logs. `ask` asks it something small, and says whether it was answered; it need not limit its
    /// time.
    pub fn new<F>(of: &'static str, ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let ask: Ask = Box::new(move || ask().boxed());
        Self(Arc::new(Shared { of, ask, last: Mutex::default(), heard: StdMutex::default() }))
    }

    /// Notes that a call was answered: whoever answers is there.
    pub fn heard(&self) {
        *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Makes a call for as long as anything is answered.
    ///
    /// # Errors
    /// [`Silent`] when nothing is, within two and a half seconds.
    pub async fn over<T>(&self, call: impl Future<Output = T>) -> Result<T, Silent> {
        tokio::select! {
            biased;
            result = call => Ok(result),
            () = self.silence() => Err(Silent(self.0.of)),
        }
    }

    async fn silence(&self) {
        loop {
            sleep(PATIENCE).await;
            if !self.answers().await {
                return;
            }
        }
    }

    async fn answers(&self) -> bool {
        let Shared { of, ask, last, heard } = &*self.0;
        let mut last = last.lock().await;
        if let Some((at, answered)) = *last
            && at.elapsed() < FRESH
        {
            return answered;
        }
        let asked = Instant::now();
        let heard = || heard.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at >= asked);
        let answered = timeout(LIMIT, ask()).await.unwrap_or(false) || heard();
        if !answered {
            tracing::warn!(of, "nothing answers");
        }
        *last = Some((Instant::now(), answered));
        answered
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_slow_may_be_slow() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let presence = Presence::new("it", move || {
            count.fetch_add(1, Ordering::Relaxed);
            ready(true)
        });
        assert_eq!(presence.over(ready(1)).await, Ok(1));
        assert_eq!(asked.load(Ordering::Relaxed), 0, "nobody asks when all is well");
        let slow = async { sleep(Duration::from_secs(60)).await };
        assert_eq!(presence.over(slow).await, Ok(()));
        assert!(asked.load(Ordering::Relaxed) > 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_hear_counts() {
        let presence = Presence::new("it", pending);
        let others = async {
            loop {
                sleep(Duration::from_millis(900)).await;
                presence.heard();
            }
        };
        let slow = presence.over(async { sleep(Duration::from_secs(60)).await });
        tokio::select! {
            done = slow => assert_eq!(done, Ok(())),
            () = others => unreachable!(),
        }
        assert_eq!(presence.over(pending::<()>()).await, Err(Silent("it")), "it was long ago");
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_answers_nobody_waits() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let presence = Presence::new("it", move || {
            count.fetch_add(1, Ordering::Relaxed);
            pending()
        });
        let began = Instant::now();
        let calls = (0..100).map(|_| presence.over(pending::<()>()));
        let results = futures::future::join_all(calls).await;
        assert!(results.iter().all(|result| *result == Err(Silent("it"))));
        assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());
        assert_eq!(asked.load(Ordering::Relaxed), 1, "all share one question");
    }
}
