//! What this service adds to `doctor`.

use std::path::Path;

use holdall_runtime::clock::Clock;
use holdall_runtime::doctor::{Holder, Report, State};
use holdall_sql::{Durability, inspect};

use crate::config::{Config, PackStoreKind, Process};
use crate::store::index::MIGRATIONS;
use crate::store::packs::Settings;
use crate::store::packs::disk::room::Space;
use crate::store::packs::object::ObjectPacks;
use crate::{keys, pack_settings};

/// Files that can still be made on a disk, at least.
const FILES: u64 = 1000;

/// Looks at what the service needs in its data directory.
pub async fn look(config: &Config, data_dir: &Path, report: &mut Report) {
    let index = config.index.clone().or_file(&data_dir.join("index.db"));
    for finding in inspect(&index, &MIGRATIONS, Durability::Rebuildable).await {
        let state = if finding.is_fine { State::Ok } else { State::Wrong };
        report.add("blob.index", state, finding.text, finding.advice);
    }
    for file in &config.grants.key_files {
        report.key_file("blob.grants.key_files", file);
    }
    for file in &config.encryption.key_files {
        report.key_file("blob.encryption.key_files", file);
    }
    match config.packs.store {
        PackStoreKind::Disk => room(config, data_dir, report),
        PackStoreKind::S3 => bucket(config, data_dir, report).await,
    }
}

/// Looks at what the process `holdall-blob` needs.
pub async fn look_at_process(process: Process) -> Report {
    let mut report = Report::default();
    let is_running = report.data_dir(&process.data.dir);
    report.server(&process.server, is_running);
    if let Some(address) = process.admin.listen {
        report.listen("admin.listen", address, is_running);
    }
    look(&process.blob, &process.data.dir, &mut report).await;
    if process.metadata.url.is_some() {
        report.upstream("metadata", &process.metadata).await;
        let mut holders = report.keys_of("metadata", &process.metadata, "grants").await;
        if let Ok(keys) = keys(&process.blob.grants) {
            holders.push(Holder { name: "this".to_owned(), ids: keys.ids() });
        }
        report.same_keys("grants", &holders);
    } else {
        report.warning("metadata.url", "is not set: nothing is ever deleted", "say where metadata is");
    }
    report
}

fn room(config: &Config, data_dir: &Path, report: &mut Report) {
    const NAME: &str = "disk";
    // Made at the start, where they are missing.
    let Some(folder) = data_dir.ancestors().find(|folder| folder.is_dir()) else { return };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let reserve = config.packs.reserve.map(holdall_runtime::config::ByteSize::get);
    match Space::of(folder, reserve) {
        Ok(space) => {
            let found = format!(
                "{} MiB are free, {} MiB are reserved, {} more files can be made",
                space.free >> 20,
                space.reserve >> 20,
                space.files.map_or_else(|| "any number of".to_owned(), |files| files.to_string())
            );
            if space.free < space.reserve {
                report.wrong(NAME, found, "make room: nothing new is taken in");
            } else if space.files.is_some_and(|files| files < FILES) {
                report.wrong(
                    NAME,
                    found,
                    "delete files that are not needed: the file system can have no more",
                );
            } else if space.free < space.reserve.saturating_mul(2) {
                report.warning(NAME, found, "make room soon");
            } else {
                report.ok(NAME, found);
            }
        }
        Err(error) => report.wrong(NAME, format!("cannot be asked: {error}"), "look into the system's log"),
    }
}

async fn bucket(config: &Config, data_dir: &Path, report: &mut Report) {
    const NAME: &str = "blob.s3";
    let settings = match pack_settings(config, data_dir) {
        Ok(Settings::Object(settings)) => settings,
        Ok(Settings::Disk(_)) => return,
        Err(error) => return report.wrong(NAME, error.to_string(), "name files with the keys"),
    };
    let tried = match ObjectPacks::new(&settings) {
        Ok(packs) => packs.try_out(|| Clock::System.now_seconds()).await,
        Err(error) => Err(error),
    };
    match tried {
        Ok(tried) => {
            clock(tried.clock_is_ahead, report);
            if tried.keeps_the_first {
                report
                    .ok(NAME, format!("bucket {} can be listed, written and deleted from", settings.bucket));
            } else {
                report.wrong(
                    NAME,
                    format!("bucket {} puts objects in place of others, though told not to", settings.bucket),
                    "use a server that honours `If-None-Match: *`: with this one replicas overwrite each other",
                );
            }
        }
        Err(error) => {
            let advice = "check endpoint, bucket, keys and the clock";
            report.wrong(NAME, format!("bucket {} cannot be used: {error}", settings.bucket), advice);
        }
    }
}

/// A signature that is a quarter of an hour off is refused.
fn clock(ahead: i64, report: &mut Report) {
    const NAME: &str = "blob.s3 clock";
    let side = if ahead < 0 { "behind" } else { "ahead of" };
    let found = format!("that of the server is {} s {side} ours", ahead.unsigned_abs());
    match ahead.unsigned_abs() {
        0..=60 => report.ok(NAME, found),
        61..=300 => report.warning(NAME, found, "set both by NTP"),
        _ => report.wrong(NAME, found, "set both by NTP: at 15 minutes every request is refused"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_differ_a_little() {
        for (ahead, state) in [
            (0, State::Ok),
            (60, State::Ok),
            (-60, State::Ok),
            (61, State::Warning),
            (-300, State::Warning),
            (301, State::Wrong),
            (i64::MIN, State::Wrong),
        ] {
            let mut report = Report::default();
            clock(ahead, &mut report);
            assert_eq!(report.checks[0].state, state, "{ahead}: {report:?}");
        }
    }
}
