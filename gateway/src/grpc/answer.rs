//! Answers: failures of the gateway and of the way to a service as gRPC statuses, and an end to each.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::response::Response;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use holdall_proto::error::v1::Reason;
use holdall_runtime::shutdown::Shutdown;
use holdall_runtime::status::{self, Failure};
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use tonic::body::Body;
use tonic::{Code, Status};

use super::frames::Fault;
use crate::error::{self, Error};

/// A message that is none.
pub fn unreadable() -> Status {
    Status::invalid_argument("the message cannot be read")
}

/// Whether a service gave that reason.
pub fn has_reason(status: &Status, reason: Reason) -> bool {
    status::reason_of(status).as_deref() == Some(reason.name())
}

/// A failed call of a service. What comes without a reason comes from the way there; see `holdall_runtime::upstream` for what
/// the codes mean then.
pub fn of_transport(status: &Status) -> Status {
    if status::reason_of(status).is_some() {
        return status.clone();
    }
    tracing::warn!(grpc.code = ?status.code(), grpc.message = status.message(), "a service did not answer");
    match status.code() {
        Code::Unavailable => {
            Failure::new(Code::Unavailable, Reason::Unavailable.name(), "the service is not in reach")
                .status()
        }
        Code::DeadlineExceeded => {
            Failure::new(Code::DeadlineExceeded, Reason::OutcomeUnknown.name(), "no answer came in time")
                .status()
        }
        _ => {
            Failure::new(Code::Unknown, Reason::OutcomeUnknown.name(), "the connection to the service broke")
                .status()
        }
    }
}

/// What failed before it was a call.
pub fn of_error(error: &Error) -> Response {
    let entry = error.entry();
    let message = error.detail.as_deref().unwrap_or(entry.title);
    let failed = match error.code {
        error::Code::NotFound => Status::unimplemented("there is no such method"),
        error::Code::Internal => Failure::new(Code::Internal, Reason::Internal.name(), message).status(),
        _ if entry.status.is_server_error() => {
            Failure::new(Code::Unavailable, Reason::Unavailable.name(), message).status()
        }
        _ => Status::invalid_argument(message),
    };
    let mut response: Response = failed.into_http();
    // What is no gRPC at all is told so by HTTP too.
    if matches!(entry.status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::UNSUPPORTED_MEDIA_TYPE) {
        *response.status_mut() = entry.status;
    }
    response
}

/// The messages of a service, and an end that says how it went, also where the service or the client broke off.
pub struct Answer {
    body: Body,
    fault: Fault,
    stop: Option<BoxFuture<'static, ()>>,
    ended: bool,
}

impl Answer {
    /// Of that body. A fault of the client's counts more than what the service makes of it. What would go on and on ends when
    /// a `stop` is requested; the client finds somebody else.
    pub fn new(body: Body, fault: Fault, stop: Option<Shutdown>) -> Self {
        // All was said in the head.
        let ended = http_body::Body::is_end_stream(&body);
        let stop = stop.map(|stop| async move { stop.requested().await }.boxed());
        Self { body, fault, stop, ended }
    }

    fn end(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.ended = true;
        let mut trailers = HeaderMap::new();
        // Cannot fail: our statuses hold nothing that a header could not.
        let _ = status.add_header(&mut trailers);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.stop.as_mut().is_some_and(|stop| stop.poll_unpin(context).is_ready()) {
            let stopping = "this process is about to stop";
            return self.end(&Failure::new(Code::Unavailable, Reason::Unavailable.name(), stopping).status());
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(status) = self.fault.take() {
            return self.end(&status);
        }
        match frame {
            Some(Ok(frame)) => {
                self.ended = frame.is_trailers();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(status)) => {
                let status = of_transport(&status);
                self.end(&status)
            }
            None => {
                let status = of_transport(&Status::unknown("the answer has no end"));
                self.end(&status)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}
