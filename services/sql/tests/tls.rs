//! PostgreSQL over TLS: a server that is not who it should be is not talked to.

#![expect(
    clippy::unwrap_used,
    reason = "clippy sees what helps a test as production code when it stands outside of one"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdall_sql::testing::PostgresCluster;
use holdall_sql::{Database, Durability, Error, Migrations, Settings, sql};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

const NOTHING: Migrations = Migrations { sqlite: &[], postgres: &[] };

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// An authority of that name, with its certificate in a file.
fn authority(name: &str, file: &Path) -> Issuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    std::fs::write(file, pem("CERTIFICATE", params.self_signed(&key).unwrap().der())).unwrap();
    Issuer::new(params, key)
}

#[tokio::test]
async fn verify_full_wants_the_right_authority_and_the_right_name() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, other_ca) = (dir.path().join("ca.pem"), dir.path().join("other.pem"));
    let issuer = authority("ours", &ca);
    authority("another", &other_ca);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = pem("CERTIFICATE", certificate.signed_by(&key, &issuer).unwrap().der());
    let cluster = PostgresCluster::private_with_tls(&certificate, &pem("PRIVATE KEY", &key.serialize_der()));

    let open = async |host: &str, mode: &str, ca: Option<&PathBuf>| {
        let ca = ca.map(|ca| format!("&sslrootcert={}", ca.display())).unwrap_or_default();
        let url = format!("postgres://postgres@{host}:{}/postgres?sslmode={mode}{ca}", cluster.port());
        // It would wait for so long, if there were something to wait for.
        let settings = Settings { url, wait_seconds: 60, ..Settings::default() };
        Database::open(&settings, &NOTHING, Durability::Full).await
    };
    let db = open("localhost", "verify-full", Some(&ca)).await.unwrap();
    let query = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl";
    let version: String = sql(query).fetch_one(&db).await.unwrap().get(0).unwrap();
    assert!(version.starts_with("TLSv1."), "{version}");
    db.close().await;

    let began = Instant::now();
    let missing = dir.path().join("missing.pem");
    for (host, ca, said) in [
        ("localhost", Some(&other_ca), "UnknownIssuer"),
        // No authority of the system has signed it either.
        ("localhost", None, "UnknownIssuer"),
        ("127.0.0.1", Some(&ca), "not valid for name"),
        ("localhost", Some(&missing), "No such file"),
    ] {
        let error = open(host, "verify-full", ca).await.map(|_| "it is trusted").unwrap_err();
        assert!(matches!(error, Error::Untrusted(_)), "{host} {ca:?}: {error:?}");
        assert!(error.to_string().contains(said), "{host} {ca:?}: {error}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "it waited");
    // The name counts for verify-full alone.
    open("127.0.0.1", "verify-ca", Some(&ca)).await.unwrap().close().await;
}
