//! How one service calls another: one client type, whether the other is inside this process or behind TCP.
//!
//! Generated clients are used as `XClient<Upstream>`. In both shapes a call carries the trace context and a
//! deadline, nothing but headers and body reaches the other side (no request extensions), and failures have
//! the same codes:
//!
//! - UNAVAILABLE: no connection could be made, so nothing was done;
//! - DEADLINE_EXCEEDED: no answer in time; it may have been done;
//! - UNKNOWN: the connection broke under the call; it may have been done.
//!
//! A service may have several replicas: several URLs, or one whose name stands for several addresses, as that of a headless
//! Service does. Names are looked up every few seconds. Each call goes to the less busy of two that are in reach; one that
//! cannot be reached is left alone until it can, and when none can, calls fail at once. Calls under way are counted, and those
//! beyond `max_calls` fail at once too: a service that has become slow does not fill the memory of its callers. A call that was not sent is sent to another replica; one that may have been
//! done is made again only if its method is idempotent, as long as such repeats are a small part of all calls.

mod limbo;
mod replay;
mod replicas;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint, Uri};
use tonic::{Code, ConnectError};
use tower::retry::budget::{Budget, TpsBudget};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

use crate::BoxError;
use crate::config::UpstreamConfig;
use crate::layers::deadline;
use crate::status::Failure;
use crate::tls::TlsError;

use replay::Replay;
use replicas::{Call, Choice, Nobody, Replica, Replicas, Waiting};

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
/// How often a call is made, at most.
const MAX_ATTEMPTS: usize = 3;
/// Before another attempt, at least; three times as long at most.
const PAUSE: Duration = Duration::from_millis(5);
/// Calls that may have been done are repeated for a fifth of all calls of the last ten seconds, and ten times a second in any
/// case: a service that is overloaded gets no more to do.
const BUDGET_TTL: Duration = Duration::from_secs(10);
const BUDGET_MIN: u32 = 10;
const BUDGET_SHARE: f32 = 0.2;

/// A connection on which nothing has come for so long is asked whether it lives, and given up when it does not say so in
/// time. Together they are what a caller waits at most when packets go nowhere.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_millis(700);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// A call that took this long to fail is not made again: whoever waits has waited enough. Shorter than it takes to find out
/// that what a service itself calls does not answer ([`Presence`](crate::presence::Presence)): it would not answer the next
/// replica either.
const ENOUGH: Duration = Duration::from_millis(500);

/// When to come back where a call failed at once.
const RETRY_AFTER: Duration = Duration::from_secs(1);

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
/// `timeout` is the deadline of calls, unless they set an earlier one themselves; `None` for calls that stream content. The
/// call runs in the task of the caller and ends with it.
pub fn in_process(routes: Routes, timeout: Option<Duration>) -> Upstream {
    BoxCloneSyncService::new(Outgoing { inner: routes, timeout })
}

/// Paths of the methods that may be called twice with the effect of once: `/package.Service/Method`.
pub type Idempotent = Arc<HashSet<String>>;

/// A service behind TCP. Connects at the first call, and again whenever the connection was lost.
///
/// `timeout` as in [`in_process`]; it holds for all attempts together. Has to be called within a tokio runtime. Trap: calls
/// on one connection share its window, so a stalled upload can stall them all; connect separately for content and for
/// everything else.
pub fn connect(
    config: &UpstreamConfig,
    timeout: Option<Duration>,
    idempotent: &Idempotent,
) -> Result<Upstream, UpstreamError> {
    let inner = Balanced {
        replicas: Replicas::new(config)?,
        places: Arc::new(Semaphore::new(config.max_calls)),
        idempotent: Arc::clone(idempotent),
        budget: Arc::new(TpsBudget::new(BUDGET_TTL, BUDGET_MIN, BUDGET_SHARE)),
    };
    Ok(BoxCloneSyncService::new(Outgoing { inner, timeout }))
}

/// A connection to one replica, made when it is needed.
fn channel(
    uri: &Uri,
    address: SocketAddr,
    tls: Option<ClientTlsConfig>,
) -> Result<Channel, tonic::transport::Error> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))?
        // What it is called, whatever its address.
        .origin(uri.clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .max_frame_size(MAX_FRAME_SIZE)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(16 << 10)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls)?;
    }
    Ok(endpoint.connect_lazy())
}

/// Calls one of the replicas, and another if that may help.
#[derive(Clone)]
struct Balanced {
    replicas: Replicas,
    /// For calls under way.
    places: Arc<Semaphore>,
    idempotent: Idempotent,
    budget: Arc<TpsBudget>,
}

impl Service<Request<Body>> for Balanced {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.clone().attempts(request).boxed()
    }
}

impl Balanced {
    async fn attempts(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(overloaded().into());
        };
        let mut place = Some(place);
        let (parts, body) = request.into_parts();
        let body = Replay::new(body);
        let limit = deadline::read(&parts.headers);
        self.budget.deposit();
        let began = Instant::now();
        let mut failed: Option<(Arc<Replica>, Result<_, BoxError>)> = None;
        let mut attempts = 1;
        loop {
            let choice = self.replicas.choose(failed.as_ref().map(|(replica, _)| replica)).await;
            let Choice { replica, .. } = &match choice {
                Ok(choice) => choice,
                // What was said before says more.
                Err(nobody) => {
                    return failed.map_or_else(|| Err(unreachable(&nobody).into()), |(_, answer)| answer);
                }
            };
            let Some(attempt) = body.attempt() else {
                return Err(tonic::Status::unknown("the connection broke under the call").into());
            };
            let (mut channel, call) = replica.begin();
            let waiting = Waiting::new(&self.replicas, replica, limit);
            let tried = Instant::now();
            let answer = match channel.ready().await {
                Ok(channel) => {
                    let call = channel.call(Request::from_parts(parts.clone(), attempt));
                    limbo::wait(channel.clone(), call).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = &answer
                && is_expired(error)
            {
                // The caller's time is over, which says little of the replica.
                return answer.map_err(Into::into);
            }
            waiting.over();
            let (answer, was_sent) = match answer {
                Ok(answer) => {
                    call.answered();
                    if !is_unavailable(&answer) {
                        let place = place.take();
                        return Ok(
                            answer.map(|body| Body::new(Answering { body, _call: call, _place: place }))
                        );
                    }
                    (Ok(answer), true)
                }
                Err(error) => {
                    self.replicas.failed(replica, tried.elapsed());
                    let was_sent = was_sent(&error);
                    (Err(error.into()), was_sent)
                }
            };
            let may_repeat =
                !was_sent || (self.idempotent.contains(parts.uri.path()) && self.budget.withdraw());
            let is_over = attempts == MAX_ATTEMPTS || began.elapsed() > ENOUGH;
            if is_over || !may_repeat || body.attempt().is_none() {
                return answer;
            }
            attempts += 1;
            failed = Some((Arc::clone(replica), answer));
            tokio::time::sleep(rand::random_range(PAUSE..3 * PAUSE)).await;
        }
    }
}

/// There are as many calls under way as there may be.
fn overloaded() -> tonic::Status {
    let failure =
        Failure::new(Code::Unavailable, "OVERLOADED", "Too many calls to this service are under way.");
    failure.retry_after(RETRY_AFTER).status()
}

fn unreachable(nobody: &Nobody) -> tonic::Status {
    let message = match nobody {
        Nobody::Known => "The service has no address.",
        Nobody::InReach => "The service is out of reach.",
    };
    Failure::new(Code::Unavailable, "UNAVAILABLE", message).retry_after(RETRY_AFTER).status()
}

/// Whether the service said, before anything else, that it cannot do this now.
fn is_unavailable(answer: &Response<Body>) -> bool {
    answer
        .headers()
        .get("grpc-status")
        .is_some_and(|code| Code::from_bytes(code.as_bytes()) == Code::Unavailable)
}

/// Whether a call that failed may have reached the service.
fn was_sent(error: &(dyn std::error::Error + 'static)) -> bool {
    !std::iter::successors(Some(error), |error| error.source()).any(|cause| {
        cause.is::<ConnectError>()
            || cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
    })
}

/// The body of an answer: the call is under way until its end.
struct Answering {
    body: Body,
    _call: Call,
    _place: Option<OwnedSemaphorePermit>,
}

impl http_body::Body for Answering {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
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
        let limit = own.into_iter().chain(self.timeout).min();
        if let Some(limit) = limit.filter(|limit| own != Some(*limit)) {
            deadline::write(request.headers_mut(), limit);
        }
        let answer = self.inner.call(request);
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
    if is_expired(&*error) { CallError(deadline::exceeded().into()) } else { CallError(error) }
}

fn is_expired(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|cause| cause.is::<tonic::TimeoutExpired>())
}
