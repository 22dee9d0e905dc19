//! From an error to what the caller is told.

use std::time::Duration;

use holdall_proto::error::v1::Reason;
use holdall_proto::grant::GrantError;
use holdall_runtime::status::Failure;
use tonic::{Code, Status};

use crate::store::lane::WriteError;
use crate::store::reader::ReadError;
use crate::store::upload::UploadError;

/// When to come back after a failure that passes.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Why a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The caller may not do this. Which way the grant is wrong is not told.
    #[error("the grant is not valid")]
    Grant(#[from] GrantError),
    /// A field of the request makes no sense.
    #[error("a part of the request is malformed")]
    Invalid {
        /// Which one.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The stream of a write ended without its last message.
    #[error("the stream ended before everything was sent")]
    Truncated,
    /// The stream of a write stood still.
    #[error("nothing was sent for too long")]
    Idle,
    /// There is no such blob.
    #[error("there is no such blob")]
    NotFound,
    /// The range starts beyond the end.
    #[error("the range starts beyond the end of the content")]
    Range,
    /// The blob was not written.
    #[error(transparent)]
    Write(#[from] UploadError),
    /// The blob was not read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let failure = |code, reason: Reason| Failure::new(code, reason.name(), error.to_string());
        match error {
            Error::Grant(why) => {
                tracing::debug!(%why, "a grant was refused");
                failure(Code::Unauthenticated, Reason::GrantInvalid)
            }
            Error::Invalid { field, problem } => {
                failure(Code::InvalidArgument, Reason::InvalidField).field(field, problem)
            }
            Error::Truncated | Error::Idle | Error::Write(UploadError::WrongSize) => {
                failure(Code::InvalidArgument, Reason::Truncated)
            }
            Error::Write(UploadError::WrongDigest) => failure(Code::InvalidArgument, Reason::DigestMismatch),
            Error::Write(UploadError::TooLarge) => failure(Code::ResourceExhausted, Reason::TooLarge),
            Error::Write(UploadError::Store(WriteError::Full)) => {
                failure(Code::ResourceExhausted, Reason::StorageFull)
            }
            Error::NotFound => failure(Code::NotFound, Reason::NotFound),
            Error::Range => failure(Code::OutOfRange, Reason::RangeNotSatisfiable),
            Error::Read(ReadError::Corrupt) => failure(Code::DataLoss, Reason::Corrupt),
            Error::Write(UploadError::Store(WriteError::Failed)) | Error::Read(ReadError::Failed) => {
                failure(Code::Unavailable, Reason::Unavailable).retry_after(AFTER_FAILURE)
            }
        }
        .status()
    }
}

#[cfg(test)]
mod tests {
    use holdall_runtime::status::reason_of;

    use super::*;

    #[test]
    fn refused_grants_all_look_alike() {
        let status = |error| Status::from(Error::from(error));
        let first = status(GrantError::Malformed);
        assert_eq!(
            (first.code(), reason_of(&first).as_deref()),
            (Code::Unauthenticated, Some("GRANT_INVALID"))
        );
        for error in [GrantError::UnknownKey, GrantError::Forged, GrantError::Expired] {
            let other = status(error);
            assert_eq!((other.message(), other.details()), (first.message(), first.details()));
        }
    }
}
