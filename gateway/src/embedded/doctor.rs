//! What the services in this process add to `doctor`.

use std::path::PathBuf;

use holdall_proto::grant::KeyRing;
use holdall_runtime::doctor::{Holder, Report};
use holdall_runtime::keyfile;

use super::GRANTS_KEY;
use crate::config::Config;

/// Looks at what each of them needs.
pub async fn look(config: &Config, report: &mut Report) {
    let dir = &config.data.dir;
    if config.auth.is_embedded() {
        holdall_auth::doctor::look(&config.auth.embedded.clone().within(dir), report).await;
    } else {
        for file in &config.auth.embedded.delegation.key_files {
            report.key_file("auth.delegation.key_files", file);
        }
    }
    // Those that are made where none are named.
    for name in [GRANTS_KEY, "delegation.key"] {
        let file = dir.join("keys").join(name);
        if file.is_file() {
            report.key_file("keys", &file);
        }
    }
    if config.metadata.is_embedded() {
        holdall_metadata::doctor::look(&config.metadata.embedded, dir, report).await;
    }
    if config.blob.is_embedded() {
        holdall_blob::doctor::look(&config.blob.embedded, &dir.join("blob"), report).await;
    }
}

/// Looks whether services hold the same keys where they have to, as far as that can be asked.
pub async fn compare_keys(config: &Config, report: &mut Report) {
    let mut grants = report.keys_of("metadata", &config.metadata.upstream, "grants").await;
    grants.extend(report.keys_of("blob", &config.blob.upstream, "grants").await);
    if !(config.metadata.is_embedded() && config.blob.is_embedded()) {
        for (is_embedded, name, files) in [
            (config.metadata.is_embedded(), "metadata in here", &config.metadata.embedded.grants.key_files),
            (config.blob.is_embedded(), "blob in here", &config.blob.embedded.grants.key_files),
        ] {
            grants.extend(holder(name, files).filter(|_| is_embedded));
        }
    }
    report.same_keys("grants", &grants);
    let mut delegation = report.keys_of("auth", &config.auth.upstream, "delegation").await;
    if !config.auth.is_embedded() {
        delegation.extend(holder("this", &config.auth.embedded.delegation.key_files));
    }
    report.same_keys("delegation", &delegation);
}

/// Keys in files; none where they cannot be read, which is said elsewhere.
fn holder(name: &str, files: &[PathBuf]) -> Option<Holder> {
    let keys: Vec<[u8; 32]> = files.iter().map(|file| keyfile::load(file)).collect::<Result<_, _>>().ok()?;
    let (first, others) = keys.split_first()?;
    let ids = others.iter().fold(KeyRing::new(first), KeyRing::and).ids();
    Some(Holder { name: name.to_owned(), ids })
}
