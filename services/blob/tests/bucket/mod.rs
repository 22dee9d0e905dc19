//! A bucket for tests: on a server of S3 of their own, whose answers can be made to go wrong.
//!
//! With `HOLDALL_TEST_S3_ENDPOINT`, `…_BUCKET`, `…_ACCESS_KEY` and `…_SECRET_KEY` in the environment (and `…_REGION`, by
//! default us-east-1) tests without faults use that bucket instead, each under a prefix of its own: see `garage.sh`.
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::net::TcpListener;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Which requests something is done to.
pub type Which = fn(&Method, &str) -> bool;

/// Making an object in one request.
pub const PUT: Which = |method, url| method == Method::PUT && !url.contains("uploadId=");
/// Sending a part of an upload.
pub const PART: Which = |method, url| method == Method::PUT && url.contains("uploadId=");
/// Completing an upload in parts.
pub const COMPLETE: Which = |method, url| method == Method::POST && url.contains("uploadId=");
/// Giving an upload in parts up.
pub const ABORT: Which = |method, url| method == Method::DELETE && url.contains("uploadId=");
/// Reading an object.
pub const GET: Which =
    |method, url| method == Method::GET && url.contains(".pack") && !url.contains("list-type=2");
/// Listing.
pub const LIST: Which = |method, url| method == Method::GET && url.contains("list-type=2");
/// All.
pub const ANY: Which = |_, _| true;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The answer is 503 `SlowDown`, and nothing is done.
    SlowDown,
    /// There is no answer, and nothing is done.
    Hang,
    /// The connection breaks in the middle of the answer.
    Cut,
    /// The answer is 200, and tells of an error; nothing is done.
    ErrorInside,
    /// It is done, and the connection breaks before the answer.
    LoseAnswer,
    /// Nothing goes wrong: the requests are counted.
    Count,
    /// What was made a moment ago was made ten minutes ago, by the server's clock.
    ClockBehind,
}

struct Rule {
    which: Which,
    fault: Fault,
    left: usize,
    met: usize,
}

/// A bucket.
pub struct Bucket {
    /// URL of its server.
    pub endpoint: String,
    /// Its name.
    pub name: String,
    /// The region.
    pub region: String,
    /// Who may use it.
    pub access_key: String,
    /// What requests are signed with.
    pub secret_key: String,
    rules: Arc<Mutex<Vec<Rule>>>,
    local: Option<Local>,
}

struct Local {
    folder: TempDir,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    server: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Local {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

impl Default for Bucket {
    fn default() -> Self {
        Self::new()
    }
}

impl Bucket {
    /// The bucket that the environment names, or else one of its own.
    pub fn new() -> Self {
        let variable = |name: &str| std::env::var(format!("HOLDALL_TEST_S3_{name}")).ok();
        match variable("ENDPOINT") {
            None => Self::local(),
            Some(endpoint) => Self {
                endpoint,
                name: variable("BUCKET").expect("HOLDALL_TEST_S3_BUCKET is set"),
                region: variable("REGION").unwrap_or_else(|| "us-east-1".to_owned()),
                access_key: variable("ACCESS_KEY").expect("HOLDALL_TEST_S3_ACCESS_KEY is set"),
                secret_key: variable("SECRET_KEY").expect("HOLDALL_TEST_S3_SECRET_KEY is set"),
                rules: Arc::default(),
                local: None,
            },
        }
    }

    /// Copies all objects of another bucket into this one, both on servers of their own.
    pub fn copy_from(&self, other: &Self) {
        let [from, to] =
            [other, self].map(|bucket| bucket.local.as_ref().unwrap().folder.path().join(&bucket.name));
        let mut folders = vec![(from, to)];
        while let Some((from, to)) = folders.pop() {
            std::fs::create_dir_all(&to).unwrap();
            for entry in std::fs::read_dir(from).unwrap() {
                let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
                if from.is_dir() {
                    folders.push((from, to));
                } else {
                    std::fs::copy(from, to).unwrap();
                }
            }
        }
    }

    /// A bucket on a server that runs on a thread of its own, and in which faults can be had.
    pub fn local() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (name, access_key, secret_key) = ("packs", "someone", "a secret");
        std::fs::create_dir(folder.path().join(name)).unwrap();
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        service.set_auth(SimpleAuth::from_single(access_key, secret_key));
        let service = service.build();
        let rules: Arc<Mutex<Vec<Rule>>> = Arc::default();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (listening, address) = std::sync::mpsc::channel();
        let served = Arc::clone(&rules);
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
                listening.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = serve(listener, service, served) => {}
                    _ = stopped => {}
                }
            });
        });
        let address: SocketAddr = address.recv().unwrap();
        Self {
            endpoint: format!("http://{address}"),
            name: name.to_owned(),
            region: "us-east-1".to_owned(),
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            rules,
            local: Some(Local { folder, stop: Some(stop), server: Some(server) }),
        }
    }

    /// The file of the only object on our own server whose name ends like this.
    pub fn object(&self, end: &str) -> PathBuf {
        let mut folders = vec![self.local.as_ref().unwrap().folder.path().join(&self.name)];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.to_string_lossy().ends_with(end) {
                    found.push(path);
                }
            }
        }
        assert_eq!(found.len(), 1, "{found:?} end with {end}");
        found.remove(0)
    }

    /// From now on the next `times` requests of that kind go wrong. The last rule that fits counts.
    pub fn fail(&self, which: Which, fault: Fault, times: usize) {
        assert!(self.local.is_some(), "only a server of our own can be made to fail");
        self.rules.lock().unwrap().push(Rule { which, fault, left: times, met: 0 });
    }

    /// How many requests met a rule so far.
    pub fn met(&self) -> usize {
        self.rules.lock().unwrap().iter().map(|rule| rule.met).sum()
    }

    /// Nothing goes wrong any more. Returns how many requests met each rule.
    pub fn heal(&self) -> Vec<usize> {
        self.rules.lock().unwrap().drain(..).map(|rule| rule.met).collect()
    }
}

async fn serve(listener: TcpListener, service: S3Service, rules: Arc<Mutex<Vec<Rule>>>) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (service, rules) = (service.clone(), Arc::clone(&rules));
        let service = service_fn(move |request| answer(service.clone(), Arc::clone(&rules), request));
        tokio::spawn(async move {
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

fn fault(rules: &Mutex<Vec<Rule>>, request: &Request<Incoming>) -> Option<Fault> {
    let mut rules = rules.lock().unwrap();
    let url = request.uri().to_string();
    let rule = rules.iter_mut().rev().find(|rule| rule.left > 0 && (rule.which)(request.method(), &url))?;
    rule.left -= 1;
    rule.met += 1;
    Some(rule.fault)
}

fn failed(error: s3s::StdError) -> std::io::Error {
    std::io::Error::other(error)
}

async fn answer(
    service: S3Service,
    rules: Arc<Mutex<Vec<Rule>>>,
    request: Request<Incoming>,
) -> std::io::Result<Response<Body>> {
    let fault = fault(&rules, &request);
    let error = |status, code| {
        let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code></Error>");
        let body = Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {}).boxed_unsync();
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response
    };
    let broken = || std::io::Error::other("broken on purpose");
    match fault {
        None | Some(Fault::Count | Fault::Cut | Fault::LoseAnswer | Fault::ClockBehind) => {}
        Some(Fault::SlowDown) => {
            // The request is read to its end, so that the answer is seen.
            let _ = request.into_body().collect().await;
            return Ok(error(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"));
        }
        Some(Fault::ErrorInside) => {
            let _ = request.into_body().collect().await;
            return Ok(error(StatusCode::OK, "InternalError"));
        }
        Some(Fault::Hang) => return std::future::pending().await,
    }
    let response = service
        .call(request.map(s3s::Body::from))
        .await
        .map_err(|error| std::io::Error::other(format!("{error:?}")))?;
    if fault == Some(Fault::LoseAnswer) {
        return Err(broken());
    }
    let (mut head, body) = response.into_parts();
    if fault == Some(Fault::ClockBehind) {
        let then = std::time::SystemTime::now() - std::time::Duration::from_secs(600);
        let text = s3s::dto::Timestamp::from(then);
        let mut value = Vec::new();
        text.format(s3s::dto::TimestampFormat::HttpDate, &mut value).unwrap();
        head.headers.insert(http::header::LAST_MODIFIED, value.try_into().unwrap());
    }
    let body = body.map_err(failed);
    if fault == Some(Fault::Cut) {
        let body = body.collect().await?.to_bytes();
        let start = body.slice(..body.len() / 2);
        let body = StreamBody::new(stream::iter([Ok(Frame::data(start)), Err(broken())]));
        return Ok(Response::from_parts(head, BodyExt::boxed_unsync(body)));
    }
    Ok(Response::from_parts(head, body.boxed_unsync()))
}
