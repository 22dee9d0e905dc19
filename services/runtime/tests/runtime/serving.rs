//! The accept loop against peers that are slow, silent, greedy or many.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use holdall_runtime::BoxError;
use holdall_runtime::config::{HumanDuration, ServerConfig, ServerLimits, UpstreamConfig};
use holdall_runtime::serve::{BoundListener, PeerAddr, Profile, Server};
use holdall_runtime::shutdown::{Drained, Shutdown};
use holdall_runtime::testing::eventually;
use holdall_runtime::{health, upstream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const SHORT: Duration = Duration::from_millis(300);
/// Long enough for anything that is about to happen.
const AMPLE: Duration = Duration::from_secs(10);

/// A server with a page that waits for a permit, and one that never ends.
struct Running {
    addr: SocketAddr,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
    permits: Arc<Semaphore>,
    /// One permit for each endless page that was given up.
    given_up: Arc<Semaphore>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Limits that no test runs into by itself.
fn ample() -> ServerLimits {
    ServerLimits {
        max_connections: 100,
        max_connections_per_source: 100,
        handshake_timeout: HumanDuration::from_secs(60),
        first_byte_timeout: HumanDuration::from_secs(60),
        header_timeout: HumanDuration::from_secs(60),
        idle_timeout: HumanDuration::from_secs(60),
        write_timeout: HumanDuration::from_secs(60),
        max_connection_age: HumanDuration::from_secs(600),
    }
}

async fn start(profile: Profile, limits: ServerLimits, drain: Duration) -> Running {
    let listener = BoundListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let addr = listener.local_addr();
    let shutdown = Shutdown::new(drain);
    let (permits, given_up) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let server = Server::new(profile, &ServerConfig { limits, ..Default::default() }).unwrap();
    let (stop, waited_for, noted) = (shutdown.clone(), Arc::clone(&permits), Arc::clone(&given_up));
    let service = tower::service_fn(move |request: Request<Incoming>| {
        answer(request, Arc::clone(&waited_for), Arc::clone(&noted))
    });
    let serving = tokio::spawn(async move { server.serve(listener, service, &stop).await });
    Running { addr, shutdown, serving, permits, given_up }
}

type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

fn answer(
    request: Request<Incoming>,
    permits: Arc<Semaphore>,
    given_up: Arc<Semaphore>,
) -> BoxFuture<'static, Result<Answer, Infallible>> {
    async move {
        let peer = request.extensions().get::<PeerAddr>().unwrap().0;
        let text = match request.uri().path() {
            "/wait" => {
                permits.acquire().await.unwrap().forget();
                "waited for".to_owned()
            }
            "/endless" => {
                let note = NoteDrop(given_up);
                let block = Bytes::from(vec![b'x'; 64 << 10]);
                let blocks = futures::stream::repeat(block).map(move |block| {
                    let _kept = &note;
                    Ok::<_, BoxError>(Frame::data(block))
                });
                return Ok(Response::new(StreamBody::new(blocks).boxed_unsync()));
            }
            _ => peer.to_string(),
        };
        Ok(Response::new(Full::from(text).map_err(BoxError::from).boxed_unsync()))
    }
    .boxed()
}

struct NoteDrop(Arc<Semaphore>);

impl Drop for NoteDrop {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

async fn connect(running: &Running) -> TcpStream {
    TcpStream::connect(running.addr).await.unwrap()
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
}

async fn get(stream: &mut TcpStream, path: &str) {
    send(stream, format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).await;
}

/// Reads one answer whose body ends with `end`.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let count = tokio::time::timeout(AMPLE, stream.read_buf(&mut read)).await.unwrap().unwrap();
        assert_ne!(count, 0, "closed after {:?}", String::from_utf8_lossy(&read));
    }
    String::from_utf8(read).unwrap()
}

/// Waits until the server closes the connection; what it said before.
async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    // A reset is as closed as can be.
    let _ = tokio::time::timeout(AMPLE, stream.read_to_end(&mut read)).await.expect("still open");
    read
}

/// That the server closes the connection after about `SHORT`, not before.
async fn assert_closed_after_short(stream: &mut TcpStream, since: Instant) {
    closed(stream).await;
    let elapsed = since.elapsed();
    assert!(elapsed >= SHORT - Duration::from_millis(20), "closed after {elapsed:?}");
}

#[tokio::test]
async fn requests_know_their_peer() {
    let running = start(Profile::Edge, ample(), AMPLE).await;
    let mut stream = connect(&running).await;
    let local = stream.local_addr().unwrap().to_string();
    for _ in 0..3 {
        get(&mut stream, "/").await;
        read_until(&mut stream, &local).await;
    }
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    for profile in [Profile::Edge, Profile::Grpc] {
        let limits = ServerLimits { first_byte_timeout: duration(SHORT), ..ample() };
        let running = start(profile, limits, AMPLE).await;
        let since = Instant::now();
        let mut stream = connect(&running).await;
        assert_closed_after_short(&mut stream, since).await;
        // Half the greeting of HTTP/2 is no better.
        let since = Instant::now();
        let mut stream = connect(&running).await;
        send(&mut stream, b"PRI * HT").await;
        assert_closed_after_short(&mut stream, since).await;
    }
}

#[tokio::test]
async fn half_a_head_is_not_waited_for() {
    let limits = ServerLimits { header_timeout: duration(SHORT), ..ample() };
    let running = start(Profile::Edge, limits, AMPLE).await;
    let since = Instant::now();
    let mut stream = connect(&running).await;
    send(&mut stream, b"GET / HTTP/1.1\r\nHost: te").await;
    assert_closed_after_short(&mut stream, since).await;

    // A connection may lie idle for longer than that, but the next head may take no longer than the first.
    let mut stream = connect(&running).await;
    let local = stream.local_addr().unwrap().to_string();
    get(&mut stream, "/").await;
    read_until(&mut stream, &local).await;
    tokio::time::sleep(2 * SHORT).await;
    get(&mut stream, "/").await;
    read_until(&mut stream, &local).await;
    let since = Instant::now();
    send(&mut stream, b"GET / HT").await;
    assert_closed_after_short(&mut stream, since).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let limits = ServerLimits { idle_timeout: duration(SHORT), ..ample() };
    let running = start(Profile::Edge, limits, AMPLE).await;
    let mut stream = connect(&running).await;
    let local = stream.local_addr().unwrap().to_string();
    get(&mut stream, "/").await;
    read_until(&mut stream, &local).await;
    let since = Instant::now();
    assert_closed_after_short(&mut stream, since).await;
}

#[tokio::test]
async fn trickling_the_head_does_not_help() {
    let limits = ServerLimits { header_timeout: duration(SHORT), ..ample() };
    let running = start(Profile::Edge, limits, AMPLE).await;
    let mut stream = connect(&running).await;
    send(&mut stream, b"GET / HTTP/1.1\r\n").await;
    let trickling = async {
        for number in 0.. {
            tokio::time::sleep(SHORT / 10).await;
            if stream.write_all(format!("x-{number}: y\r\n").as_bytes()).await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(AMPLE, trickling).await.expect("still open");
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_given_up() {
    let limits = ServerLimits { write_timeout: duration(SHORT), ..ample() };
    let running = start(Profile::Edge, limits, AMPLE).await;
    let mut stream = connect(&running).await;
    get(&mut stream, "/endless").await;
    tokio::time::timeout(AMPLE, running.given_up.acquire()).await.expect("still sending").unwrap().forget();
}

#[tokio::test]
async fn heads_are_limited() {
    let running = start(Profile::Edge, ample(), AMPLE).await;
    for head in [
        format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(70 << 10)),
        format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101)),
        format!("GET / HTTP/1.1\r\ncookie: {}\r\n\r\n", "y".repeat(1 << 20)),
    ] {
        let mut stream = connect(&running).await;
        let (mut reading, mut writing) = stream.split();
        let mut answer = Vec::new();
        // The server may close before it has taken all.
        let (_, read) = tokio::join!(writing.write_all(head.as_bytes()), reading.read_to_end(&mut answer));
        let text = String::from_utf8_lossy(&answer);
        assert!(
            text.starts_with("HTTP/1.1 431 ") || (answer.is_empty() && read.is_err()),
            "{text:?} {read:?}"
        );
    }
}

#[tokio::test]
async fn connections_are_counted() {
    for limits in [
        ServerLimits { max_connections: 2, ..ample() },
        ServerLimits { max_connections_per_source: 2, ..ample() },
    ] {
        let running = start(Profile::Edge, limits, AMPLE).await;
        let mut first = connect(&running).await;
        let mut second = connect(&running).await;
        for stream in [&mut first, &mut second] {
            let local = stream.local_addr().unwrap().to_string();
            get(stream, "/").await;
            read_until(stream, &local).await;
        }
        let mut third = connect(&running).await;
        assert!(closed(&mut third).await.is_empty());

        drop(first);
        let served = async || {
            let mut stream = connect(&running).await;
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await;
            closed(&mut stream).await.starts_with(b"HTTP/1.1 200 ")
        };
        eventually(AMPLE, served).await;
        get(&mut second, "/").await;
        let local = second.local_addr().unwrap().to_string();
        read_until(&mut second, &local).await;
    }
}

#[tokio::test]
async fn an_old_connection_is_asked_to_end_after_its_request() {
    let limits = ServerLimits { max_connection_age: duration(SHORT), ..ample() };
    let running = start(Profile::Edge, limits, AMPLE).await;
    let mut stream = connect(&running).await;
    get(&mut stream, "/wait").await;
    tokio::time::sleep(2 * SHORT).await;
    running.permits.add_permits(1);
    let answer = String::from_utf8(closed(&mut stream).await).unwrap();
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    assert!(answer.ends_with("waited for"), "{answer}");
}

#[tokio::test]
async fn a_shutdown_lets_requests_finish_and_takes_no_new_ones() {
    let mut running = start(Profile::Edge, ample(), AMPLE).await;
    let mut busy = connect(&running).await;
    get(&mut busy, "/wait").await;
    let mut idle = connect(&running).await;
    let local = idle.local_addr().unwrap().to_string();
    get(&mut idle, "/").await;
    read_until(&mut idle, &local).await;
    let mut silent = connect(&running).await;

    running.shutdown.request();
    let since = Instant::now();
    closed(&mut idle).await;
    closed(&mut silent).await;
    let addr = running.addr;
    eventually(AMPLE, async || TcpStream::connect(addr).await.is_err()).await;
    assert!(!running.serving.is_finished() && since.elapsed() < AMPLE / 2);

    running.permits.add_permits(1);
    let answer = String::from_utf8(closed(&mut busy).await).unwrap();
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    assert!(answer.ends_with("waited for"), "{answer}");
    tokio::time::timeout(AMPLE, &mut running.serving).await.unwrap().unwrap();
    assert_eq!(running.shutdown.drain().await, Drained::Complete);
}

#[tokio::test]
async fn a_shutdown_has_a_limit() {
    let mut running = start(Profile::Edge, ample(), SHORT).await;
    let mut busy = connect(&running).await;
    get(&mut busy, "/endless").await;
    busy.read_u8().await.unwrap();
    running.shutdown.request();
    tokio::time::timeout(AMPLE, &mut running.serving).await.unwrap().unwrap();
    assert_eq!(running.shutdown.drain().await, Drained::CutOff(1));
    closed(&mut busy).await;
}

#[tokio::test]
async fn each_profile_speaks_its_protocols() {
    let running = start(Profile::Grpc, ample(), AMPLE).await;
    let mut stream = connect(&running).await;
    get(&mut stream, "/").await;
    assert!(closed(&mut stream).await.is_empty(), "HTTP/1 on a gRPC listener");

    for profile in [Profile::Edge, Profile::Grpc] {
        let listener = BoundListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = Some(format!("http://{}", listener.local_addr()));
        let shutdown = Shutdown::new(AMPLE);
        let routes = health::add_health(Routes::default(), &shutdown, &[]);
        let server = Server::new(profile, &ServerConfig::default()).unwrap();
        let stop = shutdown.clone();
        let serving = tokio::spawn(async move { server.serve(listener, routes, &stop).await });
        let upstream = upstream::connect(
            &UpstreamConfig { url, ..Default::default() },
            Some(AMPLE),
            &Default::default(),
        )
        .unwrap();
        let check = HealthCheckRequest { service: String::new() };
        let answer = HealthClient::new(upstream).check(check).await.unwrap();
        assert_eq!(answer.into_inner().status, 1, "{profile:?}");

        // The client keeps its connection; GOAWAY makes it let go.
        shutdown.request();
        tokio::time::timeout(AMPLE, serving).await.unwrap().unwrap();
        assert_eq!(shutdown.drain().await, Drained::Complete);
    }
}

fn duration(duration: Duration) -> HumanDuration {
    HumanDuration::from_millis(u64::try_from(duration.as_millis()).unwrap())
}
