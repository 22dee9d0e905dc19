//! What this service adds to `doctor`.

use holdall_runtime::doctor::{Report, State};
use holdall_sql::{Durability, inspect};

use crate::config::{Config, Process};
use crate::store::MIGRATIONS;

/// Looks at what the service needs, with a configuration that was filled in by [`Config::within`].
pub async fn look(config: &Config, report: &mut Report) {
    for finding in inspect(&config.database, &MIGRATIONS, Durability::Full).await {
        let state = if finding.is_fine { State::Ok } else { State::Wrong };
        report.add("auth.database", state, finding.text, finding.advice);
    }
    let folder = config.signing.keys_dir.iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    for entry in folder.flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|end| end == "der") {
            report.secret_file("auth.signing.keys_dir", &path);
        }
    }
    for file in &config.delegation.key_files {
        report.key_file("auth.delegation.key_files", file);
    }
}

/// Looks at what the process `holdall-auth` needs.
pub async fn look_at_process(process: Process) -> Report {
    let mut report = Report::default();
    let is_running = process.auth.needs_data_dir() && report.data_dir(&process.data.dir);
    report.server(&process.server, is_running);
    if let Some(address) = process.admin.listen {
        report.listen("admin.listen", address, is_running);
    }
    look(&process.auth.within(&process.data.dir), &mut report).await;
    report
}
