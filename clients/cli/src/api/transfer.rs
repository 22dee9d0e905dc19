//! Content, up and down, as streams.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use reqwest::{Body, Method, Response, StatusCode};

use super::{Client, KEY, connection, send};
use crate::error::{Error, Result};
use crate::path::RemotePath;

/// The state of an earlier download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// How many bytes are there.
    pub have: u64,
    /// Of which content: its strong entity tag.
    pub etag: String,
}

/// Content on its way.
pub struct Content {
    /// The position of the first byte that comes.
    pub start: u64,
    /// How many bytes the whole content has, if the server says so.
    pub total: Option<u64>,
    /// The strong entity tag of the content, if it has one.
    pub etag: Option<String>,
    /// The bytes.
    pub bytes: BoxStream<'static, Result<bytes::Bytes>>,
}

impl Client {
    /// Writes a file. With a size a short body is noticed as such by the server. Repeated with the same `key` it happens
    /// once.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Connection`].
    pub async fn put(&self, path: &RemotePath, body: Body, size: Option<u64>, key: &str) -> Result<()> {
        let mut request = self.request(Method::PUT, &format!("/fs{}", path.encoded())).header(KEY, key);
        if let Some(size) = size {
            request = request.header(CONTENT_LENGTH, size);
        }
        send(&format!("cannot put {path}"), request.body(body)).await.map(drop)
    }

    /// Reads a file, or what is left of it.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Connection`], [`Error::Other`] for a range that was not asked for.
    pub async fn get(&self, path: &RemotePath, resume: Option<&Resume>) -> Result<Content> {
        let doing = format!("cannot get {path}");
        let mut request = self.request(Method::GET, &format!("/fs{}", path.encoded()));
        if let Some(Resume { have, etag }) = resume {
            request = request.header(RANGE, format!("bytes={have}-")).header(IF_RANGE, etag);
        }
        let response = match send(&doing, request).await {
            // All of it is there already.
            Err(error) if error.is("range_not_satisfiable") && resume.is_some() => {
                let request = self.request(Method::GET, &format!("/fs{}", path.encoded()));
                send(&doing, request).await?
            }
            other => other?,
        };
        let (start, total) = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = header(&response, CONTENT_RANGE).and_then(parse_range);
                match (range, resume) {
                    (Some((start, total)), Some(resume)) if start == resume.have => (start, Some(total)),
                    _ => return Err(Error::Other(format!("{doing}: the server sent another range"))),
                }
            }
            _ => (0, header(&response, CONTENT_LENGTH).and_then(|text| text.parse().ok())),
        };
        let etag = header(&response, ETAG).filter(|etag| etag.starts_with('"')).map(str::to_owned);
        let bytes =
            response.bytes_stream().map(move |chunk| chunk.map_err(|error| connection(&doing, &error)));
        Ok(Content { start, total, etag, bytes: bytes.boxed() })
    }
}

fn header(response: &Response, name: reqwest::header::HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

/// First byte and total of `bytes FIRST-LAST/TOTAL` (RFC 9110, section 14.4), where the range reaches to the end.
fn parse_range(text: &str) -> Option<(u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total): (u64, u64, u64) =
        (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    (first <= last && last.checked_add(1)? == total).then_some((first, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_strictly() {
        assert_eq!(parse_range("bytes 5-9/10"), Some((5, 10)));
        for bad in ["bytes 5-8/10", "bytes 9-5/10", "bytes */10", "bytes 5-9/*", "5-9/10", "bytes 5-9", ""] {
            assert_eq!(parse_range(bad), None, "{bad}");
        }
    }
}
