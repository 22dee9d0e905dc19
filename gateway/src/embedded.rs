//! The services inside this process. The one place that knows them by more than their contract.
//!
//! What a service without a URL gets here is what its own `main` would give it: its section of the configuration, a place
//! in the data directory, the clock. Its routes are called through tower, without a socket, and behave as over TCP.
//!
//! ```text
//! LOCK  auth.db  metadata.db  blob/  keys/*.der  keys/grants.key  keys/delegation.key
//! ```

pub mod backup;
pub mod doctor;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use holdall_runtime::clock::Clock;
use holdall_runtime::config::Invalid;
use holdall_runtime::data_dir::DataDir;
use holdall_runtime::keyfile;
use holdall_runtime::run::{self, StartError};
use holdall_runtime::shutdown::Shutdown;
use holdall_runtime::upstream::{Idempotent, Upstream, connect, in_process};

use crate::config::{Config, ServiceConfig};
use crate::upstreams::{Answers, Connections, Contents, Exchanges, Remembered};

/// The key that metadata and blob share, where none is named.
const GRANTS_KEY: &str = "grants.key";

/// `[auth]` of a service inside this process.
pub type AuthConfig = holdall_auth::Config;
/// `[metadata]` of a service inside this process.
pub type MetadataConfig = holdall_metadata::Config;
/// `[blob]` of a service inside this process.
pub type BlobConfig = holdall_blob::Config;

/// The services that run inside this process, if any, and how to reach all of them.
pub struct Services {
    /// How to reach each service.
    pub connections: Connections,
    /// What is remembered of those elsewhere.
    pub remembered: Remembered,
    /// The keys that this process shares with auth; the first seals. None when there is nothing that needs them.
    pub delegation: Vec<[u8; 32]>,
    auth: Option<holdall_auth::Service>,
    metadata: Option<holdall_metadata::Service>,
    blob: Option<holdall_blob::Service>,
    _data_dir: Option<DataDir>,
}

/// What the sections of single services cannot see: metadata and blob share a key, and so do this gateway and auth, and one
/// is made for them only when both are in this process.
pub fn validate(config: &Config) -> Result<(), Invalid> {
    if !config.auth.is_embedded()
        && config.compat.any()
        && config.auth.embedded.delegation.key_files.is_empty()
    {
        return Err(Invalid::new(
            "auth.delegation.key_files",
            "must name a file with the key that this process and auth share; make one with: openssl rand -hex 32 \
             (or switch the older APIs off: compat.*.enabled = false)",
        ));
    }
    let metadata = config.metadata.is_embedded() && config.metadata.embedded.grants.key_files.is_empty();
    let blob = config.blob.is_embedded() && config.blob.embedded.grants.key_files.is_empty();
    let key = match (metadata, blob) {
        (true, false) if !config.blob.is_embedded() => "metadata.grants.key_files",
        (false, true) if !config.metadata.is_embedded() => "blob.grants.key_files",
        _ => return Ok(()),
    };
    Err(Invalid::new(
        key,
        "must name a file with the key that metadata and blob share; make one with: openssl rand -hex 32",
    ))
}

/// Does what `holdall-gateway role` asks for, on the accounts in here. `None` when the arguments say something else.
pub fn role_command(program: &'static str) -> Option<ExitCode> {
    run::command(program, "role", holdall_auth::operator::ABOUT, async |config: Config, change| {
        if !config.auth.is_embedded() {
            let problem = "says that accounts are kept elsewhere: use holdall-auth role there";
            return Err(StartError::Config(Invalid::new("auth.url", problem).into()));
        }
        holdall_auth::operator::change_role(config.auth.embedded, &config.data.dir, change).await
    })
}

/// Takes the data directory when a service runs in here. To be called before anything else is touched, so that a second
/// process on the same directory stops at once.
///
/// # Errors
/// [`StartError::InUse`] when another process has it.
pub fn data_dir(config: &Config, program: &str) -> Result<Option<DataDir>, StartError> {
    let needed = config.auth.is_embedded() || config.metadata.is_embedded() || config.blob.is_embedded();
    Ok(if needed { Some(DataDir::acquire(&config.data.dir, program)?) } else { None })
}

/// Builds the services that run in here and connects to those that do not.
///
/// # Errors
/// Those of the services.
pub async fn start(
    config: &Config,
    data_dir: Option<DataDir>,
    clock: &Clock,
    shutdown: &Shutdown,
) -> Result<Services, StartError> {
    let dir = &config.data.dir;
    let keys = grant_keys(config)?;
    let delegation = delegation_keys(config)?;
    let idempotent = Arc::new(holdall_proto::idempotent_methods());

    let auth = if config.auth.is_embedded() {
        let mut own = config.auth.embedded.clone().within(dir);
        own.rate_limits.enabled &= config.rate_limits.enabled;
        own.delegation.key_files.clone_from(&delegation);
        Some(holdall_auth::build(own, clock.clone(), shutdown).await?)
    } else {
        None
    };
    let auth_upstream =
        reach(&config.auth, auth.as_ref().map(|service| &service.routes), Calls::Short, &idempotent)?;

    let metadata = if config.metadata.is_embedded() {
        let mut own = config.metadata.embedded.clone();
        own.grants.key_files.clone_from(&keys);
        let deps = holdall_metadata::Deps {
            auth: auth_upstream.clone(),
            clock: clock.clone(),
            shutdown: shutdown.clone(),
        };
        Some(holdall_metadata::build(&own, dir, deps).await?)
    } else {
        None
    };

    let metadata_routes = metadata.as_ref().map(|service| &service.routes);
    let metadata_upstream = reach(&config.metadata, metadata_routes, Calls::Short, &idempotent)?;

    let blob = if config.blob.is_embedded() {
        let mut own = config.blob.embedded.clone();
        own.grants.key_files = keys;
        let mut service = holdall_blob::build(&own, &dir.join("blob"), clock.clone(), shutdown).await?;
        service.start_jobs(Some(metadata_upstream.clone()), shutdown);
        Some(service)
    } else {
        None
    };

    let blob_routes = blob.as_ref().map(|service| &service.routes);
    let remembered = remembered(config, &auth_upstream, &metadata_upstream, clock);
    let connections = Connections {
        auth: remembered.exchanges.as_ref().map_or(auth_upstream, Exchanges::noticing),
        metadata: metadata_upstream,
        blob: reach(&config.blob, blob_routes, Calls::Streams, &idempotent)?,
        blob_control: reach(&config.blob, blob_routes, Calls::Short, &idempotent)?,
    };
    let delegation = delegation
        .iter()
        .map(|file| keyfile::load(file).map_err(|error| StartError::Config(error.into())))
        .collect::<Result<_, _>>()?;
    Ok(Services { connections, remembered, delegation, auth, metadata, blob, _data_dir: data_dir })
}

impl Services {
    /// Closes the services in here, once nothing calls them any more: those first that call others.
    pub async fn close(self) {
        let Self { connections, remembered, delegation: _, auth, metadata, blob, _data_dir } = self;
        drop((connections, remembered));
        if let Some(metadata) = metadata {
            metadata.close().await;
        }
        if let Some(blob) = blob {
            blob.close().await;
        }
        if let Some(auth) = auth {
            auth.close().await;
        }
    }
}

/// Remembers what services elsewhere say, as far as there is memory for it.
fn remembered(config: &Config, auth: &Upstream, metadata: &Upstream, clock: &Clock) -> Remembered {
    let (answers, contents) = (config.memory.answers.get(), config.memory.contents.get());
    let exchanges = || Exchanges::new(auth.clone(), clock.clone());
    Remembered {
        exchanges: (!config.auth.is_embedded()).then(exchanges),
        answers: (!config.metadata.is_embedded() && answers > 0)
            .then(|| Answers::new(metadata.clone(), clock.clone(), answers)),
        contents: (!config.blob.is_embedded() && contents > 0).then(|| Contents::new(contents)),
    }
}

/// What is called: a deadline for a call that streams content would cut off whoever is slow.
#[derive(Clone, Copy)]
enum Calls {
    Short,
    Streams,
}

fn reach<C>(
    config: &ServiceConfig<C>,
    routes: Option<&tonic::service::Routes>,
    calls: Calls,
    idempotent: &Idempotent,
) -> Result<Upstream, StartError> {
    let timeout = match calls {
        Calls::Short => Some(config.upstream.timeout.get()),
        Calls::Streams => None,
    };
    match routes {
        Some(routes) => Ok(in_process(routes.clone(), timeout)),
        None => Ok(connect(&config.upstream, timeout, idempotent)?),
    }
}

/// The files with the keys that metadata and blob share, for those of the two that run in here. When neither names any,
/// one is made in the data directory.
fn grant_keys(config: &Config) -> Result<Vec<PathBuf>, StartError> {
    let metadata = config.metadata.is_embedded().then_some(&config.metadata.embedded.grants.key_files);
    let blob = config.blob.is_embedded().then_some(&config.blob.embedded.grants.key_files);
    if let Some(named) = metadata.into_iter().chain(blob).find(|files| !files.is_empty()) {
        return Ok(named.clone());
    }
    if metadata.is_none() && blob.is_none() {
        return Ok(Vec::new());
    }
    Ok(vec![own_key(&config.data.dir, GRANTS_KEY)?])
}

/// The files with the keys that this process and auth share. When none is named and auth runs in here, one is made in the
/// data directory.
fn delegation_keys(config: &Config) -> Result<Vec<PathBuf>, StartError> {
    let named = &config.auth.embedded.delegation.key_files;
    if !named.is_empty() || !config.auth.is_embedded() {
        return Ok(named.clone());
    }
    Ok(vec![own_key(&config.data.dir, "delegation.key")?])
}

fn own_key(data_dir: &Path, name: &str) -> Result<PathBuf, StartError> {
    use std::os::unix::fs::DirBuilderExt;
    let keys = data_dir.join("keys");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&keys)
        .map_err(|error| StartError::failed(format!("cannot make {}: {error}", keys.display())))?;
    let file = keys.join(name);
    keyfile::load_or_create(&file).map_err(|error| StartError::Config(error.into()))?;
    Ok(file)
}
