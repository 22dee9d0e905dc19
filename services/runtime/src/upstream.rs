//! How one service calls another: one client type, whether the other is inside this process or behind TCP.
//!
//! Generated clients are used as `XClient<Upstream>`. In both shapes a call carries the trace context and a
//! deadline, nothing but headers and body reaches the other side (no request extensions), and failures have
//! the same codes:
//!
//! - UNAVAILABLE: no connection could be made, so nothing was done;
//! - DEADLINE_EXCEEDED: no answer in time; it may have been done;
//! - UNKNOWN: the connection broke under the call; it may have been done.

use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::Endpoint;
use tower::Service;
use tower::util::BoxCloneSyncService;

use crate::BoxError;
use crate::config::UpstreamConfig;
use crate::layers::deadline;
use crate::tls::TlsError;

/// Another service. Cheap to clone.
pub type Upstream = BoxCloneSyncService<Request<Body>, Response<Body>, CallError>;

/// Why a call got no answer. Generated clients find the gRPC code in its source.
///
/// A type of its own: with a bare [`BoxError`] the compiler cannot see that a call's future is `Send`.
#[derive(Debug)]
pub struct CallError(BoxError);

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for CallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

/// Largest HTTP/2 frame that we take. The receiver announces it, and each frame costs a system call: with the
/// protocol's 16 KiB, downloads run at half the speed.
pub const MAX_FRAME_SIZE: u32 = 256 << 10;
/// HTTP/2 window of a stream.
pub const STREAM_WINDOW: u32 = 4 << 20;
/// HTTP/2 window of a connection.
pub const CONNECTION_WINDOW: u32 = 16 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Why an upstream cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// There is no URL to connect to.
    #[error("no URL")]
    NoUrl,
    /// The URL cannot be used.
    #[error("unusable URL: {0}")]
    Url(#[source] tonic::transport::Error),
    /// A file for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A service inside this process, called without a socket: the routes as
/// [`layers::wrap`](crate::layers::wrap) made them.
///
/// `timeout` is the deadline of calls that set none themselves; `None` for calls that stream content. The
/// call runs in the task of the caller and ends with it.
pub fn in_process(routes: Routes, timeout: Option<Duration>) -> Upstream {
    BoxCloneSyncService::new(Outgoing { inner: routes, timeout })
}

/// A service behind TCP. Connects at the first call, and again whenever the connection was lost.
///
/// `timeout` as in [`in_process`]. Trap: calls on one connection share its window, so a stalled upload can
/// stall them all; connect separately for content and for everything else.
pub fn connect(config: &UpstreamConfig, timeout: Option<Duration>) -> Result<Upstream, UpstreamError> {
    let url = config.url.clone().ok_or(UpstreamError::NoUrl)?;
    let mut endpoint = Endpoint::from_shared(url)
        .map_err(UpstreamError::Url)?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .max_frame_size(MAX_FRAME_SIZE)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(16 << 10)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    if let Some(tls) = crate::tls::client(config)? {
        endpoint = endpoint.tls_config(tls).map_err(UpstreamError::Url)?;
    }
    Ok(BoxCloneSyncService::new(Outgoing { inner: endpoint.connect_lazy(), timeout }))
}

/// The client's half of what happens around every call.
#[derive(Clone)]
struct Outgoing<S> {
    inner: S,
    timeout: Option<Duration>,
}

impl<S> Service<Request<Body>> for Outgoing<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Response<Body>, CallError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.inner.poll_ready(context).map_err(|error| to_status(error.into()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // Over TCP they would be left behind; in this process they must not smuggle anything in.
        request.extensions_mut().clear();
        crate::trace::inject(request.headers_mut());
        let own = deadline::read(request.headers());
        if let (None, Some(limit)) = (own, self.timeout) {
            deadline::write(request.headers_mut(), limit);
        }
        let answer = self.inner.call(request);
        let limit = own.or(self.timeout);
        async move {
            let answer = match limit {
                None => answer.await,
                Some(limit) => match tokio::time::timeout(limit, answer).await {
                    Ok(answer) => answer,
                    Err(_) => return Err(CallError(deadline::exceeded().into())),
                },
            };
            let mut answer = answer.map_err(|error| to_status(error.into()))?;
            answer.extensions_mut().clear();
            Ok(answer)
        }
        .boxed()
    }
}

/// Gives an expired deadline the same code as everywhere else. Other errors keep their chain, in which tonic
/// finds the code.
fn to_status(error: BoxError) -> CallError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&*error);
    while let Some(cause) = source {
        if cause.is::<tonic::TimeoutExpired>() {
            return CallError(deadline::exceeded().into());
        }
        source = cause.source();
    }
    CallError(error)
}
