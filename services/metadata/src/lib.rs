//! The metadata service: spaces, folders, files and their versions, links, buffers, and the log of changes.
//!
//! ```text
//! rpc        decode, call, encode; keeps answers that are still right   (one file per gRPC service)
//! domain     rules: names, trees, quotas, permissions                   (knows neither wire nor database)
//! store      one operation of one caller in one transaction             (SQL, written once for both engines)
//! sweeper    clears away what time has ended
//! ```
//!
//! Content is not here. It is written and read in the blob service under grants that are made here, and becomes part of a tree
//! by a receipt from there:
//!
//! ```text
//! BeginUpload   target, precondition and room are checked    → write grant
//! (blob)        the bytes                                    → receipt: they are durable
//! CommitUpload  all is checked again, under the space's lock → version, node, quota, change, answer: one transaction
//! OpenContent   permission is checked                        → read grant
//! ```
//!
//! # What must not be
//!
//! * A path in the database: a folder of a million files is moved by changing one row.
//! * A row that points to bytes which are not durable: only a receipt leads to a version.
//! * An access to a node without [`authorize`](domain::authorize::authorize), or an answer by which what is forbidden differs
//!   from what does not exist.
//! * A change without its entry in the log, or an entry that becomes visible before an earlier one.
//! * Two processes on one SQLite file.

pub mod backup;
mod config;
pub mod doctor;
pub mod domain;
pub mod rpc;
pub mod store;
mod sweeper;

use std::path::Path;
use std::time::Duration;

use holdall_proto::auth::v1::ListKeysRequest;
use holdall_proto::auth::v1::key_service_client::KeyServiceClient;
use holdall_proto::grant::KeyRing;
use holdall_runtime::clock::Clock;
use holdall_runtime::config::Invalid;
use holdall_runtime::data_dir::DataDir;
use holdall_runtime::health;
use holdall_runtime::layers::{self, Admission};
use holdall_runtime::run::StartError;
use holdall_runtime::shutdown::Shutdown;
use holdall_runtime::token::{KeySource, Verifier, VerifyingKey, key_source};
use holdall_runtime::upstream::Upstream;
use holdall_runtime::{BoxError, keyfile};
use holdall_sql::pages::Pager;
use holdall_sql::{Database, Durability, Settings};
use tonic::service::Routes;

pub use config::{BufferConfig, Config, GrantsConfig, Process, SpacesConfig, TrashConfig, UploadsConfig};

use crate::config::micros;
use crate::rpc::Rpc;
use crate::store::{Store, Terms};

/// Who signs access tokens.
const ISSUER: &str = "holdall-auth";
/// Whom they are for.
const AUDIENCE: &str = "holdall";
/// How long a fetch of keys may take.
const KEYS_TIMEOUT: Duration = Duration::from_secs(3);

/// What the service needs from the process it runs in.
#[derive(Clone)]
pub struct Deps {
    /// The auth service, whose keys verify access tokens.
    pub auth: Upstream,
    /// The time of day.
    pub clock: Clock,
    /// When to stop: background work ends with it.
    pub shutdown: Shutdown,
}

/// The service, ready to be called.
pub struct Service {
    /// Every method, with what goes around each; health and reflection included.
    pub routes: Routes,
    store: Store,
    _elsewhere: Option<DataDir>,
}

impl Service {
    /// Closes the database; to be called when nothing calls the routes any more.
    pub async fn close(self) {
        self.store.close().await;
    }
}

/// Opens the database and builds the service.
///
/// `data_dir` holds the database when the configuration names none, and has to exist then and to be owned by this process.
///
/// # Errors
/// [`StartError::Config`] for keys or a database URL that cannot be used, [`StartError::InUse`] when another process has the
/// directory of a SQLite file elsewhere, [`StartError::Failed`] for anything else.
pub async fn build(config: &Config, data_dir: &Path, deps: Deps) -> Result<Service, StartError> {
    let (keys, pager) = keys(config)?;
    let settings = settings(config, data_dir);
    let elsewhere = own_elsewhere(&settings, data_dir)?;
    let db = Database::open(&settings, &store::MIGRATIONS, Durability::Full).await.map_err(database_error)?;
    let store = Store::new(
        db,
        Terms {
            default_quota: config.spaces.default_quota.get(),
            system_quota: config.spaces.system_quota.get(),
            upload_lifetime: micros(config.uploads.grant_lifetime),
            reserve_above: config.uploads.reserve_above.get(),
            buffer: domain::buffer::Limits {
                time_to_live: micros(config.buffer.time_to_live),
                longest: micros(config.buffer.longest),
                keep: config.buffer.keep,
            },
        },
    );
    sweeper::spawn(store.clone(), deps.clock.clone(), &deps.shutdown, micros(config.trash.keep));

    let verifier = Verifier::new(ISSUER, AUDIENCE, auth_keys(deps.auth), deps.clock.clone());
    let shared_keys = [("grants", keys.ids())];
    let rpc = Rpc::new(store.clone(), deps.clock, keys, pager, micros(config.grants.read_lifetime));
    let routes = health::add_health(rpc.routes(), &deps.shutdown, &shared_keys);
    let routes =
        health::add_reflection(routes, holdall_proto::FILE_DESCRIPTOR_SET).map_err(StartError::failed)?;
    let routes = layers::wrap(routes, Admission::new(verifier, rpc::PUBLIC));
    Ok(Service { routes, store, _elsewhere: elsewhere })
}

/// Brings the schema of the database up to date, for a service that may not do that itself.
///
/// # Errors
/// As [`build`].
pub async fn migrate(process: Process) -> Result<(), StartError> {
    let settings = settings(&process.metadata, &process.data.dir);
    // A file is migrated while nobody else has it.
    let file = settings.sqlite_path().is_some();
    let _owned = file.then(|| DataDir::acquire(&process.data.dir, "holdall-metadata migrate")).transpose()?;
    Database::migrate(&settings, &store::MIGRATIONS, Durability::Full).await.map_err(database_error)
}

fn database_error(error: holdall_sql::Error) -> StartError {
    use holdall_sql::Error as Sql;
    match error {
        Sql::Settings(problem) => {
            let problem = format!("cannot be used: {problem}");
            StartError::Config(Invalid::new("metadata.database.url", problem).into())
        }
        // A restart would change nothing.
        Sql::TooOld { .. } | Sql::Unsafe { .. } | Sql::Untrusted(_) | Sql::Migration(_) => {
            StartError::Config(format!("database of the metadata service: {error}").into())
        }
        error => StartError::failed(format!("database of the metadata service: {error}")),
    }
}

/// Where the database is: `metadata.db` in `data_dir` when the configuration does not say.
#[must_use]
pub fn settings(config: &Config, data_dir: &Path) -> Settings {
    config.database.clone().or_file(&data_dir.join("metadata.db"))
}

/// Takes the directory of a SQLite file that is not in `data_dir`, which the process owns already.
fn own_elsewhere(settings: &Settings, data_dir: &Path) -> Result<Option<DataDir>, StartError> {
    let Some(dir) = settings.sqlite_path().and_then(Path::parent) else { return Ok(None) };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let same = dir.canonicalize().ok().zip(data_dir.canonicalize().ok()).is_some_and(|(dir, own)| dir == own);
    if same { Ok(None) } else { Ok(Some(DataDir::acquire(dir, env!("CARGO_PKG_NAME"))?)) }
}

/// The keys shared with blob, and what is derived from the first of them.
fn keys(config: &Config) -> Result<(KeyRing, Pager), StartError> {
    let mut files = config.grants.key_files.iter();
    let first = files.next().ok_or_else(|| {
        StartError::Config(Invalid::new("metadata.grants.key_files", "must name at least one file").into())
    })?;
    let load = |file| keyfile::load(file).map_err(|error| StartError::Config(error.into()));
    let first = load(first)?;
    let mut ring = KeyRing::new(&first);
    for file in files {
        ring = ring.and(&load(file)?);
    }
    Ok((ring, Pager::new(blake3::derive_key("holdall.metadata.v1 2026-11 page tokens", &first))))
}

/// The keys that auth publishes.
fn auth_keys(auth: Upstream) -> KeySource {
    key_source(move || fetch_keys(auth.clone()))
}

async fn fetch_keys(auth: Upstream) -> Result<Vec<VerifyingKey>, BoxError> {
    let mut client = KeyServiceClient::new(auth);
    let answer = tokio::time::timeout(KEYS_TIMEOUT, client.list_keys(ListKeysRequest {})).await??;
    let mut keys = Vec::new();
    for key in answer.into_inner().keys {
        keys.push(VerifyingKey { kid: key.key_id, public: key.ed25519_public_key.as_ref().try_into()? });
    }
    Ok(keys)
}
