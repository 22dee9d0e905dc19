//! What can go wrong, in the gateway's own terms.
//!
//! Services answer with a gRPC status that carries a [`Reason`]; the gateway turns it into a [`Code`] here, and each
//! dialect turns that into the shape its clients know: the native API into RFC 9457 problems (`rest::problem`), pages
//! into pages. The codes of the native API, their statuses and titles stand in one table, `error/table.rs`.

mod table;

use std::time::Duration;

use holdall_proto::error::v1::Reason;
use holdall_runtime::status;
use tonic::Status;

pub use table::{Code, Entry};

/// A failed request. Holds nothing that the client may not see: whoever makes one from something internal logs that
/// first.
#[derive(Debug, Clone)]
pub struct Error {
    /// What happened, for programs.
    pub code: Code,
    /// What happened, for people, where the entry in the table does not say enough. Never holds input.
    pub detail: Option<String>,
    /// The fields at fault, each with a description.
    pub fields: Vec<(String, String)>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// For ranges that hold nothing: the size of the content.
    pub size: Option<u64>,
}

/// The result of anything a user can do.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure that the table says enough about.
    pub fn new(code: Code) -> Self {
        Self { code, detail: None, fields: Vec::new(), retry_after: None, size: None }
    }

    /// With a sentence for people that does not repeat input.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With a field of the request that is at fault.
    #[must_use]
    pub fn field(mut self, field: &str, description: impl Into<String>) -> Self {
        self.fields.push((field.to_owned(), description.into()));
        self
    }

    /// The same, of a request that changes nothing: what cannot have happened did not.
    #[must_use]
    pub fn of_read(self) -> Self {
        if self.code != Code::OutcomeUnknown {
            return self;
        }
        Self { code: Code::Unavailable, retry_after: Code::Unavailable.entry().retry_after, ..self }
    }

    /// What the table says about it.
    pub fn entry(&self) -> Entry {
        self.code.entry()
    }
}

impl From<Code> for Error {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

/// The one place where a service's failure becomes ours.
impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let reason = status::reason_of(&status).and_then(|name| Reason::from_name(&name));
        let code = reason.map_or_else(|| of_transport(&status), of_reason);
        if matches!(code, Code::Internal | Code::Corrupt | Code::BadGateway) || reason.is_none() {
            tracing::warn!(grpc.code = ?status.code(), grpc.message = status.message(), ?reason, "a service failed");
        }
        Self {
            fields: status::field_violations(&status),
            retry_after: status::retry_after(&status).or(code.entry().retry_after),
            ..Self::new(code)
        }
    }
}

/// A status without a reason of ours comes from the way to the service (see `holdall_runtime::upstream` for what the codes
/// mean there), or from a defect.
fn of_transport(status: &Status) -> Code {
    match status.code() {
        tonic::Code::Unavailable => Code::Unavailable,
        tonic::Code::DeadlineExceeded | tonic::Code::Cancelled | tonic::Code::Unknown => Code::OutcomeUnknown,
        tonic::Code::ResourceExhausted => Code::Overloaded,
        _ => Code::BadGateway,
    }
}

fn of_reason(reason: Reason) -> Code {
    match reason {
        Reason::TokenMissing | Reason::TokenInvalid | Reason::TokenExpired | Reason::SessionInvalid => {
            Code::Unauthenticated
        }
        Reason::WrongCredentials => Code::WrongCredentials,
        Reason::GrantInvalid => Code::UploadExpired,
        Reason::Forbidden => Code::Forbidden,
        Reason::RegistrationClosed => Code::RegistrationClosed,
        Reason::NotFound => Code::NotFound,
        Reason::NameConflict => Code::NameConflict,
        Reason::UsernameTaken => Code::UsernameTaken,
        Reason::EmailTaken => Code::EmailTaken,
        Reason::WouldCycle => Code::WouldCycle,
        Reason::NotAFolder => Code::NotAFolder,
        Reason::NotAFile => Code::NotAFile,
        Reason::RootImmutable => Code::RootImmutable,
        Reason::NotTrashed => Code::NotTrashed,
        Reason::PreconditionFailed
        | Reason::UploadFenced
        | Reason::UploadBusy
        | Reason::UploadComplete
        | Reason::JobDisabled
        | Reason::OffsetMismatch => Code::PreconditionFailed,
        Reason::InvalidName => Code::InvalidName,
        Reason::InvalidPath => Code::InvalidPath,
        Reason::InvalidAccount => Code::InvalidAccount,
        Reason::InvalidPageToken => Code::InvalidCursor,
        Reason::CursorExpired => Code::CursorExpired,
        Reason::InvalidField => Code::InvalidField,
        Reason::IdempotencyMismatch => Code::IdempotencyMismatch,
        Reason::Truncated => Code::TruncatedBody,
        Reason::DigestMismatch => Code::DigestMismatch,
        Reason::RangeNotSatisfiable => Code::RangeNotSatisfiable,
        Reason::QuotaExceeded => Code::QuotaExceeded,
        Reason::TooLarge => Code::TooLarge,
        Reason::RateLimited | Reason::TooManyUploads => Code::RateLimited,
        Reason::Overloaded => Code::Overloaded,
        Reason::StorageFull => Code::StorageFull,
        Reason::Unavailable => Code::Unavailable,
        Reason::OutcomeUnknown => Code::OutcomeUnknown,
        Reason::Corrupt => Code::Corrupt,
        // One of our services is not allowed to call another: nothing that the client could mend.
        Reason::PeerForbidden => Code::BadGateway,
        Reason::Unspecified | Reason::Internal => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use holdall_runtime::status::Failure;

    use super::*;

    fn reasons() -> impl Iterator<Item = Reason> {
        (0..1000).filter_map(|number| Reason::try_from(number).ok())
    }

    #[test]
    fn every_reason_has_a_code_that_is_not_the_catch_all() {
        for reason in reasons() {
            let status = Failure::new(tonic::Code::Unknown, reason.name(), "secret detail").status();
            let error = Error::from(status);
            let catch_all = matches!(reason, Reason::Unspecified | Reason::Internal);
            assert_eq!(error.code == Code::Internal, catch_all, "{reason:?}");
            assert_eq!(error.detail, None, "a service's message is not for clients");
        }
        assert!(reasons().count() > 30);
    }

    #[test]
    fn retries_and_fields_are_carried_over() {
        let status = Failure::new(tonic::Code::ResourceExhausted, "RATE_LIMITED", "x")
            .retry_after(Duration::from_secs(7))
            .field("password", "is too short")
            .status();
        let error = Error::from(status);
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(error.fields, [("password".to_owned(), "is too short".to_owned())]);
    }

    #[test]
    fn foreign_failures_are_gateway_errors() {
        assert_eq!(Error::from(Status::unavailable("connection refused")).code, Code::Unavailable);
        assert_eq!(Error::from(Status::deadline_exceeded("late")).code, Code::OutcomeUnknown);
        assert_eq!(Error::from(Status::unknown("connection reset")).code, Code::OutcomeUnknown);
        assert_eq!(Error::from(Status::internal("h2 protocol error")).code, Code::BadGateway);
        assert_eq!(Error::from(Status::unauthenticated("someone else's")).code, Code::BadGateway);
    }
}
