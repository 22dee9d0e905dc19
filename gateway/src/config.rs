//! What an operator can set. Inert data; [`embedded`] and [`run`](crate::run()) make a server of it.

use std::net::{Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use holdall_runtime::config::{
    AdminConfig, BodyConfig, ByteSize, DataConfig, Invalid, ProcessConfig, ServerConfig, ShutdownConfig,
    TelemetryConfig, UpstreamConfig, Validate,
};
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::{Table, Value};

use crate::compat::config::CompatConfig;
use crate::embedded;

/// The configuration of the process `holdall-gateway`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where it listens, by default on `127.0.0.1:8080`.
    pub server: ServerConfig,
    /// How the public reaches it.
    pub public: PublicConfig,
    /// Limits on request bodies.
    pub body: BodyConfig,
    /// Where the services inside this process keep their files.
    pub data: DataConfig,
    /// Accounts and sessions.
    pub auth: ServiceConfig<embedded::AuthConfig>,
    /// Folders, files, links.
    pub metadata: ServiceConfig<embedded::MetadataConfig>,
    /// Bytes.
    pub blob: ServiceConfig<embedded::BlobConfig>,
    /// The five older APIs.
    pub compat: CompatConfig,
    /// How often somebody may ask.
    pub rate_limits: RateLimitsConfig,
    /// What is kept of services that run elsewhere.
    pub memory: MemoryConfig,
    /// The listener for operators.
    pub admin: AdminConfig,
    /// Logs, traces, metrics.
    pub telemetry: TelemetryConfig,
    /// How it stops.
    pub shutdown: ShutdownConfig,
}

impl Default for Config {
    fn default() -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        Self {
            server: ServerConfig { listen, ..ServerConfig::default() },
            public: PublicConfig::default(),
            body: BodyConfig::default(),
            data: DataConfig::default(),
            auth: ServiceConfig::default(),
            metadata: ServiceConfig::default(),
            blob: ServiceConfig::default(),
            compat: CompatConfig::default(),
            rate_limits: RateLimitsConfig::default(),
            memory: MemoryConfig::default(),
            admin: AdminConfig::default(),
            telemetry: TelemetryConfig::default(),
            shutdown: ShutdownConfig::default(),
        }
    }
}

impl Validate for Config {
    fn validate(&self) -> Result<(), Invalid> {
        self.server.validate().map_err(|invalid| invalid.within("server"))?;
        if self.server.tls.as_ref().is_some_and(|tls| tls.client_calls.is_some()) {
            return Err(Invalid::new("server.tls.client_calls", "is for the services behind the gateway"));
        }
        self.public.validate().map_err(|invalid| invalid.within("public"))?;
        self.body.validate().map_err(|invalid| invalid.within("body"))?;
        self.data.validate().map_err(|invalid| invalid.within("data"))?;
        self.auth.validate().map_err(|invalid| invalid.within("auth"))?;
        self.metadata.validate().map_err(|invalid| invalid.within("metadata"))?;
        self.blob.validate().map_err(|invalid| invalid.within("blob"))?;
        self.compat.validate().map_err(|invalid| invalid.within("compat"))?;
        embedded::validate(self)?;
        self.telemetry.validate().map_err(|invalid| invalid.within("telemetry"))?;
        self.shutdown.validate().map_err(|invalid| invalid.within("shutdown"))
    }
}

impl ProcessConfig for Config {
    fn telemetry(&self) -> &TelemetryConfig {
        &self.telemetry
    }

    fn shutdown(&self) -> &ShutdownConfig {
        &self.shutdown
    }

    fn admin(&self) -> &AdminConfig {
        &self.admin
    }
}

/// `[public]`: how the public reaches the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PublicConfig {
    /// The start of links: `https://files.example.org`. Without it links start as the request did that asked for them,
    /// which is wrong behind a proxy that changes the host or takes off TLS.
    pub url: Option<String>,
    /// Further addresses to listen on, such as the ports that clients of the older APIs know.
    pub also_listen: Vec<SocketAddr>,
    /// Networks of proxies whose `X-Forwarded-For` is believed, such as `10.0.0.0/8`.
    pub trusted_proxies: Vec<IpNet>,
}

/// `[rate_limits]`: how often somebody may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimitsConfig {
    /// Whether there are any limits, those of the services in this process included. To be switched off for tests only.
    pub enabled: bool,
}

impl Default for RateLimitsConfig {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// `[memory]`: what is kept of services that run elsewhere. Counts for nothing where they run in here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// Memory for answers of metadata, about; 0 keeps none. Metadata is asked each time whether they are still right.
    pub answers: ByteSize,
    /// Memory for contents of at most 64 KiB, about; 0 keeps none.
    pub contents: ByteSize,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { answers: ByteSize::new(32 << 20), contents: ByteSize::new(32 << 20) }
    }
}

impl PublicConfig {
    /// The URL without a slash at the end.
    pub fn base(&self) -> Option<String> {
        self.url.as_ref().map(|url| url.trim_end_matches('/').to_owned())
    }
}

impl Validate for PublicConfig {
    fn validate(&self) -> Result<(), Invalid> {
        let Some(url) = &self.url else { return Ok(()) };
        let uri: Result<http::Uri, _> = url.parse();
        let usable = uri.is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.query().is_none()
                && uri.path() == "/"
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        });
        if usable { Ok(()) } else { Err(Invalid::new("url", "must look like https://files.example.org")) }
    }
}

/// `[auth]`, `[metadata]`, `[blob]`: a service that runs elsewhere when there is a `url`, and inside this process when
/// there is none.
///
/// The keys of [`UpstreamConfig`] and those of the service stand side by side in one section.
#[derive(Clone, Debug, Default)]
pub struct ServiceConfig<C> {
    /// How the service is reached when it runs elsewhere.
    pub upstream: UpstreamConfig,
    /// The service when it runs in here.
    pub embedded: C,
}

impl<C> ServiceConfig<C> {
    /// Whether the service runs inside this process.
    pub fn is_embedded(&self) -> bool {
        self.upstream.url.is_none()
    }
}

impl<C: Validate> Validate for ServiceConfig<C> {
    fn validate(&self) -> Result<(), Invalid> {
        self.upstream.validate()?;
        if self.is_embedded() {
            for (key, file) in [("ca_file", &self.upstream.ca_file), ("cert_file", &self.upstream.cert_file)]
            {
                if file.is_some() {
                    return Err(Invalid::new(key, "goes with url"));
                }
            }
            self.embedded.validate()?;
        }
        Ok(())
    }
}

impl<C: Serialize> Serialize for ServiceConfig<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut table = Table::try_from(&self.embedded).map_err(S::Error::custom)?;
        table.extend(Table::try_from(&self.upstream).map_err(S::Error::custom)?);
        table.serialize(serializer)
    }
}

/// Serde's own `flatten` does not go with refusing unknown keys.
impl<'de, C: DeserializeOwned> Deserialize<'de> for ServiceConfig<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const UPSTREAM: [&str; 7] =
            ["url", "ca_file", "cert_file", "key_file", "server_name", "timeout", "max_calls"];
        let (upstream, embedded): (Table, Table) = Table::deserialize(deserializer)?
            .into_iter()
            .partition(|(key, _)| UPSTREAM.contains(&key.as_str()));
        Ok(Self {
            upstream: UpstreamConfig::deserialize(Value::Table(upstream))
                .map_err(|error| D::Error::custom(error.message()))?,
            embedded: C::deserialize(Value::Table(embedded))
                .map_err(|error| D::Error::custom(error.message()))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use holdall_runtime::config::{Args, ConfigError, load_from};

    use super::*;

    fn load(file: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&path, file).unwrap();
        let args = Args { config: Some(path.path().to_owned()), ..Args::default() };
        load_from(&args, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn without_anything_all_runs_in_one_process() {
        let config = load("", &[]).unwrap();
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
        assert!(config.auth.is_embedded() && config.metadata.is_embedded() && config.blob.is_embedded());
    }

    #[test]
    fn a_url_moves_a_service_elsewhere() {
        let file = "[auth]\nurl = \"http://auth:1\"\n[auth.delegation]\nkey_files = [\"delegation.key\"]\n[metadata]\nurl = \"http://metadata:1\"\ntimeout = \"3s\"\n";
        let config = load(file, &[("HOLDALL_BLOB__URL", "http://blob:1")]).unwrap();
        assert!(!config.auth.is_embedded() && !config.metadata.is_embedded() && !config.blob.is_embedded());
        assert_eq!(config.metadata.upstream.timeout.to_string(), "3s");
        assert_eq!(config.blob.upstream.url.as_deref(), Some("http://blob:1"));
    }

    #[test]
    fn keys_of_a_service_stand_in_its_section() {
        let file = "[metadata.spaces]\ndefault_quota = \"5GiB\"\n[auth.password]\nmin_length = 12\n";
        let config = load(file, &[("HOLDALL_METADATA__TRASH__KEEP", "7d")]).unwrap();
        assert_eq!(config.metadata.embedded.spaces.default_quota.get(), 5 << 30);
        assert_eq!(config.metadata.embedded.trash.keep.to_string(), "7d");
    }

    #[test]
    fn unknown_keys_and_nonsense_are_refused() {
        for file in [
            "colour = 1",
            "[public]\nurl = \"files.example.org\"",
            "[public]\nurl = \"https://files.example.org/deep\"",
            "[public]\nurl = \"ftp://files.example.org\"",
            "[public]\nurl = \"https://user@files.example.org\"",
            "[auth]\nurls = \"http://auth:1\"",
            "[auth]\nurl = \"auth:1\"",
            "[metadata.space]\ndefault_quota = 1",
            "[metadata]\ntimeout = \"soon\"",
            "[server]\nlisten = \"nowhere\"",
        ] {
            assert!(load(file, &[]).is_err(), "{file}");
        }
        assert!(load("", &[("HOLDALL_AUTH__PASSWRD__MIN_LENGTH", "12")]).is_err());
    }

    #[test]
    fn services_apart_need_a_key_that_both_have() {
        let error = load("[blob]\nurl = \"http://blob:1\"", &[]).unwrap_err();
        assert!(error.to_string().contains("metadata.grants.key_files"), "{error}");
        let error = load("[metadata]\nurl = \"http://metadata:1\"", &[]).unwrap_err();
        assert!(error.to_string().contains("blob.grants.key_files"), "{error}");
    }

    #[test]
    fn older_apis_need_a_key_that_auth_has_too() {
        let error = load("[auth]\nurl = \"http://auth:1\"", &[]).unwrap_err();
        assert!(error.to_string().contains("auth.delegation.key_files"), "{error}");
        let off = [
            ("HOLDALL_COMPAT__FILE_STORAGE_API__ENABLED", "false"),
            ("HOLDALL_COMPAT__FILE_UPLOADER__ENABLED", "false"),
            ("HOLDALL_COMPAT__CLOUDBUFFER__ENABLED", "false"),
            ("HOLDALL_COMPAT__FILE_DROP__ENABLED", "false"),
            ("HOLDALL_COMPAT__SYNCFILE__ENABLED", "false"),
        ];
        assert!(load("[auth]\nurl = \"http://auth:1\"", &off).is_ok());
    }

    #[test]
    fn the_example_is_valid_and_shows_the_defaults() {
        let text =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/config.example.toml"))
                .unwrap();
        // Every key is there, commented out: what a reader sees is what holds without a file.
        let shown: String = text
            .lines()
            .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '#'])).unwrap_or(line))
            .fold(String::new(), |all, line| all + line + "\n");
        let shown: Table = toml::from_str(&shown).unwrap();
        let mut defaults = Table::try_from(Config::default()).unwrap();
        let mut missing = Vec::new();
        compare("", &mut defaults, &shown, &mut missing);
        assert_eq!(missing, Vec::<String>::new());
        load(&text, &[]).unwrap();
    }

    /// Notes every default that is not shown as it is. Keys without a default, which are shown with an example, are
    /// checked by reading the file.
    fn compare(at: &str, defaults: &mut Table, shown: &Table, missing: &mut Vec<String>) {
        for (key, default) in defaults {
            let path = format!("{at}{key}");
            match (default, shown.get(key)) {
                (Value::Table(defaults), Some(Value::Table(shown))) => {
                    compare(&format!("{path}."), defaults, shown, missing);
                }
                (Value::Table(defaults), None) if defaults.is_empty() => {}
                (default, Some(shown)) if default == shown => {}
                (Value::Array(default), Some(Value::Array(_))) if default.is_empty() => {}
                (Value::String(default), Some(Value::String(_))) if default.is_empty() => {}
                (default, shown) => missing.push(format!("{path} = {default} is shown as {shown:?}")),
            }
        }
    }
}
