//! A body as the messages of blob's `Write`.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use holdall_proto::blob::v1::write_request::Part;
use holdall_proto::blob::v1::{WriteFinish, WriteHeader, WriteRequest};

use crate::error::{Code, Error, Result};

/// The header, the pieces of `body`, and the finish.
///
/// A gRPC request stream cannot fail, and its end alone means nothing to blob: when the body fails, or has another
/// length than announced, the stream ends without the finish and the reason is left in the [`Failure`].
pub fn messages<S>(grant: Bytes, size: Option<u64>, body: S) -> (Messages<S>, Failure) {
    let failure = Failure::default();
    let header = WriteHeader { grant, size };
    let messages = Messages {
        header: Some(header),
        body: Some(Box::pin(body)),
        announced: size,
        sent: 0,
        failure: failure.clone(),
    };
    (messages, failure)
}

/// Why a body ended before its time.
#[derive(Clone, Default)]
pub struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    fn set(&self, error: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// The reason, if the body failed.
    pub fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// See [`messages`].
pub struct Messages<S> {
    header: Option<WriteHeader>,
    /// `None` once the stream has ended, one way or the other.
    body: Option<Pin<Box<S>>>,
    announced: Option<u64>,
    sent: u64,
    failure: Failure,
}

impl<S> Messages<S> {
    fn fail(&mut self, error: impl Into<Error>) -> Poll<Option<WriteRequest>> {
        self.body = None;
        self.failure.set(error.into());
        Poll::Ready(None)
    }
}

impl<S: Stream<Item = Result<Bytes>>> Stream for Messages<S> {
    type Item = WriteRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<WriteRequest>> {
        let message = |part| Poll::Ready(Some(WriteRequest { part: Some(part) }));
        if let Some(header) = self.header.take() {
            return message(Part::Header(header));
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        match ready!(body.as_mut().poll_next(cx)) {
            Some(Ok(data)) => {
                self.sent = self.sent.saturating_add(data.len() as u64);
                if self.announced.is_some_and(|announced| self.sent > announced) {
                    return self.fail(Code::TruncatedBody);
                }
                message(Part::Data(data))
            }
            Some(Err(error)) => self.fail(error),
            None if self.announced.is_some_and(|announced| self.sent != announced) => {
                self.fail(Code::TruncatedBody)
            }
            None => {
                self.body = None;
                message(Part::Finish(WriteFinish { size: self.sent, digest: Bytes::new() }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};

    use super::*;

    /// The sizes of the data messages, whether there was a finish, and the failure.
    async fn run(size: Option<u64>, body: Vec<Result<Bytes>>) -> (Vec<usize>, bool, Option<Code>) {
        let (messages, failure) = messages(Bytes::from_static(b"grant"), size, stream::iter(body));
        let parts: Vec<_> = messages.collect::<Vec<_>>().await.into_iter().filter_map(|m| m.part).collect();
        assert!(matches!(&parts[0], Part::Header(header) if header.size == size && header.grant == "grant"));
        let data =
            parts.iter().filter_map(|part| if let Part::Data(data) = part { Some(data.len()) } else { None });
        let finish = parts
            .iter()
            .find_map(|part| if let Part::Finish(finish) = part { Some(finish.size) } else { None });
        let data: Vec<_> = data.collect();
        if let Some(size) = finish {
            assert_eq!(size, data.iter().sum::<usize>() as u64);
            assert!(matches!(parts.last(), Some(Part::Finish(_))));
        }
        (data, finish.is_some(), failure.take().map(|error| error.code))
    }

    fn piece(len: usize) -> Result<Bytes> {
        Ok(Bytes::from(vec![0; len]))
    }

    #[tokio::test]
    async fn a_whole_body_is_finished() {
        assert_eq!(run(None, vec![]).await, (vec![], true, None));
        assert_eq!(run(Some(0), vec![]).await, (vec![], true, None));
        assert_eq!(run(None, vec![piece(3), piece(4)]).await, (vec![3, 4], true, None));
        assert_eq!(run(Some(7), vec![piece(3), piece(4)]).await, (vec![3, 4], true, None));
    }

    #[tokio::test]
    async fn a_body_of_another_length_is_not() {
        assert_eq!(
            run(Some(8), vec![piece(3), piece(4)]).await,
            (vec![3, 4], false, Some(Code::TruncatedBody))
        );
        assert_eq!(run(Some(6), vec![piece(3), piece(4)]).await, (vec![3], false, Some(Code::TruncatedBody)));
    }

    #[tokio::test]
    async fn a_failed_body_is_not() {
        let body = vec![piece(3), Err(Code::Timeout.into()), piece(4)];
        assert_eq!(run(None, body).await, (vec![3], false, Some(Code::Timeout)));
    }
}
