//! A backup is made, or brought up to date.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use holdall_runtime::clock::Clock;
use holdall_runtime::data_dir::{DataDir, LOCK_FILE};
use holdall_runtime::run::StartError;

use super::copy::{Progress, blocking, flush_folder, make_file, make_folder, pass};
use super::manifest::{DATABASES, Manifest, PACKS, StoredFile, StoredPack, UNFINISHED, WHOLE, pack_path};
use super::{NAME, failed, say};
use crate::config::Config;
use crate::embedded::backup::{self as services, Depth, INDEX, Pack};

/// After so many bytes it is noted which packs have been copied, for a backup that breaks off.
const NOTE: u64 = 64 << 20;

/// A backup that was made.
#[derive(Debug)]
pub struct Made {
    /// Bytes of all that belongs to it.
    pub size: u64,
    /// Bytes that were copied for it.
    pub copied: u64,
    /// Packs that belong to it.
    pub packs: usize,
    /// Things that are wrong in the data directory, and so in the backup.
    pub problems: u64,
    /// Files with keys that do not belong to it.
    pub elsewhere: Vec<PathBuf>,
}

impl Made {
    /// Says so.
    pub(super) fn tell(&self) {
        for path in &self.elsewhere {
            say(&format!("not in the backup, and needed to restore it: the key {}", path.display()));
        }
        let Self { size, copied, packs, problems, .. } = self;
        say(&format!(
            "backup is whole: {size} bytes in {packs} packs and databases, {copied} of them copied now"
        ));
        if *problems > 0 {
            say(&format!("{problems} things were wrong in the data directory, and are so in the backup"));
        }
    }
}

/// Makes a backup of the data directory in the folder `target`, or brings the one that is there up to date, whether the
/// server runs or not.
///
/// # Errors
/// When it could not be made; then the one before is as it was. That includes damage in the data directory, unless it is
/// accepted.
pub async fn make(config: &Config, target: &Path, accept_damage: bool) -> Result<Made, StartError> {
    services::is_possible(config)?;
    let dir = fs::canonicalize(&config.data.dir).map_err(|error| failed("find", &config.data.dir, &error))?;
    let _owned = take(target, &dir)?;
    let mut run = Run::begin(target, &dir)?;
    let progress = run.progress.clone();
    progress.watch("backup", run.make(config, accept_damage)).await
}

/// Takes a folder for a backup, and refuses one that holds anything else.
fn take(target: &Path, data_dir: &Path) -> Result<DataDir, StartError> {
    let is_apart = |target: &Path| !target.starts_with(data_dir) && !data_dir.starts_with(target);
    let absolute = std::path::absolute(target).map_err(|error| failed("use", target, &error))?;
    let refused = |problem: &str| StartError::Config(format!("{} {problem}", target.display()).into());
    if !is_apart(&absolute) || fs::canonicalize(target).is_ok_and(|target| !is_apart(&target)) {
        return Err(refused("is in the data directory, or holds it: choose another folder for the backup"));
    }
    let is_ours = [WHOLE, UNFINISHED].iter().any(|name| target.join(name).exists());
    let others = || {
        let entries = fs::read_dir(target).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name() != LOCK_FILE).count()
    };
    if !is_ours && others() > 0 {
        return Err(refused("is not empty and holds no backup: choose another folder"));
    }
    Ok(DataDir::acquire(target, NAME)?)
}

/// What became of a pack.
enum Copied {
    Whole(StoredPack),
    /// The file is shorter than rows say.
    Short(StoredPack),
    Missing,
}

/// Packs that are not whole in the data directory.
#[derive(Default)]
struct Incomplete {
    missing: Vec<String>,
    short: Vec<String>,
}

struct Run {
    target: PathBuf,
    data_dir: PathBuf,
    /// What the backup that is there speaks of; not to be changed.
    before: HashMap<String, StoredPack>,
    /// All that is there, of a backup that broke off too.
    there: HashMap<String, StoredPack>,
    manifest: Manifest,
    /// Bytes that were copied before the last note.
    noted: u64,
    copied: u64,
    progress: Progress,
    problems: u64,
}

impl Run {
    fn begin(target: &Path, data_dir: &Path) -> Result<Self, StartError> {
        let broken = |error| failed("use the backup in", target, &error);
        let by_id = |manifest: Manifest| {
            manifest.packs.into_iter().map(|pack| (pack.id.clone(), pack)).collect::<HashMap<_, _>>()
        };
        let before = Manifest::read(target, WHOLE).map_err(broken)?;
        let made_before = before.as_ref().map_or(0, |manifest| manifest.made_at);
        let before = before.map(by_id).unwrap_or_default();
        // One that cannot be read only costs copying again.
        let unfinished = Manifest::read(target, UNFINISHED).ok().flatten();
        let unfinished_at = unfinished.as_ref().map_or(0, |manifest| manifest.made_at);
        let mut there = before.clone();
        for (id, pack) in unfinished.map(by_id).unwrap_or_default() {
            let is_more =
                |known: &StoredPack| pack.salt == known.salt && pack.parts.starts_with(&known.parts);
            if before.get(&id).is_none_or(is_more) {
                there.insert(id, pack);
            }
        }
        // Folders of different backups have different names, whatever the clock says.
        let now = Clock::System.now().max(made_before.max(unfinished_at) + 1);
        let manifest = Manifest::new(now);
        make_folder(&target.join(PACKS)).map_err(broken)?;
        let mut run = Self {
            target: target.to_owned(),
            data_dir: data_dir.to_owned(),
            before,
            there,
            manifest,
            noted: 0,
            copied: 0,
            progress: Progress::default(),
            problems: 0,
        };
        run.note().map_err(broken)?;
        run.prune_folders(made_before).map_err(broken)?;
        Ok(run)
    }

    async fn make(&mut self, config: &Config, accept_damage: bool) -> Result<Made, StartError> {
        services::settle(config).await?;
        make_folder(&self.folder().join("blob")).map_err(|error| failed("make", &self.folder(), &error))?;
        let databases: Vec<u64> =
            services::DATABASES.iter().map(|name| size(&self.data_dir.join(name))).collect();
        self.progress.expect(databases.iter().sum());
        for name in services::DATABASES.into_iter().filter(|name| *name != INDEX) {
            self.copy_database(name).await?;
        }
        self.copy_index_and_packs().await?;
        for name in services::DATABASES {
            self.note_file(name).await?;
        }
        let keys =
            services::keys(config).map_err(|error| failed("find the keys in", &self.data_dir, &error))?;
        for key in &keys.inside {
            self.copy_key(key).await?;
        }
        let folder = self.folder();
        let checked = services::check(&folder, Depth::Rows, &mut |line| say(&line)).await?;
        self.problems += checked.problems;
        if self.problems > 0 && !accept_damage {
            return Err(StartError::failed(format!(
                "{} things are wrong in {}: nothing was changed in the backup; if the server has just started, try again; \
                 with --accept-damage the backup is made nevertheless",
                self.problems,
                self.data_dir.display()
            )));
        }
        let broken = |error| failed("finish the backup in", &self.target, &error);
        for part in [folder.join("keys"), folder.join("blob"), folder, self.target.join(PACKS)] {
            if part.is_dir() {
                flush_folder(&part).map_err(broken)?;
            }
        }
        self.manifest.write(&self.target, WHOLE).map_err(broken)?;
        self.prune().map_err(broken)?;
        Ok(Made {
            size: self.manifest.size(),
            copied: self.copied,
            packs: self.manifest.packs.len(),
            problems: self.problems,
            elsewhere: keys.elsewhere,
        })
    }

    fn folder(&self) -> PathBuf {
        self.target.join(&self.manifest.folder)
    }

    async fn copy_database(&mut self, name: &str) -> Result<(), StartError> {
        let to = self.folder().join(name);
        services::copy(name, &self.data_dir.join(name), &to).await?;
        self.copied += size(&to);
        self.progress.add(size(&to));
        Ok(())
    }

    /// Until there is a copy of the index all packs of which are there too. Each time that takes fewer packs.
    async fn copy_index_and_packs(&mut self) -> Result<(), StartError> {
        let index = self.folder().join(INDEX);
        let mut missing_before = Vec::new();
        loop {
            self.copy_database(INDEX).await?;
            let needed = services::needed_packs(&index).await?;
            let Incomplete { missing, short } = self.copy_packs(&needed).await?;
            // What one copy after the other needs and is not there is not on its way out, but lost.
            let (lost, vanished): (Vec<_>, Vec<_>) =
                missing.into_iter().partition(|id| missing_before.contains(id));
            if vanished.is_empty() {
                self.problems += (lost.len() + short.len()) as u64;
                lost.iter().for_each(|id| say(&format!("pack {id}: is missing")));
                short.iter().for_each(|id| say(&format!("pack {id}: is too short")));
                return Ok(());
            }
            fs::remove_file(&index).map_err(|error| failed("replace", &index, &error))?;
            missing_before.extend(vanished);
        }
    }

    /// Copies of packs what is not there yet.
    async fn copy_packs(&mut self, needed: &[Pack]) -> Result<Incomplete, StartError> {
        let left = |pack: &Pack| pack.len.saturating_sub(self.there.get(&pack.id).map_or(0, StoredPack::len));
        self.progress.expect(needed.iter().map(left).sum());
        let mut incomplete = Incomplete::default();
        let mut packs = Vec::with_capacity(needed.len());
        for pack in needed {
            match self.copy_pack(pack).await? {
                Copied::Whole(stored) => packs.push(stored),
                Copied::Short(stored) => {
                    incomplete.short.push(pack.id.clone());
                    packs.push(stored);
                }
                Copied::Missing => incomplete.missing.push(pack.id.clone()),
            }
        }
        self.manifest.packs = packs;
        Ok(incomplete)
    }

    async fn copy_pack(&mut self, pack: &Pack) -> Result<Copied, StartError> {
        let path = pack_path(&self.target.join(PACKS), &pack.id);
        if self.before.get(&pack.id).is_some_and(|before| before.salt != pack.salt) {
            let problem =
                format!("{} holds a backup of other data: choose another folder", self.target.display());
            return Err(StartError::Config(problem.into()));
        }
        let known =
            self.there.get(&pack.id).filter(|known| known.salt == pack.salt && size(&path) >= known.len());
        let mut stored = known.cloned().unwrap_or_else(|| StoredPack {
            id: pack.id.clone(),
            salt: pack.salt.clone(),
            parts: Vec::new(),
        });
        let from = stored.len();
        if from >= pack.len {
            return Ok(Copied::Whole(stored));
        }
        let source = pack_path(&services::packs(&self.data_dir), &pack.id);
        let (progress, wanted) = (self.progress.clone(), pack.len - from);
        let part = blocking(move || {
            let source = File::open(source)?;
            let target = match from {
                0 => make_file(&path)?,
                // What stands behind was left by one that broke off.
                _ => OpenOptions::new().write(true).open(&path)?,
            };
            let part = pass(&source, Some(&target), from, wanted, &progress)?;
            target.sync_all()?;
            Ok(part)
        });
        let part = match part.await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Copied::Missing),
            part => part.map_err(|error| failed("copy the pack", Path::new(&pack.id), &error))?,
        };
        self.copied += part.size;
        let is_whole = part.size == wanted;
        if part.size > 0 {
            stored.parts.push(part);
        }
        self.there.insert(pack.id.clone(), stored.clone());
        if self.copied - self.noted >= NOTE {
            self.note().map_err(|error| failed("write to", &self.target, &error))?;
        }
        Ok(if is_whole { Copied::Whole(stored) } else { Copied::Short(stored) })
    }

    /// Notes which packs are there, for a backup that breaks off.
    fn note(&mut self) -> io::Result<()> {
        flush_folder(&self.target.join(PACKS))?;
        let mut noted = self.manifest.clone();
        noted.packs = self.there.values().cloned().collect();
        noted.write(&self.target, UNFINISHED)?;
        self.noted = self.copied;
        Ok(())
    }

    async fn copy_key(&mut self, key: &Path) -> Result<(), StartError> {
        let name = key
            .to_str()
            .ok_or_else(|| StartError::failed(format!("{} has a name that is not UTF-8", key.display())))?;
        let (from, to) = (self.data_dir.join(key), self.folder().join(key));
        let copied = blocking(move || {
            let source = File::open(from)?;
            make_folder(to.parent().unwrap_or(Path::new(".")))?;
            let target = make_file(&to)?;
            pass(&source, Some(&target), 0, u64::MAX, &Progress::default())?;
            target.sync_all()
        });
        copied.await.map_err(|error| failed("copy", key, &error))?;
        self.note_file(name).await
    }

    /// Adds a file to the manifest.
    async fn note_file(&mut self, name: &str) -> Result<(), StartError> {
        let path = self.folder().join(name);
        let file = path.clone();
        let content = blocking(move || pass(&File::open(file)?, None, 0, u64::MAX, &Progress::default()));
        let content = content.await.map_err(|error| failed("read", &path, &error))?;
        self.manifest.files.push(StoredFile { path: name.to_owned(), content });
        Ok(())
    }

    /// Deletes what does not belong to the backup any more.
    fn prune(&self) -> io::Result<()> {
        let packs = self.target.join(PACKS);
        let wanted: Vec<PathBuf> =
            self.manifest.packs.iter().map(|pack| pack_path(&packs, &pack.id)).collect();
        for entry in fs::read_dir(&packs)? {
            let path = entry?.path();
            if wanted.binary_search(&path).is_err() {
                fs::remove_file(path)?;
            }
        }
        self.prune_folders(self.manifest.made_at)?;
        fs::remove_file(self.target.join(UNFINISHED))?;
        flush_folder(&packs)?;
        flush_folder(&self.target)
    }

    /// Deletes the databases of all backups but the one of that time.
    fn prune_folders(&self, made_at: i64) -> io::Result<()> {
        let wanted = format!("{DATABASES}{made_at}");
        for entry in fs::read_dir(&self.target)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(DATABASES) && name != wanted {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Bytes of a file; 0 when there is none.
fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}
