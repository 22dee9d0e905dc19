//! What this service adds to `doctor`.

use std::path::Path;

use holdall_runtime::doctor::{Report, State};
use holdall_sql::{Durability, inspect};

use crate::config::{Config, Process};
use crate::settings;
use crate::store::MIGRATIONS;

/// Looks at what the service needs.
pub async fn look(config: &Config, data_dir: &Path, report: &mut Report) {
    for finding in inspect(&settings(config, data_dir), &MIGRATIONS, Durability::Full).await {
        let state = if finding.is_fine { State::Ok } else { State::Wrong };
        report.add("metadata.database", state, finding.text, finding.advice);
    }
    for file in &config.grants.key_files {
        report.key_file("metadata.grants.key_files", file);
    }
}

/// Looks at what the process `holdall-metadata` needs.
pub async fn look_at_process(process: Process) -> Report {
    let mut report = Report::default();
    let is_local = settings(&process.metadata, &process.data.dir).sqlite_path().is_some();
    let is_running = is_local && report.data_dir(&process.data.dir);
    report.server(&process.server, is_running);
    if let Some(address) = process.admin.listen {
        report.listen("admin.listen", address, is_running);
    }
    look(&process.metadata, &process.data.dir, &mut report).await;
    report.upstream("auth", &process.auth).await;
    report
}
