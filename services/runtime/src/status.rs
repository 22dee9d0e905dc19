//! Failures as gRPC statuses that a program can act on.
//!
//! Every status that a Holdall service makes carries a `google.rpc.ErrorInfo` (AIP-193) with the domain
//! [`DOMAIN`] and a reason, and where it helps a `google.rpc.RetryInfo` or `google.rpc.BadRequest`. Messages
//! are for people and may change; reasons are not and may not.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The `domain` of every `google.rpc.ErrorInfo` that we send.
pub const DOMAIN: &str = "holdall";

/// A failure on its way to become a [`Status`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Failure {
    code: Code,
    message: String,
    reason: String,
    metadata: HashMap<String, String>,
    retry_after: Option<Duration>,
    violations: Vec<(String, String)>,
}

impl Failure {
    /// `reason` is UPPER_SNAKE_CASE, `message` a sentence without the caller's input and without paths, SQL
    /// or internals.
    pub fn new(code: Code, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            reason: reason.into(),
            metadata: HashMap::new(),
            retry_after: None,
            violations: Vec::new(),
        }
    }

    /// Adds a detail for programs to the reason.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Says when the same call may be made again.
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Names a field of the request and what is wrong with it.
    pub fn field(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.violations.push((field.into(), description.into()));
        self
    }

    /// The status to answer with.
    pub fn status(self) -> Status {
        self.into()
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let mut details = ErrorDetails::with_error_info(failure.reason, DOMAIN, failure.metadata);
        if let Some(delay) = failure.retry_after {
            details.set_retry_info(Some(delay));
        }
        for (field, description) in failure.violations {
            details.add_bad_request_violation(field, description);
        }
        Self::with_error_details(failure.code, failure.message, details)
    }
}

/// The reason in a status, if it is one of ours.
pub fn reason_of(status: &Status) -> Option<String> {
    status.get_details_error_info().filter(|info| info.domain == DOMAIN).map(|info| info.reason)
}

/// A detail that was added with [`Failure::metadata`].
pub fn metadata_of(status: &Status, key: &str) -> Option<String> {
    status.get_details_error_info().filter(|info| info.domain == DOMAIN)?.metadata.remove(key)
}

/// How long to wait before the same call may be made again.
pub fn retry_after(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// The fields that the service found fault with, each with a description.
pub fn field_violations(status: &Status) -> Vec<(String, String)> {
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    violations.into_iter().map(|violation| (violation.field, violation.description)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_into_a_status_comes_out_after_the_wire() {
        let status = Failure::new(Code::ResourceExhausted, "RATE_LIMITED", "Too many attempts.")
            .metadata("limit", "5")
            .retry_after(Duration::from_secs(7))
            .field("username", "is too long")
            .status();
        let mut headers = http::HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        let status = Status::from_header_map(&headers).unwrap();

        assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "Too many attempts."));
        assert_eq!(reason_of(&status).as_deref(), Some("RATE_LIMITED"));
        assert_eq!(metadata_of(&status, "limit").as_deref(), Some("5"));
        assert_eq!(metadata_of(&status, "other"), None);
        assert_eq!(retry_after(&status), Some(Duration::from_secs(7)));
        assert_eq!(field_violations(&status), [("username".to_owned(), "is too long".to_owned())]);
    }

    #[test]
    fn other_peoples_statuses_have_no_reason() {
        assert_eq!(reason_of(&Status::internal("x")), None);
        let foreign = ErrorDetails::with_error_info("RATE_LIMITED", "example.com", HashMap::new());
        assert_eq!(reason_of(&Status::with_error_details(Code::Internal, "x", foreign)), None);
        assert_eq!(retry_after(&Status::internal("x")), None);
        assert!(field_violations(&Status::internal("x")).is_empty());
    }
}
