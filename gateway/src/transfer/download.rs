//! Content as an answer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::Stream;
use holdall_proto::blob::v1::ReadResponse;
use holdall_proto::metadata::v1::Version;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LAST_MODIFIED, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::{Frame, SizeHint};
use tonic::Streaming;

use super::conditional::{self, Outcome, Validators, http_date};
use super::disposition::{Disposition, content_disposition};
use super::media_type;
use super::range::Selection;
use crate::error::{Code, Error, Result};
use crate::ops::content::{self, Opened};
use crate::upstreams::Upstreams;

/// What is asked for, apart from which content.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// GET, or HEAD for the header alone.
    pub method: &'a Method,
    /// With the conditions and the range.
    pub headers: &'a HeaderMap,
    /// Save it, even where a browser could show it.
    pub attachment: bool,
}

/// What every answer with a stranger's content carries, whatever its type.
const CONFINEMENT: [(HeaderName, HeaderValue); 5] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; sandbox; frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
        ),
    ),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// Answers with content, a part of it, or what the conditions leave of it.
///
/// Nothing is said before the first bytes are there, so content that is missing or damaged at its start is an error and
/// not an answer that breaks off. Damage found later breaks the connection: an answer that is complete is right.
pub async fn respond(upstreams: &Upstreams, opened: Opened, asked: Asked<'_>) -> Result<Response> {
    let Opened { name, version, grant } = opened;
    let etag = version.content_etag.as_str();
    let modified = version.created_at.as_ref().map_or(0, |time| time.seconds);
    let outcome = conditional::evaluate(asked.headers, Validators { etag, modified }, version.size)?;

    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(ETAG, quoted(etag)?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Ok(date) = HeaderValue::try_from(http_date(modified)) {
        headers.insert(LAST_MODIFIED, date);
    }
    let (status, start, len) = match outcome {
        Outcome::PreconditionFailed => return Err(Code::PreconditionFailed.into()),
        Outcome::NotModified => return Ok(answer(StatusCode::NOT_MODIFIED, headers, Body::empty())),
        Outcome::Send(Selection::Unsatisfiable) => {
            return Err(Error { size: Some(version.size), ..Code::RangeNotSatisfiable.into() });
        }
        Outcome::Send(Selection::Whole) => (StatusCode::OK, 0, version.size),
        Outcome::Send(Selection::Part { start, len }) => {
            let range = format!("bytes {start}-{}/{}", start + (len - 1), version.size);
            headers.insert(CONTENT_RANGE, HeaderValue::try_from(range).map_err(|_| Code::Internal)?);
            (StatusCode::PARTIAL_CONTENT, start, len)
        }
    };
    let (content_type, mut disposition) = media_type::to_serve(&version.media_type);
    if asked.attachment {
        disposition = Disposition::Attachment;
    }
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CONTENT_DISPOSITION, content_disposition(disposition, &name));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.extend(CONFINEMENT);
    let body = if asked.method == Method::HEAD || len == 0 {
        Body::empty()
    } else {
        read(upstreams, grant, &version, start, len).await?
    };
    Ok(answer(status, headers, body))
}

/// As [`respond`], always to be saved, and as the type that it was stored with: for clients that were promised that. The
/// headers that confine it are the same.
pub async fn respond_as_stored(upstreams: &Upstreams, opened: Opened, asked: Asked<'_>) -> Result<Response> {
    let content_type = media_type::as_stored(&opened.version.media_type);
    let mut response = respond(upstreams, opened, Asked { attachment: true, ..asked }).await?;
    if let Some(value) = response.headers_mut().get_mut(CONTENT_TYPE) {
        *value = content_type;
    }
    Ok(response)
}

/// An entity tag as a header.
pub fn quoted(etag: &str) -> Result<HeaderValue> {
    HeaderValue::try_from(format!("\"{etag}\"")).map_err(|_| Code::Internal.into())
}

fn answer(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

async fn read(upstreams: &Upstreams, grant: Bytes, version: &Version, start: u64, len: u64) -> Result<Body> {
    if let Some(kept) = upstreams.contents().and_then(|contents| contents.get(version, start, len)) {
        return Ok(Body::from(kept));
    }
    let mut stream = content::read(upstreams, grant, start, len).await?;
    let first = stream.message().await?.map(|message| message.data).unwrap_or_default();
    if first.len() as u64 != len {
        return Ok(Body::new(Content { first, stream, remaining: len }));
    }
    // All in one message. The end of the stream is still waited for: a call that is dropped before its end is cancelled,
    // and a connection on which many are cancelled is taken for an attack.
    match stream.message().await? {
        None => {
            if let Some(contents) = upstreams.contents() {
                contents.put(version, &first);
            }
            Ok(Body::from(first))
        }
        Some(_) => Err(wrong_length(0)),
    }
}

/// A stream of blob's as a body of known length: it fails rather than end early.
struct Content<S = Streaming<ReadResponse>> {
    /// What was read already; empty when there is nothing of that kind.
    first: Bytes,
    stream: S,
    /// Bytes that are still to come, `first` included.
    remaining: u64,
}

impl<S> Content<S> {
    fn give(&mut self, data: Bytes) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.remaining.checked_sub(data.len() as u64) {
            Some(remaining) => {
                self.remaining = remaining;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            None => Poll::Ready(Some(Err(Broken(wrong_length(self.remaining))))),
        }
    }
}

impl<S> http_body::Body for Content<S>
where
    S: Stream<Item = Result<ReadResponse, tonic::Status>> + Unpin,
{
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            return self.give(first);
        }
        match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
            Some(Ok(message)) => self.give(message.data),
            Some(Err(status)) => Poll::Ready(Some(Err(Broken(status.into())))),
            None if self.remaining == 0 => Poll::Ready(None),
            None => Poll::Ready(Some(Err(Broken(wrong_length(self.remaining))))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

/// Content that broke off. The server closes the connection (HTTP/1) or resets the stream (HTTP/2).
#[derive(Debug, thiserror::Error)]
#[error("content broke off: {}", .0.entry().name)]
struct Broken(Error);

fn wrong_length(remaining: u64) -> Error {
    tracing::error!(remaining, "blob sent content of another length than asked for");
    Code::BadGateway.into()
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use futures::stream;
    use http_body_util::BodyExt;

    use super::*;

    async fn collect(
        first: &'static [u8],
        rest: Vec<Result<&'static [u8], Code>>,
        remaining: u64,
    ) -> Result<Bytes, Code> {
        let stream = stream::iter(rest).map(|item| match item {
            Ok(data) => Ok(ReadResponse { data: Bytes::from_static(data) }),
            Err(_) => Err(tonic::Status::data_loss("x")),
        });
        let body = Content { first: Bytes::from_static(first), stream: stream.boxed(), remaining };
        body.collect().await.map(|whole| whole.to_bytes()).map_err(|broken| broken.0.code)
    }

    #[tokio::test]
    async fn complete_content_ends_well() {
        assert_eq!(
            collect(b"ab", vec![Ok(b"cd"), Ok(b""), Ok(b"e")], 5).await,
            Ok(Bytes::from_static(b"abcde"))
        );
        assert_eq!(collect(b"", vec![Ok(b"cd")], 2).await, Ok(Bytes::from_static(b"cd")));
    }

    #[tokio::test]
    async fn anything_else_is_an_error() {
        assert_eq!(collect(b"ab", vec![], 3).await, Err(Code::BadGateway));
        assert_eq!(collect(b"ab", vec![Ok(b"cd")], 3).await, Err(Code::BadGateway));
        assert!(collect(b"ab", vec![Err(Code::Corrupt), Ok(b"c")], 3).await.is_err());
    }
}
