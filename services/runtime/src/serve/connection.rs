//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tower::util::Oneshot;
use tower::{Service, ServiceExt};

use super::head_timer::HeadTimer;
use super::io::{Guarded, Version, sniff};
use super::{PeerAddr, Profile, Server};
use crate::BoxError;
use crate::layers::Permit;
use crate::shutdown::Shutdown;
use crate::tls::Listening;

/// Serves the connection until it is done. Failures of the peer are of interest to somebody who looks for
/// them alone.
pub(super) async fn run<S, B>(
    stream: TcpStream,
    peer: SocketAddr,
    service: S,
    server: &Server,
    shutdown: &Shutdown,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut service = ForPeer { service, peer: PeerAddr(peer), permit: None };
    let ended = match &server.tls {
        None => serve(stream, service, server, shutdown).await,
        Some(tls) => match handshake(stream, tls, server, shutdown).await {
            Ok(stream) => {
                service.permit = tls.permit(stream.get_ref().1.peer_certificates()).map(Arc::new);
                serve(stream, service, server, shutdown).await
            }
            Err(error) => Err(error),
        },
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error, "connection ended");
    }
}

async fn handshake(
    stream: TcpStream,
    tls: &Listening,
    server: &Server,
    shutdown: &Shutdown,
) -> Result<tokio_rustls::server::TlsStream<TcpStream>, BoxError> {
    let limit = server.limits.handshake_timeout.get();
    let acceptor = TlsAcceptor::from(tls.current());
    let stream = tokio::select! {
        done = tokio::time::timeout(limit, acceptor.accept(stream)) => done??,
        () = shutdown.requested() => return Err("shutting down".into()),
    };
    if !tls.admits(stream.get_ref().1.peer_certificates()) {
        return Err("the client's certificate has none of the names that may connect".into());
    }
    Ok(stream)
}

async fn serve<IO, S, B>(
    mut io: IO,
    service: ForPeer<S>,
    server: &Server,
    shutdown: &Shutdown,
) -> Result<(), BoxError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let limits = &server.limits;
    let sniffed = tokio::select! {
        sniffed = tokio::time::timeout(limits.first_byte_timeout.get(), sniff(&mut io)) => sniffed??,
        () = shutdown.requested() => return Ok(()),
    };
    let Some((version, front)) = sniffed else {
        return Ok(());
    };
    let io = Guarded::new(io, front, limits.write_timeout.get());
    let arrivals = io.arrivals();
    let io = TokioIo::new(io);
    // Spread, so that connections made together do not all end together.
    let age = limits.max_connection_age.get();
    let age = age - age.mul_f64(f64::from(service.peer.0.port() % 100) / 1000.0);
    match (version, server.profile) {
        (Version::Http1, Profile::Grpc) => Err("not HTTP/2".into()),
        (Version::Http1, profile) => {
            let timer = HeadTimer { arrivals, idle: limits.idle_timeout.get() };
            let builder = profile.http1(timer, limits.header_timeout.get());
            drive(builder.serve_connection(io, service), age, shutdown).await.map_err(Into::into)
        }
        (Version::Http2, profile) => {
            drive(profile.http2().serve_connection(io, service), age, shutdown).await.map_err(Into::into)
        }
    }
}

/// Runs the connection to its end. At the shutdown and at its age limit it is asked to end: no new requests,
/// those under way are answered. Only the limit of the shutdown cuts it off.
async fn drive<C: GracefulConnection>(
    connection: C,
    age: Duration,
    shutdown: &Shutdown,
) -> Result<(), C::Error> {
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = shutdown.requested() => {}
        () = tokio::time::sleep(age) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = connection => ended,
        () = shutdown.expired() => {
            shutdown.note_cut_off();
            Ok(())
        }
    }
}

/// A tower service as a hyper service that knows the peer, and what it may call.
struct ForPeer<S> {
    service: S,
    peer: PeerAddr,
    permit: Option<Arc<Permit>>,
}

impl<S> hyper::service::Service<Request<Incoming>> for ForPeer<S>
where
    S: Service<Request<Incoming>> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Oneshot<S, Request<Incoming>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        if let Some(permit) = &self.permit {
            request.extensions_mut().insert(Arc::clone(permit));
        }
        self.service.clone().oneshot(request)
    }
}
