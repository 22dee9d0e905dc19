//! Limits inside HTTP.

use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::head_timer::HeadTimer;
use crate::upstream::{CONNECTION_WINDOW, MAX_FRAME_SIZE};

/// What a listener is for. It decides the protocols and the limits inside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// HTTP/1.1 and HTTP/2 for anybody.
    Edge,
    /// gRPC, so HTTP/2 alone, for our own services and clients.
    Grpc,
}

/// Most bytes of a request head that are read (HTTP/1: 431 beyond).
const HEAD_SIZE: usize = 64 << 10;

/// HTTP/2 window of a stream of [`Profile::Grpc`]: what a caller may send before it is read. It lies in memory that no
/// handler accounts for, once for each upload that has to wait, so it is no larger than a fast network needs.
const UNREAD: u32 = 1 << 20;

impl Profile {
    /// The protocols that are offered in TLS, the preferred first.
    pub(super) fn alpn(self) -> &'static [&'static [u8]] {
        match self {
            Self::Edge => &[b"h2", b"http/1.1"],
            Self::Grpc => &[b"h2"],
        }
    }

    /// HTTP/1. At most 100 header fields, which is hyper's default and costs an allocation for each request
    /// when it is set.
    pub(super) fn http1(self, timer: HeadTimer, header_timeout: Duration) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(timer)
            .header_read_timeout(header_timeout)
            .max_header_size(HEAD_SIZE)
            .max_buf_size(256 << 10);
        builder
    }

    /// HTTP/2. The limits on resets are those against "rapid reset" (CVE-2023-44487) and "MadeYouReset"
    /// (CVE-2025-8671).
    pub(super) fn http2(self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_header_list_size(16 << 10)
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(128)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        match self {
            Self::Edge => builder
                .max_concurrent_streams(100)
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(2 << 20)
                .max_frame_size(64 << 10)
                .max_send_buf_size(256 << 10),
            Self::Grpc => builder
                .max_concurrent_streams(256)
                .initial_stream_window_size(UNREAD)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_frame_size(MAX_FRAME_SIZE)
                .max_send_buf_size(1 << 20),
        };
        builder
    }
}
