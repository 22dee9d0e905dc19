//! Certificates for tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// An authority, with a folder for what it has signed.
pub struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("the system has randomness");
        let certificate = params.self_signed(&key).expect("it signs");
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(&folder.path().join("ca.pem"), "CERTIFICATE", certificate.der());
        Self { folder, issuer: Issuer::new(params, key) }
    }
}

impl Authority {
    /// The PEM file with its own certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// PEM files with a certificate for a name, and with its key.
    pub fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().expect("the system has randomness");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("it signs");
        let of = |end: &str| self.folder.path().join(format!("{name}.{end}"));
        write(&of("pem"), "CERTIFICATE", certificate.der());
        write(&of("key"), "PRIVATE KEY", &key.serialize_der());
        (of("pem"), of("key"))
    }

    /// A connection to `https://…`, which shows `server_name`, by somebody who is `name`.
    pub fn connect(&self, url: &str, server_name: &str, name: &str) -> Channel {
        let read = |path: &Path| fs::read(path).expect("it was written");
        let (certificate, key) = self.issue(name);
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(&self.file())))
            .identity(Identity::from_pem(read(&certificate), read(&key)))
            .domain_name(server_name);
        let endpoint = Endpoint::from_shared(url.to_owned()).expect("an address").tls_config(tls);
        endpoint.expect("good files").connect_lazy()
    }
}

fn write(path: &Path, label: &str, der: &[u8]) {
    let text = STANDARD.encode(der);
    let pem = format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n");
    fs::write(path, pem).expect("the temporary folder takes a file");
}
