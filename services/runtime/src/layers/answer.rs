//! Following an RPC to its end: the code it ended with, how long it took, and panics on the way.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};
use tonic::{Code, Status};
use tracing::Span;

use crate::status::Failure;
use crate::telemetry::DURATIONS;

/// What is counted and measured of all RPCs.
#[derive(Clone, Debug)]
pub(super) struct Instruments {
    duration: Histogram<f64>,
    panics: Counter<u64>,
    pub(super) denied: Counter<u64>,
}

impl Instruments {
    pub(super) fn new() -> Self {
        let meter = opentelemetry::global::meter("holdall");
        let duration = meter
            .f64_histogram("rpc.server.call.duration")
            .with_unit("s")
            .with_boundaries(DURATIONS.to_vec())
            .with_description("Duration of RPCs to the end of their answer")
            .build();
        let panics =
            meter.u64_counter("holdall.panics").with_description("Panics that became INTERNAL").build();
        let denied = meter
            .u64_counter("holdall.peer.denied")
            .with_description("Calls of peers that may not make them")
            .build();
        // They are there from the start, so that the first one can be seen to be one more.
        panics.add(0, &[]);
        denied.add(0, &[]);
        Self { duration, panics, denied }
    }
}

/// One RPC under way. Ends with [`end`](Self::end), or as CANCELLED when it is dropped before.
pub(super) struct Rpc {
    pub(super) span: Span,
    service: String,
    method: String,
    started: Instant,
    instruments: Instruments,
    is_refused: bool,
    ended: bool,
}

impl Rpc {
    /// `path` is that of the request: `/package.Service/Method`.
    pub(super) fn begin(path: &str, headers: &HeaderMap, instruments: Instruments) -> Self {
        let (service, method) = path.trim_start_matches('/').rsplit_once('/').unwrap_or(("", path));
        let span = tracing::info_span!(
            "rpc",
            otel.name = %format_args!("{service}/{method}"),
            otel.kind = "server",
            rpc.system = "grpc",
            rpc.service = service,
            rpc.method = method,
            rpc.grpc.status_code = tracing::field::Empty,
        );
        crate::trace::adopt(&span, headers);
        let (service, method) = (service.to_owned(), method.to_owned());
        Self { span, service, method, started: Instant::now(), instruments, is_refused: false, ended: false }
    }

    /// Notes that the peer may not call it, and that nobody has looked whether there is such a method.
    pub(super) fn refused(&mut self) {
        self.is_refused = true;
    }

    /// Notes how it ended. Only the first end counts.
    pub(super) fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let seconds = self.started.elapsed().as_secs_f64();
        self.span.record("rpc.grpc.status_code", code as i32);
        let (service, method) = (&*self.service, &*self.method);
        self.span.in_scope(|| match code {
            Code::Internal | Code::DataLoss | Code::Unknown => {
                tracing::error!(service, method, ?code, seconds, "call failed");
            }
            Code::Unavailable | Code::DeadlineExceeded => {
                tracing::warn!(service, method, ?code, seconds, "call failed");
            }
            _ => tracing::debug!(service, method, ?code, seconds, "call ended"),
        });
        // Names that no method has must not each become a time series.
        let known = !self.is_refused && !matches!(code, Code::Unimplemented | Code::Unauthenticated);
        let name = |name: &str| if known { name.to_owned() } else { "_OTHER".to_owned() };
        self.instruments.duration.record(
            seconds,
            &[
                KeyValue::new("rpc.service", name(&self.service)),
                KeyValue::new("rpc.method", name(&self.method)),
                KeyValue::new("rpc.grpc.status_code", i64::from(code as i32)),
            ],
        );
    }

    /// Counts a panic, which the panic hook has logged, and gives what to answer.
    pub(super) fn panicked(&self) -> Status {
        self.instruments.panics.add(1, &[]);
        Failure::new(Code::Internal, "INTERNAL", "internal error").status()
    }
}

impl Drop for Rpc {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

/// The body of an answer, watched until its trailers.
pub(super) struct Watched<B> {
    body: B,
    rpc: Rpc,
    panicked: bool,
}

impl<B> Watched<B> {
    pub(super) fn new(body: B, rpc: Rpc) -> Self {
        Self { body, rpc, panicked: false }
    }
}

impl<B: Body + Unpin> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        if this.panicked {
            return Poll::Ready(None);
        }
        let polled = this
            .rpc
            .span
            .in_scope(|| catch_unwind(AssertUnwindSafe(|| Pin::new(&mut this.body).poll_frame(context))));
        let frame = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(frame)) => frame,
            Err(_) => {
                this.panicked = true;
                let status = this.rpc.panicked();
                let mut trailers = HeaderMap::new();
                // Cannot fail: the status has neither metadata nor unusual characters.
                let _ = status.add_header(&mut trailers);
                Some(Ok(Frame::trailers(trailers)))
            }
        };
        match &frame {
            None => this.rpc.end(Code::Ok),
            Some(Err(_)) => this.rpc.end(Code::Unknown),
            Some(Ok(frame)) => {
                if let Some(code) = frame.trailers_ref().and_then(code_in) {
                    this.rpc.end(code);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.panicked || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The code in the head or the trailers of an answer.
pub(super) fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}
