//! The body of a request as pieces for an upload.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::Stream;
use holdall_runtime::body::SlowBody;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE};
use http_body::Body as _;

use super::multipart::Wrapped;
use crate::error::{Code, Error, Result};

/// The size of a piece at most, and of most pieces of a large body: what suits the services best.
pub const PIECE: usize = 256 << 10;

/// Refuses what cannot be stored as it is sent: parts of content, and encoded content.
///
/// A server that takes `Content-Range` on PUT for something else than a part would store a part as the whole (RFC 9110,
/// §14.5).
pub fn check(headers: &HeaderMap) -> Result<()> {
    if headers.contains_key(CONTENT_RANGE) {
        return Err(
            Error::new(Code::InvalidHeader).detail("Content-Range is not taken; send the whole content.")
        );
    }
    let encoded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded {
        return Err(
            Error::new(Code::UnsupportedMediaType).detail("Send the content without a Content-Encoding.")
        );
    }
    Ok(())
}

/// The announced size of the body; `None` when it was not announced.
pub fn size(headers: &HeaderMap) -> Result<Option<u64>> {
    let Some(value) = headers.get(CONTENT_LENGTH) else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).map(Some).ok_or_else(|| Code::InvalidHeader.into())
}

/// A body in pieces of at most 256 KiB. Frames that are there already are joined; nobody waits for a piece to fill up.
pub struct Pieces {
    body: Body,
    /// What came of the body and does not fit into the piece that was given out.
    left: Bytes,
    ended: bool,
    error: Option<Error>,
}

impl Pieces {
    /// The pieces of `body`.
    pub fn of(body: Body) -> Self {
        Self { body, left: Bytes::new(), ended: false, error: None }
    }

    /// The next frame of the body with anything in it.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if !self.left.is_empty() {
            return Poll::Ready(Some(std::mem::take(&mut self.left)));
        }
        while !self.ended {
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => self.ended = true,
                Some(Err(error)) => {
                    self.ended = true;
                    self.error = Some(broken_off(&error));
                }
                // Trailers say nothing that we use.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Poll::Ready(Some(data)),
                    _ => {}
                },
            }
        }
        Poll::Ready(None)
    }

    /// `data`, or its first 256 KiB with the rest put back.
    fn at_most(&mut self, mut data: Bytes, len: usize) -> Bytes {
        if data.len() > len {
            self.left = data.split_off(len);
        }
        data
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let Some(first) = std::task::ready!(self.poll_data(cx)) else {
            return Poll::Ready(self.error.take().map(Err));
        };
        let first = self.at_most(first, PIECE);
        if first.len() == PIECE {
            return Poll::Ready(Some(Ok(first)));
        }
        // A single frame goes on as it is; only a second one makes a copy worth its while.
        let Poll::Ready(Some(second)) = self.poll_data(cx) else { return Poll::Ready(Some(Ok(first))) };
        let mut piece = BytesMut::with_capacity(PIECE);
        piece.extend_from_slice(&first);
        let mut next = Poll::Ready(Some(second));
        while let Poll::Ready(Some(data)) = next {
            let data = self.at_most(data, PIECE - piece.len());
            piece.extend_from_slice(&data);
            if piece.len() == PIECE {
                break;
            }
            next = self.poll_data(cx);
        }
        Poll::Ready(Some(Ok(piece.freeze())))
    }
}

/// Why a body broke off: its sender was too slow, or is gone.
pub fn broken_off(error: &(dyn std::error::Error + 'static)) -> Error {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(Wrapped(error)) = error.downcast_ref::<Wrapped>() {
            return error.clone();
        }
        cause = error.source();
    }
    let code = if SlowBody::find(error).is_some() { Code::Timeout } else { Code::TruncatedBody };
    tracing::debug!(error, "a request body broke off");
    code.into()
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};
    use http::HeaderValue;

    use super::*;

    /// The pieces of a body of frames; `None` is a moment without any.
    async fn pieces(frames: Vec<Option<Vec<u8>>>) -> Vec<Vec<u8>> {
        let body = stream::iter(frames).then(|frame| async move {
            if frame.is_none() {
                pause().await;
            }
            Ok::<_, std::io::Error>(Bytes::from(frame.unwrap_or_default()))
        });
        let pieces = Pieces::of(Body::from_stream(body)).collect::<Vec<_>>().await;
        pieces.into_iter().map(|piece| piece.unwrap().to_vec()).collect()
    }

    /// Is pending once.
    async fn pause() {
        let mut paused = false;
        std::future::poll_fn(|cx| {
            if std::mem::replace(&mut paused, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[tokio::test]
    async fn frames_that_are_there_are_joined() {
        assert_eq!(pieces(vec![]).await, Vec::<Vec<u8>>::new());
        assert_eq!(pieces(vec![Some(vec![1; 3])]).await, vec![vec![1; 3]]);
        assert_eq!(pieces(vec![Some(vec![1]), Some(vec![]), Some(vec![2, 3])]).await, vec![vec![1, 2, 3]]);
        assert_eq!(pieces(vec![Some(vec![1]), None, Some(vec![2])]).await, vec![vec![1], vec![2]]);
    }

    #[tokio::test]
    async fn no_piece_is_too_large_and_no_byte_is_lost() {
        for sizes in [
            vec![PIECE - 1, 2, PIECE],
            vec![3 * PIECE + 1],
            vec![1; 1000],
            vec![PIECE, PIECE],
            vec![65_536; 9],
        ] {
            let mut next = 0u8;
            let frames: Vec<Vec<u8>> = sizes
                .iter()
                .map(|&size| {
                    (0..size)
                        .map(|_| {
                            next = next.wrapping_mul(5).wrapping_add(1);
                            next
                        })
                        .collect()
                })
                .collect();
            let expected = frames.concat();
            let pieces = pieces(frames.into_iter().map(Some).collect()).await;
            assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= PIECE), "{sizes:?}");
            assert!(pieces.len() <= expected.len() / PIECE + 1, "{sizes:?}");
            assert!(pieces.concat() == expected, "{sizes:?}");
        }
    }

    #[tokio::test]
    async fn an_error_comes_after_what_came_before_it() {
        let body = stream::iter([Ok(Bytes::from_static(b"abc")), Err(std::io::Error::other("reset"))]);
        let pieces = Pieces::of(Body::from_stream(body)).collect::<Vec<_>>().await;
        let pieces: Vec<_> = pieces.into_iter().map(|piece| piece.map_err(|error| error.code)).collect();
        assert_eq!(pieces, [Ok(Bytes::from_static(b"abc")), Err(Code::TruncatedBody)]);
    }

    #[test]
    fn sizes_and_encodings() {
        let with = |name: http::HeaderName, value: &'static str| {
            HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
        };
        let code = |headers| check(&headers).err().map(|error| error.code);
        assert_eq!(code(HeaderMap::new()), None);
        assert_eq!(code(with(CONTENT_ENCODING, "identity")), None);
        assert_eq!(code(with(CONTENT_ENCODING, "gzip")), Some(Code::UnsupportedMediaType));
        assert_eq!(code(with(CONTENT_RANGE, "bytes 0-1/2")), Some(Code::InvalidHeader));
        let announced = |value| size(&with(CONTENT_LENGTH, value)).map_err(|error| error.code);
        assert_eq!(size(&HeaderMap::new()).unwrap(), None);
        assert_eq!(announced("0"), Ok(Some(0)));
        assert_eq!(announced("18446744073709551615"), Ok(Some(u64::MAX)));
        for bad in ["-1", "+5", "1e9", "18446744073709551616", "", "0x1"] {
            assert_eq!(announced(bad), Err(Code::InvalidHeader), "{bad}");
        }
    }
}
