//! `multipart/form-data` (RFC 7578) as a stream: fields as they come, a file as the body of an upload.
//!
//! A form that breaks off is an error, also when the file in it is complete: an upload ends well only once the closing
//! boundary was seen.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use multer::{Constraints, SizeLimit};

use super::body::MAX_WHOLE;
use super::upload::{PIECE, Pieces, broken_off};
use crate::error::{Code, Error, Result};

/// More parts than any form of ours has.
const MAX_PARTS: usize = 1000;

/// The boundary that the header announces; `None` when the body is not such a form.
///
/// # Errors
/// [`Code::MalformedForm`] when it is one and there is no boundary.
pub fn boundary(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(None) };
    let Ok(value) = value.to_str() else { return Ok(None) };
    match multer::parse_boundary(value) {
        Ok(boundary) => Ok(Some(boundary)),
        Err(multer::Error::NoBoundary) => Err(Code::MalformedForm.into()),
        Err(_) => Ok(None),
    }
}

/// A form that is being read.
pub struct Form {
    multipart: multer::Multipart<'static>,
    parts: usize,
}

/// A part of a form, not read yet.
pub struct Part {
    field: multer::Field<'static>,
}

impl Form {
    /// The form in a body.
    pub fn of(boundary: String, body: Body) -> Self {
        Self::of_stream(boundary, body.into_data_stream())
    }

    /// The form in a stream of bytes.
    pub fn of_stream<S, E>(boundary: String, stream: S) -> Self
    where
        S: Stream<Item = std::result::Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        // Content has no limit here; whoever takes it sets one.
        let constraints = Constraints::new().size_limit(SizeLimit::new());
        let stream = Paced { stream: Box::pin(stream), given: 0 };
        Self { multipart: multer::Multipart::with_constraints(stream, boundary, constraints), parts: 0 }
    }

    /// The next part; the one before must have been read or dropped.
    pub async fn next(&mut self) -> Result<Option<Part>> {
        let field = self.multipart.next_field().await.map_err(malformed)?;
        if field.is_some() {
            self.parts += 1;
            if self.parts > MAX_PARTS {
                return Err(Code::MalformedForm.into());
            }
        }
        Ok(field.map(|field| Part { field }))
    }
}

/// Trap: the parser reads on for as long as anything is there before it gives out what it has, so that a fast client could
/// fill the memory. This stream takes a rest after every piece.
struct Paced<S> {
    stream: Pin<Box<S>>,
    /// Bytes since the last rest.
    given: usize,
}

impl<S, E> Stream for Paced<S>
where
    S: Stream<Item = std::result::Result<Bytes, E>>,
{
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        if self.given >= PIECE {
            self.given = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let item = ready!(self.stream.as_mut().poll_next(cx));
        if let Some(Ok(data)) = &item {
            self.given += data.len();
        }
        Poll::Ready(item)
    }
}

impl Part {
    /// The name of the field.
    pub fn name(&self) -> &str {
        self.field.name().unwrap_or_default()
    }

    /// The name of the file without any folders before it; `None` when the part is not a file. May be empty.
    pub fn file_name(&self) -> Option<&str> {
        self.field.file_name().map(|name| name.rsplit(['/', '\\']).next().unwrap_or_default())
    }

    /// The type that the client claims for the file.
    pub fn media_type(&self) -> Option<&str> {
        self.field.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok())
    }

    /// The value of a field, as text of at most 1 MiB.
    pub async fn text(mut self) -> Result<String> {
        let mut text = Vec::new();
        while let Some(data) = self.field.chunk().await.map_err(malformed)? {
            if text.len() + data.len() > MAX_WHOLE {
                return Err(Code::TooLarge.into());
            }
            text.extend_from_slice(&data);
        }
        String::from_utf8(text).map_err(|_| Code::InvalidEncoding.into())
    }

    /// The bytes of the part, and after them all that is left of the form: the pieces end well when the whole form was well.
    /// The texts that come after the part are kept for [`Rest::take`].
    pub fn content(self, form: Form) -> (impl Stream<Item = Result<Bytes>> + Send + use<>, Rest) {
        let rest = Rest::default();
        let reading = Reading { form, field: Some(self.field), rest: rest.clone(), error: None };
        let bytes = stream::unfold(reading, |mut reading| async {
            let item = reading.next().await?;
            Some((item, reading))
        });
        // Many small pieces of the parser become few large ones.
        let pieces = Pieces::of(Body::from_stream(bytes.map(|item| item.map_err(Wrapped))));
        (pieces, rest)
    }
}

/// What came after the file, once that was read.
#[derive(Clone, Default)]
pub struct Rest(Arc<Mutex<After>>);

#[derive(Default)]
struct After {
    texts: Vec<(String, String)>,
    files: usize,
}

impl Rest {
    /// Names and values of the texts, in their order.
    pub fn take(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.after().texts)
    }

    /// How many more files came, none of which was read. Those without a name, which browsers send where none was chosen,
    /// do not count.
    pub fn files(&self) -> usize {
        self.after().files
    }

    fn after(&self) -> MutexGuard<'_, After> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Reading {
    form: Form,
    field: Option<multer::Field<'static>>,
    rest: Rest,
    error: Option<Error>,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        if self.error.is_some() {
            return None;
        }
        let item = self.step().await;
        if let Some(Err(error)) = &item {
            self.error = Some(error.clone());
        }
        item
    }

    async fn step(&mut self) -> Option<Result<Bytes>> {
        if let Some(field) = &mut self.field {
            match field.chunk().await {
                Ok(Some(data)) => return Some(Ok(data)),
                Ok(None) => self.field = None,
                Err(error) => return Some(Err(malformed(error))),
            }
        }
        let mut size = 0;
        loop {
            let part = match self.form.next().await {
                Ok(Some(part)) => part,
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            };
            if let Some(name) = part.file_name() {
                self.rest.after().files += usize::from(!name.is_empty());
                continue;
            }
            let name = part.name().to_owned();
            let text = match part.text().await {
                Ok(text) => text,
                Err(error) => return Some(Err(error)),
            };
            size += name.len() + text.len();
            if size > MAX_WHOLE {
                return Some(Err(Code::TooLarge.into()));
            }
            self.rest.after().texts.push((name, text));
        }
    }
}

/// An error of ours on its way through a body.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.entry().name)]
pub(super) struct Wrapped(pub(super) Error);

fn malformed(error: multer::Error) -> Error {
    match error {
        multer::Error::StreamReadFailed(source) => broken_off(&*source),
        multer::Error::IncompleteFieldData { .. }
        | multer::Error::IncompleteHeaders
        | multer::Error::IncompleteStream => Code::TruncatedBody.into(),
        error => {
            tracing::debug!(%error, "a form is malformed");
            Code::MalformedForm.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"..\\dir/t \u{fc}.txt\"\r\nContent-Type: text/plain\r\n\r\ncontent\r\n--x\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n2\r\n--x--\r\n";

    /// The texts before the file, its name, its content, the texts after it.
    async fn read(body: &[u8]) -> Result<(Vec<String>, String, Vec<u8>, Vec<(String, String)>)> {
        let mut form = Form::of("x".to_owned(), Body::from(body.to_vec()));
        let mut before = Vec::new();
        while let Some(part) = form.next().await? {
            if let Some(name) = part.file_name().map(str::to_owned) {
                assert_eq!(part.name(), "file");
                assert_eq!(part.media_type(), Some("text/plain"));
                let (content, rest) = part.content(form);
                let mut bytes = Vec::new();
                let mut content = std::pin::pin!(content);
                while let Some(piece) = content.next().await {
                    bytes.extend_from_slice(&piece?);
                }
                return Ok((before, name, bytes, rest.take()));
            }
            before.push(part.text().await?);
        }
        Err(Code::NotFound.into())
    }

    #[tokio::test]
    async fn a_form_is_read_in_its_order() {
        let (before, name, content, after) = read(WHOLE.as_bytes()).await.unwrap();
        assert_eq!((before, name.as_str()), (vec!["1".to_owned()], "t ü.txt"));
        assert_eq!(content, b"content");
        assert_eq!(after, [("b".to_owned(), "2".to_owned())]);
    }

    #[tokio::test]
    async fn a_form_that_breaks_off_anywhere_is_an_error() {
        // The closing boundary counts as soon as its two dashes are there.
        let closing = WHOLE.len() - 2;
        for len in 0..closing {
            let error = read(&WHOLE.as_bytes()[..len]).await.unwrap_err().code;
            assert!(
                matches!(error, Code::TruncatedBody | Code::MalformedForm | Code::NotFound),
                "{len}: {error:?}"
            );
        }
    }

    #[test]
    fn boundaries_come_from_the_header() {
        let of = |value: &str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, http::HeaderValue::from_str(value).unwrap())]);
            boundary(&headers).map_err(|error| error.code)
        };
        assert_eq!(of("multipart/form-data; boundary=abc"), Ok(Some("abc".to_owned())));
        assert_eq!(of("multipart/form-data"), Err(Code::MalformedForm));
        assert_eq!(of("text/plain"), Ok(None));
        assert_eq!(of("nonsense"), Ok(None));
        assert!(boundary(&HeaderMap::new()).unwrap().is_none());
    }

    #[tokio::test]
    async fn the_parser_never_holds_much() {
        // Everything is there at once.
        let given = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&given);
        let head = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";
        let frames = std::iter::once(Bytes::from_static(head.as_bytes()))
            .chain(std::iter::repeat_n(Bytes::from(vec![b'a'; 64 << 10]), 256))
            .chain([Bytes::from_static(b"\r\n--x--")]);
        let frames = stream::iter(frames).map(move |frame| {
            count.fetch_add(frame.len(), std::sync::atomic::Ordering::Relaxed);
            Ok::<_, std::io::Error>(frame)
        });
        let mut form = Form::of_stream("x".to_owned(), frames);
        let part = form.next().await.unwrap().unwrap();
        let (content, _) = part.content(form);
        let mut content = std::pin::pin!(content);
        let mut taken = 0;
        while let Some(piece) = content.next().await {
            taken += piece.unwrap().len();
            let held = given.load(std::sync::atomic::Ordering::Relaxed).saturating_sub(taken);
            assert!(held < 4 * PIECE, "{held} bytes are held after {taken}");
        }
        assert_eq!(taken, 256 * (64 << 10));
    }
}
