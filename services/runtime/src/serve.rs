//! Our own accept loop: every limit set, draining included.
//!
//! The ready-made servers leave open what a hostile or dead peer can hold for ever: a connection that says
//! nothing, half a request head, an answer that nobody reads. Here each of these has a time limit,
//! connections are counted in total and by source, and a shutdown lets requests finish within its limit.
//!
//! Bind early, serve late: [`BoundListener::bind`] takes the port before anything is built, [`Server::serve`]
//! takes connections when everything is ready.

mod connection;
mod head_timer;
mod http;
mod io;
mod sources;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::BoxError;
use crate::config::{ServerConfig, ServerLimits};
use crate::shutdown::Shutdown;
use crate::tls::{self, TlsError};

pub use http::Profile;
use sources::Sources;

/// The address of the peer of the connection that a request came over. In the extensions of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// How long to wait after `accept` failed for want of something, such as file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// A port that is ours and takes no connections yet: they queue up in the kernel.
#[derive(Debug)]
pub struct BoundListener {
    listener: TcpListener,
    local_addr: SocketAddr,
}

impl BoundListener {
    /// Takes the port; with port 0 a free one.
    pub async fn bind(addr: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        Ok(Self { local_addr: listener.local_addr()?, listener })
    }

    /// The address with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

/// A server, ready to serve.
#[derive(Clone, Debug)]
pub struct Server {
    profile: Profile,
    limits: ServerLimits,
    tls: Option<Arc<tls::Listening>>,
}

impl Server {
    /// Reads the files for TLS, if any.
    pub fn new(profile: Profile, config: &ServerConfig) -> Result<Self, TlsError> {
        let tls = config.tls.as_ref().map(|tls| tls::Listening::new(tls, profile.alpn())).transpose()?;
        Ok(Self { profile, limits: config.limits.clone(), tls: tls.map(Arc::new) })
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Serves until the shutdown is requested and the requests under way are answered, or its limit has
    /// passed.
    ///
    /// `service` is an axum `Router`, wrapped gRPC [`Routes`](tonic::service::Routes), or any other tower
    /// service.
    pub async fn serve<S, B>(self, listener: BoundListener, service: S, shutdown: &Shutdown)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let sources = Sources::new(self.limits.max_connections, self.limits.max_connections_per_source);
        let connections = TaskTracker::new();
        let server = Arc::new(self);
        let mut refusals = Refusals::default();
        while let Some((stream, peer)) = accept(&listener.listener, shutdown).await {
            match sources.admit(peer.ip()) {
                Ok(place) => {
                    let (server, service, shutdown) =
                        (Arc::clone(&server), service.clone(), shutdown.clone());
                    connections.spawn(async move {
                        connection::run(stream, peer, service, &server, &shutdown).await;
                        drop(place);
                    });
                }
                Err(full) => refusals.count(full),
            }
        }
        drop(listener);
        connections.close();
        // Each connection ends itself when the limit has passed.
        connections.wait().await;
    }
}

/// The next connection; `None` once the shutdown is requested.
async fn accept(listener: &TcpListener, shutdown: &Shutdown) -> Option<(TcpStream, SocketAddr)> {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.requested() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Small frames must not wait for the peer's delayed acknowledgements.
                let _ = stream.set_nodelay(true);
                return Some((stream, peer));
            }
            // The peer went away again.
            Err(error) if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// Logs refused connections, once a second at most.
#[derive(Default)]
struct Refusals {
    since_logged: u64,
    logged: Option<Instant>,
}

impl Refusals {
    fn count(&mut self, full: sources::Full) {
        self.since_logged += 1;
        if self.logged.is_none_or(|logged| logged.elapsed() >= Duration::from_secs(1)) {
            tracing::warn!(refused = self.since_logged, limit = %full, "too many connections");
            *self = Self { since_logged: 0, logged: Some(Instant::now()) };
        }
    }
}
