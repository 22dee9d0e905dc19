//! What the services in this process give to a backup, and find in one.

use std::path::{Path, PathBuf};

use holdall_blob::backup::{self as blob, NeededPack};
use holdall_metadata::backup::{self as metadata, Kind, Use};
use holdall_runtime::data_dir::DataDir;
use holdall_runtime::run::StartError;

use super::GRANTS_KEY;
use crate::config::Config;

/// Rows that are looked at together.
const ROWS: u32 = 1000;

/// Where packs are in the data directory.
#[must_use]
pub fn packs(data_dir: &Path) -> PathBuf {
    data_dir.join(BLOB).join(blob::PACKS)
}

/// The name of a pack's file; `None` when there is no such id.
#[must_use]
pub fn pack_file(id: &str) -> Option<PathBuf> {
    blob::pack_file(id)
}

/// A pack that is part of a backup.
pub type Pack = NeededPack;

/// The folder of the blob service in the data directory.
const BLOB: &str = "blob";

/// The databases, as they are called in the data directory, in the order in which they are copied.
pub const DATABASES: [&str; 3] = [metadata::FILE, holdall_auth::backup::FILE, INDEX];
/// The one that says which packs are needed, and is copied last.
pub const INDEX: &str = "blob/index.db";

/// Refuses a configuration under which not everything is in the data directory.
///
/// # Errors
/// [`StartError::Config`].
pub fn is_possible(config: &Config) -> Result<(), StartError> {
    let blob = &config.blob.embedded;
    let parts = [
        ("auth", config.auth.is_embedded() && config.auth.embedded.database.url.is_empty()),
        ("metadata", config.metadata.is_embedded() && config.metadata.embedded.database.url.is_empty()),
        ("blob", config.blob.is_embedded() && blob::is_local(blob)),
    ];
    match parts.into_iter().find(|(_, is_local)| !is_local) {
        None => Ok(()),
        Some((name, _)) => Err(StartError::Config(
            format!("what the {name} service keeps is not in the data directory: see deploy/BACKUP.md for how it is backed up")
                .into(),
        )),
    }
}

/// Brings the index up to date if no server runs on the data directory. One that runs has done that at its start.
///
/// # Errors
/// [`StartError::Config`] for a directory of another version, or keys that are missing.
pub async fn settle(config: &Config) -> Result<(), StartError> {
    match DataDir::acquire(&config.data.dir, "holdall-gateway backup") {
        Ok(_owned) => blob::replay(&config.blob.embedded, &config.data.dir.join(BLOB)).await,
        Err(error) => match StartError::from(error) {
            StartError::InUse(_) => Ok(()),
            error => Err(error),
        },
    }
}

/// Copies one of the [`DATABASES`], as it is at this moment, to the new file `to`.
///
/// # Errors
/// [`StartError::Config`] for a schema that is not the one that this program knows.
pub async fn copy(name: &str, from: &Path, to: &Path) -> Result<(), StartError> {
    match name {
        metadata::FILE => metadata::copy(from, to).await,
        INDEX => blob::copy(from, to).await,
        _ => holdall_auth::backup::copy(from, to).await,
    }
}

/// The packs that a copy of the index relies on.
///
/// # Errors
/// When it cannot be read.
pub async fn needed_packs(index: &Path) -> Result<Vec<Pack>, StartError> {
    let index = blob::Copy::open(index).await?;
    let packs = index.packs().await;
    index.close().await;
    packs
}

/// Makes a restored data directory one of its own: see [`holdall_metadata::backup::begin_feed`] and
/// [`holdall_auth::backup::end_sessions`].
///
/// # Errors
/// When the database cannot be changed.
pub async fn renew(data_dir: &Path) -> Result<(), StartError> {
    metadata::begin_feed(&data_dir.join(metadata::FILE)).await?;
    holdall_auth::backup::end_sessions(&data_dir.join(holdall_auth::backup::FILE)).await
}

/// Files with keys: those that are copied, and those of which something has to be said.
#[derive(Debug, Default)]
pub struct Keys {
    /// In the data directory, by their paths in it.
    pub inside: Vec<PathBuf>,
    /// Named by the configuration, and elsewhere.
    pub elsewhere: Vec<PathBuf>,
}

/// The files with keys that a restored server needs.
///
/// The key that metadata and blob share is left out. What it has sealed is good for a day at most, and speaks of content that
/// a backup may not hold: so it should not open on a restored server, which makes itself another one.
///
/// # Errors
/// When a folder cannot be read.
pub fn keys(config: &Config) -> std::io::Result<Keys> {
    let dir = &std::fs::canonicalize(&config.data.dir)?;
    let folder = config.auth.embedded.signing.keys_dir.clone().unwrap_or_else(|| dir.join("keys"));
    let mut named: Vec<PathBuf> = config.auth.embedded.delegation.key_files.clone();
    named.extend(config.blob.embedded.encryption.key_files.clone());
    let mut keys = Keys::default();
    for folder in [&folder, &dir.join("keys")] {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry?.path();
            let is_key = path.extension().is_some_and(|end| end == "der" || end == "key");
            if is_key && path.is_file() && !path.ends_with(GRANTS_KEY) {
                named.push(path);
            }
        }
    }
    let real = |path: PathBuf| std::fs::canonicalize(&path).unwrap_or(path);
    let grants = [&config.metadata.embedded.grants.key_files, &config.blob.embedded.grants.key_files];
    let grants: Vec<PathBuf> = grants.into_iter().flatten().cloned().map(real).collect();
    let mut named: Vec<PathBuf> = named.into_iter().map(real).filter(|path| !grants.contains(path)).collect();
    named.sort();
    named.dedup();
    for path in named {
        match path.strip_prefix(dir) {
            Ok(inside) => keys.inside.push(inside.to_owned()),
            Err(_) => keys.elsewhere.push(path),
        }
    }
    Ok(keys)
}

/// What was found in a backup or a data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Versions and buffer entries.
    pub uses: u64,
    /// Packs.
    pub packs: u64,
    /// Records in them that were read.
    pub records: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// How many things are wrong.
    pub problems: u64,
}

/// How thoroughly to look.
#[derive(Clone, Copy, Debug)]
pub enum Depth<'a> {
    /// Only whether rows fit together.
    Rows,
    /// Everything, with the packs in this folder.
    Content(&'a Config, &'a Path),
}

/// Looks whether all that metadata knows of can be read, and says of each thing that is wrong what it is. The databases are
/// those in `folder`, under their names of the data directory. Changes nothing.
///
/// # Errors
/// When something cannot be read now, or keys that it is encrypted with are missing.
pub async fn check(
    folder: &Path,
    depth: Depth<'_>,
    say: &mut (dyn FnMut(String) + Send),
) -> Result<Checked, StartError> {
    let metadata = metadata::Copy::open(&folder.join(metadata::FILE)).await?;
    let index = blob::Copy::open(&folder.join(INDEX)).await?;
    let checked = check_opened(folder, &metadata, &index, depth, say).await;
    metadata.close().await;
    index.close().await;
    checked
}

async fn check_opened(
    folder: &Path,
    metadata: &metadata::Copy,
    index: &blob::Copy,
    depth: Depth<'_>,
    say: &mut (dyn FnMut(String) + Send),
) -> Result<Checked, StartError> {
    let mut checked = Checked::default();
    let found = match depth {
        Depth::Rows => index.check_rows().await?,
        Depth::Content(config, packs) => {
            let auth = holdall_auth::backup::FILE;
            let damage = [
                (metadata::FILE, metadata.damage().await?),
                (INDEX, index.damage().await?),
                (auth, holdall_auth::backup::damage(&folder.join(auth)).await?),
            ];
            for (name, findings) in damage {
                checked.problems += findings.len() as u64;
                findings.into_iter().for_each(|finding| say(format!("{name}: {finding}")));
            }
            let found = index.check(&config.blob.embedded, packs, say).await?;
            checked.problems += found.problems;
            found
        }
    };
    (checked.packs, checked.records, checked.bytes) = (found.packs, found.records, found.bytes);
    for kind in [Kind::Versions, Kind::BufferEntries] {
        let mut last = None;
        loop {
            let uses = metadata.uses(kind, last.as_ref(), ROWS).await?;
            checked.uses += uses.len() as u64;
            checked.problems += check_uses(&uses, index, &found, say).await?;
            match uses.into_iter().next_back() {
                Some(one) => last = Some(one),
                None => break,
            }
        }
    }
    Ok(checked)
}

/// Returns how many of these rows have content that cannot be read.
async fn check_uses(
    uses: &[Use],
    index: &blob::Copy,
    found: &blob::Checked,
    say: &mut (dyn FnMut(String) + Send),
) -> Result<u64, StartError> {
    let blobs: Vec<String> = uses.iter().map(|one| one.blob.clone()).collect();
    let contents = index.contents(&blobs).await?;
    let mut problems = 0;
    for one in uses {
        let problem = match contents.get(&one.blob) {
            None => "is missing",
            Some(content) if (&content.0, &content.1) != (&one.size, &one.digest) => {
                "has another size or digest"
            }
            Some(_) if found.is_lost(&one.blob) => "cannot be read whole",
            Some(_) => continue,
        };
        problems += 1;
        say(format!("{}: its content, blob {}, {problem}", one.what, one.blob));
    }
    Ok(problems)
}
