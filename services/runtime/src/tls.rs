//! TLS from PEM files: for listeners, with client certificates demanded where configured, and for upstreams.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::config::{TlsConfig, UpstreamConfig};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of the kind that is needed.
    #[error("cannot use {}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Certificate, key and authorities do not go together.
    #[error("cannot use certificate {}: {problem}", path.display())]
    Certificate {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// Makes `ring` the cryptography of every TLS connection in this process. May be called any number of times.
pub fn install_provider() {
    // Fails when it has been installed before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What a listener offers (TLS 1.2 and 1.3). `alpn` lists the protocols, the preferred first.
pub fn server(config: &TlsConfig, alpn: &[&[u8]]) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    install_provider();
    let unusable = |problem: String| TlsError::Certificate { path: config.cert_file.clone(), problem };
    let builder = rustls::ServerConfig::builder();
    let builder = match &config.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| file(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| file(path, &error))?)
        }
    };
    let key =
        PrivateKeyDer::from_pem_file(&config.key_file).map_err(|error| file(&config.key_file, &error))?;
    let mut server = builder
        .with_single_cert(certificates(&config.cert_file)?, key)
        .map_err(|error| unusable(error.to_string()))?;
    server.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(server))
}

/// What an upstream is connected to with. `None` for an `http` URL.
pub fn client(config: &UpstreamConfig) -> Result<Option<ClientTlsConfig>, TlsError> {
    if !config.url.as_deref().is_some_and(|url| url.starts_with("https:")) {
        return Ok(None);
    }
    install_provider();
    let mut tls = ClientTlsConfig::new();
    if let Some(path) = &config.ca_file {
        // Read here for a clear message; tonic takes the text.
        certificates(path)?;
        tls = tls.ca_certificate(Certificate::from_pem(read(path)?));
    }
    if let (Some(certificate), Some(key)) = (&config.cert_file, &config.key_file) {
        tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    if let Some(name) = &config.server_name {
        tls = tls.domain_name(name);
    }
    Ok(Some(tls))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|error| file(path, &error))?;
    if certificates.is_empty() {
        return Err(file(path, &"it holds no certificate"));
    }
    Ok(certificates)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| file(path, &error))
}

fn file(path: &Path, problem: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), problem: problem.to_string() }
}
