//! Whether everything that is known to metadata can be read, in a backup or in a data directory.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use holdall_runtime::data_dir::DataDir;
use holdall_runtime::run::StartError;

use super::copy::{Progress, blocking, pass_parts};
use super::manifest::{Manifest, PACKS, Part, WHOLE, pack_path};
use super::{NAME, failed};
use crate::config::Config;
use crate::embedded::backup::{self as services, Checked, Depth};

/// Reads all of it, and says of each thing that is wrong what it is. Changes nothing.
///
/// # Errors
/// When there is neither a backup nor a data directory, it is in use, or keys that content is encrypted with are missing.
pub async fn verify(
    config: &Config,
    folder: &Path,
    say: &mut (dyn FnMut(String) + Send),
) -> Result<Checked, StartError> {
    services::is_possible(config)?;
    let read = DataDir::share(folder)?;
    let manifest =
        Manifest::read(folder, WHOLE).map_err(|error| failed("read the manifest in", folder, &error))?;
    let progress = Progress::default();
    match manifest {
        Some(manifest) => {
            progress.watch("verify", of_backup(config, folder, &manifest, &progress, say)).await
        }
        None if services::DATABASES.iter().all(|name| folder.join(name).is_file()) => {
            drop(read);
            let _owned = DataDir::acquire(folder, NAME)?;
            let packs = services::packs(folder);
            progress.watch("verify", services::check(folder, Depth::Content(config, &packs), say)).await
        }
        None => Err(StartError::failed(format!(
            "{} holds neither a whole backup nor all databases of a server",
            folder.display()
        ))),
    }
}

async fn of_backup(
    config: &Config,
    folder: &Path,
    manifest: &Manifest,
    progress: &Progress,
    say: &mut (dyn FnMut(String) + Send),
) -> Result<Checked, StartError> {
    // Once as it was written, and once as it will be read.
    progress.expect(manifest.size());
    let (mut problems, mut databases) = (0, 0);
    for file in &manifest.files {
        let path = manifest.file(folder, file);
        if let Some(problem) = problem(&path, vec![file.content.clone()], progress).await? {
            say(format!("{}: {problem}", file.path));
            problems += 1;
            databases += u64::from(services::DATABASES.contains(&file.path.as_str()));
        }
    }
    let packs = folder.join(PACKS);
    for pack in &manifest.packs {
        if let Some(problem) = problem(&pack_path(&packs, &pack.id), pack.parts.clone(), progress).await? {
            say(format!("pack {}: {problem}", pack.id));
            problems += 1;
        }
    }
    if databases > 0 {
        say("what the packs hold is not looked at without sound databases".to_owned());
        return Ok(Checked { problems, ..Checked::default() });
    }
    let databases = folder.join(&manifest.folder);
    let found = services::check(&databases, Depth::Content(config, &packs), say).await?;
    Ok(Checked { problems: problems + found.problems, ..found })
}

/// What is wrong with a file of a backup.
async fn problem(
    path: &Path,
    parts: Vec<Part>,
    progress: &Progress,
) -> Result<Option<&'static str>, StartError> {
    let (file, progress): (PathBuf, Progress) = (path.to_owned(), progress.clone());
    match blocking(move || pass_parts(&File::open(file)?, None, &parts, &progress)).await {
        Ok(true) => Ok(None),
        Ok(false) => Ok(Some("is not what was backed up")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some("is missing")),
        Err(error) => Err(failed("read", path, &error)),
    }
}
