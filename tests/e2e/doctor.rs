//! `doctor`: what is fine is said to be, and what is not is named.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use harness::{Command, Options, Server, Service, Shape, bucket};
use serde_json::Value;

/// Asks a program of a server, by its configuration; returns its exit code and what it has found.
async fn ask(server: &Server, service: Service, config: &str) -> (Option<i32>, Vec<Value>) {
    let file = server.folder().join(config);
    let mut command = Command::new(service.program()).arg("doctor").arg("--json").arg("--config").path(&file);
    // The default port may be anybody's.
    command = command.env("HOLDALL_SERVER__LISTEN", "127.0.0.1:0");
    if server.shape() == Shape::OneProcess {
        command = command.arg("--data-dir").path(&server.data_dir());
    } else if service != Service::Gateway {
        command = command.arg("--data-dir").path(&server.folder().join(service.name()));
    }
    let (status, said) = command.run().await;
    let json: String = said.lines().filter_map(|line| line.split_once(": ")).map(|(_, line)| line).collect();
    let report: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {said}"));
    for secret in ["hunter2", "0123456789abcdef0123456789abcdef"] {
        assert!(!said.contains(secret), "{said}");
    }
    (status.code(), report["checks"].as_array().unwrap().clone())
}

/// The states of what was looked at under that name.
fn states<'a>(checks: &'a [Value], name: &str) -> Vec<&'a str> {
    let named = checks.iter().filter(|check| check["name"] == name);
    named.map(|check| check["state"].as_str().unwrap()).collect()
}

fn is_wrong(checks: &[Value], name: &str) -> bool {
    states(checks, name).contains(&"wrong")
}

#[tokio::test]
async fn one_process() {
    let mut server = Server::start_with(Shape::OneProcess, Options::new()).await;
    let key = server.folder().join("content.key");
    fs::write(&key, "0123456789abcdef".repeat(4)).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    server.set(Service::Blob, "encryption.key_files", &format!("[{:?}]", key.to_str().unwrap()));
    server.restart().await;
    for is_running in [true, false] {
        if !is_running {
            server.stop().await;
        }
        let (code, checks) = ask(&server, Service::Gateway, "gateway.toml").await;
        assert_eq!(code, Some(0), "{checks:#?}");
        for name in
            ["configuration", "data.dir", "server.listen", "open files", "auth.database", "metadata.database"]
        {
            assert!(!states(&checks, name).is_empty(), "{name} is not looked at: {checks:#?}");
        }
        let data = checks.iter().find(|check| check["name"] == "data.dir").unwrap();
        assert_eq!(data["found"].as_str().unwrap().contains("in use by"), is_running);
        assert_eq!(states(&checks, "auth.database"), ["ok"]);
        assert_eq!(states(&checks, "blob.index"), ["ok"]);
        assert_eq!(states(&checks, "blob.encryption.key_files"), ["ok"]);
    }
    // It changes nothing: the server starts again.
    server.restart().await;
    server.stop().await;

    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let (code, checks) = ask(&server, Service::Gateway, "gateway.toml").await;
    assert_eq!(code, Some(1));
    assert!(is_wrong(&checks, "blob.encryption.key_files"), "{checks:#?}");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();

    fs::write(server.data_dir().join("metadata.db"), "no database at all").unwrap();
    let (code, checks) = ask(&server, Service::Gateway, "gateway.toml").await;
    assert_eq!(code, Some(1));
    assert!(is_wrong(&checks, "metadata.database") && !is_wrong(&checks, "auth.database"), "{checks:#?}");

    let text = fs::read_to_string(server.folder().join("gateway.toml")).unwrap();
    fs::write(server.folder().join("wrong.toml"), text + "\ncolour = 1\n").unwrap();
    let (code, checks) = ask(&server, Service::Gateway, "wrong.toml").await;
    assert_eq!((code, is_wrong(&checks, "configuration")), (Some(1), true), "{checks:#?}");
}

/// A certificate that has expired, and its key.
fn expired(folder: &Path) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["files.example.org".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let pem = |kind: &str, der: &[u8]| {
        format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(der))
    };
    fs::write(folder.join("cert.pem"), pem("CERTIFICATE", certificate.der())).unwrap();
    fs::write(folder.join("key.pem"), pem("PRIVATE KEY", &key.serialize_der())).unwrap();
    fs::set_permissions(folder.join("key.pem"), Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn an_expired_certificate() {
    let server = Server::start(Shape::OneProcess).await;
    let folder = server.folder();
    expired(folder);
    let text = fs::read_to_string(folder.join("gateway.toml")).unwrap();
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let tls =
        format!("\n[server.tls]\ncert_file = {:?}\nkey_file = {:?}\n", file("cert.pem"), file("key.pem"));
    fs::write(folder.join("tls.toml"), text + tls.as_str()).unwrap();
    let (code, checks) = ask(&server, Service::Gateway, "tls.toml").await;
    assert_eq!(code, Some(1));
    assert_eq!(states(&checks, "server.tls.cert_file"), ["wrong"], "{checks:#?}");
    assert_eq!(states(&checks, "server.tls.key_file"), ["ok"]);
}

#[tokio::test]
async fn services_apart() {
    let mut server = Server::start(Shape::EightProcesses).await;
    for (service, names) in [
        (Service::Auth, &["auth.database", "auth.signing.keys_dir"][..]),
        (Service::Metadata, &["metadata.database", "metadata.grants.key_files", "auth.url"]),
        (Service::Blob, &["blob.index", "blob.grants.key_files", "blob.s3", "blob.s3 clock"]),
        (
            Service::Gateway,
            &[
                "auth.url",
                "metadata.url",
                "blob.url",
                "auth.delegation.key_files",
                "keys of grants",
                "keys of delegation",
            ],
        ),
    ] {
        let (_, checks) = ask(&server, service, &format!("{}.toml", service.name())).await;
        assert!(checks.iter().all(|check| check["state"] != "wrong"), "{service:?}: {checks:#?}");
        for name in names {
            let states = states(&checks, name);
            assert!(!states.is_empty() && states.iter().all(|state| *state == "ok"), "{name}: {checks:#?}");
        }
    }

    server.bucket().fail(bucket::ANY, bucket::Fault::ClockBehind, usize::MAX);
    let (code, checks) = ask(&server, Service::Blob, "blob.toml").await;
    server.bucket().heal();
    assert_eq!((code, states(&checks, "blob.s3 clock")), (Some(1), vec!["wrong"]), "{checks:#?}");
    let clock = checks.iter().find(|check| check["name"] == "blob.s3 clock").unwrap();
    assert!(clock["found"].as_str().unwrap().contains(" s behind ours"), "{clock}");

    // One of the blob services, and this gateway, have another key.
    let another = server.folder().join("another.key");
    fs::write(&another, "89abcdef".repeat(8)).unwrap();
    fs::set_permissions(&another, Permissions::from_mode(0o600)).unwrap();
    let keys = format!("[{:?}]", another.to_str().unwrap());
    let text = fs::read_to_string(server.folder().join("gateway.toml")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("auth.delegation.key_files"));
    let without: String = lines.map(|line| format!("{line}\n")).collect();
    fs::write(server.folder().join("keys.toml"), format!("auth.delegation.key_files = {keys}\n{without}"))
        .unwrap();
    let (_, checks) = ask(&server, Service::Gateway, "keys.toml").await;
    assert_eq!(states(&checks, "keys of grants"), ["ok"], "{checks:#?}");
    assert!(is_wrong(&checks, "keys of delegation"), "{checks:#?}");
    let grants = server.folder().join("grant.key");
    let shared = fs::read(&grants).unwrap();
    fs::write(&grants, "89abcdef".repeat(8)).unwrap();
    let blob = 5;
    server.replace(blob, true).await;
    let (code, checks) = ask(&server, Service::Gateway, "gateway.toml").await;
    assert_eq!((code, states(&checks, "keys of delegation")), (Some(1), vec!["ok"]), "{checks:#?}");
    let address = server.addresses(Service::Blob)[1].clone();
    let wrong: Vec<_> = checks.iter().filter(|check| check["state"] == "wrong").collect();
    // It and each of the three others.
    assert_eq!(wrong.len(), 6, "{checks:#?}");
    assert!(wrong.iter().all(|check| check["found"].as_str().unwrap().contains(&address)), "{checks:#?}");
    fs::write(&grants, shared).unwrap();
    server.replace(blob, true).await;

    // Nobody is there any more.
    server.stop().await;
    let (code, checks) = ask(&server, Service::Gateway, "gateway.toml").await;
    assert_eq!(code, Some(1));
    for name in ["auth.url", "metadata.url", "blob.url"] {
        assert_eq!(states(&checks, name), ["wrong"], "{checks:#?}");
    }
    // A database that is not to be reached, a role that is not let in, and a bucket that is not there.
    let text = fs::read_to_string(server.folder().join("metadata.toml")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("metadata.database.url"));
    let without: String = lines.map(|line| format!("{line}\n")).collect();
    let url = "\"postgres://holdall:hunter2@127.0.0.1:1/holdall\"";
    fs::write(server.folder().join("away.toml"), format!("metadata.database.url = {url}\n{without}"))
        .unwrap();
    let (code, checks) = ask(&server, Service::Metadata, "away.toml").await;
    assert_eq!(code, Some(1));
    assert_eq!(states(&checks, "metadata.database"), ["wrong"], "{checks:#?}");

    let text = fs::read_to_string(server.folder().join("blob.toml")).unwrap();
    let bucket = format!("{:?}", server.bucket().name);
    fs::write(server.folder().join("bucket.toml"), text.replace(&bucket, "\"nobodys\"")).unwrap();
    let (code, checks) = ask(&server, Service::Blob, "bucket.toml").await;
    assert_eq!(code, Some(1));
    assert_eq!(states(&checks, "blob.s3"), ["wrong"], "{checks:#?}");
    assert_eq!(states(&checks, "blob.index"), ["ok"; 3], "{checks:#?}");
}
