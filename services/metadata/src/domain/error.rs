//! What a rule can say no with.

/// A refusal. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such thing, or not the caller's to know of: deliberately the same.
    #[error("not found")]
    NotFound,
    /// The caller knows of the thing and may not do this with it.
    #[error("this is not allowed")]
    Forbidden,
    /// A live child of the folder has this name.
    #[error("the name is taken in this folder")]
    NameConflict,
    /// A folder would end up inside itself.
    #[error("a folder cannot be moved into itself")]
    WouldCycle,
    /// A file, where a folder is needed.
    #[error("not a folder")]
    NotAFolder,
    /// A folder, where a file is needed.
    #[error("not a file")]
    NotAFile,
    /// The root of a space cannot be moved, renamed or deleted.
    #[error("the root folder cannot be changed")]
    RootImmutable,
    /// The node is not in the trash by itself.
    #[error("not in the trash")]
    NotTrashed,
    /// The caller's condition does not hold.
    #[error("the precondition does not hold")]
    PreconditionFailed,
    /// The space has no room.
    #[error("the quota is used up")]
    QuotaExceeded,
    /// A name that no node may have.
    #[error("the name {0}")]
    InvalidName(&'static str),
    /// A path that no node may have.
    #[error("the path {0}")]
    InvalidPath(&'static str),
    /// Another malformed field.
    #[error("{field} {problem}")]
    InvalidField {
        /// Its name in the request.
        field: &'static str,
        /// What is wrong: completes "the field …".
        problem: &'static str,
    },
    /// A page token that this list never gave out.
    #[error("the page token is not valid here")]
    InvalidPageToken,
    /// A place in a log of changes that is not the one there is any more.
    #[error("the log of changes is another one since a backup was restored")]
    CursorExpired,
    /// The idempotency key stands for another request.
    #[error("the idempotency key was used with another request")]
    IdempotencyMismatch,
    /// A receipt that is missing, damaged, expired, or for another space.
    #[error("the receipt is not valid")]
    ReceiptInvalid,
}

impl Error {
    /// [`Error::InvalidField`].
    #[must_use]
    pub fn field(field: &'static str, problem: &'static str) -> Self {
        Self::InvalidField { field, problem }
    }
}
