//! TLS from PEM files: for listeners, with client certificates demanded where configured, and for upstreams.
//!
//! Files may be replaced at any time, as those of mounted secrets are: new connections use the new ones within seconds.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::RootCertStore;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::config::{TlsConfig, UpstreamConfig};
use crate::layers::Permit;

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

/// How often a listener looks at its files.
const REFRESH: Duration = Duration::from_secs(5);

/// What a listener offers (TLS 1.2 and 1.3), from files that may change while it does.
#[derive(Debug)]
pub(crate) struct Listening {
    config: TlsConfig,
    alpn: &'static [&'static [u8]],
    names: Vec<ServerName<'static>>,
    calls: Option<Vec<(ServerName<'static>, String, Vec<String>)>>,
    current: Mutex<Offer>,
}

#[derive(Debug)]
struct Offer {
    server: Arc<rustls::ServerConfig>,
    files: Files,
    looked: Instant,
}

impl Listening {
    /// Reads the files. `alpn` lists the protocols, the preferred first.
    pub(crate) fn new(config: &TlsConfig, alpn: &'static [&'static [u8]]) -> Result<Self, TlsError> {
        let parse = |name: &String| ServerName::try_from(name.clone()).ok();
        let calls = config.client_calls.as_ref().map(|calls| {
            let entry =
                |(name, calls): (&String, &Vec<String>)| Some((parse(name)?, name.clone(), calls.clone()));
            calls.iter().filter_map(entry).collect()
        });
        Ok(Self {
            names: config.client_names.iter().filter_map(parse).collect(),
            calls,
            current: Mutex::new(Offer::read(config, alpn)?),
            config: config.clone(),
            alpn,
        })
    }

    /// What to offer to the next connection. When the files have changed they are read again; those that cannot be used are
    /// logged, and what was good stays.
    pub(crate) fn current(&self) -> Arc<rustls::ServerConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= REFRESH {
            current.looked = Instant::now();
            if current.files.have_changed() {
                match Offer::read(&self.config, self.alpn) {
                    Ok(offer) => {
                        tracing::info!("files for TLS have changed and are used from now on");
                        *current = offer;
                    }
                    Err(error) => tracing::warn!(%error, "new files for TLS cannot be used"),
                }
            }
        }
        Arc::clone(&current.server)
    }

    /// Whether a client that has shown these certificates, of the right authority, is one of those that may connect.
    pub(crate) fn admits(&self, shown: Option<&[CertificateDer<'_>]>) -> bool {
        if self.names.is_empty() {
            return true;
        }
        own(shown).is_some_and(|own| self.names.iter().any(|name| verify_server_name(&own, name).is_ok()))
    }

    /// What a client that has shown these certificates may call; `None` where that is not limited.
    pub(crate) fn permit(&self, shown: Option<&[CertificateDer<'_>]>) -> Option<Permit> {
        let own = own(shown);
        let proved = self.calls.as_ref()?.iter().filter_map(|(name, text, calls)| {
            verify_server_name(own.as_ref()?, name).ok()?;
            Some((text.as_str(), calls.as_slice()))
        });
        Some(Permit::new(proved))
    }
}

/// The client's own among the certificates that it has shown.
fn own<'a>(shown: Option<&'a [CertificateDer<'_>]>) -> Option<ParsedCertificate<'a>> {
    shown.and_then(<[_]>::first).and_then(|own| ParsedCertificate::try_from(own).ok())
}

/// Whether what a listener is to offer can be used.
pub(crate) fn check(config: &TlsConfig) -> Result<(), TlsError> {
    Offer::read(config, &[]).map(drop)
}

impl Offer {
    fn read(config: &TlsConfig, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        install_provider();
        let paths = [Some(&config.cert_file), Some(&config.key_file), config.client_ca_file.as_ref()];
        // Noted before they are read: a change in between is seen the next time.
        let files = Files::new(paths.into_iter().flatten());
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
        Ok(Self { server: Arc::new(server), files, looked: Instant::now() })
    }
}

/// What an upstream is connected to with, and the files that it came from.
pub(crate) struct ClientFiles {
    config: ClientTlsConfig,
    files: Files,
}

impl ClientFiles {
    pub(crate) fn config(&self) -> ClientTlsConfig {
        self.config.clone()
    }

    /// Whether a file is not what it was any more.
    pub(crate) fn have_changed(&self) -> bool {
        self.files.have_changed()
    }
}

/// Reads the files for an upstream. `None` for an `http` URL.
pub(crate) fn client(config: &UpstreamConfig) -> Result<Option<ClientFiles>, TlsError> {
    if !config.url.as_deref().is_some_and(|url| url.starts_with("https:")) {
        return Ok(None);
    }
    install_provider();
    // Noted before they are read: a change in between is seen the next time.
    let files = Files::new([&config.ca_file, &config.cert_file, &config.key_file].into_iter().flatten());
    let mut tls = ClientTlsConfig::new();
    if let Some(path) = &config.ca_file {
        // Read here for a clear message; tonic takes the text.
        certificates(path)?;
        tls = tls.ca_certificate(Certificate::from_pem(read(path)?));
    }
    if let (Some(certificate), Some(key)) = (&config.cert_file, &config.key_file) {
        tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    // Replicas are called by their addresses; what counts is the name.
    let host = config.url.as_deref().and_then(|url| url.parse::<http::Uri>().ok());
    let host = host.as_ref().and_then(http::Uri::host).map(|host| host.trim_matches(['[', ']']).to_owned());
    if let Some(name) = config.server_name.clone().or(host) {
        tls = tls.domain_name(name);
    }
    Ok(Some(ClientFiles { config: tls, files }))
}

/// Files as they were when they were looked at.
#[derive(Debug)]
struct Files(Vec<(PathBuf, Option<State>)>);

/// Tells one content of a file from another. Mounted secrets are replaced by changing a symbolic link, which shows in the
/// number of the file.
#[derive(Debug, PartialEq, Eq)]
struct State {
    file: (u64, u64),
    size: u64,
    modified: Option<SystemTime>,
}

impl Files {
    fn new<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        Self(paths.into_iter().map(|path| (path.clone(), State::of(path))).collect())
    }

    fn have_changed(&self) -> bool {
        self.0.iter().any(|(path, state)| State::of(path) != *state)
    }
}

impl State {
    fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Self { file: (meta.dev(), meta.ino()), size: meta.len(), modified: meta.modified().ok() })
    }
}

pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
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
