//! What backups of the data directory are made of: a copy of the index, made while the service may run, and the packs that
//! rows of it rely on.
//!
//! Rows are written once their bytes are durable, and nothing is changed in a pack up to there. So a copy of the index, and a
//! copy of the packs up to where its rows point that is made afterwards, whenever that is, belong together, as long as no
//! pack was deleted in between. It is seen when one was: then its records are in other packs, and another copy of the index
//! says in which.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdall_runtime::data_dir::DataDir;
use holdall_runtime::run::StartError;
use holdall_sql::{Database, Durability};

use crate::config::{Config, PackStoreKind};
use crate::domain::BlobId;
use crate::store::fsck;
use crate::store::index::{Error, Index, MIGRATIONS};
use crate::store::pack::PackId;
use crate::store::packs;
use crate::store::recover;
use crate::{chain, index_error, store_settings};

/// The index in the data directory, when it is a SQLite file.
pub const FILE: &str = "index.db";
/// The folder in the data directory with the packs.
pub const PACKS: &str = "packs";

/// Whether index and packs are files of the data directory.
#[must_use]
pub fn is_local(config: &Config) -> bool {
    config.index.url.is_empty() && config.packs.store == PackStoreKind::Disk
}

/// Indexes what a crash left unindexed, as a start does.
///
/// # Errors
/// [`StartError::InUse`] when the service runs, [`StartError::Config`] for keys that are missing or a schema that is not the
/// one that this program knows.
pub async fn replay(config: &Config, data_dir: &Path) -> Result<(), StartError> {
    let file = data_dir.join(FILE);
    if !file.is_file() {
        return Err(StartError::failed(format!("{} is not there: start the server once", file.display())));
    }
    let _owned = DataDir::acquire(data_dir, "holdall-blob")?;
    let settings = store_settings(config, data_dir)?;
    let local = holdall_sql::Settings { migrate: false, ..holdall_sql::Settings::file(&file) };
    let database = Database::open(&local, &MIGRATIONS, Durability::Rebuildable).await.map_err(index_error)?;
    let index = Index::new(database);
    let packs = packs::open(&settings.packs, &Arc::default()).map_err(StartError::failed)?;
    let done = recover::recover(&packs, &index, &settings.encoding).await;
    index.database().close().await;
    done.map(drop).map_err(|error| StartError::failed(chain(&error)))
}

/// Copies the index `from`, as it is at this moment, to the new file `to`, which is durable then.
///
/// # Errors
/// [`StartError::Config`] for a schema that is not the one that this program knows.
pub async fn copy(from: &Path, to: &Path) -> Result<(), StartError> {
    let database = Database::open_read_only(from, &MIGRATIONS).await.map_err(index_error)?;
    let copied = database.copy_to(to).await.map_err(index_error);
    database.close().await;
    copied
}

/// A pack that an index relies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededPack {
    /// Its id, as in its file's name.
    pub id: String,
    /// What tells it from other packs of that id, in hexadecimal.
    pub salt: String,
    /// How many of its bytes are needed.
    pub len: u64,
}

/// The name of a pack's file; `None` when there is no such id.
#[must_use]
pub fn pack_file(id: &str) -> Option<PathBuf> {
    PackId::parse(id).map(|id| packs::disk::path(Path::new(""), id))
}

/// What was found in all that an index points at.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Packs.
    pub packs: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// How many things are wrong.
    pub problems: u64,
    lost: BTreeSet<BlobId>,
}

impl Checked {
    /// Whether a blob cannot be read whole.
    #[must_use]
    pub fn is_lost(&self, blob: &str) -> bool {
        BlobId::parse(blob).is_none_or(|id| self.lost.contains(&id))
    }
}

/// An index that is only read.
pub struct Copy(Index);

impl Copy {
    /// Opens a SQLite file.
    ///
    /// # Errors
    /// [`StartError::Config`] for a schema that is not the one that this program knows.
    pub async fn open(file: &Path) -> Result<Self, StartError> {
        let database = Database::open_read_only(file, &MIGRATIONS).await.map_err(index_error)?;
        Ok(Self(Index::new(database)))
    }

    /// Looks all of the file through; says what is wrong with it.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub async fn damage(&self) -> Result<Vec<String>, StartError> {
        self.0.database().damage().await.map_err(index_error)
    }

    /// The packs that it relies on, in order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn packs(&self) -> Result<Vec<NeededPack>, StartError> {
        let packs = self.0.packs_in_use().await.map_err(failed)?;
        let needed = packs.into_iter().map(|(pack, len)| NeededPack {
            id: pack.id.to_string(),
            salt: blake3::Hash::from_bytes(pack.salt).to_hex().to_string(),
            len,
        });
        Ok(needed.collect())
    }

    /// Size, and BLAKE3-256 in hexadecimal, of those of `blobs` that are there.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn contents(&self, blobs: &[String]) -> Result<HashMap<String, (u64, String)>, StartError> {
        let ids: Vec<BlobId> = blobs.iter().filter_map(|blob| BlobId::parse(blob)).collect();
        let found = self.0.contents(&ids).await.map_err(failed)?;
        let content = |(id, (size, digest)): (BlobId, (u64, blake3::Hash))| {
            (id.to_string(), (size, digest.to_hex().to_string()))
        };
        Ok(found.into_iter().map(content).collect())
    }

    /// Finds blobs that lack a row of a chunk, without a look at the packs.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn check_rows(&self) -> Result<Checked, StartError> {
        let lost = fsck::incomplete(&self.0).await.map_err(failed)?;
        Ok(Checked { problems: lost.len() as u64, lost, ..Checked::default() })
    }

    /// Reads everything that it points at in the packs in `folder`, and says of each thing that is wrong what it is.
    ///
    /// # Errors
    /// When the packs cannot be read now, or keys that they are encrypted with are missing.
    pub async fn check(
        &self,
        config: &Config,
        folder: &Path,
        say: &mut (dyn FnMut(String) + Send),
    ) -> Result<Checked, StartError> {
        let encoding = store_settings(config, Path::new(""))?.encoding;
        let settings = config.packs.disk(folder.to_owned());
        let packs = packs::open(&settings, &Arc::default()).map_err(StartError::failed)?;
        let found = fsck::check(&packs, &self.0, &encoding, say).await;
        let found = found.map_err(|error| StartError::failed(chain(&error)))?;
        let fsck::Checked { packs, records, bytes, problems, lost } = found;
        Ok(Checked { packs, records, bytes, problems, lost })
    }

    /// Closes the file.
    pub async fn close(self) {
        self.0.database().close().await;
    }
}

fn failed(error: Error) -> StartError {
    match error {
        Error::Database(error) => index_error(error),
        error => StartError::failed(error),
    }
}
