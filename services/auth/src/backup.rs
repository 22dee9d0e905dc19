//! Copies of the database for backups, made while the service may run.

use std::path::Path;

use holdall_runtime::run::StartError;
use holdall_sql::{Database, Durability, Settings, sql};

use crate::database_error;
use crate::store::MIGRATIONS;

/// The database in the data directory, when it is a SQLite file.
pub const FILE: &str = "auth.db";

/// Copies the SQLite file `from`, as it is at this moment, to the new file `to`, which is durable then.
///
/// # Errors
/// [`StartError::Config`] for a schema that is not the one that this program knows.
pub async fn copy(from: &Path, to: &Path) -> Result<(), StartError> {
    let database = Database::open_read_only(from, &MIGRATIONS).await.map_err(database_error)?;
    let copied = database.copy_to(to).await.map_err(database_error);
    database.close().await;
    copied
}

/// Ends all sessions in a database that was restored: some may have been revoked since the backup, and which is not known any
/// more.
///
/// # Errors
/// [`StartError::Config`] for a schema that is not the one that this program knows.
pub async fn end_sessions(file: &Path) -> Result<(), StartError> {
    let settings = Settings { migrate: false, ..Settings::file(file) };
    let database = Database::open(&settings, &MIGRATIONS, Durability::Full).await.map_err(database_error)?;
    let ended = sql("DELETE FROM sessions").execute(&database).await;
    database.close().await;
    ended.map(drop).map_err(database_error)
}

/// Looks all of the file through; says what is wrong with it.
///
/// # Errors
/// As [`copy`]; when it cannot be read at all.
pub async fn damage(file: &Path) -> Result<Vec<String>, StartError> {
    let database = Database::open_read_only(file, &MIGRATIONS).await.map_err(database_error)?;
    let found = database.damage().await.map_err(database_error);
    database.close().await;
    found
}
