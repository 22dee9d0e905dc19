//! Accounts, sessions, and the keys that access tokens are signed with.
//!
//! ```text
//! rpc        decode, call, encode                        (one file per gRPC service)
//! authority  registers, signs in, exchanges, acts for    (puts the parts below together)
//! domain     rules: names, passwords, sessions, errors   (knows neither wire nor database)
//! password   Argon2id, with bounded work, and what was hashed elsewhere
//! delegation the keys of those who act for others
//! limits     how often somebody may try
//! operator   a command that changes an account's role
//! keys       signing keys and their rotation
//! store      rows, on SQLite and PostgreSQL
//! ```
//!
//! A device holds a handle, 256 random bits of which only the hash is stored. It is exchanged for an access token, a JWT
//! of minutes that every service verifies by itself. Since each exchange looks the session up, ending it counts at once
//! in this process, and within five seconds in its replicas.
//!
//! Whoever shares a key with this service acts for accounts without their passwords: a sealed delegation is exchanged for
//! an access token of the kind `delegated`, which no session stands behind.

pub mod authority;
pub mod backup;
pub mod config;
mod convert;
pub mod delegation;
pub mod doctor;
pub mod domain;
mod error;
mod jobs;
pub mod keys;
pub mod limits;
pub mod operator;
pub mod password;
mod rpc;
pub mod store;

use std::path::PathBuf;
use std::sync::Arc;

use holdall_proto::FILE_DESCRIPTOR_SET;
use holdall_proto::auth::v1::account_service_server::AccountServiceServer;
use holdall_proto::auth::v1::delegation_service_server::DelegationServiceServer;
use holdall_proto::auth::v1::key_service_server::KeyServiceServer;
use holdall_proto::auth::v1::session_service_server::SessionServiceServer;
use holdall_runtime::clock::Clock;
use holdall_runtime::data_dir::DataDir;
use holdall_runtime::health;
use holdall_runtime::layers::{self, Admission};
use holdall_runtime::run::StartError;
use holdall_runtime::shutdown::Shutdown;
use holdall_runtime::token::{KeySource, Verifier, key_source};
use tonic::service::Routes;

use authority::Authority;
pub use config::{Config, Process};
use delegation::Delegations;
use keys::{AUDIENCE, ISSUER, KeyError, KeyPolicy, Keyring};
use limits::Limits;
use password::Hasher;
use store::Store;

/// The methods that need no access token.
const PUBLIC: &[&str] = &[
    delegation::REGISTER,
    delegation::ACT_FOR,
    "/holdall.auth.v1.SessionService/CreateSession",
    "/holdall.auth.v1.SessionService/ExchangeSession",
    "/holdall.auth.v1.SessionService/RotateSession",
    "/holdall.auth.v1.KeyService/ListKeys",
    layers::HEALTH,
    layers::REFLECTION,
];

/// Largest request and answer.
const MAX_MESSAGE: usize = 1 << 20;

/// The service, ready to be called or served.
pub struct Service {
    /// Its methods, wrapped: for `upstream::in_process`, or for a server.
    pub routes: Routes,
    store: Store,
}

impl Service {
    /// Closes the database, to be called when nothing calls the service any more.
    pub async fn close(self) {
        self.store.close().await;
    }
}

/// Opens the database, makes or reads the signing keys, and starts the background jobs, which end with `shutdown`.
///
/// `config` has been filled in by [`Config::within`].
///
/// # Errors
/// [`StartError::Config`] for keys or a database that the configuration names and that cannot be used,
/// [`StartError::Failed`] for anything else.
pub async fn build(config: Config, clock: Clock, shutdown: &Shutdown) -> Result<Service, StartError> {
    let dir = config.signing.keys_dir.clone().unwrap_or_else(|| PathBuf::from("keys"));
    let policy = KeyPolicy {
        dir,
        rotate_after: config.signing.rotate.then(|| config.signing.rotate_after.get()),
        token_lifetime: config.signing.token_lifetime.get(),
    };
    let now = clock.now_seconds();
    let keys = tokio::task::spawn_blocking(move || Keyring::open(policy, now))
        .await
        .map_err(StartError::failed)?
        .map_err(key_error)?;
    let keys = Arc::new(keys);
    let delegations =
        Delegations::load(&config.delegation.key_files).map_err(|error| StartError::Config(error.into()))?;
    let shared_keys = [("delegation", delegations.ids())];
    let store = Store::open(&config.database).await.map_err(database_error)?;
    let hasher = Hasher::new(&config.password.cost()).map_err(|error| StartError::Config(error.into()))?;
    let authority = Authority::new(
        config::policy(&config),
        store.clone(),
        clock.clone(),
        hasher,
        Limits::new(config.rate_limits.rates()),
        Arc::clone(&keys),
        delegations,
    )
    .await
    .map_err(StartError::failed)?;
    let authority = Arc::new(authority);

    jobs::start(&authority, &keys, &clock, shutdown);

    let verifier = Verifier::new(ISSUER, AUDIENCE, own_keys(&keys, &clock), clock.clone());
    let routes = health::add_health(routes(authority, keys, clock), shutdown, &shared_keys);
    let routes = health::add_reflection(routes, FILE_DESCRIPTOR_SET).map_err(StartError::failed)?;
    Ok(Service { routes: layers::wrap(routes, Admission::new(verifier, PUBLIC)), store })
}

/// Brings the schema of the database up to date, for a service that may not do that itself.
///
/// # Errors
/// As [`build`].
pub async fn migrate(process: Process) -> Result<(), StartError> {
    // A file is migrated while nobody else has it.
    let file = process.auth.database.url.is_empty();
    let _owned = file.then(|| DataDir::acquire(&process.data.dir, "holdall-auth migrate")).transpose()?;
    let config = process.auth.within(&process.data.dir);
    Store::migrate(&config.database).await.map_err(database_error)
}

fn routes(authority: Arc<Authority>, keys: Arc<Keyring>, clock: Clock) -> Routes {
    let accounts = AccountServiceServer::new(rpc::Accounts(Arc::clone(&authority)));
    let sessions = SessionServiceServer::new(rpc::Sessions(Arc::clone(&authority)));
    let delegation = DelegationServiceServer::new(rpc::Delegation(authority));
    let keys = KeyServiceServer::new(rpc::Keys { keys, clock });
    Routes::new(accounts.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
        .add_service(sessions.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
        .add_service(delegation.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
        .add_service(keys.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
}

/// This service verifies with the keys it has.
fn own_keys(keys: &Arc<Keyring>, clock: &Clock) -> KeySource {
    let (keys, clock) = (Arc::clone(keys), clock.clone());
    key_source(move || {
        let published = keys.published(clock.now_seconds());
        async move { Ok(published) }
    })
}

fn key_error(error: KeyError) -> StartError {
    match error {
        KeyError::Generate(_) => StartError::failed(error),
        other => StartError::Config(format!("signing keys: {other}").into()),
    }
}

fn database_error(error: holdall_sql::Error) -> StartError {
    use holdall_sql::Error as Sql;
    match error {
        Sql::Settings(_)
        | Sql::TooOld { .. }
        | Sql::Unsafe { .. }
        | Sql::Untrusted(_)
        | Sql::Migration(_) => StartError::Config(format!("database of the auth service: {error}").into()),
        other => StartError::failed(format!("database of the auth service: {other}")),
    }
}

#[cfg(test)]
mod tests;
