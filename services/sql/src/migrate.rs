//! Schemas: numbered steps, applied once each, in order.
//!
//! Steps are recorded in sqlx's own table `_sqlx_migrations`, so sqlx's command-line tool understands a
//! database.

use std::collections::BTreeMap;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migrate, MigrateError, MigrationType};

use crate::error::{Error, Source};

/// One step of a schema. Once released, neither its number nor its text may change.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its number: ascending, unique within an engine's list.
    pub version: i64,
    /// A few words for the log.
    pub name: &'static str,
    /// One or several statements, run in one transaction.
    pub sql: &'static str,
}

/// The steps of a service's schema, for each engine.
#[derive(Clone, Copy, Debug)]
pub struct Migrations {
    /// For SQLite.
    pub sqlite: &'static [Migration],
    /// For PostgreSQL.
    pub postgres: &'static [Migration],
}

/// Why a schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// A newer release has been at work on this database.
    #[error(
        "the database has schema version {found}, this program knows versions up to {known}: use a newer release"
    )]
    Newer {
        /// The highest version applied.
        found: i64,
        /// The highest version known here.
        known: i64,
    },
    /// A step below the highest known one was applied that this program does not have.
    #[error("schema version {0} was applied to the database but is not part of this program")]
    Missing(i64),
    /// The text of a step is not the one that was applied.
    #[error("schema version {0} is not what was applied to the database")]
    Changed(i64),
    /// The program's own list is out of order.
    #[error("schema version {0} does not follow the one before it")]
    Disorder(i64),
    /// The schema is older than this program, which was told not to change it.
    #[error(
        "the database has schema version {found}, this program needs version {known}: run it with `migrate` first"
    )]
    Older {
        /// The highest version applied; 0 for none.
        found: i64,
        /// The version that is needed.
        known: i64,
    },
    /// A step failed, and was rolled back.
    #[error("schema version {version} could not be applied")]
    Step {
        /// Which one.
        version: i64,
        /// Why.
        source: Source,
    },
}

/// Applies what has not been applied. On PostgreSQL under an advisory lock, so that of several processes one
/// works and the others wait; a SQLite file has one process.
///
/// After an error the connection may still hold the lock: it has to be closed.
pub(crate) async fn run<C: Migrate>(connection: &mut C, migrations: &[Migration]) -> Result<(), Error> {
    connection.lock().await.map_err(broken)?;
    connection.ensure_migrations_table(TABLE).await.map_err(broken)?;
    for step in missing(connection, migrations).await? {
        let took = connection.apply(TABLE, &step).await.map_err(|error| failed(step.version, error))?;
        tracing::info!(
            version = step.version,
            name = &*step.description,
            milliseconds = took.as_millis(),
            "schema migrated"
        );
    }
    connection.unlock().await.map_err(broken)
}

/// Changes nothing, and refuses a schema that is not the one that this program knows.
pub(crate) async fn check<C: Migrate>(connection: &mut C, migrations: &[Migration]) -> Result<(), Error> {
    // An empty database has no table to list from, and who may not make one need not.
    let missing = match missing(connection, migrations).await {
        Err(Error::Other(_)) => migrations.iter().map(step).collect(),
        found => found?,
    };
    match (missing.first(), migrations.last()) {
        (Some(first), Some(last)) => {
            let older = migrations.iter().map(|one| one.version).filter(|version| *version < first.version);
            let found = older.max().unwrap_or(0);
            Err(Error::Migration(MigrationError::Older { found, known: last.version }))
        }
        _ => Ok(()),
    }
}

fn step(migration: &Migration) -> sqlx::migrate::Migration {
    let sql = migration.sql.into_sql_str();
    sqlx::migrate::Migration::new(migration.version, migration.name.into(), MigrationType::Simple, sql, false)
}

/// The steps that were not applied.
///
/// # Errors
/// When those that were are not the beginning of `migrations`.
async fn missing<C: Migrate>(
    connection: &mut C,
    migrations: &[Migration],
) -> Result<Vec<sqlx::migrate::Migration>, Error> {
    for pair in migrations.windows(2) {
        if let [before, after] = pair
            && before.version >= after.version
        {
            return Err(Error::Migration(MigrationError::Disorder(after.version)));
        }
    }
    let applied = connection.list_applied_migrations(TABLE).await.map_err(broken)?;
    let mut applied: BTreeMap<i64, _> = applied.into_iter().map(|one| (one.version, one.checksum)).collect();

    let known = migrations.last().map_or(0, |last| last.version);
    if let Some((&found, _)) = applied.last_key_value()
        && found > known
    {
        return Err(Error::Migration(MigrationError::Newer { found, known }));
    }
    let mut missing = Vec::new();
    for step in migrations.iter().map(step) {
        match applied.remove(&step.version) {
            Some(checksum) if checksum == step.checksum => {}
            Some(_) => return Err(Error::Migration(MigrationError::Changed(step.version))),
            None => missing.push(step),
        }
    }
    if let Some((&version, _)) = applied.first_key_value() {
        return Err(Error::Migration(MigrationError::Missing(version)));
    }
    Ok(missing)
}

const TABLE: &str = "_sqlx_migrations";

fn broken(error: MigrateError) -> Error {
    match error {
        MigrateError::Execute(error) => Error::statement(error),
        other => Error::Other(Source(sqlx::Error::Migrate(Box::new(other)))),
    }
}

fn failed(version: i64, error: MigrateError) -> Error {
    let source = match error {
        MigrateError::ExecuteMigration(source, _) | MigrateError::Execute(source) => Source(source),
        other => Source(sqlx::Error::Migrate(Box::new(other))),
    };
    Error::Migration(MigrationError::Step { version, source })
}
