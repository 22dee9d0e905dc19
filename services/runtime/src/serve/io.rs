//! The byte stream of one connection: the first bytes put back, a limit on how long the peer may leave ours
//! untaken, and an end that does not destroy the last answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::head_timer::Arrivals;

/// What every HTTP/2 client sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a peer still sends while we close is read and thrown away, up to this many bytes…
const LINGER_BYTES: usize = 8 << 20;
/// …and for this long.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// The protocol that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// Reads just enough to tell the protocol. `None` when the peer closes without a byte. The bytes belong in
/// front of the stream.
pub(super) async fn sniff(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(Version, Bytes)>> {
    let mut read = BytesMut::with_capacity(PREFACE.len());
    while read.len() < PREFACE.len() {
        let missing = PREFACE.len() - read.len();
        if io.read_buf(&mut (&mut read).limit(missing)).await? == 0 {
            break;
        }
        if !PREFACE.starts_with(&read) {
            break;
        }
    }
    let version = match &*read {
        [] => return Ok(None),
        PREFACE => Version::Http2,
        _ => Version::Http1,
    };
    Ok(Some((version, read.freeze())))
}

/// A stream with bytes put back in front of it, which fails with `TimedOut` when a write makes no progress
/// for too long.
///
/// Trap: to close a socket that holds unread bytes resets the connection, and the reset takes along what the
/// peer has not read yet, such as the answer that refuses its upload. So a shutdown ends our side first and
/// then takes in what is still coming, within limits (RFC 9112 §9.6).
pub(super) struct Guarded<IO> {
    io: IO,
    front: Bytes,
    arrivals: Arrivals,
    write_timeout: Duration,
    alarm: Pin<Box<Sleep>>,
    stalled: bool,
    /// Once our side has ended: how many bytes may still be thrown away.
    lingering: Option<usize>,
}

impl<IO> Guarded<IO> {
    pub(super) fn new(io: IO, front: Bytes, write_timeout: Duration) -> Self {
        let alarm = Box::pin(tokio::time::sleep(write_timeout));
        Self {
            io,
            front,
            arrivals: Arrivals::default(),
            write_timeout,
            alarm,
            stalled: false,
            lingering: None,
        }
    }

    /// Tells of bytes that are read.
    pub(super) fn arrivals(&self) -> Arrivals {
        self.arrivals.clone()
    }

    /// Passes on the outcome of a write; while there is none, the alarm runs.
    fn within_limit<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = false;
            return outcome;
        }
        if !std::mem::replace(&mut self.stalled, true) {
            self.alarm.as_mut().reset(Instant::now() + self.write_timeout);
        }
        ready!(self.alarm.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Guarded<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.front.is_empty() {
            ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        } else {
            let length = self.front.len().min(buffer.remaining());
            buffer.put_slice(&self.front.split_to(length));
        }
        if buffer.filled().len() > before {
            self.arrivals.note();
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(context, bytes);
        self.within_limit(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.within_limit(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(context);
        self.within_limit(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            let outcome = Pin::new(&mut self.io).poll_shutdown(context);
            ready!(self.within_limit(context, outcome))?;
        }
        self.linger(context).map(Ok)
    }
}

impl<IO: AsyncRead + Unpin> Guarded<IO> {
    /// Throws away what comes in, until the peer ends its side too. That nothing is there at the first look says nothing:
    /// it may be on its way.
    fn linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut left = self.lingering.unwrap_or_else(|| {
            self.alarm.as_mut().reset(Instant::now() + LINGER_TIME);
            LINGER_BYTES
        });
        let mut waste = [0; 16 << 10];
        loop {
            self.lingering = Some(left);
            let mut buffer = ReadBuf::new(&mut waste);
            let Poll::Ready(read) = Pin::new(&mut self.io).poll_read(context, &mut buffer) else {
                return self.alarm.as_mut().poll(context);
            };
            let came = buffer.filled().len();
            match left.checked_sub(came) {
                Some(rest) if came > 0 && read.is_ok() => left = rest,
                _ => return Poll::Ready(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn sniffed(sent: &[&[u8]]) -> Option<(Version, Bytes)> {
        let (mut client, mut server) = tokio::io::duplex(64);
        let sending = async {
            for part in sent {
                client.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(client);
        };
        tokio::join!(sniff(&mut server), sending).0.unwrap()
    }

    #[tokio::test]
    async fn protocols_are_told_apart_and_no_byte_is_lost() {
        assert_eq!(sniffed(&[]).await, None);
        assert_eq!(sniffed(&[PREFACE]).await, Some((Version::Http2, Bytes::from_static(PREFACE))));
        let (first, second) = PREFACE.split_at(7);
        assert_eq!(sniffed(&[first, second]).await, Some((Version::Http2, Bytes::from_static(PREFACE))));
        for sent in [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"P"] {
            let (version, front) = sniffed(&[sent]).await.unwrap();
            assert_eq!(version, Version::Http1);
            assert!(sent.starts_with(&front) && !front.is_empty());
        }
    }

    #[tokio::test]
    async fn bytes_put_back_come_first() {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(b"world").await.unwrap();
        drop(client);
        let mut guarded = Guarded::new(server, Bytes::from_static(b"hello "), Duration::from_secs(1));
        let mut text = String::new();
        guarded.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello world");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (mut client, server) = tokio::io::duplex(8);
        let mut guarded = Guarded::new(server, Bytes::new(), Duration::from_secs(60));
        let started = Instant::now();
        let reading = async {
            tokio::time::sleep(Duration::from_secs(59)).await;
            let mut some = [0; 4];
            client.read_exact(&mut some).await.unwrap();
            std::future::pending::<()>().await;
        };
        let error = tokio::select! {
            written = guarded.write_all(&[0; 64]) => written.unwrap_err(),
            () = reading => unreachable!(),
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed().as_secs(), 59 + 60);
    }

    #[tokio::test]
    async fn what_the_peer_still_sends_is_taken_in_before_the_end() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = async {
            let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
            // More than all socket buffers take: it can only be sent if it is read.
            client.write_all(&vec![0; LINGER_BYTES / 2]).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.readable().await.unwrap();
            let mut some = [0; 10];
            stream.read_exact(&mut some).await.unwrap();
            let mut guarded = Guarded::new(stream, Bytes::new(), Duration::from_secs(5));
            guarded.write_all(b"too large").await.unwrap();
            guarded.shutdown().await.unwrap();
        };
        let (answer, ()) = tokio::join!(client, server);
        assert_eq!(answer, "too large");
    }

    #[tokio::test]
    async fn what_comes_after_the_answer_does_not_destroy_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = async {
            let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
            client.write_all(b"0123456789").await.unwrap();
            let mut answer = [0; 9];
            client.read_exact(&mut answer).await.unwrap();
            client.write_all(&vec![0; LINGER_BYTES / 2]).await.unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(client.read(&mut answer).await.unwrap(), 0);
        };
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut some = [0; 10];
            stream.read_exact(&mut some).await.unwrap();
            let mut guarded = Guarded::new(stream, Bytes::new(), Duration::from_secs(5));
            guarded.write_all(b"too large").await.unwrap();
            guarded.shutdown().await.unwrap();
        };
        tokio::join!(client, server);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_stops_is_cut_off() {
        let (mut client, server) = tokio::io::duplex(64 << 10);
        let mut guarded = Guarded::new(server, Bytes::new(), Duration::from_secs(60));
        client.write_all(b"x").await.unwrap();
        let started = Instant::now();
        guarded.shutdown().await.unwrap();
        assert_eq!(started.elapsed(), LINGER_TIME);
    }
}
