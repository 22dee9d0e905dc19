//! The blob service: bytes, written under a grant, answered with a receipt, and read under a grant.
//!
//! ```text
//! rpc       decode, check the grant, call, encode
//! jobs      deleting what is not used any more, compacting packs, and looking for damage, in the background
//! store     blobs as chunks in packs, on a disk or in a bucket, with an index in a database
//! domain    where content is cut; the formats of records and manifests; compression and encryption
//! ```
//!
//! # How a blob is written
//!
//! [`store::upload`] cuts what arrives into chunks, names each by its BLAKE3 hash and [encodes](domain::payload) it. Chunks, and at the end the manifest that
//! lists them, go down a [lane](store::lane): they are appended to a [pack](store::pack), the pack is flushed, rows are added
//! to the [index](store::index), and only then is the writer answered. Many writers share each of these steps.
//!
//! An upload that can be resumed is written in [segments](domain::segment), each of which goes the same way:
//! [`store::upload::resume`].
//!
//! # How a blob is read
//!
//! [`store::reader`] finds the manifest and the places of the chunks, reads each chunk as a whole, and hands out nothing of
//! it before its hash was found to be right.
//!
//! # What must not be
//!
//! * A receipt for anything that is not flushed.
//! * A row of the index that speaks of bytes which are not flushed: other uploads rely on it.
//! * A payload in a pack that is not encrypted, once there is a key for that.
//! * A byte of an unverified chunk in an answer; an answer that is short and looks complete.
//! * A change of what was flushed. Packs only grow until they are deleted as a whole, and the index can always be made again
//!   from them.
//! * The deletion of what metadata says is in use, or of anything without asking it twice: see `jobs`.

pub mod backup;
mod config;
pub mod doctor;
pub mod domain;
mod error;
mod jobs;
pub mod offline;
mod remote;
mod rpc;
pub mod store;
mod sweep;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdall_proto::grant::KeyRing;
use holdall_runtime::clock::Clock;
use holdall_runtime::config::Invalid;
use holdall_runtime::data_dir::DataDir;
use holdall_runtime::health;
use holdall_runtime::keyfile;
use holdall_runtime::layers::{self, Admission};
use holdall_runtime::run::StartError;
use holdall_runtime::shutdown::Shutdown;
use holdall_runtime::token::{Verifier, key_source};
use holdall_runtime::upstream::Upstream;
use holdall_sql::{Database, Durability};
use tokio::task::JoinHandle;
use tonic::service::Routes;

pub use config::{
    CollectionConfig, CompactionConfig, Config, DownloadsConfig, EncryptionConfig, GrantsConfig,
    PackStoreKind, PacksConfig, Process, S3Config, ScrubConfig, UploadsConfig,
};

use crate::domain::seal::Keys;
use crate::jobs::Jobs;
use crate::jobs::control::Board;
use crate::jobs::roots::Metadata;
use crate::rpc::Rpc;
use crate::rpc::admin::AdminRpc;
use crate::store::counters::Counters;
use crate::store::index::{Index, MIGRATIONS};
use crate::store::packs::object::Secret;
use crate::store::{OpenError, Settings, Store, packs};

/// The service, ready to be called or served.
pub struct Service {
    /// Its methods, wrapped: for `upstream::in_process`, or for a server.
    pub routes: Routes,
    store: Arc<Store>,
    sweeping: JoinHandle<()>,
    keys: KeyRing,
    clock: Clock,
    collection: CollectionConfig,
    compaction: CompactionConfig,
    scrub: ScrubConfig,
    board: Board,
    jobs: Option<Jobs>,
    _data_dir: DataDir,
}

impl Service {
    /// What was done since the start.
    pub fn counters(&self) -> &Counters {
        self.store.counters()
    }

    /// Starts what is done in the background; it ends with `shutdown`, or when the service is closed. What is in use is asked of
    /// `metadata`; without it, nothing is deleted.
    pub fn start_jobs(&mut self, metadata: Option<Upstream>, shutdown: &Shutdown) {
        let mut jobs = Jobs::new(self.board.clone(), shutdown.token().child_token());
        if !self.collection.enabled {
            tracing::info!("what is not used any more is kept: collection is switched off");
        } else if let Some(metadata) = metadata {
            let index = self.store.reader().index().clone();
            let roots = Metadata::new(metadata, self.keys.clone(), self.clock.clone(), index);
            jobs.collect(Arc::clone(&self.store), roots, &self.collection, self.clock.clone());
        } else {
            tracing::info!("what is not used any more is kept: there is no metadata service to ask");
        }
        if self.compaction.enabled {
            jobs.compact(Arc::clone(&self.store), &self.compaction, self.clock.clone());
        }
        if self.scrub.enabled {
            jobs.scrub(Arc::clone(&self.store), &self.scrub, self.clock.clone());
        }
        self.jobs = Some(jobs);
    }

    /// Finishes what is being written and closes the index; to be called when nothing calls the service any more.
    pub async fn close(self) {
        self.sweeping.abort();
        if let Some(jobs) = self.jobs {
            jobs.stop().await;
        }
        self.store.close().await;
    }
}

/// Opens the store in `data_dir`, which is made when it is missing and belongs to this service alone.
///
/// After a crash this first reads what the packs hold beyond the index.
///
/// # Errors
/// [`StartError::Config`] for keys or an index that cannot be used, [`StartError::InUse`] when another process has the
/// directory, [`StartError::Failed`] for anything else.
pub async fn build(
    config: &Config,
    data_dir: &Path,
    clock: Clock,
    shutdown: &Shutdown,
) -> Result<Service, StartError> {
    let keys = keys(&config.grants)?;
    let settings = store_settings(config, data_dir)?;
    let data_dir = DataDir::acquire(data_dir, "holdall-blob")?;
    let index = config.index.clone().or_file(&data_dir.path().join("index.db"));
    let index = Database::open(&index, &MIGRATIONS, Durability::Rebuildable).await.map_err(index_error)?;
    let store = Store::open(&settings, Index::new(index)).await.map_err(|error| match error {
        OpenError::ForeignIndex(_) | OpenError::KeyMissing(..) => StartError::Config(error.into()),
        error => StartError::failed(chain(&error)),
    })?;
    let store = Arc::new(store);
    let rpc = Rpc::new(Arc::clone(&store), keys.clone(), clock.clone(), config.uploads.idle_timeout.get());
    let board = Board::default();
    let admin = AdminRpc::new(board.clone(), keys.clone(), clock.clone());
    let routes = Routes::new(rpc.into_service()).add_service(admin.into_service());
    let routes = health::add_health(routes, shutdown, &[("grants", keys.ids())]);
    let routes =
        health::add_reflection(routes, holdall_proto::FILE_DESCRIPTOR_SET).map_err(StartError::failed)?;
    let sweeping = sweep::start(&store, clock.clone());
    let routes = layers::wrap(routes, admission(clock.clone()));
    Ok(Service {
        routes,
        store,
        sweeping,
        keys,
        clock,
        collection: config.collection.clone(),
        compaction: config.compaction.clone(),
        scrub: config.scrub.clone(),
        board,
        jobs: None,
        _data_dir: data_dir,
    })
}

/// How to set up the store whose index, and packs when they are on a disk, are in `data_dir`.
fn store_settings(config: &Config, data_dir: &Path) -> Result<Settings, StartError> {
    let encryption =
        config.encryption.key_files.iter().map(|file| key(file)).collect::<Result<Vec<_>, _>>()?;
    let keys = Keys::new(&encryption);
    let keys = if config.encryption.enabled { keys } else { keys.only_decrypting() };
    Ok(config.store(pack_settings(config, data_dir)?, keys))
}

fn keys(config: &GrantsConfig) -> Result<KeyRing, StartError> {
    let [first, others @ ..] = &config.key_files[..] else {
        return Err(StartError::Config(
            Invalid::new("blob.grants.key_files", "must name at least one file").into(),
        ));
    };
    others.iter().try_fold(KeyRing::new(&key(first)?), |ring, file| Ok(ring.and(&key(file)?)))
}

fn key(file: &Path) -> Result<[u8; 32], StartError> {
    keyfile::load(file).map_err(|error| StartError::Config(error.into()))
}

/// Where packs are.
fn pack_settings(config: &Config, data_dir: &Path) -> Result<packs::Settings, StartError> {
    match config.packs.store {
        PackStoreKind::Disk => Ok(config.packs.disk(data_dir.join("packs"))),
        PackStoreKind::S3 => bucket(config),
    }
}

fn bucket(config: &Config) -> Result<packs::Settings, StartError> {
    let key = |name: &str, file: &Option<PathBuf>, variable| {
        let found = match file {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
            }
            None => std::env::var(variable).map_err(|_| format!("must name a file, or {variable} be set")),
        };
        let key = found.and_then(|key| match key.trim() {
            "" => Err("holds no key".to_owned()),
            key => Ok(Secret(key.to_owned())),
        });
        key.map_err(|problem| StartError::Config(Invalid::new(name, problem).into()))
    };
    let access = key("blob.s3.access_key_file", &config.s3.access_key_file, "AWS_ACCESS_KEY_ID")?;
    let secret = key("blob.s3.secret_key_file", &config.s3.secret_key_file, "AWS_SECRET_ACCESS_KEY")?;
    Ok(packs::Settings::Object(config.s3.settings(access, secret, config.uploads.memory.get())))
}

/// Grants are the proof on every method. Where there is none, there is nothing to find.
fn admission(clock: Clock) -> Admission {
    let no_keys = key_source(async || Ok(Vec::new()));
    Admission::new(Verifier::new("", "", no_keys, clock), rpc::PUBLIC)
}

/// Brings the schema of the index up to date, for a service that may not do that itself.
///
/// # Errors
/// As [`build`].
pub async fn migrate(process: Process) -> Result<(), StartError> {
    let data_dir = DataDir::acquire(&process.data.dir, "holdall-blob migrate")?;
    let index = process.blob.index.or_file(&data_dir.path().join("index.db"));
    Database::migrate(&index, &MIGRATIONS, Durability::Rebuildable).await.map_err(index_error)
}

fn index_error(error: holdall_sql::Error) -> StartError {
    use holdall_sql::Error as Sql;
    match error {
        Sql::Settings(problem) => StartError::Config(Invalid::new("blob.index.url", problem).into()),
        // A restart would change nothing.
        error @ (Sql::TooOld { .. } | Sql::Unsafe { .. } | Sql::Untrusted(_) | Sql::Migration(_)) => {
            StartError::Config(format!("the index of blobs: {error}").into())
        }
        error => StartError::failed(format!("the index of blobs: {}", chain(&error))),
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests;
