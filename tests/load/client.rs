//! A client that costs as little as possible: requests made beforehand, answers counted and thrown away.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use harness::Persona;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A request as it goes over the wire.
pub struct Request(Vec<u8>);

impl Request {
    /// GET with credentials.
    pub fn get(alice: &Persona, path: &str) -> Self {
        Self(Self::head(alice, "GET", path, "").into_bytes())
    }

    /// PUT with credentials.
    pub fn put(alice: &Persona, path: &str, content: &[u8]) -> Self {
        let length = format!("content-length: {}\r\n", content.len());
        let mut bytes = Self::head(alice, "PUT", path, &length).into_bytes();
        bytes.extend_from_slice(content);
        Self(bytes)
    }

    /// Any other, with these lines as headers.
    pub fn any(method: &str, path: &str, headers: &[String], body: &[u8]) -> Self {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: load\r\n");
        for line in headers {
            write!(head, "{line}\r\n").expect("a string takes text");
        }
        write!(head, "content-length: {}\r\n\r\n", body.len()).expect("a string takes text");
        Self([head.as_bytes(), body].concat())
    }

    fn head(alice: &Persona, method: &str, path: &str, more: &str) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: load\r\n{more}");
        let token = alice.bearer().expect("a persona is signed in");
        write!(head, "authorization: Bearer {token}\r\n\r\n").expect("a string takes text");
        head
    }
}

struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Connection {
    async fn open(host: &str) -> Self {
        let stream = TcpStream::connect(host).await.expect("the server accepts");
        stream.set_nodelay(true).expect("a TCP socket");
        Self { stream, buffer: BytesMut::with_capacity(1 << 20) }
    }

    /// Sends a request and reads its whole answer, which must be a success of a known length.
    async fn call(&mut self, request: &Request) -> u64 {
        self.stream.write_all(&request.0).await.expect("the server reads");
        let mut left = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.buffer.split_to(end + 4);
                let head = String::from_utf8_lossy(&head).to_lowercase();
                assert!(head.starts_with("http/1.1 20"), "{head}{}", String::from_utf8_lossy(&self.buffer));
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
                break length.and_then(|length| length.parse().ok()).expect("a length");
            }
            self.more().await;
        };
        let length = left;
        while left > 0 {
            if self.buffer.is_empty() {
                self.more().await;
            }
            let part = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.buffer.advance(part);
            left -= part as u64;
        }
        length
    }

    async fn more(&mut self) {
        self.buffer.reserve(256 << 10);
        let read = self.stream.read_buf(&mut self.buffer).await.expect("the server answers");
        assert!(read > 0, "the server closed the connection");
    }
}

/// Sends one large request.
pub async fn send(host: &str, request: &Request) {
    Connection::open(host).await.call(request).await;
}

/// Reads one large answer.
pub async fn drain(host: &str, request: &Request, expected: u64) {
    assert_eq!(Connection::open(host).await.call(request).await, expected);
}

/// Keeps that many connections busy for some time. `requests` makes, for each connection, what makes its nth request.
pub async fn requests_per_second<N, F>(url: &str, connections: usize, span: Duration, requests: N) -> f64
where
    N: FnMut(usize) -> F,
    F: FnMut(u64) -> Request,
{
    let host = url.strip_prefix("http://").expect("plain HTTP");
    let start = Instant::now();
    let workers = (0..connections).map(requests).map(|mut request| async move {
        let mut connection = Connection::open(host).await;
        let mut done = 0_u32;
        while start.elapsed() < span {
            connection.call(&request(u64::from(done))).await;
            done += 1;
        }
        done
    });
    let done: u32 = futures::future::join_all(workers).await.into_iter().sum();
    f64::from(done) / start.elapsed().as_secs_f64()
}
