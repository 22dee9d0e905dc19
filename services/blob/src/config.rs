//! What an operator can set. Inert data: [`build`](crate::build) makes a service of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdall_runtime::config::{
    ByteSize, DataConfig, HumanDuration, Invalid, ProcessConfig, ServerConfig, ShutdownConfig,
    TelemetryConfig, Validate,
};
use serde::{Deserialize, Serialize};

use crate::domain::compress::{self, Compression};
use crate::domain::cut;
use crate::domain::payload::Encoding;
use crate::domain::seal::Keys;
use crate::store::Settings;
use crate::store::packs;
use crate::store::reader::Limits;

/// The configuration of the process `holdall-blob`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    /// Where it listens.
    pub server: ServerConfig,
    /// Where it keeps packs, and the index when that is a SQLite file.
    pub data: DataConfig,
    /// The service itself.
    pub blob: Config,
    /// Logs, traces, metrics.
    pub telemetry: TelemetryConfig,
    /// How it stops.
    pub shutdown: ShutdownConfig,
}

impl Validate for Process {
    fn validate(&self) -> Result<(), Invalid> {
        self.server.validate().map_err(|invalid| invalid.within("server"))?;
        self.data.validate().map_err(|invalid| invalid.within("data"))?;
        self.blob.validate().map_err(|invalid| invalid.within("blob"))?;
        self.telemetry.validate().map_err(|invalid| invalid.within("telemetry"))?;
        self.shutdown.validate().map_err(|invalid| invalid.within("shutdown"))?;
        if self.blob.grants.key_files.is_empty() {
            return Err(Invalid::new(
                "blob.grants.key_files",
                "must name a file with the key shared with metadata; make one with: openssl rand -hex 32",
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
}

/// `[blob]`: the service, in a process of its own or inside the gateway's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The database of the index; without a URL the file `index.db` in the data directory. It belongs to these packs alone, and
    /// when it is lost, an empty one is filled from them at the next start.
    pub index: holdall_sql::Settings,
    /// What is shared with metadata.
    pub grants: GrantsConfig,
    /// The files that hold content.
    pub packs: PacksConfig,
    /// Encryption of content.
    pub encryption: EncryptionConfig,
    /// Content on its way in.
    pub uploads: UploadsConfig,
    /// Content on its way out.
    pub downloads: DownloadsConfig,
}

impl Config {
    /// How to set up the store in `data_dir`. What it holds is encrypted with `keys`.
    pub(crate) fn store(&self, data_dir: &Path, keys: Keys) -> Settings {
        let compression = self.packs.compression.then(|| Compression::new(self.packs.compression_level));
        Settings {
            packs: packs::Settings::Disk(packs::disk::Settings {
                folder: data_dir.join("packs"),
                max_size: self.packs.max_size.get(),
                reserve: self.packs.reserve.map(ByteSize::get),
            }),
            encoding: Arc::new(Encoding::new(compression, keys)),
            small_memory: bytes(self.uploads.small_memory),
            bulk_memory: bytes(self.uploads.memory),
            reading: Limits {
                memory: bytes(self.downloads.memory),
                chunk_cache: self.downloads.content_cache.get(),
                blob_cache: self.downloads.manifest_cache.get(),
            },
        }
    }
}

impl Validate for Config {
    fn validate(&self) -> Result<(), Invalid> {
        if self.index.max_connections == 0 {
            return Err(Invalid::new("index.max_connections", "must be at least 1"));
        }
        self.packs.validate().map_err(|invalid| invalid.within("packs"))?;
        self.uploads.validate().map_err(|invalid| invalid.within("uploads"))?;
        self.downloads.validate().map_err(|invalid| invalid.within("downloads"))
    }
}

/// `[blob.grants]`: the leave to read and write that metadata gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrantsConfig {
    /// Files with keys (64 hexadecimal digits each) that metadata has too. The first seals, all open.
    pub key_files: Vec<PathBuf>,
}

/// `[blob.encryption]`: what stands in packs is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncryptionConfig {
    /// Files with keys (64 hexadecimal digits each). The first encrypts, all decrypt; without any, nothing is encrypted.
    pub key_files: Vec<PathBuf>,
}

/// `[blob.packs]`: the files that hold content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PacksConfig {
    /// A pack of this size is not written to any more.
    pub max_size: ByteSize,
    /// How much of the disk is left to others: with less than this free, nothing new is taken in. 5 % of the disk, at most
    /// 1 GiB, when absent.
    pub reserve: Option<ByteSize>,
    /// Whether content is compressed that becomes notably smaller by it.
    pub compression: bool,
    /// How hard that is tried: a level of zstd.
    pub compression_level: i32,
}

impl Default for PacksConfig {
    fn default() -> Self {
        Self { max_size: ByteSize::new(1 << 30), reserve: None, compression: true, compression_level: 1 }
    }
}

impl Validate for PacksConfig {
    fn validate(&self) -> Result<(), Invalid> {
        between("max_size", self.max_size, ByteSize::new(16 << 20), ByteSize::new(1 << 40))?;
        if !compress::LEVELS.contains(&self.compression_level) {
            let (least, most) = (compress::LEVELS.start(), compress::LEVELS.end());
            return Err(Invalid::new("compression_level", format!("must be from {least} to {most}")));
        }
        Ok(())
    }
}

/// `[blob.uploads]`: content on its way in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UploadsConfig {
    /// Memory for all content on its way in, but for that of small blobs. When it is short, content is stored in smaller chunks,
    /// of which fewer are recognized.
    pub memory: ByteSize,
    /// Memory for content of blobs of up to 256 KiB.
    pub small_memory: ByteSize,
    /// How long a writer may be silent.
    pub idle_timeout: HumanDuration,
}

impl Default for UploadsConfig {
    fn default() -> Self {
        Self {
            memory: ByteSize::new(64 << 20),
            small_memory: ByteSize::new(32 << 20),
            idle_timeout: HumanDuration::from_secs(30),
        }
    }
}

impl Validate for UploadsConfig {
    fn validate(&self) -> Result<(), Invalid> {
        at_least("memory", self.memory, ByteSize::new(16 << 20))?;
        at_least("small_memory", self.small_memory, ByteSize::new(1 << 20))?;
        if self.idle_timeout.get().is_zero() {
            return Err(Invalid::new("idle_timeout", "must be longer than 0"));
        }
        Ok(())
    }
}

/// `[blob.downloads]`: content on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DownloadsConfig {
    /// Memory for all content on its way out, but for that of small blobs.
    pub memory: ByteSize,
    /// Memory for keeping the content of small blobs that were read.
    pub content_cache: ByteSize,
    /// Memory for keeping what blobs are made of.
    pub manifest_cache: ByteSize,
}

impl Default for DownloadsConfig {
    fn default() -> Self {
        Self {
            memory: ByteSize::new(96 << 20),
            content_cache: ByteSize::new(32 << 20),
            manifest_cache: ByteSize::new(16 << 20),
        }
    }
}

impl Validate for DownloadsConfig {
    fn validate(&self) -> Result<(), Invalid> {
        at_least("memory", self.memory, ByteSize::new(4 * cut::MAX as u64))
    }
}

fn at_least(key: &str, value: ByteSize, least: ByteSize) -> Result<(), Invalid> {
    between(key, value, least, ByteSize::new(u64::MAX))
}

fn between(key: &str, value: ByteSize, least: ByteSize, most: ByteSize) -> Result<(), Invalid> {
    let mebibytes = |size: ByteSize| size.get() >> 20;
    if value < least {
        return Err(Invalid::new(key, format!("must be at least {}MiB", mebibytes(least))));
    }
    if value > most {
        return Err(Invalid::new(key, format!("must be at most {}MiB", mebibytes(most))));
    }
    Ok(())
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.get()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_service_are_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn a_process_needs_a_key() {
        let mut process = Process::default();
        assert_eq!(process.validate().unwrap_err().key(), "blob.grants.key_files");
        process.blob.grants.key_files.push("grants.key".into());
        assert_eq!(process.validate(), Ok(()));
    }

    #[test]
    fn limits_that_could_not_work_are_refused() {
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.validate().unwrap_err().key().to_owned()
        };
        assert_eq!(refused(|config| config.uploads.memory = ByteSize::new(1)), "uploads.memory");
        assert_eq!(refused(|config| config.uploads.small_memory = ByteSize::new(1)), "uploads.small_memory");
        assert_eq!(refused(|config| config.downloads.memory = ByteSize::new(1)), "downloads.memory");
        assert_eq!(refused(|config| config.packs.max_size = ByteSize::new(1)), "packs.max_size");
        assert_eq!(refused(|config| config.packs.max_size = ByteSize::new(1 << 50)), "packs.max_size");
        assert_eq!(refused(|config| config.packs.compression_level = 0), "packs.compression_level");
        assert_eq!(refused(|config| config.packs.compression_level = 10), "packs.compression_level");
        assert_eq!(
            refused(|config| config.uploads.idle_timeout = HumanDuration::from_secs(0)),
            "uploads.idle_timeout"
        );
    }
}
