//! The metadata service: spaces, folders, files and their versions, links, and the log of changes.
//!
//! `main → lib → rpc → domain → store`: [`rpc`] speaks the contract in `proto/`, [`domain`] holds the rules, [`store`] keeps
//! the rows. Content is not here; it is reached by grants that the blob service honours.

mod config;
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
use holdall_runtime::health::{self, Readiness};
use holdall_runtime::layers::{self, Admission};
use holdall_runtime::run::StartError;
use holdall_runtime::shutdown::Shutdown;
use holdall_runtime::token::{KeySource, Verifier, VerifyingKey, key_source};
use holdall_runtime::upstream::Upstream;
use holdall_runtime::{BoxError, keyfile};
use holdall_sql::pages::Pager;
use holdall_sql::{Database, Durability};
use tonic::service::Routes;

pub use config::{Config, GrantsConfig, Process, SpacesConfig, TrashConfig, UploadsConfig};

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
    /// Ready from the start; flipped by whoever serves the routes when it stops.
    pub readiness: Readiness,
    store: Store,
}

impl Service {
    /// Closes the database; to be called when nothing calls the routes any more.
    pub async fn close(self) {
        self.store.close().await;
    }
}

/// Opens the database and builds the service. `data_dir` holds the database when the configuration names none, and has to
/// exist then.
pub async fn build(config: &Config, data_dir: &Path, deps: Deps) -> Result<Service, StartError> {
    let (keys, pager) = keys(config)?;
    let settings = config.database.clone().or_file(&data_dir.join("metadata.db"));
    let db =
        Database::open(&settings, &store::MIGRATIONS, Durability::Full).await.map_err(
            |error| match error {
                holdall_sql::Error::Settings(problem) => {
                    StartError::Config(Invalid::new("metadata.database.url", problem).into())
                }
                error => StartError::failed(error),
            },
        )?;
    let store = Store::new(
        db,
        Terms {
            default_quota: config.spaces.default_quota.get(),
            upload_lifetime: micros(config.uploads.grant_lifetime),
            reserve_above: config.uploads.reserve_above.get(),
        },
    );
    sweeper::spawn(store.clone(), deps.clock.clone(), &deps.shutdown, micros(config.trash.keep));

    let verifier = Verifier::new(ISSUER, AUDIENCE, auth_keys(deps.auth), deps.clock.clone());
    let rpc = Rpc::new(store.clone(), deps.clock, keys, pager, micros(config.grants.read_lifetime));
    let (routes, readiness) = health::add_health(rpc.routes()).await;
    let routes =
        health::add_reflection(routes, holdall_proto::FILE_DESCRIPTOR_SET).map_err(StartError::failed)?;
    readiness.ready().await;
    Ok(Service { routes: layers::wrap(routes, Admission::new(verifier, rpc::PUBLIC)), readiness, store })
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
