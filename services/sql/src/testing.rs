//! Throwaway databases for tests, of both kinds.
//!
//! A normal module, since the tests of other crates use it; it is not meant for anything else. What fails
//! panics.
//!
//! ```no_run
//! # use holdall_sql::{Migrations, testing};
//! # async fn f(migrations: &Migrations) {
//! for database in testing::databases(migrations).await {
//!     let db = database.database().clone();
//!     // …
//! }
//! # }
//! ```
#![expect(clippy::expect_used, reason = "a test that cannot have its database has failed")]

mod cluster;

pub use cluster::{Crashed, Frozen, PostgresCluster};
use tempfile::TempDir;

use crate::{Database, Dialect, Durability, Migrations, Settings};

/// A database that nobody else uses. A SQLite file is gone when this is dropped, a PostgreSQL database when
/// the process ends.
pub struct TestDatabase {
    database: Database,
    settings: Settings,
    _folder: Option<TempDir>,
}

impl TestDatabase {
    /// The open database. Clone it to keep it, but keep this as well.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Which engine it is, for messages and cases that differ.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.database.dialect()
    }

    /// How to open it once more.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    async fn open(settings: Settings, migrations: &Migrations, folder: Option<TempDir>) -> Self {
        let database =
            Database::open(&settings, migrations, Durability::Full).await.expect("opening a test database");
        Self { database, settings, _folder: folder }
    }
}

/// One database of each kind.
pub async fn databases(migrations: &Migrations) -> [TestDatabase; 2] {
    [sqlite(migrations).await, postgres(migrations).await]
}

/// A SQLite file in a temporary folder.
pub async fn sqlite(migrations: &Migrations) -> TestDatabase {
    let folder = tempfile::tempdir().expect("making a temporary folder");
    let settings = Settings::file(&folder.path().join("test.db"));
    TestDatabase::open(settings, migrations, Some(folder)).await
}

/// A database in this process's own PostgreSQL.
///
/// # Panics
/// Where PostgreSQL is not installed: see [`PostgresCluster::shared`].
pub async fn postgres(migrations: &Migrations) -> TestDatabase {
    let url = PostgresCluster::shared().create_database().await;
    TestDatabase::open(Settings { url, ..Settings::default() }, migrations, None).await
}
