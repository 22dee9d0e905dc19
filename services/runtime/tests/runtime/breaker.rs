//! A service that cannot be called: its callers are told so at once, and find out soon that it can be called again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use holdall_runtime::config::{ServerConfig, UpstreamConfig};
use holdall_runtime::serve::{BoundListener, Profile, Server};
use holdall_runtime::shutdown::Shutdown;
use holdall_runtime::testing::eventually;
use holdall_runtime::upstream::{self, Upstream};
use holdall_runtime::{health, status};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::probe;

const AMPLE: Duration = Duration::from_secs(20);
/// What a call takes at most that is not made.
const AT_ONCE: Duration = Duration::from_millis(100);

async fn serve(addr: SocketAddr) -> (SocketAddr, Shutdown) {
    let shutdown = Shutdown::new(Duration::ZERO);
    let routes = health::add_health(Routes::default(), &shutdown, &[]);
    let listener = BoundListener::bind(addr).await.unwrap();
    let (addr, stop) = (listener.local_addr(), shutdown.clone());
    let server = Server::new(Profile::Grpc, &ServerConfig::default()).unwrap();
    tokio::spawn(async move { server.serve(listener, routes, &stop).await });
    (addr, shutdown)
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn connect(addr: SocketAddr) -> Upstream {
    let config = UpstreamConfig { url: Some(format!("http://{addr}")), ..Default::default() };
    upstream::connect(&config, Some(AMPLE), &Default::default()).unwrap()
}

async fn ask(upstream: &Upstream) -> Result<(), Status> {
    HealthClient::new(upstream.clone()).check(HealthCheckRequest::default()).await.map(drop)
}

/// Many calls at once, none of which is made: how long they took, the quickest first.
async fn refused(upstream: &Upstream) -> Vec<Duration> {
    let calls = (0..50).map(|_| async {
        let began = Instant::now();
        let status = ask(upstream).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        began.elapsed()
    });
    let mut took = futures::future::join_all(calls).await;
    took.sort_unstable();
    took
}

/// The way to a server. While it stands still, connections are taken, and nothing goes through any.
struct Way {
    addr: SocketAddr,
    stands_still: watch::Sender<bool>,
    /// Connections that were made while it stood still.
    held: Arc<AtomicUsize>,
}

impl Way {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(anywhere()).await.unwrap();
        let way = Self {
            addr: listener.local_addr().unwrap(),
            stands_still: watch::Sender::new(false),
            held: Arc::default(),
        };
        let (state, held) = (way.stands_still.subscribe(), Arc::clone(&way.held));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, state.clone(), Arc::clone(&held)));
            }
        });
        way
    }
}

async fn carry(
    mut client: TcpStream,
    server: SocketAddr,
    mut stands_still: watch::Receiver<bool>,
    held: Arc<AtomicUsize>,
) {
    // Both ends stay open while it stands still.
    let mut server = TcpStream::connect(server).await.unwrap();
    if *stands_still.borrow() {
        held.fetch_add(1, Ordering::SeqCst);
    } else {
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => return,
            _ = stands_still.wait_for(|still| *still) => {}
        }
    }
    let _ = stands_still.wait_for(|still| !still).await;
}

#[tokio::test]
async fn nobody_waits_for_a_service_that_is_known_to_hang() {
    let (addr, _server) = serve(anywhere()).await;
    let way = Way::to(addr).await;
    let upstream = connect(way.addr);
    ask(&upstream).await.unwrap();

    way.stands_still.send_replace(true);
    // The first ones find out.
    let began = Instant::now();
    ask(&upstream).await.unwrap_err();
    let found_out = began.elapsed();
    assert!(found_out < Duration::from_secs(5), "{found_out:?}");
    // The others are told.
    let status = ask(&upstream).await.unwrap_err();
    assert_eq!(status::reason_of(&status).as_deref(), Some("UNAVAILABLE"), "{status:?}");
    assert!(status::retry_after(&status).is_some(), "{status:?}");
    let asked = Instant::now();
    let mut rounds = 0;
    while asked.elapsed() < Duration::from_secs(3) {
        let took = refused(&upstream).await;
        assert!(took[took.len() / 2] < AT_ONCE && took[took.len() - 1] < 10 * AT_ONCE, "{took:?}");
        rounds += 1;
    }
    // Somebody asked meanwhile, now and then, and no call did.
    let held = way.held.load(Ordering::SeqCst);
    assert!((1..10).contains(&held), "{held} connections for {rounds} times 50 calls");

    way.stands_still.send_replace(false);
    eventually(Duration::from_secs(5), async || ask(&upstream).await.is_ok()).await;
}

#[tokio::test]
async fn a_service_that_has_gone_is_tried_by_one_at_a_time() {
    let (addr, server) = serve(anywhere()).await;
    let upstream = connect(addr);
    ask(&upstream).await.unwrap();
    server.request();
    eventually(AMPLE, async || TcpStream::connect(addr).await.is_err()).await;
    ask(&upstream).await.unwrap_err();
    for _ in 0..5 {
        let took = refused(&upstream).await;
        assert!(took[took.len() / 2] < AT_ONCE && took[took.len() - 1] < 10 * AT_ONCE, "{took:?}");
    }

    // Whoever comes first when it is back finds it, and the others with him.
    let (_, _server) = serve(addr).await;
    let calls = (0..50).map(|_| ask(&upstream));
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[tokio::test]
async fn calls_under_way_are_limited() {
    let token = probe::token(60);
    let [_, over_tcp] = probe::shapes(Some(AMPLE)).await;
    let config = UpstreamConfig { url: over_tcp.url.clone(), max_calls: 2, ..Default::default() };
    let upstream = upstream::connect(&config, Some(AMPLE), &Default::default()).unwrap();
    let slow = || {
        let (upstream, request) = (upstream.clone(), probe::request("Slow", Some(&token)));
        tokio::spawn(async move { probe::call(&upstream, request).await.map(drop) })
    };
    let (first, second) = (slow(), slow());
    eventually(AMPLE, async || over_tcp.slow_calls.load(Ordering::SeqCst) == 2).await;
    let began = Instant::now();
    let status = probe::call(&upstream, probe::request("Public", None)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(status::reason_of(&status).as_deref(), Some("OVERLOADED"));
    assert!(status::retry_after(&status).is_some() && began.elapsed() < AT_ONCE, "{:?}", began.elapsed());

    first.abort();
    eventually(AMPLE, async || probe::call(&upstream, probe::request("Public", None)).await.is_ok()).await;
    second.abort();
}

#[tokio::test]
async fn what_failed_slowly_is_not_tried_again() {
    let [_, over_tcp] = probe::shapes(Some(AMPLE)).await;
    let config = UpstreamConfig { url: over_tcp.url.clone(), ..Default::default() };
    let idempotent = Arc::new([probe::UNWELL.to_owned()].into());
    let upstream = upstream::connect(&config, Some(AMPLE), &idempotent).unwrap();
    let request = probe::request("Unwell", Some(&probe::token(60)));
    let status = probe::call(&upstream, request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(over_tcp.unwell_calls.load(Ordering::SeqCst), 1);
}
