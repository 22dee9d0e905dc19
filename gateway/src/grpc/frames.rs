//! Where messages begin and end: five bytes before each say how long it is.
//!
//! The messages of a stream go through as they are. Where there is one, it is here as a whole before a service is called, so
//! that no service has to do with calls that break off in it. What is checked here would be an error of a library in the
//! service otherwise, which says INTERNAL; and a message that is too long is refused by its first five bytes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use holdall_proto::error::v1::Reason;
use holdall_runtime::status::Failure;
use http_body::Frame;
use http_body_util::BodyExt;
use tonic::body::Body;
use tonic::{Code, Status};

/// The largest message of a stream, in bytes: what blob takes.
const MAX_STREAMED: usize = 512 << 10;
/// The largest message that comes alone. These hold names, paths, keys and proofs, each with a limit of its own.
const MAX_SINGLE: usize = 64 << 10;
/// A flag and a length.
const HEAD: usize = 5;

/// Follows the messages of a call. The [`Fault`] holds what is wrong with them as soon as something is; the body fails then.
pub fn watch(body: Body, streams: bool) -> (Frames, Fault) {
    let fault = Fault::default();
    let frames = Frames {
        body,
        fault: fault.clone(),
        streams,
        head: [0; HEAD],
        head_len: 0,
        left: 0,
        messages: 0,
        ended: false,
    };
    (frames, fault)
}

/// Why the client's messages could not be passed on.
#[derive(Clone, Debug, Default)]
pub struct Fault(Arc<Mutex<Option<Status>>>);

impl Fault {
    /// The reason, if there is one.
    pub fn take(&self) -> Option<Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, status: Status) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }
}

/// See [`watch`].
pub struct Frames {
    body: Body,
    fault: Fault,
    streams: bool,
    head: [u8; HEAD],
    head_len: usize,
    /// Bytes of the message that are still to come.
    left: usize,
    messages: u64,
    ended: bool,
}

impl Frames {
    /// The only message, as a whole.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn message(mut self) -> Result<Bytes, Status> {
        let mut bytes = BytesMut::new();
        while let Some(frame) = self.frame().await {
            if let Ok(data) = frame?.into_data() {
                bytes.extend_from_slice(&data);
            }
        }
        bytes.advance(HEAD.min(bytes.len()));
        Ok(bytes.freeze())
    }

    /// Looks at bytes that go through.
    fn follow(&mut self, mut data: &[u8]) -> Result<(), Status> {
        while !data.is_empty() {
            if self.left > 0 {
                let taken = self.left.min(data.len());
                data.advance(taken);
                self.left -= taken;
                continue;
            }
            let [byte, rest @ ..] = data else { break };
            data = rest;
            if let Some(place) = self.head.get_mut(self.head_len) {
                *place = *byte;
            }
            self.head_len += 1;
            if self.head_len == HEAD {
                self.head_len = 0;
                self.left = self.begin()?;
            }
        }
        Ok(())
    }

    /// The length of the message that begins.
    fn begin(&mut self) -> Result<usize, Status> {
        let [flag, a, b, c, d] = self.head;
        match flag {
            0 => {}
            1 => return Err(Status::unimplemented("messages are taken without compression")),
            _ => return Err(Status::invalid_argument("this is no message")),
        }
        self.messages += 1;
        if self.messages > 1 && !self.streams {
            return Err(Status::invalid_argument("the method takes one message"));
        }
        let length = u32::from_be_bytes([a, b, c, d]);
        let max = if self.streams { MAX_STREAMED } else { MAX_SINGLE };
        usize::try_from(length).ok().filter(|length| *length <= max).ok_or_else(too_large)
    }

    /// Whether it may end here.
    fn end(&self) -> Result<(), Status> {
        if self.left > 0 || self.head_len > 0 {
            return Err(truncated());
        }
        if self.messages == 0 && !self.streams {
            return Err(Status::invalid_argument("the method takes one message"));
        }
        Ok(())
    }

    fn fail(&mut self, status: Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.ended = true;
        self.fault.set(status.clone());
        Poll::Ready(Some(Err(status)))
    }
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        while !self.ended {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    // Clients end without trailers; what one might say there has no meaning.
                    let Ok(data) = frame.into_data() else { continue };
                    if let Err(status) = self.follow(&data) {
                        return self.fail(status);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "the messages of a client broke off");
                    return self.fail(truncated());
                }
                None => {
                    if let Err(status) = self.end() {
                        return self.fail(status);
                    }
                    self.ended = true;
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// The client fell silent, or is gone, or ends inside a message.
fn truncated() -> Status {
    Failure::new(Code::InvalidArgument, Reason::Truncated.name(), "the messages broke off").status()
}

/// A message with its head.
pub fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(HEAD + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(message);
    framed.freeze()
}

/// A message is longer than any that is taken.
fn too_large() -> Status {
    Failure::new(Code::ResourceExhausted, Reason::TooLarge.name(), "the message is too long").status()
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body_util::StreamBody;

    use super::*;

    fn message(flag: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![flag];
        bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
        bytes.extend(vec![7; length]);
        bytes
    }

    /// How many bytes go through when the body comes in pieces of that size, or why not.
    async fn pass(bytes: &[u8], piece: usize, streams: bool) -> Result<usize, Code> {
        let pieces: Vec<_> = bytes
            .chunks(piece)
            .map(|piece| Ok::<_, Status>(Frame::data(Bytes::copy_from_slice(piece))))
            .collect();
        let (frames, fault) = watch(Body::new(StreamBody::new(stream::iter(pieces))), streams);
        let passed = frames.collect().await;
        assert_eq!(passed.as_ref().err().map(Status::code), fault.take().map(|status| status.code()));
        passed.map(|all| all.to_bytes().len()).map_err(|status| status.code())
    }

    #[tokio::test]
    async fn whole_messages_go_through_however_they_are_cut() {
        let two = [message(0, 300), message(0, 0)].concat();
        for piece in [1, 2, 3, 4, 5, 6, 304, 305, 306, 1000] {
            assert_eq!(pass(&two, piece, true).await, Ok(310), "{piece}");
            assert_eq!(pass(&message(0, 300), piece, false).await, Ok(305), "{piece}");
        }
        assert_eq!(pass(&[], 1, true).await, Ok(0));
    }

    #[tokio::test]
    async fn what_is_no_message_does_not() {
        let invalid = Err(Code::InvalidArgument);
        for piece in [1, 1000] {
            assert_eq!(pass(&[], piece, false).await, invalid);
            assert_eq!(pass(&message(2, 0), piece, true).await, invalid);
            assert_eq!(pass(&message(0x80, 0), piece, true).await, invalid);
            assert_eq!(pass(&[0, 0], piece, true).await, invalid);
            assert_eq!(pass(&message(0, 9)[..13], piece, true).await, invalid);
            assert_eq!(pass(&[message(0, 1), message(0, 1)].concat(), piece, false).await, invalid);
            assert_eq!(pass(&message(1, 3), piece, false).await, Err(Code::Unimplemented));
        }
    }

    #[tokio::test]
    async fn a_long_message_is_refused_by_its_length_alone() {
        for (max, streams) in [(MAX_STREAMED, true), (MAX_SINGLE, false)] {
            assert_eq!(pass(&message(0, max), 1 << 16, streams).await, Ok(HEAD + max));
            for length in [u32::try_from(max + 1).unwrap(), u32::MAX] {
                let head = [&[0][..], &length.to_be_bytes()].concat();
                assert_eq!(pass(&head, 2, streams).await, Err(Code::ResourceExhausted));
            }
        }
    }

    #[tokio::test]
    async fn a_single_message_is_read_as_a_whole() {
        let body = |bytes: Vec<u8>| watch(Body::new(http_body_util::Full::new(Bytes::from(bytes))), false).0;
        assert_eq!(body(message(0, 3)).message().await.unwrap(), vec![7; 3]);
        assert_eq!(body(message(0, 0)).message().await.unwrap(), Vec::<u8>::new());
        assert_eq!(framed(&[7; 3]), message(0, 3));
        assert!(body(message(0, 3)[..7].to_vec()).message().await.is_err());
    }

    #[tokio::test]
    async fn a_body_that_breaks_is_told_apart_from_its_end() {
        let pieces = [Ok(Frame::data(Bytes::from(message(0, 3)))), Err(Status::cancelled("gone"))];
        let (frames, fault) = watch(Body::new(StreamBody::new(stream::iter(pieces))), true);
        assert!(frames.collect().await.is_err());
        let status = fault.take().unwrap();
        assert_eq!(holdall_runtime::status::reason_of(&status).as_deref(), Some("TRUNCATED"));
    }
}
