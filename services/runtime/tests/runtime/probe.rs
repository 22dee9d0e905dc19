//! One server in both shapes, with a service whose methods do what generated ones seldom do.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use holdall_runtime::clock::Clock;
use holdall_runtime::config::{ServerConfig, UpstreamConfig};
use holdall_runtime::layers::{self, Admission, HEALTH};
use holdall_runtime::serve::{BoundListener, Profile, Server};
use holdall_runtime::shutdown::Shutdown;
use holdall_runtime::token::{Caller, Claims, Signer, Verifier, key_source};
use holdall_runtime::upstream::{self, Upstream};
use holdall_runtime::{health, status, trace};
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::{Service, ServiceExt};
use uuid::Uuid;

/// A method that says, not at once, that it cannot be done now.
pub const UNWELL: &str = "/test.Probe/Unwell";

/// A gRPC service made by hand, whose methods do what generated ones seldom do.
#[derive(Clone, Default)]
struct Probe {
    slow_calls: Arc<AtomicUsize>,
    unwell_calls: Arc<AtomicUsize>,
}

impl NamedService for Probe {
    const NAME: &'static str = "test.Probe";
}

impl Service<Request<Body>> for Probe {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let probe = self.clone();
        Box::pin(async move { Ok(probe.answer(request).await) })
    }
}

impl Probe {
    async fn answer(self, request: Request<Body>) -> Response<Body> {
        let mut answer = Status::ok("").into_http::<Body>();
        let note = match request.uri().path() {
            "/test.Probe/Caller" | "/test.Probe/Public" => {
                let caller = request.extensions().get::<Arc<Caller>>();
                caller.map_or("nobody".to_owned(), |caller| caller.account_id.to_string())
            }
            "/test.Probe/Smuggled" => request.extensions().get::<Smuggled>().is_some().to_string(),
            "/test.Probe/Trace" => trace::current_id().unwrap_or_default(),
            "/test.Probe/Panic" => panic!("this panic belongs to a test"),
            "/test.Probe/PanicInBody" => {
                let frames = futures::stream::iter([Some(()), None])
                    .map(|frame| frame.expect("this panic belongs to a test"))
                    .map(|()| Ok::<_, Status>(Frame::data(Bytes::from_static(b"\0\0\0\0\0"))));
                return streaming(frames);
            }
            "/test.Probe/Slow" => {
                let _counted = Counted::new(&self.slow_calls);
                std::future::pending().await
            }
            // A little longer, like a service that waited for another in vain.
            UNWELL => {
                self.unwell_calls.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(700)).await;
                return Status::unavailable("").into_http();
            }
            "/test.Probe/SlowBody" => {
                let trailers = Status::ok("").into_http::<()>().headers().clone();
                return streaming(futures::stream::once(async move {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    Ok(Frame::trailers(trailers))
                }));
            }
            other => panic!("no such method: {other}"),
        };
        answer.headers_mut().insert("x-note", note.parse().unwrap());
        answer
    }
}

fn streaming<S>(frames: S) -> Response<Body>
where
    S: futures::Stream<Item = Result<Frame<Bytes>, Status>> + Send + 'static,
{
    let mut answer = Response::new(Body::new(StreamBody::new(frames)));
    answer.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    answer
}

/// Counts calls under way.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Clone)]
pub struct Smuggled;

/// One and the same server, reached in one of two ways.
pub struct Shape {
    pub name: &'static str,
    /// Where it can be reached from outside.
    pub url: Option<String>,
    pub upstream: Upstream,
    pub slow_calls: Arc<AtomicUsize>,
    /// How often [`UNWELL`] was called.
    pub unwell_calls: Arc<AtomicUsize>,
    pub shutdown: Shutdown,
}

impl Drop for Shape {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

fn signer() -> &'static Signer {
    static SIGNER: OnceLock<Signer> = OnceLock::new();
    SIGNER.get_or_init(|| Signer::from_pkcs8("k1", &Signer::generate().unwrap()).unwrap())
}

pub fn token(expires_in: i64) -> String {
    let now = Clock::System.now_seconds();
    let claims = Claims {
        iss: "auth".to_owned(),
        aud: "holdall".to_owned(),
        sub: Uuid::from_u128(7),
        sid: Uuid::from_u128(8),
        kind: "web".to_owned(),
        role: "member".to_owned(),
        iat: now,
        exp: now + expires_in,
    };
    signer().sign(&claims).unwrap()
}

/// The same server twice: called in this process, and over TCP.
pub async fn shapes(timeout: Option<Duration>) -> [Shape; 2] {
    let verifier = || {
        let keys = key_source(async || Ok(vec![signer().verifying_key().clone()]));
        Verifier::new("auth", "holdall", keys, Clock::System)
    };
    let routes = |probe: &Probe| {
        let routes = health::add_health(Routes::new(probe.clone()), &Shutdown::new(Duration::ZERO), &[]);
        layers::wrap(routes, Admission::new(verifier(), &["/test.Probe/Public", HEALTH]))
    };

    let probe = Probe::default();
    let in_process = Shape {
        name: "in process",
        url: None,
        upstream: upstream::in_process(routes(&probe), timeout),
        slow_calls: probe.slow_calls,
        unwell_calls: probe.unwell_calls,
        shutdown: Shutdown::new(Duration::ZERO),
    };

    let probe = Probe::default();
    let routes = routes(&probe);
    let listener = BoundListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let config =
        UpstreamConfig { url: Some(format!("http://{}", listener.local_addr())), ..Default::default() };
    let shutdown = Shutdown::new(Duration::ZERO);
    let stop = shutdown.clone();
    tokio::spawn(async move {
        Server::new(Profile::Grpc, &ServerConfig::default()).unwrap().serve(listener, routes, &stop).await;
    });
    let upstream = upstream::connect(&config, timeout, &Default::default()).unwrap();
    [
        in_process,
        Shape {
            name: "over TCP",
            url: config.url,
            upstream,
            slow_calls: probe.slow_calls,
            unwell_calls: probe.unwell_calls,
            shutdown,
        },
    ]
}

/// Makes a call as generated clients do, and gives head and trailers of a successful answer.
pub async fn call(upstream: &Upstream, request: Request<Body>) -> Result<HeaderMap, Status> {
    let answer = upstream.clone().oneshot(request).await.map_err(|error| Status::from_error(error.into()))?;
    let mut headers = answer.headers().clone();
    let body = answer.into_body().collect().await?;
    headers.extend(body.trailers().cloned().unwrap_or_default());
    match Status::from_header_map(&headers) {
        Some(status) if status.code() == Code::Ok => Ok(headers),
        Some(status) => Err(status),
        None => panic!("an answer without a status: {headers:?}"),
    }
}

pub fn request(method: &str, token: Option<&str>) -> Request<Body> {
    let mut request = Request::post(format!("http://any/test.Probe/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::empty())
        .unwrap();
    if let Some(token) = token {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

/// What the probe noted in its answer.
pub async fn note(shape: &Shape, request: Request<Body>) -> String {
    let headers =
        call(&shape.upstream, request).await.unwrap_or_else(|error| panic!("{}: {error}", shape.name));
    headers["x-note"].to_str().unwrap().to_owned()
}

pub fn assert_failed(shape: &Shape, outcome: Result<HeaderMap, Status>, code: Code, reason: Option<&str>) {
    let status = outcome.err().unwrap_or_else(|| panic!("{}: the call succeeded", shape.name));
    assert_eq!(
        (status.code(), status::reason_of(&status).as_deref()),
        (code, reason),
        "{}: {status:?}",
        shape.name
    );
}
