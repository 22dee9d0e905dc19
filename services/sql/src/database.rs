//! A database: opened by URL, migrated, checked, and ready for statements.

use std::fmt;

use crate::error::Error;
use crate::migrate::Migrations;
use crate::postgres::{self, Postgres};

use crate::settings::Settings;
use crate::sqlite;
use crate::statement::sql;
use crate::transaction::Transaction;

/// Which engine a database runs on, for the few statements that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// What an acknowledged commit outlives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The loss of power: the rows are the truth. SQLite runs with `synchronous=FULL`.
    Full,
    /// The end of the process only: what a loss of power takes can be rebuilt from elsewhere. SQLite runs
    /// with `synchronous=NORMAL`, PostgreSQL with `synchronous_commit=off`. The database stays sound in any
    /// case.
    Rebuildable,
}

/// A database. Cloning is cheap, and clones share their connections.
#[derive(Clone)]
pub struct Database {
    pub(crate) engine: Engine,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("dialect", &self.dialect()).finish_non_exhaustive()
    }
}

#[derive(Clone)]
pub(crate) enum Engine {
    Sqlite(sqlite::Sqlite),
    Postgres(Postgres),
}

impl Database {
    /// Connects, checks that the engine is new enough and keeps data safe, and brings the schema up to date or, where the
    /// settings say so, checks that it is. A server that cannot be reached is waited for.
    ///
    /// The directory of a SQLite file has to exist; the file is made, readable by its owner alone.
    ///
    /// # Errors
    /// [`Error::Settings`] for a URL that is none, [`Error::TooOld`], [`Error::Unsafe`], [`Error::Migration`]
    /// (also when the schema is newer than this program), [`Error::Busy`] when it cannot be reached.
    pub async fn open(
        settings: &Settings,
        migrations: &Migrations,
        durability: Durability,
    ) -> Result<Self, Error> {
        if settings.max_connections == 0 {
            return Err(Error::Settings("max_connections must be at least 1".into()));
        }
        let engine = if let Some(path) = settings.sqlite_path() {
            Engine::Sqlite(sqlite::open(path, settings, migrations.sqlite, durability).await?)
        } else if settings.url.starts_with("postgres://") || settings.url.starts_with("postgresql://") {
            Engine::Postgres(postgres::open(settings, migrations.postgres, durability).await?)
        } else {
            return Err(Error::Settings("a database URL starts with sqlite:// or postgres://".into()));
        };
        Ok(Self { engine })
    }

    /// Brings the schema of a database up to date and lets go of it, whatever [`Settings::migrate`] says.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub async fn migrate(
        settings: &Settings,
        migrations: &Migrations,
        durability: Durability,
    ) -> Result<(), Error> {
        let settings = Settings { migrate: true, ..settings.clone() };
        Self::open(&settings, migrations, durability).await?.close().await;
        Ok(())
    }

    /// Which engine it is.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self.engine {
            Engine::Sqlite(_) => Dialect::Sqlite,
            Engine::Postgres(_) => Dialect::Postgres,
        }
    }

    /// A transaction that may write and whose commit is as durable as the database was opened for.
    ///
    /// On SQLite writing transactions run one at a time, in the order in which they were asked for. On
    /// PostgreSQL they run side by side at READ COMMITTED: what is read to decide on a write is read
    /// `FOR UPDATE`, or locked otherwise.
    ///
    /// # Errors
    /// [`Error::Busy`] when there is no turn or connection in time.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        match &self.engine {
            Engine::Sqlite(sqlite) => Transaction::sqlite(&sqlite.durable, sqlite::BEGIN).await,
            Engine::Postgres(postgres) => Transaction::postgres(postgres, "BEGIN").await,
        }
    }

    /// As [`Database::begin`], but a loss of power may undo it: whole commits, the newest first. A later
    /// commit of [`Database::begin`] takes every earlier one along to the disk.
    ///
    /// For what is cheap to lose: reservations, last-seen times.
    ///
    /// # Errors
    /// As [`Database::begin`].
    pub async fn begin_relaxed(&self) -> Result<Transaction, Error> {
        match &self.engine {
            Engine::Sqlite(sqlite) => Transaction::sqlite(&sqlite.relaxed, sqlite::BEGIN).await,
            // One message, one round trip.
            Engine::Postgres(postgres) => {
                Transaction::postgres(postgres, "BEGIN; SET LOCAL synchronous_commit = off").await
            }
        }
    }

    /// As [`Database::begin`], but a commit that was acknowledged outlives a loss of power whatever the database was opened
    /// for, and so does every earlier one.
    ///
    /// For the moment before something is done that cannot be undone.
    ///
    /// # Errors
    /// As [`Database::begin`].
    pub async fn begin_flushed(&self) -> Result<Transaction, Error> {
        match &self.engine {
            Engine::Sqlite(sqlite) => Transaction::sqlite(&sqlite.flushed, sqlite::BEGIN).await,
            Engine::Postgres(postgres) => {
                Transaction::postgres(postgres, "BEGIN; SET LOCAL synchronous_commit = on").await
            }
        }
    }

    /// A transaction that only reads, and whose reads all see the same moment: that of the first one.
    ///
    /// Keep it short: on SQLite the log cannot be cut while it is open.
    ///
    /// # Errors
    /// [`Error::Busy`] when there is no connection in time.
    pub async fn snapshot(&self) -> Result<Transaction, Error> {
        match &self.engine {
            Engine::Sqlite(sqlite) => Transaction::sqlite(&sqlite.readers, "BEGIN").await,
            Engine::Postgres(postgres) => {
                Transaction::postgres(postgres, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
            }
        }
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// [`Error::Busy`] when it does not.
    pub async fn ping(&self) -> Result<(), Error> {
        sql("SELECT CAST(1 AS BIGINT)").fetch_one(self).await.map(drop)
    }

    /// Waits for what is running, then closes every connection. Later calls fail with [`Error::Busy`].
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.close().await,
            Engine::Postgres(postgres) => postgres.pool.close().await,
        }
    }
}
