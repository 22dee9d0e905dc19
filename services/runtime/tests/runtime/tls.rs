//! TLS and mutual TLS between an upstream and a listener.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdall_runtime::clock::Clock;
use holdall_runtime::config::{
    HumanDuration, ServerConfig, ServerLimits, TlsConfig, UpstreamConfig, Validate,
};
use holdall_runtime::layers::{self, Admission, HEALTH};
use holdall_runtime::serve::{BoundListener, Profile, Server};
use holdall_runtime::shutdown::Shutdown;
use holdall_runtime::token::{Verifier, key_source};
use holdall_runtime::{health, status, upstream};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tonic::service::Routes;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const AMPLE: Duration = Duration::from_secs(10);

/// An authority and its files.
struct Authority {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        write_pem(&dir.path().join("ca.pem"), "CERTIFICATE", certificate.der());
        Self { dir, issuer: Issuer::new(params, key) }
    }

    fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Certificate and key for a name.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (cert_file, key_file) =
            (self.dir.path().join(format!("{name}.pem")), self.dir.path().join(format!("{name}.key")));
        write_pem(&cert_file, "CERTIFICATE", certificate.der());
        write_pem(&key_file, "PRIVATE KEY", &key.serialize_der());
        (cert_file, key_file)
    }
}

fn write_pem(path: &Path, label: &str, der: &[u8]) {
    let text = STANDARD.encode(der);
    std::fs::write(path, format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")).unwrap();
}

/// A server for `localhost`, until the shutdown is dropped with the test's runtime.
async fn start(authority: &Authority, profile: Profile, client_ca_file: Option<PathBuf>) -> SocketAddr {
    start_for(authority, profile, client_ca_file, &[], None).await
}

async fn start_for(
    authority: &Authority,
    profile: Profile,
    client_ca_file: Option<PathBuf>,
    client_names: &[&str],
    client_calls: Option<BTreeMap<String, Vec<String>>>,
) -> SocketAddr {
    let (cert_file, key_file) = authority.issue("localhost");
    let client_names = client_names.iter().map(|name| (*name).to_owned()).collect();
    let limits = ServerLimits { handshake_timeout: HumanDuration::from_millis(300), ..Default::default() };
    let tls = Some(TlsConfig { cert_file, key_file, client_ca_file, client_names, client_calls });
    let config = ServerConfig { tls, limits, ..Default::default() };
    config.validate().unwrap();
    let server = Server::new(profile, &config).unwrap();
    assert_eq!(server.scheme(), "https");
    let shutdown = Shutdown::new(AMPLE);
    let routes = health::add_health(Routes::default(), &shutdown, &[]);
    let no_keys = key_source(async || Ok(Vec::new()));
    let admission =
        Admission::new(Verifier::new("", "", no_keys, Clock::System), &[HEALTH, "/a.B/", "/c.D/"]);
    let routes = layers::wrap(routes, admission);
    let listener = BoundListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let addr = listener.local_addr();
    tokio::spawn(async move { server.serve(listener, routes, &shutdown).await });
    addr
}

fn upstream_config(addr: SocketAddr, authority: &Authority) -> UpstreamConfig {
    UpstreamConfig {
        url: Some(format!("https://{addr}")),
        ca_file: Some(authority.ca_file()),
        server_name: Some("localhost".to_owned()),
        ..Default::default()
    }
}

async fn check(config: &UpstreamConfig) -> Result<(), Status> {
    config.validate().unwrap();
    let upstream = upstream::connect(config, Some(AMPLE), &Default::default()).unwrap();
    HealthClient::new(upstream).check(HealthCheckRequest { service: String::new() }).await.map(drop)
}

async fn assert_refused(config: &UpstreamConfig) {
    let status = check(config).await.unwrap_err();
    assert!(matches!(status.code(), Code::Unavailable | Code::Unknown), "{status:?}");
}

#[tokio::test]
async fn a_server_proves_its_name() {
    let authority = Authority::new();
    for profile in [Profile::Grpc, Profile::Edge] {
        let addr = start(&authority, profile, None).await;
        let good = upstream_config(addr, &authority);
        check(&good).await.unwrap();
        assert_refused(&UpstreamConfig { server_name: Some("elsewhere".to_owned()), ..good.clone() }).await;
        assert_refused(&upstream_config(addr, &Authority::new())).await;
    }
}

#[tokio::test]
async fn mutual_tls_demands_a_certificate_of_the_right_authority() {
    let authority = Authority::new();
    let addr = start(&authority, Profile::Grpc, Some(authority.ca_file())).await;
    let anonymous = upstream_config(addr, &authority);
    assert_refused(&anonymous).await;

    let with = |(cert_file, key_file)| UpstreamConfig {
        cert_file: Some(cert_file),
        key_file: Some(key_file),
        ..anonymous.clone()
    };
    check(&with(authority.issue("client"))).await.unwrap();
    let stranger = Authority::new();
    assert_refused(&with(stranger.issue("client"))).await;
}

#[tokio::test]
async fn only_named_clients_may_connect() {
    let authority = Authority::new();
    let names = ["gateway.holdall.svc", "metadata.holdall.svc"];
    let addr = start_for(&authority, Profile::Grpc, Some(authority.ca_file()), &names, None).await;
    let with = |name: &str| {
        let (cert_file, key_file) = authority.issue(name);
        UpstreamConfig {
            cert_file: Some(cert_file),
            key_file: Some(key_file),
            ..upstream_config(addr, &authority)
        }
    };
    check(&with("gateway.holdall.svc")).await.unwrap();
    check(&with("metadata.holdall.svc")).await.unwrap();
    assert_refused(&with("blob.holdall.svc")).await;
    assert_refused(&with("holdall.svc")).await;
}

#[tokio::test]
async fn clients_call_what_is_theirs_to_call() {
    let authority = Authority::new();
    let calls = [("gateway.svc", &["a.B", "c.D/E"][..]), ("operator.svc", &["*"][..]), ("idle.svc", &[][..])];
    let calls =
        calls.map(|(name, calls)| (name.to_owned(), calls.iter().map(|&call| call.to_owned()).collect()));
    let addr = start_for(&authority, Profile::Grpc, Some(authority.ca_file()), &[], Some(calls.into())).await;
    for (name, allowed) in [
        ("gateway.svc", &["/a.B/X", "/c.D/E"][..]),
        ("operator.svc", &["/a.B/X", "/c.D/E", "/c.D/F"][..]),
        ("idle.svc", &[]),
        ("stranger.svc", &[]),
    ] {
        let (cert_file, key_file) = authority.issue(name);
        let config = UpstreamConfig {
            cert_file: Some(cert_file),
            key_file: Some(key_file),
            ..upstream_config(addr, &authority)
        };
        check(&config).await.unwrap();
        let upstream = upstream::connect(&config, Some(AMPLE), &Default::default()).unwrap();
        for path in ["/a.B/X", "/c.D/E", "/c.D/F", "/no.Such/Method"] {
            let mut request = super::probe::request("", None);
            *request.uri_mut() = format!("http://any{path}").parse().unwrap();
            let status = super::probe::call(&upstream, request).await.unwrap_err();
            let expected = match (allowed.contains(&path), name, path) {
                // Its turn comes after that of the peer.
                (_, "operator.svc", "/no.Such/Method") => (Code::Unauthenticated, Some("TOKEN_MISSING")),
                (true, ..) => (Code::Unimplemented, None),
                (false, ..) => (Code::PermissionDenied, Some("PEER_FORBIDDEN")),
            };
            let reason = status::reason_of(&status);
            assert_eq!((status.code(), reason.as_deref()), expected, "{name} {path}: {status:?}");
        }
    }
}

/// New files of a new authority, on both sides, without a restart of either.
#[tokio::test]
async fn files_are_replaced_while_connections_come_and_go() {
    let authority = Authority::new();
    let addr = start(&authority, Profile::Grpc, Some(authority.ca_file())).await;
    let (cert_file, key_file) = authority.issue("client");
    let config = UpstreamConfig {
        cert_file: Some(cert_file.clone()),
        key_file: Some(key_file.clone()),
        ..upstream_config(addr, &authority)
    };
    let upstream = upstream::connect(&config, Some(AMPLE), &Default::default()).unwrap();
    let ask = async || {
        let mut client = HealthClient::new(upstream.clone());
        client.check(HealthCheckRequest { service: String::new() }).await
    };
    ask().await.unwrap();

    let next = Authority::new();
    let (next_cert, next_key) = next.issue("client");
    let (server_cert, server_key) = next.issue("localhost");
    let dir = authority.dir.path();
    for (from, to) in [
        (next.ca_file(), authority.ca_file()),
        (server_cert, dir.join("localhost.pem")),
        (server_key, dir.join("localhost.key")),
        (next_cert, cert_file),
        (next_key, key_file),
    ] {
        // As a whole, as a mounted secret changes.
        std::fs::rename(from, to).unwrap();
    }
    // Who connects now has to be of the new authority, and the upstream is.
    let began = Instant::now();
    loop {
        let (new, old) = (check(&config).await, ask().await);
        if new.is_ok() && old.is_ok() {
            break;
        }
        assert!(began.elapsed() < 3 * AMPLE, "{new:?} {old:?}");
    }
}

#[tokio::test]
async fn a_handshake_has_a_limit() {
    let authority = Authority::new();
    let addr = start(&authority, Profile::Edge, None).await;
    let mut silent = TcpStream::connect(addr).await.unwrap();
    let read = tokio::time::timeout(AMPLE, silent.read_u8()).await.expect("still open");
    assert!(read.is_err());
}

#[tokio::test]
async fn unusable_files_are_named() {
    let authority = Authority::new();
    let (cert_file, key_file) = authority.issue("localhost");
    let other_key = authority.issue("other").1;
    let empty = authority.dir.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let tls = |cert_file: &PathBuf, key_file: &PathBuf, client_ca_file: Option<&PathBuf>| {
        let tls = TlsConfig {
            cert_file: cert_file.clone(),
            key_file: key_file.clone(),
            client_ca_file: client_ca_file.cloned(),
            client_names: Vec::new(),
            client_calls: None,
        };
        Server::new(Profile::Edge, &ServerConfig { tls: Some(tls), ..Default::default() })
    };
    assert!(tls(&cert_file, &key_file, None).is_ok());
    for (broken, named) in [
        (tls(&empty, &key_file, None), "empty.pem"),
        (tls(&cert_file, &empty, None), "empty.pem"),
        (tls(&cert_file, &key_file, Some(&empty)), "empty.pem"),
        (tls(&cert_file, &other_key, None), "localhost.pem"),
    ] {
        let text = broken.unwrap_err().to_string();
        assert!(text.contains(named), "{text}");
    }
}
