//! The blob service: bytes, written under a grant, answered with a receipt, and read under a grant.
//!
//! ```text
//! rpc       decode, check the grant, call, encode
//! store     blobs as chunks in packs on a disk, with an index in a database
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
//! * A change of what was flushed. Packs only grow, and the index can always be made again from them.

mod config;
pub mod domain;
mod error;
mod rpc;
pub mod store;
mod sweep;

use std::path::Path;
use std::sync::Arc;

use holdall_proto::grant::KeyRing;
use holdall_runtime::clock::Clock;
use holdall_runtime::config::Invalid;
use holdall_runtime::data_dir::DataDir;
use holdall_runtime::health::{self, Readiness};
use holdall_runtime::keyfile;
use holdall_runtime::layers::{self, Admission};
use holdall_runtime::run::StartError;
use holdall_runtime::token::{Verifier, key_source};
use holdall_sql::{Database, Durability};
use tokio::task::JoinHandle;
use tonic::service::Routes;

pub use config::{
    Config, DownloadsConfig, EncryptionConfig, GrantsConfig, PacksConfig, Process, UploadsConfig,
};

use crate::domain::seal::Keys;
use crate::rpc::Rpc;
use crate::store::counters::Counters;
use crate::store::index::{Index, MIGRATIONS};
use crate::store::{OpenError, Store};

/// The service, ready to be called or served.
pub struct Service {
    /// Its methods, wrapped: for `upstream::in_process`, or for a server.
    pub routes: Routes,
    /// What its health check says; ready from the start.
    pub readiness: Readiness,
    store: Arc<Store>,
    sweeping: JoinHandle<()>,
    _data_dir: DataDir,
}

impl Service {
    /// What was done since the start.
    pub fn counters(&self) -> &Counters {
        self.store.counters()
    }

    /// Finishes what is being written and closes the index; to be called when nothing calls the service any more.
    pub async fn close(self) {
        self.sweeping.abort();
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
pub async fn build(config: &Config, data_dir: &Path, clock: Clock) -> Result<Service, StartError> {
    let keys = keys(&config.grants)?;
    let encryption =
        config.encryption.key_files.iter().map(|file| key(file)).collect::<Result<Vec<_>, _>>()?;
    let settings = config.store(data_dir, Keys::new(&encryption));
    let data_dir = DataDir::acquire(data_dir, "holdall-blob")?;
    let index = config.index.clone().or_file(&data_dir.path().join("index.db"));
    let index = Database::open(&index, &MIGRATIONS, Durability::Rebuildable).await.map_err(index_error)?;
    let store = Store::open(&settings, Index::new(index)).await.map_err(|error| match error {
        OpenError::ForeignIndex(_) | OpenError::KeyMissing(..) => StartError::Config(error.into()),
        error => StartError::failed(chain(&error)),
    })?;
    let store = Arc::new(store);
    let rpc = Rpc::new(Arc::clone(&store), keys, clock.clone(), config.uploads.idle_timeout.get());
    let (routes, readiness) = health::add_health(Routes::new(rpc.into_service())).await;
    let routes =
        health::add_reflection(routes, holdall_proto::FILE_DESCRIPTOR_SET).map_err(StartError::failed)?;
    readiness.ready().await;
    let sweeping = sweep::start(&store, clock.clone());
    let routes = layers::wrap(routes, admission(clock));
    Ok(Service { routes, readiness, store, sweeping, _data_dir: data_dir })
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

/// Grants are the proof on every method. Where there is none, there is nothing to find.
fn admission(clock: Clock) -> Admission {
    let no_keys = key_source(async || Ok(Vec::new()));
    Admission::new(Verifier::new("", "", no_keys, clock), rpc::PUBLIC)
}

fn index_error(error: holdall_sql::Error) -> StartError {
    match error {
        holdall_sql::Error::Settings(problem) => {
            StartError::Config(Invalid::new("blob.index.url", problem).into())
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
