//! What the services in this process add to `doctor`.

use holdall_runtime::doctor::Report;

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
