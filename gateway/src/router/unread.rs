//! Whether the body of a request was read to its end before the answer was made.
//!
//! Trap: after an early answer, such as the refusal of an upload, hyper closes an HTTP/1 connection, since what is still
//! to come of the body cannot be told from the next request. A client that is not told so sends its next request into
//! the closing connection. The answer has to say `Connection: close` (RFC 9112, §9.6).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::Version;
use http_body::{Frame, SizeHint};

/// Tells, at the time of the answer, whether bytes of the request are still to come.
#[derive(Debug, Clone, Default)]
pub struct Unread(Option<Arc<AtomicBool>>);

impl Unread {
    /// Follows the body of `request`, where that can matter.
    pub fn watch(request: Request) -> (Request, Self) {
        if request.version() > Version::HTTP_11 || http_body::Body::is_end_stream(request.body()) {
            return (request, Self::default());
        }
        let unread = Arc::new(AtomicBool::new(true));
        let request = request.map(|body| Body::new(Watched { body, unread: Arc::clone(&unread) }));
        (request, Self(Some(unread)))
    }

    /// The body has not come to its end.
    pub fn is_left(&self) -> bool {
        self.0.as_ref().is_some_and(|unread| unread.load(Ordering::Acquire))
    }
}

struct Watched {
    body: Body,
    unread: Arc<AtomicBool>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.unread.store(false, Ordering::Release);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
