//! Request bodies that can be sent again.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use tonic::Status;
use tonic::body::Body;

/// What is kept of a body, at most. Longer ones carry content, and are sent once.
const KEPT: usize = 64 << 10;

/// A body of which the beginning is kept while it is sent, so that another attempt can start over.
#[derive(Clone)]
pub(super) struct Replay(Arc<Mutex<Source>>);

struct Source {
    body: Body,
    sent: Vec<Bytes>,
    kept: usize,
    /// More was sent than is kept.
    is_gone: bool,
}

impl Replay {
    pub(super) fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(Source { body, sent: Vec::new(), kept: 0, is_gone: false })))
    }

    /// The body from its start; `None` when its beginning is gone.
    pub(super) fn attempt(&self) -> Option<Body> {
        let is_gone = self.0.lock().unwrap_or_else(PoisonError::into_inner).is_gone;
        (!is_gone).then(|| Body::new(Attempt { source: self.clone(), next: 0 }))
    }
}

/// The body of one attempt. At most one at a time is read.
struct Attempt {
    source: Replay,
    next: usize,
}

impl http_body::Body for Attempt {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let next = self.next;
        let polled = {
            let mut source = self.source.0.lock().unwrap_or_else(PoisonError::into_inner);
            match source.sent.get(next) {
                Some(data) if !source.is_gone => Poll::Ready(Some(Ok(Frame::data(data.clone())))),
                _ => source.poll(context),
            }
        };
        if matches!(polled, Poll::Ready(Some(Ok(_)))) {
            self.next += 1;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let source = self.source.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.next >= source.sent.len() && source.body.is_end_stream()
    }
}

impl Source {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && !self.is_gone
        {
            match frame.data_ref() {
                Some(data) if self.kept + data.len() <= KEPT => {
                    self.kept += data.len();
                    self.sent.push(data.clone());
                }
                _ => {
                    self.is_gone = true;
                    self.sent = Vec::new();
                }
            }
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    fn body(pieces: &[usize]) -> Body {
        let frames: Vec<_> =
            pieces.iter().map(|len| Ok::<_, Status>(Frame::data(Bytes::from(vec![7; *len])))).collect();
        Body::new(StreamBody::new(stream::iter(frames)))
    }

    async fn len(body: Body) -> usize {
        body.collect().await.unwrap().to_bytes().len()
    }

    #[tokio::test]
    async fn a_short_body_can_be_sent_again_from_wherever_the_attempt_broke_off() {
        let replay = Replay::new(body(&[10, 20, 30]));
        let mut first = replay.attempt().unwrap();
        assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap().len(), 10);
        drop(first);
        assert_eq!(len(replay.attempt().unwrap()).await, 60);
        assert_eq!(len(replay.attempt().unwrap()).await, 60);
    }

    #[tokio::test]
    async fn a_long_body_is_sent_once_and_not_kept() {
        let replay = Replay::new(body(&[KEPT, 1, KEPT]));
        assert_eq!(len(replay.attempt().unwrap()).await, 2 * KEPT + 1);
        assert!(replay.attempt().is_none());
        assert!(replay.0.lock().unwrap().sent.is_empty());
    }

    #[tokio::test]
    async fn an_empty_body_is_empty_each_time() {
        let replay = Replay::new(Body::empty());
        assert_eq!(len(replay.attempt().unwrap()).await, 0);
        assert_eq!(len(replay.attempt().unwrap()).await, 0);
    }
}
