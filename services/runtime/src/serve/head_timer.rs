//! Two limits where hyper knows one.
//!
//! hyper's timeout for the head of an HTTP/1 request starts when the answer before it is done, so a limit that
//! stops those who send their head slowly also closes connections that are merely unused. This timer, which
//! hyper asks for that timeout, tells the two apart by whether a byte has arrived.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// Whether bytes have arrived since somebody last looked. Clones look at the same connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals(Arc<AtomicBool>);

impl Arrivals {
    pub(super) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn forget(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The timer of one HTTP/1 connection. What hyper asks it to wait is how long a head may take once it has
/// begun; before that, `idle` counts.
pub(super) struct HeadTimer {
    pub(super) arrivals: Arrivals,
    pub(super) idle: Duration,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.arrivals.forget();
        let idle = Box::pin(tokio::time::sleep(self.idle));
        let head = Some(duration);
        Box::pin(HeadSleep { arrivals: self.arrivals.clone(), sleep: idle, head })
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(self.now()))
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

struct HeadSleep {
    arrivals: Arrivals,
    sleep: Pin<Box<tokio::time::Sleep>>,
    /// How long the head may take; `None` once that is what we wait for.
    head: Option<Duration>,
}

impl Future for HeadSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Bytes that arrive wake the connection, which then polls this.
        if self.arrivals.any()
            && let Some(head) = self.head.take()
        {
            self.sleep.as_mut().reset(tokio::time::Instant::now() + head);
        }
        self.sleep.as_mut().poll(context)
    }
}

impl Sleep for HeadSleep {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_head_is_waited_for_longer_than_its_rest() {
        let arrivals = Arrivals::default();
        let timer = HeadTimer { arrivals: arrivals.clone(), idle: Duration::from_secs(75) };
        let waited = async |mut sleep: Pin<Box<dyn Sleep>>, first_byte: Option<u64>| {
            let started = tokio::time::Instant::now();
            let arriving = async {
                if let Some(seconds) = first_byte {
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                    arrivals.note();
                }
            };
            tokio::pin!(arriving);
            let mut arrived = false;
            std::future::poll_fn(|context| {
                arrived = arrived || arriving.as_mut().poll(context).is_ready();
                sleep.as_mut().poll(context)
            })
            .await;
            started.elapsed().as_secs()
        };
        let head = Duration::from_secs(10);
        assert_eq!(waited(timer.sleep(head), None).await, 75);
        assert_eq!(waited(timer.sleep_until(timer.now() + head), Some(0)).await, 10);
        assert_eq!(waited(timer.sleep(head), Some(60)).await, 70);
        assert_eq!(waited(timer.sleep(head), None).await, 75, "what arrived before does not count");
    }
}
