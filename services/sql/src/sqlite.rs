//! SQLite: one writer at a time, many readers, a write-ahead log.

use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};

use crate::checkpoint::{self, Checkpoints};
use crate::database::Durability;
use crate::error::Error;
use crate::migrate::{self, Migration};
use crate::pool::{Limits, Pool};
use crate::settings::Settings;

/// Before 3.51.3 two connections that write or checkpoint could corrupt the database when the log was reset.
const OLDEST: (u32, u32, u32) = (3, 51, 3);
const OLDEST_TEXT: &str = "3.51.3";

/// How long a caller waits for its turn, and SQLite for a lock that another process holds.
const WAIT: Duration = Duration::from_secs(5);

/// How long the first connection may take. After a crash it reads the log through, on a disk that may have much else to do.
const OPENING: Duration = Duration::from_secs(60);

/// Connections are kept: one costs a thread and a reading of the schema, and none goes stale.
const LIMITS: Limits = Limits { wait: WAIT, trusted: Duration::MAX, lifetime: Duration::MAX };

/// Takes the write lock at once. A plain `BEGIN` takes it at the first write, and fails if anyone wrote since
/// the first read.
pub(crate) const BEGIN: &str = "BEGIN IMMEDIATE";

/// Beyond this size the log is cut back after a checkpoint.
const LOG_LIMIT: &str = "67108864";

const STATEMENTS: usize = 256;

/// Connections to a file that is only read.
const READERS: u32 = 2;

/// The connections to one file.
///
/// Several of them write, since flushing at a commit is a property of the connection. They share one place, so
/// writers queue here rather than in SQLite, whose waiting is polling and knows no order.
#[derive(Clone)]
pub(crate) struct Sqlite {
    pub(crate) readers: Pool<SqliteConnection>,
    pub(crate) durable: Pool<SqliteConnection>,
    pub(crate) relaxed: Pool<SqliteConnection>,
    /// Flushes at every commit.
    pub(crate) flushed: Pool<SqliteConnection>,
    /// Where something is written.
    checkpoints: Option<Checkpoints>,
}

pub(crate) async fn open(
    path: &Path,
    settings: &Settings,
    migrations: &[Migration],
    durability: Durability,
) -> Result<Sqlite, Error> {
    if path.as_os_str().is_empty() || path == Path::new(":memory:") {
        return Err(Error::Settings("a SQLite URL needs the path of a file".into()));
    }
    create(path).map_err(Error::File)?;

    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(WAIT)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .pragma("journal_size_limit", LOG_LIMIT)
        .pragma("wal_autocheckpoint", checkpoint::LONG)
        .pragma("mmap_size", "0")
        // What a statement of several rows needs to undo itself is small, and otherwise a file for each transaction.
        .pragma("temp_store", "MEMORY")
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging();
    let normal = options.clone().synchronous(SqliteSynchronous::Normal);
    let full = options.clone().synchronous(SqliteSynchronous::Full);

    let (first, expected) = match durability {
        Durability::Full => (full.clone(), FULL),
        Durability::Rebuildable => (normal.clone(), NORMAL),
    };
    let wrote = Arc::default();
    let durable = Pool::telling(first, 1, LIMITS, Arc::clone(&wrote));
    {
        let mut lease = durable.acquire_within(OPENING).await.map_err(Error::statement)?;
        let connection = lease.statement().map_err(Error::statement)?;
        check_version(connection).await?;
        check_pragmas(connection, expected).await?;
        if settings.migrate {
            migrate::run(connection, migrations).await?;
        } else {
            migrate::check(connection, migrations).await?;
        }
        lease.done();
    }
    let checkpoints = Some(Checkpoints::start(normal.clone(), wrote));
    let relaxed = match durability {
        Durability::Full => durable.sibling(normal),
        Durability::Rebuildable => durable.clone(),
    };
    let flushed = match durability {
        Durability::Full => durable.clone(),
        Durability::Rebuildable => durable.sibling(full),
    };
    let readers = Pool::new(options.pragma("query_only", "ON"), settings.max_connections, LIMITS);
    Ok(Sqlite { readers, durable, relaxed, flushed, checkpoints })
}

/// A file that is there, for reading alone. The readers' connections stand in for those that write, and refuse.
pub(crate) async fn open_read_only(path: &Path, migrations: &[Migration]) -> Result<Sqlite, Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(WAIT)
        .pragma("mmap_size", "0")
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging();
    let readers = Pool::new(options, READERS, LIMITS);
    {
        let mut lease = readers.acquire_within(OPENING).await.map_err(Error::statement)?;
        let connection = lease.statement().map_err(Error::statement)?;
        check_version(connection).await?;
        migrate::check(connection, migrations).await?;
        lease.done();
    }
    let [durable, relaxed, flushed] = [(); 3].map(|()| readers.clone());
    Ok(Sqlite { readers, durable, relaxed, flushed, checkpoints: None })
}

impl Sqlite {
    pub(crate) async fn close(&self) {
        // The last connection of all checkpoints and removes the log: one that writes, so the readers go first.
        let pools = [&self.readers, &self.relaxed, &self.flushed, &self.durable];
        pools.into_iter().for_each(Pool::refuse);
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.close().await;
        }
        for pool in pools {
            pool.close().await;
        }
    }
}

/// Makes the file, so that it, and the log which takes over its mode, never was readable by others.
///
/// A file that is there is not opened: closing it would drop the locks that this process holds on it.
fn create(path: &Path) -> io::Result<()> {
    match create_new(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::set_permissions(path, Permissions::from_mode(0o600))
        }
        Err(error) => Err(error),
    }
}

/// Makes an empty file that was not there, for its owner alone.
pub(crate) fn create_new(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

async fn check_version(connection: &mut SqliteConnection) -> Result<(), Error> {
    let found = text(connection, "SELECT sqlite_version()").await?;
    if is_sound(&found) {
        Ok(())
    } else {
        Err(Error::TooOld { engine: "SQLite", found, required: OLDEST_TEXT })
    }
}

fn is_sound(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    let mut next = || parts.next().flatten();
    match (next(), next(), next()) {
        (Some(major), Some(minor), Some(patch)) => (major, minor, patch) >= OLDEST,
        _ => false,
    }
}

const NORMAL: &str = "1";
const FULL: &str = "2";

/// A file system without shared memory, or a build option, can refuse what was asked for without an error.
async fn check_pragmas(connection: &mut SqliteConnection, synchronous: &'static str) -> Result<(), Error> {
    for (name, statement, required) in [
        ("journal_mode", "PRAGMA journal_mode", "wal"),
        ("synchronous", "SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous", synchronous),
        ("foreign_keys", "SELECT CAST(foreign_keys AS TEXT) FROM pragma_foreign_keys", "1"),
    ] {
        let found = text(connection, statement).await?;
        if found != required {
            return Err(Error::Unsafe { name, found, required });
        }
    }
    Ok(())
}

async fn text(connection: &mut SqliteConnection, statement: &'static str) -> Result<String, Error> {
    sqlx::query_scalar(statement).fetch_one(connection).await.map_err(Error::statement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        for sound in ["3.51.3", "3.51.10", "3.53.0", "4.0.0"] {
            assert!(is_sound(sound), "{sound}");
        }
        for unsound in ["3.51.2", "3.46.0", "3.9.99", "2.99.99", "3.51", "", "x.y.z"] {
            assert!(!is_sound(unsound), "{unsound}");
        }
    }
}
