//! HTTP/1.1 byte by byte, for requests that no decent client would send.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{Answer, Api, within};

/// The longest that any of these may take: beyond every idle limit of the server.
const LIMIT: Duration = Duration::from_secs(60);

/// A connection to a server.
pub struct Connection {
    reader: Reader,
    writer: OwnedWriteHalf,
}

struct Reader {
    stream: OwnedReadHalf,
    received: Vec<u8>,
}

impl Connection {
    /// Connects to the first gateway.
    pub async fn open(api: &Api) -> Self {
        Self::to(&api.url()).await
    }

    /// Connects to the gateway whose turn it is.
    pub async fn open_next(api: &Api) -> Self {
        Self::to(&api.next_url()).await
    }

    async fn to(url: &str) -> Self {
        let address = url.strip_prefix("http://").expect("tests use plain HTTP");
        let stream = TcpStream::connect(address).await.expect("the server accepts");
        stream.set_nodelay(true).expect("a TCP socket");
        let (stream, writer) = stream.into_split();
        Self { reader: Reader { stream, received: Vec::new() }, writer }
    }

    /// Sends bytes. An error is none of ours: the server may have had enough.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = within(LIMIT, "sending", self.writer.write_all(bytes)).await;
    }

    /// Says that no more will come, and goes on listening.
    pub async fn finish(&mut self) {
        let _ = self.writer.shutdown().await;
    }

    /// Reads one answer; `None` when the server closes the connection without a whole one. Those that have no body, such
    /// as answers to HEAD, must say so.
    pub async fn answer(&mut self, has_body: bool) -> Option<Answer> {
        within(LIMIT, "an answer", self.reader.answer(has_body)).await
    }

    /// Sends pieces and reads the answer meanwhile, so that one which comes before the end is not lost.
    pub async fn converse(&mut self, pieces: impl Iterator<Item = Bytes>, has_body: bool) -> Option<Answer> {
        let Self { reader, writer } = self;
        let sending = async {
            for piece in pieces {
                if writer.write_all(&piece).await.is_err() {
                    break;
                }
            }
            std::future::pending().await
        };
        within(LIMIT, "an answer", async {
            tokio::select! {
                answer = reader.answer(has_body) => answer,
                never = sending => never,
            }
        })
        .await
    }

    /// Waits until the server closes the connection.
    pub async fn closed(&mut self) {
        within(LIMIT, "closing", async { while self.reader.more().await.is_some() {} }).await;
    }
}

impl Reader {
    async fn answer(&mut self, has_body: bool) -> Option<Answer> {
        let head = loop {
            if let Some(end) = find(&self.received, b"\r\n\r\n") {
                break self.received.drain(..end + 4).collect::<Vec<u8>>();
            }
            self.more().await?;
        };
        let (status, headers) = parse_head(&head);
        if (100..200).contains(&status.as_u16()) {
            return Some(Answer { request: String::new(), status, headers, body: Bytes::new() });
        }
        let bare = !has_body || matches!(status.as_u16(), 204 | 304);
        let body = if bare { Vec::new() } else { self.body(&headers).await? };
        Some(Answer { request: "a raw request".to_owned(), status, headers, body: body.into() })
    }

    async fn body(&mut self, headers: &HeaderMap) -> Option<Vec<u8>> {
        if let Some(length) = headers.get("content-length") {
            let length: usize = length.to_str().ok()?.parse().ok()?;
            while self.received.len() < length {
                self.more().await?;
            }
            return Some(self.received.drain(..length).collect());
        }
        if headers.get("transfer-encoding").is_none() {
            while self.more().await.is_some() {}
            return Some(std::mem::take(&mut self.received));
        }
        let mut body = Vec::new();
        loop {
            let end = loop {
                match find(&self.received, b"\r\n") {
                    Some(end) => break end,
                    None => self.more().await?,
                }
            };
            let size = std::str::from_utf8(&self.received[..end]).ok()?;
            let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
            while self.received.len() < end + 2 + size + 2 {
                self.more().await?;
            }
            let chunk: Vec<u8> = self.received.drain(..end + 2 + size + 2).collect();
            body.extend_from_slice(&chunk[end + 2..end + 2 + size]);
            if size == 0 {
                return Some(body);
            }
        }
    }

    /// `None` at the end, by whichever way.
    async fn more(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.received).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }
}

/// Sends a request with this first line, the server's name, the caller's credentials, these further lines and this body,
/// exactly as they are, and reads the answer.
pub async fn exchange(api: &Api, request_line: &str, headers: &[&str], body: &[u8]) -> Option<Answer> {
    let mut connection = Connection::open(api).await;
    connection.send(head(api, request_line, headers).as_bytes()).await;
    connection.send(body).await;
    let mut answer = connection.answer(!request_line.starts_with("HEAD ")).await;
    while answer.as_ref().is_some_and(|answer| answer.status == StatusCode::CONTINUE) {
        answer = connection.answer(true).await;
    }
    answer.map(|answer| Answer { request: request_line.to_owned(), ..answer })
}

/// The head of a request, with the blank line that ends it.
pub fn head(api: &Api, request_line: &str, headers: &[&str]) -> String {
    let url = api.url();
    let host = url.strip_prefix("http://").unwrap_or_default();
    let mut head = format!("{request_line} HTTP/1.1\r\nhost: {host}\r\n");
    if let Some(token) = api.bearer() {
        head.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn parse_head(head: &[u8]) -> (StatusCode, HeaderMap) {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
    let status = StatusCode::from_bytes(status.as_bytes()).expect("a status");
    let headers = lines
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_bytes(value.trim().as_bytes()).ok()?))
        })
        .fold(HeaderMap::new(), |mut all, (name, value)| {
            all.append(name, value);
            all
        });
    (status, headers)
}
