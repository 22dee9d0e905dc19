//! `[blob.s3]`: the bucket that packs are kept in.

use std::path::PathBuf;

use holdall_runtime::config::{HumanDuration, Invalid, Validate};
use serde::{Deserialize, Serialize};

use crate::store::packs::object::{Secret, Settings};

/// The largest pack that is made of what nobody waits for, in bytes.
const LARGEST_BATCH: u64 = 32 << 20;

/// `[blob.s3]`: the bucket that packs are kept in, on any server of S3 that can make an object on condition that it is not
/// there (`If-None-Match: *`). Several processes with one index on PostgreSQL may share it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Config {
    /// URL of the server; that of AWS in the region when absent.
    pub endpoint: Option<String>,
    /// Name of the region.
    pub region: String,
    /// Name of the bucket, which has to exist.
    pub bucket: String,
    /// What names of objects start with.
    pub prefix: String,
    /// File with the access key; the variable `AWS_ACCESS_KEY_ID` of the environment when absent.
    pub access_key_file: Option<PathBuf>,
    /// File with the secret key; the variable `AWS_SECRET_ACCESS_KEY` of the environment when absent.
    pub secret_key_file: Option<PathBuf>,
    /// Whether the endpoint may be without TLS.
    pub allow_http: bool,
    /// How long a request may take.
    pub request_timeout: HumanDuration,
    /// Requests for reading under way at once. One may be for several chunks.
    pub max_parallel_reads: usize,
    /// Packs that are being written at once.
    pub max_parallel_writes: usize,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: "us-east-1".to_owned(),
            bucket: String::new(),
            prefix: String::new(),
            access_key_file: None,
            secret_key_file: None,
            allow_http: false,
            request_timeout: HumanDuration::from_secs(20),
            max_parallel_reads: 64,
            max_parallel_writes: 8,
        }
    }
}

impl S3Config {
    /// How to keep packs there, with these keys. `memory` is that for content on its way in, in bytes: several packs are to have
    /// room in it.
    pub(crate) fn settings(&self, access_key: Secret, secret_key: Secret, memory: u64) -> Settings {
        Settings {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            bucket: self.bucket.clone(),
            prefix: self.prefix.clone(),
            access_key,
            secret_key,
            allow_http: self.allow_http,
            request_timeout: self.request_timeout.get(),
            max_reads: self.max_parallel_reads,
            max_writes: self.max_parallel_writes,
            batch: LARGEST_BATCH.min(memory / 4),
        }
    }
}

impl Validate for S3Config {
    fn validate(&self) -> Result<(), Invalid> {
        if self.bucket.is_empty() {
            return Err(Invalid::new("bucket", "must name the bucket"));
        }
        if self.region.is_empty() {
            return Err(Invalid::new("region", "must not be empty"));
        }
        let is_part = |part: &str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !part.is_empty() && part != "." && part != ".." && part.bytes().all(is_plain)
        };
        if !self.prefix.is_empty() && !self.prefix.split('/').all(is_part) {
            return Err(Invalid::new(
                "prefix",
                "must be words of letters, digits, '-', '_' and '.', with '/' between them",
            ));
        }
        match self.endpoint.as_deref() {
            None => {}
            Some(url) if url.starts_with("https://") => {}
            Some(url) if url.starts_with("http://") && self.allow_http => {}
            Some(url) if url.starts_with("http://") => {
                return Err(Invalid::new("endpoint", "is without TLS, and allow_http is not set"));
            }
            Some(_) => return Err(Invalid::new("endpoint", "must start with https:// or http://")),
        }
        if self.request_timeout.get().is_zero() {
            return Err(Invalid::new("request_timeout", "must be longer than 0"));
        }
        let parallel = [
            ("max_parallel_reads", self.max_parallel_reads, 1),
            ("max_parallel_writes", self.max_parallel_writes, 2),
        ];
        for (key, value, least) in parallel {
            if !(least..=1024).contains(&value) {
                return Err(Invalid::new(key, format!("must be from {least} to 1024")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_could_not_work_are_refused() {
        let with = |change: fn(&mut S3Config)| {
            let mut config = S3Config { bucket: "blobs".to_owned(), ..S3Config::default() };
            change(&mut config);
            config.validate().map_err(|invalid| invalid.key().to_owned())
        };
        let refused = |change| with(change).unwrap_err();
        assert_eq!(with(|_| ()), Ok(()));
        assert_eq!(with(|config| config.prefix = "holdall/eu-1".to_owned()), Ok(()));
        assert_eq!(with(|config| config.endpoint = Some("https://s3.example.org".to_owned())), Ok(()));
        assert_eq!(refused(|config| config.bucket.clear()), "bucket");
        assert_eq!(refused(|config| config.region.clear()), "region");
        for prefix in ["/a", "a/", "a//b", "..", "a b"] {
            let config =
                S3Config { bucket: "blobs".to_owned(), prefix: prefix.to_owned(), ..S3Config::default() };
            assert_eq!(config.validate().unwrap_err().key(), "prefix", "{prefix}");
        }
        assert_eq!(refused(|config| config.endpoint = Some("s3.example.org".to_owned())), "endpoint");
        let http = |config: &mut S3Config| config.endpoint = Some("http://localhost:3900".to_owned());
        assert_eq!(refused(http), "endpoint");
        assert_eq!(refused(|config| config.request_timeout = HumanDuration::from_secs(0)), "request_timeout");
        assert_eq!(refused(|config| config.max_parallel_reads = 0), "max_parallel_reads");
        assert_eq!(refused(|config| config.max_parallel_writes = 1), "max_parallel_writes");
    }

    #[test]
    fn keys_are_not_shown() {
        let key = |text: &str| Secret(text.to_owned());
        let settings = S3Config::default().settings(key("access"), key("secret"), 128 << 20);
        let shown = format!("{settings:?}");
        assert!(!shown.contains("secret\"") && !shown.contains("\"access"), "{shown}");
        assert_eq!(settings.batch, 32 << 20);
    }
}
