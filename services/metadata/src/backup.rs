//! Copies of the database for backups, made while the service may run, and what of the blobs they need.

use std::path::Path;

use holdall_runtime::run::StartError;
use holdall_sql::{Database, Durability, Row, Settings, dynamic, sql};

use crate::database_error;
use crate::store::MIGRATIONS;

/// The database in the data directory, when it is a SQLite file.
pub const FILE: &str = "metadata.db";

/// Copies the SQLite file `from`, as it is at this moment, to the new file `to`, which is durable then.
///
/// # Errors
/// [`StartError::Config`] for a schema that is not the one that this program knows.
pub async fn copy(from: &Path, to: &Path) -> Result<(), StartError> {
    let database = Copy::open(from).await?;
    let copied = database.0.copy_to(to).await.map_err(database_error);
    database.close().await;
    copied
}

/// Begins another log of changes in a database that was restored, so that whoever has followed the one before learns that what
/// he knows may never have happened.
///
/// # Errors
/// [`StartError::Config`] for a schema that is not the one that this program knows.
pub async fn begin_feed(file: &Path) -> Result<(), StartError> {
    let mut epoch = [0; 8];
    getrandom::fill(&mut epoch).map_err(StartError::failed)?;
    let epoch = format!("{:016x}", u64::from_le_bytes(epoch));
    let settings = Settings { migrate: false, ..Settings::file(file) };
    let database = Database::open(&settings, &MIGRATIONS, Durability::Full).await.map_err(database_error)?;
    let changed = sql("UPDATE instance SET feed_epoch = $1").bind(epoch).execute(&database).await;
    database.close().await;
    changed.map(drop).map_err(database_error)
}

/// What makes a blob be in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Versions of files, those in the trash too.
    Versions,
    /// Entries of buffers.
    BufferEntries,
}

/// A row that has a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The row, in words, with its ids.
    pub what: String,
    /// The blob.
    pub blob: String,
    /// The bytes that it has to hold.
    pub size: u64,
    /// Their BLAKE3-256, in hexadecimal.
    pub digest: String,
    id: String,
}

/// A database that is only read.
pub struct Copy(Database);

impl Copy {
    /// Opens a SQLite file.
    ///
    /// # Errors
    /// [`StartError::Config`] for a schema that is not the one that this program knows.
    pub async fn open(file: &Path) -> Result<Self, StartError> {
        Database::open_read_only(file, &MIGRATIONS).await.map(Self).map_err(database_error)
    }

    /// Looks all of the file through; says what is wrong with it.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub async fn damage(&self) -> Result<Vec<String>, StartError> {
        self.0.damage().await.map_err(database_error)
    }

    /// The next rows of a kind that have a blob, after `after`, in the order of their blobs.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn uses(&self, kind: Kind, after: Option<&Use>, limit: u32) -> Result<Vec<Use>, StartError> {
        let (table, id, parent) = match kind {
            Kind::Versions => ("versions", "version_id", "node_id"),
            Kind::BufferEntries => ("buffer_entries", "entry_id", "space_id"),
        };
        let text = format!(
            "SELECT {id}, {parent}, blob_id, size, digest FROM {table} \
             WHERE (blob_id, {id}) > ($1, $2) ORDER BY blob_id, {id} LIMIT $3"
        );
        let (blob, after) = after.map_or(("", ""), |after| (after.blob.as_str(), after.id.as_str()));
        let rows = dynamic(text).bind(blob).bind(after).bind(limit).fetch_all(&self.0).await;
        let rows = rows.map_err(database_error)?;
        rows.iter().map(|row| used(kind, row).map_err(database_error)).collect()
    }

    /// Closes the file.
    pub async fn close(self) {
        self.0.close().await;
    }
}

fn used(kind: Kind, row: &Row) -> Result<Use, holdall_sql::Error> {
    let (id, parent): (String, String) = (row.get(0)?, row.get(1)?);
    let what = match kind {
        Kind::Versions => format!("version {id} of node {parent}"),
        Kind::BufferEntries => format!("buffer entry {id} of space {parent}"),
    };
    let size = row.get::<i64>(3)?.unsigned_abs();
    Ok(Use { what, blob: row.get(2)?, size, digest: row.get(4)?, id })
}
