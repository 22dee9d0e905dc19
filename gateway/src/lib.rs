//! The gateway: Holdall's HTTP side. It translates between HTTP and the three services, and decides nothing that a gRPC
//! client could not do as well.
//!
//! From the outside in: [`router`] maps URLs to [`rest`] and [`links`]; these decode and encode around [`ops`], which
//! calls the services through [`upstreams`]. Nothing points the other way, and the two dialects do not know each other.
//! Calls of gRPC clients are passed on as they are, by [`grpc`].
//! [`embedded`] alone knows that services can be part of this process; [`backup`] copies what these keep.

pub mod backup;
pub mod compat;
pub mod config;
pub mod doctor;
pub mod embedded;
pub mod error;
pub mod grpc;
pub mod healthcheck;
pub mod identity;
pub mod limits;
pub mod links;
pub mod ops;
#[expect(unused_qualifications, reason = "what the macros of utoipa expand to")]
pub mod rest;
pub mod router;
pub mod transfer;
pub mod upstreams;
pub mod web;

use std::sync::Arc;

use holdall_runtime::body::BodyIdleTimeoutLayer;
use holdall_runtime::clock::Clock;
use holdall_runtime::run::{self, Process, StartError};
use holdall_runtime::serve::{Profile, Server};
use holdall_runtime::shutdown::Shutdown;
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};
use tower::Layer;

use compat::config::{Access, CompatConfig};
use compat::file_uploader;
use config::Config;
use error::{Code, Result};
use grpc::Grpc;
use identity::Proxies;
use limits::Limits;
use ops::delegation::Delegate;
use ops::folders::Folders;
use upstreams::Upstreams;

/// Builds everything and serves until the shutdown is requested.
///
/// # Errors
/// When something that the configuration names cannot be used, another process has the data directory, or the address
/// cannot be listened on.
pub async fn run(process: Process<Config>) -> std::result::Result<(), StartError> {
    let config = &process.config;
    let server = Server::new(Profile::Edge, &config.server)?;
    let data_dir = embedded::data_dir(config, process.name)?;
    let listener = run::bind(config.server.listen).await?;
    let mut others = Vec::with_capacity(config.public.also_listen.len());
    for address in &config.public.also_listen {
        others.push(run::bind(*address).await?);
    }
    let clock = Clock::System;
    let services = embedded::start(config, data_dir, &clock, &process.shutdown).await?;
    let upstreams = Upstreams::new(services.connections.clone(), services.remembered.clone());
    let gateway =
        Gateway::new(config, upstreams, &services.delegation, clock, server.scheme(), &process.shutdown)?;
    let service = BodyIdleTimeoutLayer::new(&config.body).layer(router::router(Arc::new(gateway)));
    process.announce(&server, &listener);
    let mut serving = vec![server.clone().serve(listener, service.clone(), &process.shutdown)];
    for listener in others {
        process.announce(&server, &listener);
        serving.push(server.clone().serve(listener, service.clone(), &process.shutdown));
    }
    drop(service);
    futures::future::join_all(serving).await;
    services.close().await;
    Ok(())
}

/// What every request needs, shared by all of them.
pub struct Gateway {
    /// The services.
    pub upstreams: Upstreams,
    /// The time of day.
    pub clock: Clock,
    /// Where the public reaches this server, without a slash at the end. Taken from each request when not configured.
    pub public_url: Option<String>,
    /// `http` or `https`, as this server's own listener has it.
    pub scheme: &'static str,
    /// The proxies that are believed.
    pub proxies: Proxies,
    /// How often somebody may ask.
    pub limits: Limits,
    /// Folders that are known to be there.
    pub folders: Folders,
    /// The older APIs.
    pub compat: CompatConfig,
    /// The keys of File Uploader's access tokens.
    pub file_uploader_tokens: file_uploader::Tokens,
    /// The right to act for others; none where no key for that is configured.
    pub delegate: Option<Delegate>,
    /// What gRPC clients may call.
    pub grpc: Grpc,
}

impl Gateway {
    /// One over these services, until `shutdown`. `delegation` are the keys shared with auth, the first of which seals.
    ///
    /// # Errors
    /// When the contract's own description cannot be read.
    pub fn new(
        config: &Config,
        upstreams: Upstreams,
        delegation: &[[u8; 32]],
        clock: Clock,
        scheme: &'static str,
        shutdown: &Shutdown,
    ) -> std::result::Result<Self, StartError> {
        let mut compat = config.compat.clone();
        let addresses = std::iter::once(&config.server.listen).chain(&config.public.also_listen);
        let local = addresses.into_iter().all(|address| address.ip().is_loopback());
        compat.file_drop.access.get_or_insert(if local { Access::Open } else { Access::Account });
        let delegate = Delegate::new(delegation, &clock);
        Ok(Self {
            grpc: Grpc::new(&upstreams, shutdown.clone()).map_err(StartError::failed)?,
            upstreams,
            public_url: config.public.base(),
            scheme,
            proxies: Proxies::new(config.public.trusted_proxies.clone()),
            limits: Limits::new(config.rate_limits.enabled, clock.clone()),
            folders: Folders::default(),
            compat,
            file_uploader_tokens: file_uploader::Tokens::new(delegate.as_ref()),
            delegate,
            clock,
        })
    }

    /// The right to act for others.
    ///
    /// # Errors
    /// [`Code::Unavailable`] where there is none; the configuration of the older APIs demands it.
    pub fn delegate(&self) -> Result<&Delegate> {
        self.delegate.as_ref().ok_or_else(|| Code::Unavailable.into())
    }
}

/// The state of the router.
pub type App = Arc<Gateway>;

impl Gateway {
    /// The start of absolute URLs to this server, without a slash at the end.
    pub fn base_url(&self, uri: &Uri, headers: &HeaderMap) -> Result<String> {
        match &self.public_url {
            Some(url) => Ok(url.clone()),
            None => Ok(format!("{}://{}", self.scheme, authority(uri, headers)?)),
        }
    }
}

/// The host and port that a request is for (RFC 9110, §7.2): `:authority` of HTTP/2, or the `Host` header.
fn authority(uri: &Uri, headers: &HeaderMap) -> Result<Authority> {
    let authority = match uri.authority() {
        Some(authority) => Some(authority.clone()),
        None => headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok()),
    };
    authority
        .filter(|authority| !authority.as_str().contains('@') && !authority.host().is_empty())
        .ok_or_else(|| Code::InvalidHost.into())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn host(value: &str) -> Option<String> {
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_str(value).unwrap())]);
        authority(&Uri::from_static("/x"), &headers).ok().map(|authority| authority.to_string())
    }

    #[test]
    fn hosts_are_hosts() {
        for good in ["example.org", "example.org:8080", "127.0.0.1:1", "[::1]:8080"] {
            assert_eq!(host(good).as_deref(), Some(good));
        }
        for evil in ["", "a@b", "a/b", "a b", "a\"b", "<a>", "a:b:c", ":80"] {
            assert_eq!(host(evil), None, "{evil}");
        }
        let uri = Uri::from_static("https://example.org/x");
        assert_eq!(authority(&uri, &HeaderMap::new()).unwrap().as_str(), "example.org");
        assert!(authority(&Uri::from_static("/x"), &HeaderMap::new()).is_err());
    }
}
