//! What can go wrong with a database, sorted by what a caller can do about it.

use std::fmt;

use sqlx::error::DatabaseError;

use crate::migrate::MigrationError;

/// The driver's error: for logs, never for an answer.
///
/// It prints the engine's message only. PostgreSQL's detail line, which quotes the values of the offending
/// row, is left out of both `Display` and `Debug`.
pub struct Source(pub(crate) sqlx::Error);

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Source {}

/// Why a call on a database failed. `Display` holds neither SQL nor values; the source says more, for logs.
///
/// Unless it is [`Error::Unknown`], nothing of the transaction or lone statement was or will be committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A unique or primary key is taken.
    #[error("a unique key is already taken")]
    UniqueViolation {
        /// What was violated, in the engine's words: PostgreSQL names the constraint or index
        /// (`account_username_key`), SQLite the columns (`account.username`) or, for an index on an
        /// expression, the index.
        on: String,
    },
    /// A foreign key points at nothing, or something still points at the deleted row.
    #[error("a foreign key does not hold")]
    ForeignKey,
    /// Another transaction was in the way, or the database could not be reached in time. Worth trying again.
    #[error("the database is busy or out of reach")]
    Busy(#[source] Source),
    /// There is no room left on the database's disk.
    #[error("the database's disk is full")]
    Full(#[source] Source),
    /// The connection or the disk failed during the commit: it may or may not have happened.
    #[error("the database did not say whether it committed")]
    Unknown(#[source] Source),
    /// An earlier statement of this transaction failed, so the rest was refused.
    #[error("the transaction had already failed")]
    Aborted,
    /// A statement that must return a row returned none.
    #[error("a row is missing")]
    NoRow,
    /// A stored value is not of the kind that the code expects, or the file is damaged.
    #[error("the database holds something unexpected")]
    Corrupt(#[source] Source),
    /// The schema could not be brought up to date, or does not fit this program.
    #[error(transparent)]
    Migration(MigrationError),
    /// The engine is older than what this program needs.
    #[error("{engine} {found} is too old: {required} or newer is needed")]
    TooOld {
        /// `SQLite` or `PostgreSQL`.
        engine: &'static str,
        /// The version met.
        found: String,
        /// The oldest version that will do.
        required: &'static str,
    },
    /// A setting of the server or file under which acknowledged data could be lost or garbled.
    #[error("the database has {name} = {found}, but {required} is needed to keep data safe")]
    Unsafe {
        /// The setting's name in the engine.
        name: &'static str,
        /// Its value.
        found: String,
        /// What it must be.
        required: &'static str,
    },
    /// The settings make no sense; the text says why.
    #[error("{0}")]
    Settings(String),
    /// What the server proved of itself is not what the URL asks for, or the files for that cannot be used. Only when a
    /// database is opened.
    #[error("the connection to the database cannot be trusted: {0}")]
    Untrusted(#[source] Source),
    /// The database's file could not be made or protected.
    #[error("the database's file could not be prepared")]
    File(#[source] std::io::Error),
    /// Anything else: most likely a mistake in a statement.
    #[error("the database refused a statement")]
    Other(#[source] Source),
}

impl Error {
    /// Whether trying again may help: true for [`Error::Busy`] alone.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Busy(_))
    }

    /// Whether the server did not answer at all, which it will not do in a moment either.
    pub(crate) fn is_silence(&self) -> bool {
        match self {
            Self::Busy(Source(sqlx::Error::Io(error))) => error.kind() == std::io::ErrorKind::TimedOut,
            Self::Busy(Source(sqlx::Error::PoolTimedOut)) => true,
            _ => false,
        }
    }

    /// An error of the first connection, over TCP or not, which shows what no waiting mends.
    pub(crate) fn connecting(error: sqlx::Error, over_tcp: bool) -> Self {
        use std::io::ErrorKind::{InvalidData, NotFound};
        let is_lasting = match &error {
            sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => true,
            // A certificate that was refused; a file for TLS that is not there. A socket may come yet.
            sqlx::Error::Io(inner) => inner.kind() == InvalidData || (over_tcp && inner.kind() == NotFound),
            _ => false,
        };
        if is_lasting { Self::Untrusted(Source(error)) } else { Self::statement(error) }
    }

    /// An error before anything could have been committed.
    pub(crate) fn statement(error: sqlx::Error) -> Self {
        Self::sort(error, Self::Busy)
    }

    /// An error of a commit, or of a statement that commits by itself: a lost answer leaves it open.
    pub(crate) fn commit(error: sqlx::Error) -> Self {
        // SQLite: a failed flush of the log leaves a complete transaction in it, which a restart may find.
        if let sqlx::Error::Database(inner) = &error
            && sqlite_code(&**inner) == Some(SQLITE_IOERR)
        {
            return Self::Unknown(Source(error));
        }
        Self::sort(error, Self::Unknown)
    }

    fn sort(error: sqlx::Error, lost: fn(Source) -> Self) -> Self {
        use sqlx::error::ErrorKind;
        let wrap = match &error {
            sqlx::Error::Database(inner) => match inner.kind() {
                ErrorKind::UniqueViolation => return Self::UniqueViolation { on: violated(&**inner) },
                ErrorKind::ForeignKeyViolation => return Self::ForeignKey,
                _ => match sqlite_code(&**inner) {
                    Some(SQLITE_BUSY | SQLITE_LOCKED) => Self::Busy,
                    Some(SQLITE_FULL) => Self::Full,
                    Some(SQLITE_CORRUPT | SQLITE_NOTADB) => Self::Corrupt,
                    Some(_) => Self::Other,
                    None => match inner.code().as_deref().unwrap_or_default() {
                        SERIALIZATION_FAILURE
                        | DEADLOCK_DETECTED
                        | LOCK_NOT_AVAILABLE
                        | QUERY_CANCELED
                        | TOO_MANY_CONNECTIONS
                        | CANNOT_CONNECT_NOW => Self::Busy,
                        ADMIN_SHUTDOWN | CRASH_SHUTDOWN | IDLE_IN_TRANSACTION => lost,
                        DISK_FULL => Self::Full,
                        DATA_CORRUPTED | INDEX_CORRUPTED => Self::Corrupt,
                        code if code.starts_with(CONNECTION_EXCEPTION) => lost,
                        _ => Self::Other,
                    },
                },
            },
            // Nothing was sent yet.
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::BeginFailed => Self::Busy,
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed => lost,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::Corrupt,
            _ => Self::Other,
        };
        wrap(Source(error))
    }
}

fn violated(error: &dyn DatabaseError) -> String {
    match error.constraint() {
        Some(name) => name.to_owned(),
        None => error.message().rsplit_once("failed: ").map_or("", |(_, on)| on).to_owned(),
    }
}

/// The primary result code (<https://www.sqlite.org/rescode.html>), which is the low byte of the extended
/// one.
fn sqlite_code(error: &dyn DatabaseError) -> Option<u32> {
    error.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
    Some(error.code()?.parse::<u32>().ok()? & 0xff)
}

const SQLITE_BUSY: u32 = 5;
const SQLITE_LOCKED: u32 = 6;
const SQLITE_IOERR: u32 = 10;
const SQLITE_CORRUPT: u32 = 11;
const SQLITE_FULL: u32 = 13;
const SQLITE_NOTADB: u32 = 26;

// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
const CONNECTION_EXCEPTION: &str = "08";
const IDLE_IN_TRANSACTION: &str = "25P03";
const SERIALIZATION_FAILURE: &str = "40001";
const DEADLOCK_DETECTED: &str = "40P01";
const DISK_FULL: &str = "53100";
const TOO_MANY_CONNECTIONS: &str = "53300";
const LOCK_NOT_AVAILABLE: &str = "55P03";
const QUERY_CANCELED: &str = "57014";
const ADMIN_SHUTDOWN: &str = "57P01";
const CRASH_SHUTDOWN: &str = "57P02";
const CANNOT_CONNECT_NOW: &str = "57P03";
const DATA_CORRUPTED: &str = "XX001";
const INDEX_CORRUPTED: &str = "XX002";
