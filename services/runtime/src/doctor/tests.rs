use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;

use super::*;
use crate::config::TlsConfig;
use crate::data_dir::{DataDir, INCOMPLETE_FILE};

fn found(look: impl FnOnce(&mut Report)) -> Vec<(String, State)> {
    let mut report = Report::default();
    look(&mut report);
    report.checks.into_iter().map(|check| (check.name, check.state)).collect()
}

fn one(look: impl FnOnce(&mut Report)) -> State {
    let found = found(look);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].1
}

#[test]
fn data_directories() {
    let parent = tempfile::tempdir().unwrap();
    let state = |path: &Path| {
        one(|report| {
            report.data_dir(path);
        })
    };
    assert_eq!(state(&parent.path().join("new")), State::Ok);
    assert!(!parent.path().join("new").exists(), "nothing is made");
    let path = parent.path().join("data");
    let owned = DataDir::acquire(&path, "somebody").unwrap();
    let mut report = Report::default();
    assert!(report.data_dir(&path), "it is in use");
    assert!(!report.is_wrong() && report.checks[0].found.contains("somebody"));
    drop(owned);
    assert!(!Report::default().data_dir(&path));
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(
        found(|report| {
            report.data_dir(&path);
        })[0]
            .1,
        State::Warning
    );
    fs::write(path.join(INCOMPLETE_FILE), "").unwrap();
    assert_eq!(state(&path), State::Wrong);
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(state(&file), State::Wrong);
}

#[test]
fn keys() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.key");
    let state = || one(|report| report.key_file("x.key_files", &file));
    assert_eq!(state(), State::Wrong, "missing");
    let digits = "0123456789abcdef".repeat(4);
    fs::write(&file, &digits).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(state(), State::Ok);
    fs::set_permissions(&file, Permissions::from_mode(0o604)).unwrap();
    assert_eq!(state(), State::Wrong, "anybody can read it");
    fs::write(&file, &digits[1..]).unwrap();
    let mut report = Report::default();
    report.key_file("x.key_files", &file);
    assert!(report.is_wrong() && !format!("{report:?}").contains(&digits[1..]));
}

#[test]
fn addresses() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    assert_eq!(one(|report| report.listen("x", address, false)), State::Wrong);
    assert_eq!(one(|report| report.listen("x", address, true)), State::Ok);
    assert_eq!(one(|report| report.listen("x", "127.0.0.1:0".parse().unwrap(), false)), State::Ok);
    assert_eq!(one(|report| report.listen("x", "192.0.2.1:1".parse().unwrap(), true)), State::Wrong);
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
}

/// A certificate that is valid in the year 2030, and its key.
fn certificate(dir: &Path) -> TlsConfig {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["files.example.org".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2030, 1, 1);
    params.not_after = rcgen::date_time_ymd(2031, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let (cert_file, key_file) = (dir.join("cert.pem"), dir.join("key.pem"));
    fs::write(&cert_file, pem("CERTIFICATE", certificate.der())).unwrap();
    fs::write(&key_file, pem("PRIVATE KEY", &key.serialize_der())).unwrap();
    fs::set_permissions(&key_file, Permissions::from_mode(0o600)).unwrap();
    TlsConfig { cert_file, key_file, client_ca_file: None, client_names: Vec::new(), client_calls: None }
}

#[test]
fn certificates() {
    /// 2030-01-01.
    const BEGIN: i64 = 1_893_456_000;
    const DAY: i64 = 24 * 3600;
    let dir = tempfile::tempdir().unwrap();
    let config = certificate(dir.path());
    for (day, state) in [
        (-1, State::Wrong),
        (1, State::Ok),
        (350, State::Ok),
        (352, State::Warning),
        (364, State::Warning),
        (366, State::Wrong),
    ] {
        let found = one(|report| report.expiry("x", &config.cert_file, BEGIN + day * DAY));
        assert_eq!(found, state, "day {day}");
    }
    let mut report = Report::default();
    report.expiry("x", &config.cert_file, BEGIN + DAY);
    assert!(report.checks[0].found.contains("files.example.org"));

    // A key of another certificate.
    let other = tempfile::tempdir().unwrap();
    let mixed = TlsConfig { key_file: certificate(other.path()).key_file, ..config.clone() };
    assert_eq!(one(|report| report.certificate("server.tls", &mixed)), State::Wrong);
    fs::write(&config.cert_file, "no certificate").unwrap();
    assert_eq!(one(|report| report.certificate("server.tls", &config)), State::Wrong);
}

#[tokio::test]
async fn services_that_are_not_there() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = UpstreamConfig { url: Some(format!("http://{free}")), ..UpstreamConfig::default() };
    let mut report = Report::default();
    report.upstream("auth", &config).await;
    assert!(report.is_wrong() && report.checks[0].name == "auth.url", "{report:?}");
}

#[test]
fn keys_that_are_shared_are_compared() {
    let holder = |name: &str, ids: &[&str]| Holder {
        name: name.to_owned(),
        ids: ids.iter().map(|&id| id.to_owned()).collect(),
    };
    let wrong = |holders: &[Holder]| {
        let checks = found(|report| report.same_keys("grants", holders));
        (checks.len(), checks.iter().filter(|(_, state)| *state == State::Wrong).count())
    };
    assert_eq!(wrong(&[holder("a", &["1"]), holder("b", &["1"])]), (1, 0));
    // In the middle of a rotation.
    assert_eq!(wrong(&[holder("a", &["1", "2"]), holder("b", &["2", "1"])]), (1, 0));
    assert_eq!(wrong(&[holder("a", &["1"]), holder("b", &["2", "1"])]), (1, 1));
    assert_eq!(wrong(&[holder("a", &["1"]), holder("b", &["2"])]), (2, 2));
    assert_eq!(wrong(&[holder("a", &["1"]), holder("b", &[])]), (1, 1));
    // There is nothing to compare.
    assert_eq!(wrong(&[holder("a", &["1"])]), (0, 0));
    assert_eq!(wrong(&[]), (0, 0));
}
