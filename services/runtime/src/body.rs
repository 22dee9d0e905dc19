//! Request bodies whose sender may not dawdle.
//!
//! hyper waits for ever for the next byte of a body. [`BodyIdleTimeout`] cuts off a sender that is silent for
//! too long, or that trickles; only the time spent waiting for the sender counts, so a slow reader on our
//! side does not.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tower::{Layer, Service};

use crate::BoxError;
use crate::config::BodyConfig;

/// The waiting time over which the rate is measured.
const RATE_WINDOW: Duration = Duration::from_secs(60);

/// The error of a body whose sender was too slow (HTTP 408).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlowBody {
    /// Nothing came for the whole idle timeout.
    #[error("the sender of the body fell silent")]
    Idle,
    /// Too little came in a minute.
    #[error("the sender of the body is too slow")]
    Trickle,
}

impl SlowBody {
    /// Finds it in the chain of an error that a body ended with.
    pub fn find<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(slow) = error.downcast_ref() {
                return Some(slow);
            }
            cause = error.source();
        }
        None
    }
}

/// Wraps the bodies of all requests to a service in [`BodyIdleTimeout`].
#[derive(Clone, Copy, Debug)]
pub struct BodyIdleTimeoutLayer {
    idle: Duration,
    min_rate: u64,
}

impl BodyIdleTimeoutLayer {
    /// With these limits.
    pub fn new(config: &BodyConfig) -> Self {
        Self { idle: config.idle_timeout.get(), min_rate: config.min_rate.get() }
    }
}

impl<S> Layer<S> for BodyIdleTimeoutLayer {
    type Service = BodyIdleTimeoutService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BodyIdleTimeoutService { inner, limits: *self }
    }
}

/// The service that [`BodyIdleTimeoutLayer`] makes.
#[derive(Clone, Debug)]
pub struct BodyIdleTimeoutService<S> {
    inner: S,
    limits: BodyIdleTimeoutLayer,
}

impl<S, B> Service<Request<B>> for BodyIdleTimeoutService<S>
where
    S: Service<Request<BodyIdleTimeout<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let BodyIdleTimeoutLayer { idle, min_rate } = self.limits;
        self.inner.call(request.map(|body| BodyIdleTimeout::new(body, idle, min_rate)))
    }
}

/// A body that fails with [`SlowBody`] when it takes too long to come.
#[derive(Debug)]
pub struct BodyIdleTimeout<B> {
    body: B,
    idle: Duration,
    min_rate: u64,
    /// Since when we have been waiting for the next frame.
    waiting: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
    window_waited: Duration,
    window_bytes: u64,
}

impl<B> BodyIdleTimeout<B> {
    /// Waits at most `idle` for a frame, and cuts off a sender that makes us wait for a minute in which it
    /// sends less than `min_rate` bytes for each second of waiting (0: never).
    pub fn new(body: B, idle: Duration, min_rate: u64) -> Self {
        Self {
            body,
            idle,
            min_rate,
            waiting: None,
            alarm: None,
            window_waited: Duration::ZERO,
            window_bytes: 0,
        }
    }

    fn arrived(&mut self, bytes: usize) -> Result<(), SlowBody> {
        self.window_bytes = self.window_bytes.saturating_add(bytes as u64);
        if let Some(since) = self.waiting.take() {
            self.window_waited += since.elapsed();
        }
        if self.window_waited < RATE_WINDOW {
            return Ok(());
        }
        let enough = self.min_rate.saturating_mul(self.window_waited.as_secs());
        let trickles = self.window_bytes < enough;
        self.window_waited = Duration::ZERO;
        self.window_bytes = 0;
        if trickles { Err(SlowBody::Trickle) } else { Ok(()) }
    }

    fn poll_alarm(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let idle = self.idle;
        let newly = self.waiting.is_none();
        let since = *self.waiting.get_or_insert_with(Instant::now);
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(since + idle)));
        if newly {
            alarm.as_mut().reset(since + idle);
        }
        alarm.as_mut().poll(context)
    }
}

impl<B> Body for BodyIdleTimeout<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let this = self.get_mut();
        let frame = match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Pending => {
                return this.poll_alarm(context).map(|()| Some(Err(SlowBody::Idle.into())));
            }
            Poll::Ready(None) => None,
            Poll::Ready(Some(Err(error))) => Some(Err(error.into())),
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Buf::remaining);
                Some(this.arrived(bytes).map(|()| frame).map_err(BoxError::from))
            }
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{Stream, StreamExt};
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    const IDLE: Duration = Duration::from_secs(30);

    fn body(
        frames: impl Stream<Item = Bytes> + Send + 'static,
    ) -> BodyIdleTimeout<impl Body<Error = BoxError> + Unpin> {
        let frames = frames.map(|bytes| Ok::<_, BoxError>(Frame::data(bytes))).boxed();
        BodyIdleTimeout::new(StreamBody::new(frames), IDLE, 1024)
    }

    /// `size` bytes every `seconds`, `count` times.
    fn every(seconds: u64, size: usize, count: usize) -> impl Stream<Item = Bytes> {
        futures::stream::iter(0..count).then(move |_| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Bytes::from(vec![0; size])
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_sender_is_left_alone() {
        let body = body(every(29, 30 << 10, 20));
        assert_eq!(body.collect().await.map(|all| all.to_bytes().len()).ok(), Some(20 * (30 << 10)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_sender_is_cut_off() {
        let started = Instant::now();
        let body = body(every(1, 10, 1).chain(futures::stream::pending()));
        let error = body.collect().await.err().unwrap();
        assert_eq!(SlowBody::find(&*error), Some(&SlowBody::Idle));
        assert_eq!(started.elapsed().as_secs(), 31);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickling_sender_is_cut_off() {
        let started = Instant::now();
        let error = body(every(5, 100, 1000)).collect().await.err().unwrap();
        assert_eq!(SlowBody::find(&*error), Some(&SlowBody::Trickle));
        assert_eq!(started.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_slowness_is_not_the_senders() {
        let mut body = body(futures::stream::iter(vec![Bytes::from_static(b"x"); 10]));
        let mut frames = 0;
        while let Some(frame) = body.frame().await {
            assert!(frame.is_ok());
            frames += 1;
            tokio::time::sleep(Duration::from_secs(100)).await;
        }
        assert_eq!(frames, 10);
    }
}
