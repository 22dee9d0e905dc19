//! The sections that every process has. Each is inert data with defaults and a `validate()`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ByteSize, HumanDuration, Invalid, Validate};
use crate::layers::{HEALTH, REFLECTION, covers};

/// `[server]`: where a process listens and how much it takes on at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// The address to listen on. Port 0 takes a free one. `--listen` sets it.
    pub listen: SocketAddr,
    /// TLS for this listener; plain TCP when absent.
    pub tls: Option<TlsConfig>,
    /// What a connection may cost.
    pub limits: ServerLimits,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
            limits: ServerLimits::default(),
        }
    }
}

impl Validate for ServerConfig {
    fn validate(&self) -> Result<(), Invalid> {
        if let Some(tls) = &self.tls {
            tls.validate().map_err(|invalid| invalid.within("tls"))?;
        }
        self.limits.validate().map_err(|invalid| invalid.within("limits"))
    }
}

/// `[server.limits]`: what connections may cost. Limits inside HTTP itself (streams, frames, windows, header
/// sizes) are fixed by [`Profile`](crate::serve::Profile).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerLimits {
    /// Connections open at once. More are closed as they arrive.
    pub max_connections: usize,
    /// Connections open at once from one IPv4 address or one IPv6 /64 network.
    pub max_connections_per_source: usize,
    /// Time for the TLS handshake.
    pub handshake_timeout: HumanDuration,
    /// Time until a new connection has sent its first byte, and an HTTP/2 one its preface.
    pub first_byte_timeout: HumanDuration,
    /// HTTP/1: time for the head of a request from its first byte on.
    pub header_timeout: HumanDuration,
    /// HTTP/1: time between an answer and the next request.
    pub idle_timeout: HumanDuration,
    /// Time without the peer taking any of what is sent to it.
    pub write_timeout: HumanDuration,
    /// Age at which a connection is asked to close once its requests are answered.
    pub max_connection_age: HumanDuration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            max_connections: 8192,
            max_connections_per_source: 256,
            handshake_timeout: HumanDuration::from_secs(5),
            first_byte_timeout: HumanDuration::from_secs(10),
            header_timeout: HumanDuration::from_secs(10),
            idle_timeout: HumanDuration::from_secs(75),
            write_timeout: HumanDuration::from_secs(60),
            max_connection_age: HumanDuration::from_secs(30 * 60),
        }
    }
}

impl Validate for ServerLimits {
    fn validate(&self) -> Result<(), Invalid> {
        for (key, value) in [
            ("max_connections", self.max_connections),
            ("max_connections_per_source", self.max_connections_per_source),
        ] {
            if value == 0 {
                return Err(Invalid::new(key, "must be at least 1"));
            }
        }
        for (key, value) in [
            ("handshake_timeout", self.handshake_timeout),
            ("first_byte_timeout", self.first_byte_timeout),
            ("header_timeout", self.header_timeout),
            ("idle_timeout", self.idle_timeout),
            ("write_timeout", self.write_timeout),
            ("max_connection_age", self.max_connection_age),
        ] {
            positive(key, value)?;
        }
        Ok(())
    }
}

/// `[….tls]`: PEM files for a listener or for the client side of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Our certificate, followed by the intermediates.
    pub cert_file: PathBuf,
    /// Our private key (PKCS#8, SEC1 or PKCS#1).
    pub key_file: PathBuf,
    /// Listener: the authorities whose client certificates are demanded (mutual TLS); no client certificate
    /// is asked for when absent.
    #[serde(default)]
    pub client_ca_file: Option<PathBuf>,
    /// Listener: DNS names, one of which has to be in a client's certificate. Empty: whatever the authorities have signed is
    /// good enough.
    #[serde(default)]
    pub client_names: Vec<String>,
    /// Listener for gRPC: what a client may call, by the DNS names in its certificate; it may call what any of them may. An
    /// entry is a service (`package.Service`), a method (`package.Service/Method`) or `*`. Who is not named may call the
    /// health service and nothing else. Absent: whoever may connect may call everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_calls: Option<BTreeMap<String, Vec<String>>>,
}

impl ServerConfig {
    /// Checks that every entry of `tls.client_calls` is in the contract: `methods` are the paths of all its methods,
    /// `/package.Service/Method`. The services of the runtime itself, such as reflection, may be named too.
    pub fn check_calls(&self, methods: &[String]) -> Result<(), Invalid> {
        let calls = self.tls.iter().filter_map(|tls| tls.client_calls.as_ref());
        let own =
            [format!("{HEALTH}Check"), format!("{HEALTH}Watch"), format!("{REFLECTION}ServerReflectionInfo")];
        for entry in calls.flatten().flat_map(|(_, entries)| entries) {
            let known = methods.iter().chain(&own).any(|path| covers(entry, path));
            if !known {
                let problem = format!("has {entry:?}, which is no service and no method (and not \"*\")");
                return Err(Invalid::new("tls.client_calls", problem));
            }
        }
        Ok(())
    }
}

impl Validate for TlsConfig {
    fn validate(&self) -> Result<(), Invalid> {
        readable("cert_file", &self.cert_file)?;
        readable("key_file", &self.key_file)?;
        if !self.client_names.is_empty() && self.client_ca_file.is_none() {
            return Err(Invalid::new("client_ca_file", "is needed with client_names"));
        }
        dns_names("client_names", &self.client_names)?;
        if let Some(calls) = &self.client_calls {
            if self.client_ca_file.is_none() {
                return Err(Invalid::new("client_ca_file", "is needed with client_calls"));
            }
            dns_names("client_calls", calls.keys())?;
            if let Some(stranger) =
                calls.keys().find(|name| !self.client_names.is_empty() && !self.client_names.contains(name))
            {
                let problem = format!("has {stranger:?}, which is not among client_names and cannot connect");
                return Err(Invalid::new("client_calls", problem));
            }
        }
        self.client_ca_file.as_deref().map_or(Ok(()), |file| readable("client_ca_file", file))
    }
}

fn dns_names<'a>(key: &str, names: impl IntoIterator<Item = &'a String>) -> Result<(), Invalid> {
    for name in names {
        if rustls::pki_types::DnsName::try_from(name.as_str()).is_err() {
            return Err(Invalid::new(key, format!("has {name:?}, which is no DNS name")));
        }
    }
    Ok(())
}

/// `[admin]`: a listener for those who operate a process. It tells what is of no use to others and nothing that is
/// secret; still, it is not for the public.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// The address to listen on, with plain HTTP. Port 0 takes a free one. Absent: there is no such listener.
    pub listen: Option<SocketAddr>,
}

/// `[data]`: where a process keeps its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// The data directory; made when missing, and never shared by two processes. `--data-dir` sets it.
    pub dir: PathBuf,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self { dir: PathBuf::from("holdall-data") }
    }
}

impl Validate for DataConfig {
    fn validate(&self) -> Result<(), Invalid> {
        if self.dir.as_os_str().is_empty() {
            return Err(Invalid::new("dir", "must name a directory"));
        }
        Ok(())
    }
}

/// How another service is reached: `[upstream.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// `http://host:port` or `https://host:port`; several for several replicas, with commas between them. A name may stand
    /// for several addresses, each of which is a replica. Absent: the service runs inside this process.
    pub url: Option<String>,
    /// PEM file with the authorities that may have signed the service's certificate. Needed for `https`.
    pub ca_file: Option<PathBuf>,
    /// PEM file with our certificate for mutual TLS; goes with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// PEM file with our private key.
    pub key_file: Option<PathBuf>,
    /// The name expected in the service's certificate; the host of the (first) URL when absent.
    pub server_name: Option<String>,
    /// How long a call may take, unless it streams content.
    pub timeout: HumanDuration,
    /// Calls under way at once, over each of the connections to the service. More fail at once, to be made again.
    pub max_calls: usize,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            url: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            server_name: None,
            timeout: HumanDuration::from_secs(5),
            max_calls: 1024,
        }
    }
}

impl Validate for UpstreamConfig {
    fn validate(&self) -> Result<(), Invalid> {
        positive("timeout", self.timeout)?;
        if !(1..=1 << 20).contains(&self.max_calls) {
            return Err(Invalid::new("max_calls", "must be from 1 to 1048576"));
        }
        if let Some(url) = &self.url {
            let mut schemes = Vec::new();
            for url in url.split(',') {
                let uri: http::Uri = url
                    .trim()
                    .parse()
                    .map_err(|_| Invalid::new("url", "is not a URL such as http://host:port"))?;
                if uri.host().is_none_or(str::is_empty) {
                    return Err(Invalid::new("url", "must name a host"));
                }
                schemes.push(uri.scheme_str().map(str::to_owned));
            }
            let secure = match schemes.first().and_then(Option::as_deref) {
                Some("http") => false,
                Some("https") => true,
                _ => return Err(Invalid::new("url", "must start with http:// or https://")),
            };
            if schemes.iter().any(|scheme| Some(scheme) != schemes.first()) {
                return Err(Invalid::new("url", "must have one scheme for all replicas"));
            }
            if secure && self.ca_file.is_none() {
                return Err(Invalid::new("ca_file", "is needed with an https:// URL"));
            }
            if !secure && (self.ca_file.is_some() || self.cert_file.is_some() || self.key_file.is_some()) {
                return Err(Invalid::new("url", "must start with https:// when TLS files are given"));
            }
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            return Err(Invalid::new("cert_file", "and key_file go together"));
        }
        for (key, file) in
            [("ca_file", &self.ca_file), ("cert_file", &self.cert_file), ("key_file", &self.key_file)]
        {
            file.as_deref().map_or(Ok(()), |file| readable(key, file))?;
        }
        Ok(())
    }
}

/// `[telemetry]`: logs, traces, metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// What is logged: a level, or directives as of `tracing_subscriber::EnvFilter`
    /// (`info,holdall_blob=debug`).
    pub log: String,
    /// How it is written.
    pub format: LogFormat,
    /// Where traces and metrics are sent by OTLP over gRPC, such as `http://localhost:4317`. Nowhere when
    /// absent.
    pub otlp_endpoint: Option<String>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// [`Pretty`](Self::Pretty) on a terminal, [`Json`](Self::Json) otherwise.
    #[default]
    Auto,
    /// One coloured line for people.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { log: "info".to_owned(), format: LogFormat::Auto, otlp_endpoint: None }
    }
}

impl Validate for TelemetryConfig {
    fn validate(&self) -> Result<(), Invalid> {
        crate::telemetry::filter(&self.log).map_err(|error| Invalid::new("log", error.to_string()))?;
        if let Some(endpoint) = &self.otlp_endpoint {
            let scheme = endpoint.parse::<http::Uri>().ok().and_then(|uri| uri.scheme().cloned());
            if scheme.is_none_or(|scheme| scheme != http::uri::Scheme::HTTP) {
                return Err(Invalid::new("otlp_endpoint", "must be a URL that starts with http://"));
            }
        }
        Ok(())
    }
}

/// `[shutdown]`: how a process ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// From SIGTERM on, how long health checks say that nothing new should be sent here while whatever comes is still taken.
    pub drain: HumanDuration,
    /// How long requests that are under way after that may take to finish.
    pub timeout: HumanDuration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { drain: HumanDuration::from_secs(0), timeout: HumanDuration::from_secs(30) }
    }
}

impl Validate for ShutdownConfig {
    fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

/// Limits on request bodies, for the section of a process that takes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BodyConfig {
    /// Time without a byte of the body.
    pub idle_timeout: HumanDuration,
    /// Bytes a second below which a sender is cut off, measured over 60 s of waiting for it.
    pub min_rate: ByteSize,
}

impl Default for BodyConfig {
    fn default() -> Self {
        Self { idle_timeout: HumanDuration::from_secs(30), min_rate: ByteSize::new(1024) }
    }
}

impl Validate for BodyConfig {
    fn validate(&self) -> Result<(), Invalid> {
        positive("idle_timeout", self.idle_timeout)
    }
}

fn positive(key: &str, value: HumanDuration) -> Result<(), Invalid> {
    if value.get().is_zero() { Err(Invalid::new(key, "must be longer than 0")) } else { Ok(()) }
}

fn readable(key: &str, file: &Path) -> Result<(), Invalid> {
    std::fs::File::open(file)
        .map(drop)
        .map_err(|error| Invalid::new(key, format!("cannot read {}: {error}", file.display())))
}
