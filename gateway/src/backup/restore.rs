//! A backup becomes a data directory.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use holdall_runtime::data_dir::{DataDir, INCOMPLETE_FILE, LOCK_FILE};
use holdall_runtime::run::StartError;

use super::copy::{Progress, blocking, flush_folder, make_file, make_folder, pass_parts};
use super::manifest::{Manifest, PACKS, Part, WHOLE, pack_path};
use super::{NAME, failed};
use crate::config::Config;
use crate::embedded::backup as services;

/// Copies the backup in `source` into the data directory, which has to be empty or not there. Until everything is in it and
/// durable, no server starts on it.
///
/// # Errors
/// When there is no whole backup, something of it is not what its manifest says, or the data directory is not empty.
pub async fn restore(config: &Config, source: &Path) -> Result<(), StartError> {
    services::is_possible(config)?;
    let _read = DataDir::share(source)?;
    let manifest =
        Manifest::read(source, WHOLE).map_err(|error| failed("read the manifest in", source, &error))?;
    let manifest = manifest.ok_or_else(|| {
        StartError::failed(format!("{} holds no whole backup: there is no {WHOLE}", source.display()))
    })?;
    let dir = &config.data.dir;
    let broken = |error| failed("restore into", dir, &error);
    if !is_empty(dir).map_err(broken)? {
        let problem =
            format!("{} is not empty: name another directory with --data-dir, or empty it", dir.display());
        return Err(StartError::Config(problem.into()));
    }
    let _owned = DataDir::acquire_incomplete(dir, NAME)?;
    make_file(&dir.join(INCOMPLETE_FILE)).and_then(|file| file.sync_all()).map_err(broken)?;
    flush_folder(dir).map_err(broken)?;

    let progress = Progress::default();
    progress.expect(manifest.size());
    progress.watch("restore", copy(&manifest, source, dir, &progress)).await?;
    services::renew(dir).await?;

    fs::remove_file(dir.join(INCOMPLETE_FILE)).map_err(broken)?;
    flush_folder(dir).map_err(broken)
}

/// Whether there is nothing in it but a lock that nobody has.
fn is_empty(dir: &Path) -> io::Result<bool> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
        Ok(entries) => {
            for entry in entries {
                if entry?.file_name() != LOCK_FILE {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

async fn copy(manifest: &Manifest, source: &Path, dir: &Path, progress: &Progress) -> Result<(), StartError> {
    let packs = services::packs(dir);
    let mut folders = vec![dir.to_owned(), packs.clone()];
    for file in &manifest.files {
        let parts = vec![file.content.clone()];
        let to = dir.join(&file.path);
        folders.extend(to.parent().map(Path::to_owned));
        copy_one(manifest.file(source, file), to, parts, progress).await?;
    }
    for pack in &manifest.packs {
        let from = pack_path(&source.join(PACKS), &pack.id);
        copy_one(from, pack_path(&packs, &pack.id), pack.parts.clone(), progress).await?;
    }
    folders.sort();
    folders.dedup();
    // The deepest first.
    for folder in folders.iter().rev().filter(|folder| folder.is_dir()) {
        flush_folder(folder).map_err(|error| failed("flush", folder, &error))?;
    }
    Ok(())
}

async fn copy_one(
    from: PathBuf,
    to: PathBuf,
    parts: Vec<Part>,
    progress: &Progress,
) -> Result<(), StartError> {
    let (source, progress) = (from.clone(), progress.clone());
    let is_right = blocking(move || {
        let source = File::open(source)?;
        make_folder(to.parent().unwrap_or(Path::new(".")))?;
        pass_parts(&source, Some(&make_file(&to)?), &parts, &progress)
    });
    match is_right.await {
        Ok(true) => Ok(()),
        Ok(false) => Err(StartError::failed(format!("{} is not what was backed up", from.display()))),
        Err(error) => Err(failed("copy", &from, &error)),
    }
}
