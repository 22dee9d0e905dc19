//! What can go wrong, and the exit code that says so.

use std::io;
use std::time::Duration;

use crate::api::Problem;

/// A failure, as the person at the terminal sees it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command makes no sense as it was given.
    #[error("{0}")]
    Usage(String),
    /// There is no session.
    #[error("not signed in; sign in with: holdall login URL")]
    NotSignedIn,
    /// The server said no.
    #[error("{doing}: {problem}")]
    Refused {
        /// What was being done.
        doing: String,
        /// What the server says.
        problem: Box<Problem>,
    },
    /// The server cannot be reached, or the connection to it broke.
    #[error("{doing}: {what}")]
    Connection {
        /// What was being done.
        doing: String,
        /// What happened, in words.
        what: String,
    },
    /// A file of this computer.
    #[error("{doing}: {source}")]
    Local {
        /// What was being done.
        doing: String,
        /// What the system says.
        source: io::Error,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
    /// Some of many things failed, each of which has been told about.
    #[error("{failed} of {total} failed")]
    Some {
        /// How many failed.
        failed: usize,
        /// Of how many.
        total: usize,
        /// The exit code of the first of them.
        code: u8,
    },
}

/// The result of a command.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure with a file of this computer.
    pub fn local(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Local { doing: doing.into(), source }
    }

    /// The process's exit code; the help text lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Other(_) | Self::Local { .. } => 1,
            Self::Usage(_) => 2,
            Self::NotSignedIn => 3,
            Self::Refused { problem, .. } => match problem.status {
                401 => 3,
                404 => 4,
                409 | 412 => 5,
                408 | 429 | 502..=504 => 6,
                413 | 507 => 7,
                _ if problem.code == "outcome_unknown" => 6,
                _ => 1,
            },
            Self::Connection { .. } => 6,
            Self::Some { code, .. } => *code,
        }
    }

    /// Whether the server refused with that code.
    pub fn is(&self, code: &str) -> bool {
        matches!(self, Self::Refused { problem, .. } if problem.code == code)
    }

    /// How long to wait before the same may be tried again, where trying again can help: after a lost connection, or when
    /// the server says so. Only for what can be repeated without harm.
    pub fn retry_in(&self) -> Option<Duration> {
        const LONGEST: Duration = Duration::from_secs(10);
        match self {
            Self::Connection { .. } => Some(Duration::from_millis(500)),
            Self::Refused { problem, .. } if problem.retryable => {
                Some(problem.retry_after.unwrap_or(Duration::from_secs(1))).filter(|wait| *wait <= LONGEST)
            }
            _ => None,
        }
    }
}
