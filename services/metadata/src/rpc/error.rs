//! Refusals and failures as statuses: one table.

use holdall_proto::error::v1::Reason;
use holdall_runtime::status::Failure;
use tonic::{Code, Status};

use crate::{domain, store};

impl From<domain::error::Error> for Status {
    fn from(error: domain::error::Error) -> Self {
        use domain::error::Error;
        let (code, reason) = match &error {
            Error::NotFound => (Code::NotFound, Reason::NotFound),
            Error::Forbidden => (Code::PermissionDenied, Reason::Forbidden),
            Error::NameConflict => (Code::AlreadyExists, Reason::NameConflict),
            Error::WouldCycle => (Code::FailedPrecondition, Reason::WouldCycle),
            Error::NotAFolder => (Code::FailedPrecondition, Reason::NotAFolder),
            Error::NotAFile => (Code::FailedPrecondition, Reason::NotAFile),
            Error::RootImmutable => (Code::FailedPrecondition, Reason::RootImmutable),
            Error::NotTrashed => (Code::FailedPrecondition, Reason::NotTrashed),
            Error::PreconditionFailed => (Code::Aborted, Reason::PreconditionFailed),
            Error::QuotaExceeded => (Code::ResourceExhausted, Reason::QuotaExceeded),
            Error::InvalidName(_) => (Code::InvalidArgument, Reason::InvalidName),
            Error::InvalidPath(_) => (Code::InvalidArgument, Reason::InvalidPath),
            Error::InvalidField { .. } => (Code::InvalidArgument, Reason::InvalidField),
            Error::InvalidPageToken => (Code::InvalidArgument, Reason::InvalidPageToken),
            Error::CursorExpired => (Code::FailedPrecondition, Reason::CursorExpired),
            Error::IdempotencyMismatch => (Code::InvalidArgument, Reason::IdempotencyMismatch),
            Error::ReceiptInvalid => (Code::Unauthenticated, Reason::GrantInvalid),
        };
        let failure = Failure::new(code, reason.name(), error.to_string());
        match error {
            Error::InvalidName(problem) => failure.field("name", problem),
            Error::InvalidPath(problem) => failure.field("path", problem),
            Error::InvalidField { field, problem } => failure.field(field, problem),
            _ => failure,
        }
        .status()
    }
}

impl From<store::Error> for Status {
    fn from(error: store::Error) -> Self {
        use holdall_sql::Error as Sql;
        match error {
            store::Error::Refused(error) => error.into(),
            store::Error::Sql(Sql::Busy(source)) => {
                tracing::warn!(error = %source, "the database is busy or out of reach");
                busy()
            }
            store::Error::Busy => busy(),
            store::Error::Sql(Sql::Full(source)) => {
                tracing::error!(error = %source, "the database's disk is full");
                failure(Code::ResourceExhausted, Reason::StorageFull, "there is no room left to write to")
            }
            store::Error::Sql(Sql::Unknown(source)) => {
                tracing::error!(error = %source, "the database did not say whether it committed");
                unknown()
            }
            store::Error::OutcomeUnknown => unknown(),
            error => {
                let source = std::error::Error::source(&error).map(tracing::field::display);
                tracing::error!(%error, source, "an operation failed");
                internal()
            }
        }
    }
}

fn busy() -> Status {
    failure(Code::Unavailable, Reason::Unavailable, "nothing was done; try again")
}

fn unknown() -> Status {
    failure(Code::Unknown, Reason::OutcomeUnknown, "it may or may not have been done")
}

/// A defect of ours, after it was logged.
pub(super) fn internal() -> Status {
    failure(Code::Internal, Reason::Internal, "something went wrong on our side")
}

fn failure(code: Code, reason: Reason, message: &str) -> Status {
    Failure::new(code, reason.name(), message).status()
}

#[cfg(test)]
mod tests {
    use holdall_runtime::status::{field_violations, reason_of};

    use super::*;
    use crate::domain::error::Error;

    #[test]
    fn a_refusal_says_why_in_words_for_programs() {
        let status = Status::from(Error::NameConflict);
        assert_eq!(status.code(), Code::AlreadyExists);
        assert_eq!(reason_of(&status).as_deref(), Some("NAME_CONFLICT"));
        let status = Status::from(Error::field("device", "must not be longer than 100 characters"));
        assert_eq!(reason_of(&status).as_deref(), Some("INVALID_FIELD"));
        let violation = ("device".to_owned(), "must not be longer than 100 characters".to_owned());
        assert_eq!(field_violations(&status), [violation]);
    }

    #[test]
    fn a_defect_tells_nothing_of_the_inside() {
        let status = Status::from(store::Error::Corrupt("digest"));
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("digest"), "{}", status.message());
    }
}
