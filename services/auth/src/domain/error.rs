//! Why a call failed.

use std::fmt;
use std::time::Duration;

/// A rule that a field from outside can break. Its text goes to the caller and repeats nothing of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Nothing was given.
    Empty,
    /// Too many characters.
    LongerThanCharacters(usize),
    /// Too many bytes.
    LongerThanBytes(usize),
    /// Too few characters.
    ShorterThanCharacters(usize),
    /// Starts or ends with a blank.
    BlankAtEnd,
    /// Holds `/` or `\`.
    Slash,
    /// Holds a control or other character that cannot be seen.
    InvisibleCharacter,
    /// Is not `name@domain`.
    NotAnAddress,
    /// Is not an IP address.
    NotAnIpAddress,
    /// Is not a UUID.
    NotAUuid,
    /// Is not one of the values that the field can have.
    UnknownValue,
    /// Is below zero.
    Negative,
    /// Is not above zero.
    NotPositive,
    /// Is a time longer than sessions of the kind may live.
    LongerThanItsKind,
    /// Is set, and its caller has not shown that they act for others.
    WithoutDelegation,
    /// Is set together with another field that it excludes.
    TogetherWith(&'static str),
    /// Is not the name of a system account.
    NotASystemName,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("must not be empty"),
            Self::LongerThanCharacters(most) => write!(f, "must have at most {most} characters"),
            Self::LongerThanBytes(most) => write!(f, "must have at most {most} bytes"),
            Self::ShorterThanCharacters(least) => write!(f, "must have at least {least} characters"),
            Self::BlankAtEnd => f.write_str("must not start or end with a blank"),
            Self::Slash => f.write_str("must not hold a slash or backslash"),
            Self::InvisibleCharacter => f.write_str("must not hold control or invisible characters"),
            Self::NotAnAddress => f.write_str("must have the form name@domain"),
            Self::NotAnIpAddress => f.write_str("must be an IP address"),
            Self::NotAUuid => f.write_str("must be a UUID"),
            Self::UnknownValue => f.write_str("has a value that is not known"),
            Self::Negative => f.write_str("must not be negative"),
            Self::NotPositive => f.write_str("must be more than zero"),
            Self::LongerThanItsKind => f.write_str("must not be longer than sessions of the kind may live"),
            Self::WithoutDelegation => f.write_str("must not be set without a delegation"),
            Self::TogetherWith(other) => write!(f, "must not be set together with {other}"),
            Self::NotASystemName => f.write_str("must have 1 to 32 characters of a-z and -"),
        }
    }
}

/// What a database or machine said, for the log.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a call failed. Nothing was changed, unless it is [`OutcomeUnknown`](Self::OutcomeUnknown).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Name and password do not belong together; unknown and wrong are the same.
    #[error("the name or the password is wrong")]
    WrongCredentials,
    /// The session is unknown, expired or was ended.
    #[error("the session is not valid")]
    SessionInvalid,
    /// A delegation is missing, damaged, for something else or expired.
    #[error("the delegation is not valid")]
    GrantInvalid,
    /// The caller may not do this.
    #[error("not allowed")]
    Forbidden,
    /// There is no such thing, or it is not the caller's.
    #[error("there is no such thing")]
    NotFound,
    /// An account has this username.
    #[error("the username is taken")]
    UsernameTaken,
    /// An account has this e-mail address.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// Accounts cannot be registered here.
    #[error("registration is closed")]
    RegistrationClosed,
    /// A username, address or password breaks a rule.
    #[error("{field} {rule}")]
    InvalidAccount {
        /// The field of the request.
        field: &'static str,
        /// What it breaks.
        rule: Rule,
    },
    /// Another field breaks a rule.
    #[error("{field} {rule}")]
    InvalidField {
        /// The field of the request.
        field: &'static str,
        /// What it breaks.
        rule: Rule,
    },
    /// A page token that this list never gave out.
    #[error("the page token is not valid here")]
    InvalidPageToken,
    /// The idempotency key was used with another request.
    #[error("the idempotency key was used with another request")]
    IdempotencyMismatch,
    /// Too many attempts.
    #[error("too many attempts")]
    RateLimited {
        /// When to come back.
        retry_after: Duration,
    },
    /// More work than this process takes at once.
    #[error("too much work at once")]
    Overloaded,
    /// The database is busy or out of reach.
    #[error("out of reach at the moment: {0}")]
    Unavailable(#[source] Cause),
    /// The database is full. Sign-ins fail with it, for they write.
    #[error("no room left: {0}")]
    StorageFull(#[source] Cause),
    /// The database did not say whether it kept a change.
    #[error("it may or may not have happened: {0}")]
    OutcomeUnknown(#[source] Cause),
    /// A defect, or a machine that fails.
    #[error("{0}")]
    Internal(Cause),
}

impl Error {
    /// [`Internal`](Self::Internal) with a text for the log.
    pub fn internal(what: &'static str) -> Self {
        Self::Internal(what.into())
    }
}
