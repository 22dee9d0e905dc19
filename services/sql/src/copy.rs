//! SQLite files that are only read, and copied while others write to them.

use std::fs::File;
use std::path::Path;

use crate::database::{Database, Engine};
use crate::error::Error;
use crate::migrate::Migrations;
use crate::sqlite;
use crate::statement::sql;

/// Findings that [`Database::damage`] tells of, at most.
const FINDINGS: i64 = 100;

impl Database {
    /// Opens a SQLite file to read it and nothing else, whoever has it open for writing. Every attempt to write fails.
    ///
    /// # Errors
    /// As [`Database::open`]; [`Error::Migration`] for every schema that is not the one that this program knows.
    pub async fn open_read_only(path: &Path, migrations: &Migrations) -> Result<Self, Error> {
        let engine = Engine::Sqlite(sqlite::open_read_only(path, migrations.sqlite).await?);
        Ok(Self { engine })
    }

    /// Writes all that a SQLite database holds at this moment into a new file, readable by its owner alone. Whoever writes
    /// meanwhile is not held up, but the log grows for as long. When this returns, the file is durable; its name is the
    /// caller's business.
    ///
    /// # Errors
    /// [`Error::File`] when the file is there already or cannot be made.
    pub async fn copy_to(&self, path: &Path) -> Result<(), Error> {
        let Engine::Sqlite(sqlite) = &self.engine else {
            return Err(Error::Settings("only a SQLite database can be copied".into()));
        };
        // What begins with `file:` would be taken for a URI.
        let path = std::path::absolute(path).map_err(Error::File)?;
        let text =
            path.to_str().ok_or_else(|| Error::Settings("the name of the copy is not UTF-8".into()))?;
        sqlite::create_new(&path).map_err(Error::File)?;
        let mut lease = sqlite.readers.acquire().await.map_err(Error::statement)?;
        let connection = lease.statement().map_err(Error::statement)?;
        // Takes an empty file for one that is not there, and does not flush.
        let copied = sqlx::query("VACUUM INTO $1").bind(text).execute(connection).await;
        copied.map_err(Error::statement)?;
        lease.done();
        let flushed = tokio::task::spawn_blocking(move || File::open(path)?.sync_all());
        flushed.await.map_err(std::io::Error::other).and_then(|done| done).map_err(Error::File)
    }

    /// Looks all of a SQLite file through; says what is wrong with it, and nothing when it is sound.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub async fn damage(&self) -> Result<Vec<String>, Error> {
        let rows = sql("SELECT integrity_check FROM pragma_integrity_check LIMIT $1")
            .bind(FINDINGS)
            .fetch_all(self)
            .await?;
        let found = rows.iter().map(|row| row.get::<String>(0)).collect::<Result<Vec<_>, _>>()?;
        Ok(found.into_iter().filter(|finding| finding != "ok").collect())
    }
}
