//! What an operator can set. Inert data: [`build`](crate::build) makes a service of it.

mod s3;

use std::path::PathBuf;
use std::sync::Arc;

use holdall_runtime::config::{
    AdminConfig, ByteSize, DataConfig, HumanDuration, Invalid, ProcessConfig, ServerConfig, ShutdownConfig,
    TelemetryConfig, UpstreamConfig, Validate,
};
use serde::{Deserialize, Serialize};

pub use self::s3::S3Config;
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
    /// How to reach the metadata service, which knows what is in use. Without a URL nothing is deleted.
    pub metadata: UpstreamConfig,
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
        self.blob.validate().map_err(|invalid| invalid.within("blob"))?;
        self.metadata.validate().map_err(|invalid| invalid.within("metadata"))?;
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

    fn admin(&self) -> &AdminConfig {
        &self.admin
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
    /// The bucket that holds them, when they are not on a disk.
    pub s3: S3Config,
    /// Encryption of content.
    pub encryption: EncryptionConfig,
    /// Content on its way in.
    pub uploads: UploadsConfig,
    /// Content on its way out.
    pub downloads: DownloadsConfig,
    /// Deleting what is not used any more.
    pub collection: CollectionConfig,
    /// Giving its room back.
    pub compaction: CompactionConfig,
    /// Looking for damage.
    pub scrub: ScrubConfig,
}

impl Config {
    /// How to set up the store whose packs are kept so. What it holds is encrypted with `keys`.
    pub(crate) fn store(&self, packs: packs::Settings, keys: Keys) -> Settings {
        let compression = self.packs.compression.then(|| Compression::new(self.packs.compression_level));
        Settings {
            packs,
            encoding: Arc::new(Encoding::new(compression, keys)),
            small_memory: bytes(self.uploads.small_memory),
            bulk_memory: bytes(self.uploads.memory),
            max_uploads: self.uploads.max_unfinished,
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
        if self.packs.store == PackStoreKind::S3 {
            self.s3.validate().map_err(|invalid| invalid.within("s3"))?;
        }
        self.uploads.validate().map_err(|invalid| invalid.within("uploads"))?;
        self.downloads.validate().map_err(|invalid| invalid.within("downloads"))?;
        self.collection.validate().map_err(|invalid| invalid.within("collection"))?;
        self.compaction.validate().map_err(|invalid| invalid.within("compaction"))?;
        self.scrub.validate().map_err(|invalid| invalid.within("scrub"))
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncryptionConfig {
    /// Whether anything is encrypted from now on. If not, the keys are for what is encrypted already.
    pub enabled: bool,
    /// Files with keys (64 hexadecimal digits each). The first encrypts, all decrypt; without any, nothing is encrypted.
    pub key_files: Vec<PathBuf>,
}

impl Default for EncryptionConfig {
    fn default() -> Self {
        Self { enabled: true, key_files: Vec::new() }
    }
}

/// Where packs are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackStoreKind {
    /// In a folder of the data directory.
    #[default]
    Disk,
    /// In a bucket: see [`S3Config`].
    S3,
}

/// `[blob.packs]`: the files that hold content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PacksConfig {
    /// Where they are.
    pub store: PackStoreKind,
    /// A pack of this size is not written to any more. On disk only.
    pub max_size: ByteSize,
    /// How much of the disk is left to others: with less than this free, nothing new is taken in. 5 % of the disk, at most
    /// 1 GiB, when absent.
    pub reserve: Option<ByteSize>,
    /// Whether content is compressed that becomes notably smaller by it.
    pub compression: bool,
    /// How hard that is tried: a level of zstd.
    pub compression_level: i32,
}

impl PacksConfig {
    /// How to keep packs in `folder`.
    pub(crate) fn disk(&self, folder: PathBuf) -> packs::Settings {
        packs::Settings::Disk(packs::disk::Settings {
            folder,
            max_size: self.max_size.get(),
            reserve: self.reserve.map(ByteSize::get),
        })
    }
}

impl Default for PacksConfig {
    fn default() -> Self {
        Self {
            store: PackStoreKind::default(),
            max_size: ByteSize::new(1 << 30),
            reserve: None,
            compression: true,
            compression_level: 1,
        }
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
    /// Unfinished uploads that a space may have, of those that can be resumed.
    pub max_unfinished: u64,
}

impl Default for UploadsConfig {
    fn default() -> Self {
        Self {
            memory: ByteSize::new(64 << 20),
            small_memory: ByteSize::new(32 << 20),
            idle_timeout: HumanDuration::from_secs(30),
            max_unfinished: 1000,
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

/// `[blob.collection]`: deleting blobs that metadata does not use any more, and chunks that no blob needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollectionConfig {
    /// Whether it is done.
    pub enabled: bool,
    /// How long something must have been out of use. Longer than any grant or receipt of metadata lives, which is 22 hours at
    /// most; so at least 24 hours.
    pub grace: HumanDuration,
}

impl Default for CollectionConfig {
    fn default() -> Self {
        Self { enabled: true, grace: HumanDuration::from_secs(48 * 3600) }
    }
}

impl Validate for CollectionConfig {
    fn validate(&self) -> Result<(), Invalid> {
        if self.grace < HumanDuration::from_secs(24 * 3600) {
            return Err(Invalid::new("grace", "must be at least 24h"));
        }
        Ok(())
    }
}

/// `[blob.compaction]`: copying what is wanted out of packs that are mostly dead, and deleting these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompactionConfig {
    /// Whether it is done.
    pub enabled: bool,
    /// Of which share on, in percent, what is dead in a pack makes it worth it.
    pub dead_share: u32,
    /// Bytes per second that are read for it.
    pub rate: ByteSize,
    /// How long an emptied pack is kept for those who are reading from it.
    pub delay: HumanDuration,
}

impl Default for CompactionConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            dead_share: 30,
            rate: ByteSize::new(32 << 20),
            delay: HumanDuration::from_secs(3600),
        }
    }
}

impl Validate for CompactionConfig {
    fn validate(&self) -> Result<(), Invalid> {
        if !(1..=100).contains(&self.dead_share) {
            return Err(Invalid::new("dead_share", "must be 1 to 100"));
        }
        at_least("rate", self.rate, ByteSize::new(1 << 20))
    }
}

/// `[blob.scrub]`: reading what is stored, again and again, to find damage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScrubConfig {
    /// Whether it is done.
    pub enabled: bool,
    /// Bytes per second that are read for it; more where everything would not be read in 30 days.
    pub rate: ByteSize,
}

impl Default for ScrubConfig {
    fn default() -> Self {
        Self { enabled: true, rate: ByteSize::new(5 << 20) }
    }
}

impl Validate for ScrubConfig {
    fn validate(&self) -> Result<(), Invalid> {
        at_least("rate", self.rate, ByteSize::new(1 << 20))
    }
}

/// In microseconds.
pub(crate) fn micros(duration: HumanDuration) -> i64 {
    i64::try_from(duration.get().as_micros()).unwrap_or(i64::MAX)
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
        assert_eq!(
            refused(|config| config.collection.grace = HumanDuration::from_secs(86_399)),
            "collection.grace"
        );
        assert_eq!(refused(|config| config.compaction.dead_share = 0), "compaction.dead_share");
        assert_eq!(refused(|config| config.compaction.rate = ByteSize::new(1)), "compaction.rate");
        assert_eq!(refused(|config| config.scrub.rate = ByteSize::new(1)), "scrub.rate");
        assert_eq!(refused(|config| config.packs.max_size = ByteSize::new(1 << 50)), "packs.max_size");
        assert_eq!(refused(|config| config.packs.compression_level = 0), "packs.compression_level");
        assert_eq!(refused(|config| config.packs.compression_level = 10), "packs.compression_level");
        assert_eq!(
            refused(|config| config.uploads.idle_timeout = HumanDuration::from_secs(0)),
            "uploads.idle_timeout"
        );
    }
}
