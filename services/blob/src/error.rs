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
    /// The job is switched off.
    #[error("this job is switched off")]
    JobDisabled,
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

impl Error {
    /// How programs are told.
    pub fn kind(&self) -> (Code, Reason) {
        match self {
            Self::Grant(_) => (Code::Unauthenticated, Reason::GrantInvalid),
            Self::Invalid { .. } => (Code::InvalidArgument, Reason::InvalidField),
            Self::Truncated | Self::Idle | Self::Write(UploadError::WrongSize) => {
                (Code::InvalidArgument, Reason::Truncated)
            }
            Self::Write(UploadError::WrongDigest) => (Code::InvalidArgument, Reason::DigestMismatch),
            Self::Write(UploadError::TooLarge) => (Code::ResourceExhausted, Reason::TooLarge),
            Self::Write(UploadError::Store(WriteError::Full)) => {
                (Code::ResourceExhausted, Reason::StorageFull)
            }
            Self::Write(UploadError::Fenced) => (Code::Aborted, Reason::UploadFenced),
            Self::Write(UploadError::Busy) => (Code::Aborted, Reason::UploadBusy),
            Self::Write(UploadError::Complete) => (Code::FailedPrecondition, Reason::UploadComplete),
            Self::Write(UploadError::WrongOffset(_)) => (Code::OutOfRange, Reason::OffsetMismatch),
            Self::Write(UploadError::TooMany) => (Code::ResourceExhausted, Reason::TooManyUploads),
            Self::Write(UploadError::Overloaded) => (Code::Unavailable, Reason::Overloaded),
            Self::Write(UploadError::Unknown) | Self::NotFound => (Code::NotFound, Reason::NotFound),
            Self::JobDisabled => (Code::FailedPrecondition, Reason::JobDisabled),
            Self::Range => (Code::OutOfRange, Reason::RangeNotSatisfiable),
            Self::Read(ReadError::Corrupt) | Self::Write(UploadError::Read(ReadError::Corrupt)) => {
                (Code::DataLoss, Reason::Corrupt)
            }
            Self::Write(UploadError::Store(WriteError::Failed) | UploadError::Read(ReadError::Failed))
            | Self::Read(ReadError::Failed) => (Code::Unavailable, Reason::Unavailable),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (code, reason) = error.kind();
        let failure = Failure::new(code, reason.name(), error.to_string());
        match error {
            Error::Grant(why) => {
                tracing::debug!(%why, "a grant was refused");
                failure
            }
            Error::Invalid { field, problem } => failure.field(field, problem),
            Error::Write(UploadError::WrongOffset(offset)) => failure.metadata("offset", offset.to_string()),
            _ if code == Code::Unavailable => failure.retry_after(AFTER_FAILURE),
            _ => failure,
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
