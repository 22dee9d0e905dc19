//! `[compat]`: the five older APIs.

use std::time::Duration;

use holdall_runtime::config::{ByteSize, HumanDuration, Invalid, Validate};
use serde::{Deserialize, Serialize};

/// `[compat]`: the five older APIs, each of which can be switched off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompatConfig {
    /// The fewest characters of a password given through one of them.
    pub password_min_length: u32,
    /// `/storage/…`.
    pub file_storage_api: FileStorageApiConfig,
    /// `/api`, `/file/{id}`, `/f/{id}`.
    pub file_uploader: FileUploaderConfig,
    /// `/account/…`, `/file/load`, `/file/get`, `/file/buffer`.
    pub cloudbuffer: CloudBufferConfig,
    /// `/files`.
    pub file_drop: FileDropConfig,
    /// `/v1`.
    pub syncfile: SyncFileConfig,
}

impl Default for CompatConfig {
    fn default() -> Self {
        Self {
            password_min_length: 1,
            file_storage_api: FileStorageApiConfig::default(),
            file_uploader: FileUploaderConfig::default(),
            cloudbuffer: CloudBufferConfig::default(),
            file_drop: FileDropConfig::default(),
            syncfile: SyncFileConfig::default(),
        }
    }
}

impl CompatConfig {
    /// Whether any of them is on.
    pub fn any(&self) -> bool {
        self.file_storage_api.enabled
            || self.file_uploader.enabled
            || self.cloudbuffer.enabled
            || self.file_drop.enabled
            || self.syncfile.enabled
    }
}

impl Validate for CompatConfig {
    fn validate(&self) -> Result<(), Invalid> {
        if !(1..=256).contains(&self.password_min_length) {
            return Err(Invalid::new("password_min_length", "must be from 1 to 256"));
        }
        self.file_storage_api.validate().map_err(|invalid| invalid.within("file_storage_api"))?;
        self.file_uploader.validate().map_err(|invalid| invalid.within("file_uploader"))?;
        self.cloudbuffer.validate().map_err(|invalid| invalid.within("cloudbuffer"))?;
        self.syncfile.validate().map_err(|invalid| invalid.within("syncfile"))
    }
}

/// `[compat.file_storage_api]`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileStorageApiConfig {
    /// Whether it is served.
    pub enabled: bool,
    /// Whoever sends this as `Authorization: Bearer` may call every method for every user; a user's own session only those
    /// for that user. Empty for nobody. At least 16 characters.
    pub service_token: String,
}

impl Default for FileStorageApiConfig {
    fn default() -> Self {
        Self { enabled: true, service_token: String::new() }
    }
}

impl std::fmt::Debug for FileStorageApiConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileStorageApiConfig").field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

impl Validate for FileStorageApiConfig {
    fn validate(&self) -> Result<(), Invalid> {
        let token = &self.service_token;
        let usable =
            token.is_empty() || (token.len() >= 16 && token.bytes().all(|byte| byte.is_ascii_graphic()));
        if usable {
            Ok(())
        } else {
            Err(Invalid::new("service_token", "must have at least 16 visible ASCII characters, or be empty"))
        }
    }
}

/// `[compat.file_uploader]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileUploaderConfig {
    /// Whether it is served.
    pub enabled: bool,
    /// How long an access token lives.
    pub token_seconds: u32,
    /// How long that of a bot lives.
    pub bot_token_seconds: u32,
    /// Uploads in a minute, of a client and of an account; 0 for any number.
    pub uploads_per_minute: u32,
    /// Calls of any other kind in a minute, of a client and of an account, each kind for itself; 0 for any number.
    pub calls_per_minute: u32,
    /// The largest file.
    pub max_file_size: ByteSize,
    /// How long a file that was uploaded without an account stays.
    pub anonymous_time_to_live: HumanDuration,
    /// Bytes that a client may upload without an account in a day.
    pub anonymous_bytes_per_day: ByteSize,
}

impl Default for FileUploaderConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            token_seconds: 432_000,
            bot_token_seconds: 15_552_000,
            uploads_per_minute: 2,
            calls_per_minute: 10,
            max_file_size: ByteSize::new(100 << 20),
            anonymous_time_to_live: HumanDuration::from_secs(30 * 24 * 3600),
            anonymous_bytes_per_day: ByteSize::new(1 << 30),
        }
    }
}

impl Validate for FileUploaderConfig {
    fn validate(&self) -> Result<(), Invalid> {
        // Sessions of older APIs live for a year at most, and those of a token a little longer than it.
        let lifetimes =
            [("token_seconds", self.token_seconds), ("bot_token_seconds", self.bot_token_seconds)];
        for (key, seconds) in lifetimes {
            if !(1..=360 * 24 * 3600).contains(&seconds) {
                return Err(Invalid::new(key, "must be from 1 second to 360 days"));
            }
        }
        positive("anonymous_time_to_live", self.anonymous_time_to_live.get())
    }
}

/// `[compat.cloudbuffer]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CloudBufferConfig {
    /// Whether it is served.
    pub enabled: bool,
    /// How long files and the buffer stay (`EXPIRE_TIME` of the original).
    pub expire_seconds: u32,
    /// How many files an account can store at once (`MAX_FILES` of the original).
    pub max_files: u32,
}

impl Default for CloudBufferConfig {
    fn default() -> Self {
        Self { enabled: true, expire_seconds: 7200, max_files: 1 }
    }
}

impl Validate for CloudBufferConfig {
    fn validate(&self) -> Result<(), Invalid> {
        positive("expire_seconds", Duration::from_secs(self.expire_seconds.into()))?;
        if self.max_files == 0 {
            return Err(Invalid::new("max_files", "must be at least 1"));
        }
        Ok(())
    }
}

/// `[compat.file_drop]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileDropConfig {
    /// Whether it is served.
    pub enabled: bool,
    /// Who may use it. By default everybody where the server listens on the loopback interface only, and accounts
    /// elsewhere.
    pub access: Option<Access>,
}

impl Default for FileDropConfig {
    fn default() -> Self {
        Self { enabled: true, access: None }
    }
}

/// Who may use something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Everybody.
    Open,
    /// Whoever brings the token of a session.
    Account,
}

/// `[compat.syncfile]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyncFileConfig {
    /// Whether it is served.
    pub enabled: bool,
    /// How long an authid lives.
    pub authid_seconds: u32,
    /// How long a short link lives.
    pub link_seconds: u32,
}

impl Default for SyncFileConfig {
    fn default() -> Self {
        Self { enabled: true, authid_seconds: 72_000, link_seconds: 86_400 }
    }
}

impl Validate for SyncFileConfig {
    fn validate(&self) -> Result<(), Invalid> {
        for (key, seconds) in [("authid_seconds", self.authid_seconds), ("link_seconds", self.link_seconds)] {
            if !(1..=360 * 24 * 3600).contains(&seconds) {
                return Err(Invalid::new(key, "must be from 1 second to 360 days"));
            }
        }
        Ok(())
    }
}

fn positive(key: &str, value: Duration) -> Result<(), Invalid> {
    if value.is_zero() { Err(Invalid::new(key, "must be longer than 0")) } else { Ok(()) }
}
