//! What an operator can set. Inert data: [`build`](crate::build) makes a service of it.

use std::path::PathBuf;

use holdall_runtime::config::{
    AdminConfig, ByteSize, DataConfig, HumanDuration, Invalid, ProcessConfig, ServerConfig, ShutdownConfig,
    TelemetryConfig, UpstreamConfig, Validate,
};
use holdall_sql::Settings;
use serde::{Deserialize, Serialize};

use crate::domain::space::MAX_BYTES;

/// The configuration of the process `holdall-metadata`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    /// Where it listens.
    pub server: ServerConfig,
    /// Where it keeps files; used when the database is a SQLite file.
    pub data: DataConfig,
    /// Where the auth service is, whose keys verify access tokens.
    pub auth: UpstreamConfig,
    /// The service itself.
    pub metadata: Config,
    /// The listener for operators.
    pub admin: AdminConfig,
    /// Logs, traces, metrics.
    pub telemetry: TelemetryConfig,
    /// How it stops.
    pub shutdown: ShutdownConfig,
}

impl Validate for Process {
    fn validate(&self) -> Result<(), Invalid> {
        self.server.validate().map_err(|invalid| invalid.within("server"))?;
        self.server.check_calls(&holdall_proto::methods()).map_err(|invalid| invalid.within("server"))?;
        self.data.validate().map_err(|invalid| invalid.within("data"))?;
        self.auth.validate().map_err(|invalid| invalid.within("auth"))?;
        self.metadata.validate().map_err(|invalid| invalid.within("metadata"))?;
        self.telemetry.validate().map_err(|invalid| invalid.within("telemetry"))?;
        self.shutdown.validate().map_err(|invalid| invalid.within("shutdown"))?;
        if self.auth.url.is_none() {
            return Err(Invalid::new(
                "auth.url",
                "must say where the auth service is, such as http://host:port",
            ));
        }
        if self.metadata.grants.key_files.is_empty() {
            return Err(Invalid::new(
                "metadata.grants.key_files",
                "must name a file with the key shared with blob; make one with: openssl rand -hex 32",
            ));
        }
        Ok(())
    }
}

impl ProcessConfig for Process {
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

/// `[metadata]`: the service, in a process of its own or inside the gateway's.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The database; without a URL the file `metadata.db` in the data directory.
    pub database: Settings,
    /// What is shared with blob.
    pub grants: GrantsConfig,
    /// New spaces.
    pub spaces: SpacesConfig,
    /// Uploads under way.
    pub uploads: UploadsConfig,
    /// What becomes of deleted things.
    pub trash: TrashConfig,
    /// Text and files on their way from one device to another.
    pub buffer: BufferConfig,
}

impl Validate for Config {
    fn validate(&self) -> Result<(), Invalid> {
        if self.database.max_connections == 0 {
            return Err(Invalid::new("database.max_connections", "must be at least 1"));
        }
        self.grants.validate().map_err(|invalid| invalid.within("grants"))?;
        self.spaces.validate().map_err(|invalid| invalid.within("spaces"))?;
        self.uploads.validate().map_err(|invalid| invalid.within("uploads"))?;
        self.trash.validate().map_err(|invalid| invalid.within("trash"))?;
        self.buffer.validate().map_err(|invalid| invalid.within("buffer"))
    }
}

/// `[metadata.grants]`: the leave to read and write that blob honours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrantsConfig {
    /// Files with keys (64 hexadecimal digits each) that blob has too. The first seals, all open.
    pub key_files: Vec<PathBuf>,
    /// How long after its making a read grant may start a read. A read that has started goes on.
    pub read_lifetime: HumanDuration,
}

impl Default for GrantsConfig {
    fn default() -> Self {
        Self { key_files: Vec::new(), read_lifetime: HumanDuration::from_secs(5 * 60) }
    }
}

impl Validate for GrantsConfig {
    fn validate(&self) -> Result<(), Invalid> {
        between(
            "read_lifetime",
            self.read_lifetime,
            HumanDuration::from_secs(1),
            HumanDuration::from_secs(24 * 3600),
        )
    }
}

/// `[metadata.spaces]`: what a new space starts with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpacesConfig {
    /// The most bytes that all versions of all files in it may come to, the trash and the buffer included.
    pub default_quota: ByteSize,
    /// The same for spaces of the installation itself, which hold what belongs to nobody in particular.
    pub system_quota: ByteSize,
}

impl Default for SpacesConfig {
    fn default() -> Self {
        Self { default_quota: ByteSize::new(1 << 40), system_quota: ByteSize::new(50 << 30) }
    }
}

impl Validate for SpacesConfig {
    fn validate(&self) -> Result<(), Invalid> {
        for (key, quota) in [("default_quota", self.default_quota), ("system_quota", self.system_quota)] {
            if quota.get() > MAX_BYTES {
                return Err(Invalid::new(key, "must not be larger than 1048576 TiB"));
            }
        }
        Ok(())
    }
}

/// `[metadata.uploads]`: uploads between their beginning and their commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UploadsConfig {
    /// How long an upload may take. Its write grant and its reservation end then. Answers to repeated requests are kept 24
    /// hours, and no receipt may outlive them, so it is at most 22 hours.
    pub grant_lifetime: HumanDuration,
    /// Uploads announced with more bytes than this reserve their room; smaller ones are only checked at the beginning and
    /// again at the commit.
    pub reserve_above: ByteSize,
}

impl Default for UploadsConfig {
    fn default() -> Self {
        Self { grant_lifetime: HumanDuration::from_secs(12 * 3600), reserve_above: ByteSize::new(1 << 20) }
    }
}

impl Validate for UploadsConfig {
    fn validate(&self) -> Result<(), Invalid> {
        between(
            "grant_lifetime",
            self.grant_lifetime,
            HumanDuration::from_secs(1),
            HumanDuration::from_secs(22 * 3600),
        )
    }
}

/// `[metadata.trash]`: what becomes of deleted things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrashConfig {
    /// How long they can be taken back.
    pub keep: HumanDuration,
}

impl Default for TrashConfig {
    fn default() -> Self {
        Self { keep: HumanDuration::from_secs(30 * 24 * 3600) }
    }
}

impl Validate for TrashConfig {
    fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

/// `[metadata.buffer]`: text and files on their way from one device to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BufferConfig {
    /// How long an entry stays when its sender does not say.
    pub time_to_live: HumanDuration,
    /// The longest that its sender can ask for.
    pub longest: HumanDuration,
    /// How many entries a space keeps; the oldest make room for new ones.
    pub keep: u32,
}

impl Default for BufferConfig {
    fn default() -> Self {
        Self {
            time_to_live: HumanDuration::from_secs(2 * 3600),
            longest: HumanDuration::from_secs(30 * 24 * 3600),
            keep: 20,
        }
    }
}

impl Validate for BufferConfig {
    fn validate(&self) -> Result<(), Invalid> {
        let (second, year) = (HumanDuration::from_secs(1), HumanDuration::from_secs(366 * 24 * 3600));
        between("longest", self.longest, second, year)?;
        between("time_to_live", self.time_to_live, second, self.longest)?;
        if !(1..=1000).contains(&self.keep) {
            return Err(Invalid::new("keep", "must be between 1 and 1000"));
        }
        Ok(())
    }
}

fn between(
    key: &str,
    value: HumanDuration,
    least: HumanDuration,
    most: HumanDuration,
) -> Result<(), Invalid> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(Invalid::new(key, format!("must be between {least} and {most}")))
    }
}

/// A length of time in microseconds.
pub(crate) fn micros(duration: HumanDuration) -> i64 {
    i64::try_from(duration.get().as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_service_are_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn a_process_needs_to_know_auth_and_a_key() {
        let mut process = Process::default();
        assert_eq!(process.validate().unwrap_err().key(), "auth.url");
        process.auth.url = Some("http://localhost:1".to_owned());
        assert_eq!(process.validate().unwrap_err().key(), "metadata.grants.key_files");
        process.metadata.grants.key_files.push("grants.key".into());
        assert_eq!(process.validate(), Ok(()));
    }

    #[test]
    fn quotas_are_bounded() {
        let spaces = SpacesConfig { system_quota: ByteSize::new(MAX_BYTES + 1), ..Default::default() };
        assert_eq!(spaces.validate().unwrap_err().key(), "system_quota");
    }

    #[test]
    fn buffers_are_bounded() {
        let wrong = |change: fn(&mut BufferConfig)| {
            let mut buffer = BufferConfig::default();
            change(&mut buffer);
            buffer.validate().unwrap_err().key().to_owned()
        };
        assert_eq!(wrong(|buffer| buffer.keep = 0), "keep");
        assert_eq!(wrong(|buffer| buffer.keep = 1001), "keep");
        assert_eq!(
            wrong(|buffer| buffer.time_to_live = HumanDuration::from_secs(31 * 24 * 3600)),
            "time_to_live"
        );
        assert_eq!(wrong(|buffer| buffer.longest = HumanDuration::from_secs(400 * 24 * 3600)), "longest");
    }

    #[test]
    fn no_receipt_outlives_the_answers() {
        let uploads =
            UploadsConfig { grant_lifetime: HumanDuration::from_secs(23 * 3600), ..Default::default() };
        assert_eq!(uploads.validate().unwrap_err().key(), "grant_lifetime");
    }
}
