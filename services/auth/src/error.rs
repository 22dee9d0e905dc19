//! From an error to what the caller is told.

use std::time::Duration;

use holdall_proto::error::v1::Reason;
use holdall_runtime::status::Failure;
use tonic::{Code, Status};

use crate::domain::Error;

/// When to come back after an overload. Sign-ins take tens of milliseconds each.
const AFTER_OVERLOAD: Duration = Duration::from_secs(1);

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let failure = |code, reason: Reason| Failure::new(code, reason.name(), error.to_string());
        let generic = |code, reason: Reason, text: &str| Failure::new(code, reason.name(), text);
        match &error {
            Error::WrongCredentials => failure(Code::Unauthenticated, Reason::WrongCredentials),
            Error::SessionInvalid => failure(Code::Unauthenticated, Reason::SessionInvalid),
            Error::GrantInvalid => failure(Code::Unauthenticated, Reason::GrantInvalid),
            Error::Forbidden => failure(Code::PermissionDenied, Reason::Forbidden),
            Error::NotFound => failure(Code::NotFound, Reason::NotFound),
            Error::UsernameTaken => failure(Code::AlreadyExists, Reason::UsernameTaken),
            Error::EmailTaken => failure(Code::AlreadyExists, Reason::EmailTaken),
            Error::RegistrationClosed => failure(Code::PermissionDenied, Reason::RegistrationClosed),
            Error::InvalidAccount { field, rule } => {
                failure(Code::InvalidArgument, Reason::InvalidAccount).field(*field, rule.to_string())
            }
            Error::InvalidField { field, rule } => {
                failure(Code::InvalidArgument, Reason::InvalidField).field(*field, rule.to_string())
            }
            Error::InvalidPageToken => failure(Code::InvalidArgument, Reason::InvalidPageToken),
            Error::IdempotencyMismatch => failure(Code::InvalidArgument, Reason::IdempotencyMismatch),
            Error::RateLimited { retry_after } => {
                failure(Code::ResourceExhausted, Reason::RateLimited).retry_after(*retry_after)
            }
            Error::Overloaded => failure(Code::Unavailable, Reason::Overloaded).retry_after(AFTER_OVERLOAD),
            Error::Unavailable(cause) => {
                tracing::warn!(error = %chain(&**cause), "the database is out of reach");
                generic(Code::Unavailable, Reason::Unavailable, "not available at the moment")
                    .retry_after(AFTER_OVERLOAD)
            }
            Error::StorageFull(cause) => {
                tracing::error!(error = %chain(&**cause), "the database is full");
                generic(Code::ResourceExhausted, Reason::StorageFull, "no room left")
            }
            Error::OutcomeUnknown(cause) => {
                tracing::error!(error = %chain(&**cause), "the outcome of a change is unknown");
                generic(Code::Unknown, Reason::OutcomeUnknown, "it may or may not have happened")
            }
            Error::Internal(cause) => {
                tracing::error!(error = %chain(&**cause), "internal error");
                generic(Code::Internal, Reason::Internal, "internal error")
            }
        }
        .status()
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use holdall_runtime::status::{field_violations, reason_of, retry_after};

    use super::*;
    use crate::domain::Rule;

    #[test]
    fn fields_and_delays_reach_the_caller() {
        let status = Status::from(Error::InvalidAccount { field: "username", rule: Rule::Slash });
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(reason_of(&status).as_deref(), Some("INVALID_ACCOUNT"));
        let told = ("username".to_owned(), "must not hold a slash or backslash".to_owned());
        assert_eq!(field_violations(&status), [told]);

        let status = Status::from(Error::RateLimited { retry_after: Duration::from_secs(7) });
        assert_eq!(retry_after(&status), Some(Duration::from_secs(7)));
    }

    #[test]
    fn what_went_wrong_inside_is_not_told() {
        for error in [
            Error::Unavailable("host=db password=x".into()),
            Error::OutcomeUnknown("host=db".into()),
            Error::StorageFull("/data/auth.db".into()),
            Error::internal("argon2"),
        ] {
            let status = Status::from(error);
            assert!(reason_of(&status).is_some());
            for secret in ["db", "argon2"] {
                assert!(!format!("{status:?}").contains(secret), "{status:?}");
            }
        }
    }
}
