//! A data directory has one owner at a time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file in a data directory whose lock (`flock`) is held by its owner. The system releases it when the
/// owner ends, however it ends, so a left-over file means nothing.
pub const LOCK_FILE: &str = "LOCK";

/// The file in a data directory that is there as long as not all of its data is, as while a backup is being restored.
pub const INCOMPLETE_FILE: &str = "INCOMPLETE";

/// A data directory that this process owns until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// A directory that nobody owns as long as this lives.
#[derive(Debug)]
pub struct Shared {
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process owns it.
    #[error("data directory {} is in use by {owner}; stop it first, or choose another directory with --data-dir", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The program and process id that the owner left in the lock file.
        owner: String,
    },
    /// Not all of its data is there.
    #[error(
        "data directory {} is not complete: a backup was not restored to its end; delete what is in it, and restore the backup again",
        path.display()
    )]
    Incomplete {
        /// The directory.
        path: PathBuf,
    },
    /// It cannot be made, or its lock file cannot be opened, written or locked.
    #[error("data directory {} cannot be used: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl DataDir {
    /// Makes the directory when it is missing (readable by its owner alone, as are missing parents), so that a loss of
    /// power does not take it away again, and takes its lock without waiting. `program` is told to whoever comes next.
    ///
    /// # Errors
    /// [`DataDirError::Incomplete`] when [`INCOMPLETE_FILE`] is there.
    pub fn acquire(path: impl Into<PathBuf>, program: &str) -> Result<Self, DataDirError> {
        let owned = Self::acquire_incomplete(path, program)?;
        if owned.path.join(INCOMPLETE_FILE).exists() {
            return Err(DataDirError::Incomplete { path: owned.path });
        }
        Ok(owned)
    }

    /// As [`DataDir::acquire`], for who completes it.
    ///
    /// # Errors
    /// [`DataDirError::InUse`] and [`DataDirError::Io`].
    pub fn acquire_incomplete(path: impl Into<PathBuf>, program: &str) -> Result<Self, DataDirError> {
        let path = path.into();
        match Self::lock(&path, program) {
            Ok(Ok(lock)) => Ok(Self { path, _lock: lock }),
            Ok(Err(owner)) => Err(DataDirError::InUse { path, owner }),
            Err(source) => Err(DataDirError::Io { path, source }),
        }
    }

    /// Keeps everybody from owning a directory as long as the value lives, for those who only read what is in it, of whom there
    /// may be several. `None` where nobody has ever owned it.
    ///
    /// # Errors
    /// [`DataDirError::InUse`] when somebody owns it.
    pub fn share(path: &Path) -> Result<Option<Shared>, DataDirError> {
        let broken = |source| DataDirError::Io { path: path.to_owned(), source };
        let file = match File::open(path.join(LOCK_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(broken)?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Shared { _lock: file })),
            Err(TryLockError::WouldBlock) => {
                Err(DataDirError::InUse { path: path.to_owned(), owner: owner(file) })
            }
            Err(TryLockError::Error(error)) => Err(broken(error)),
        }
    }

    fn lock(path: &Path, program: &str) -> io::Result<Result<File, String>> {
        make(path)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK_FILE))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Err(owner(file))),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{program} (process {})", std::process::id())?;
        Ok(Ok(file))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Who says in a lock file that it has the directory.
fn owner(file: File) -> String {
    let mut text = String::new();
    // Another program's file may hold anything.
    let _ = file.take(200).read_to_string(&mut text);
    let owner = text.lines().next().unwrap_or_default();
    let readable = !owner.is_empty() && !owner.contains(char::is_control);
    if readable { owner } else { "another process" }.to_owned()
}

/// Makes a directory and its missing parents, and flushes the names of all of them.
fn make(path: &Path) -> io::Result<()> {
    let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
    let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // When it was there already, whoever made it may have ended before this.
    let made = if missing.is_empty() { vec![path] } else { missing };
    made.into_iter().try_for_each(flush_name)
}

fn flush_name(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match File::open(parent.unwrap_or(Path::new("."))) {
        // Somebody else made it, in a place that we may not look at.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        parent => parent?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_second_owner_is_refused_and_told_who_the_first_is() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = DataDir::acquire(&path, "holdall-one").unwrap();
        let error = DataDir::acquire(&path, "holdall-two").unwrap_err();
        assert!(matches!(error, DataDirError::InUse { .. }), "{error}");
        let text = error.to_string();
        let owner = format!("holdall-one (process {})", std::process::id());
        assert!(text.contains(&owner) && text.contains(path.to_str().unwrap()), "{text}");

        drop(first);
        assert_eq!(DataDir::acquire(&path, "holdall-two").unwrap().path(), path);
    }

    #[test]
    fn only_the_owner_may_look_inside() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let _dir = DataDir::acquire(&path, "holdall-test").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join(LOCK_FILE)), 0o600);
    }

    #[test]
    fn a_left_over_lock_file_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join(LOCK_FILE),
            "holdall-dead (process 1)\nmore than the next owner writes",
        )
        .unwrap();
        let _owned = DataDir::acquire(dir.path(), "x").unwrap();
        let left = std::fs::read_to_string(dir.path().join(LOCK_FILE)).unwrap();
        assert_eq!(left, format!("x (process {})\n", std::process::id()));
    }

    #[test]
    fn who_reads_shares_it_with_readers() {
        let dir = tempfile::tempdir().unwrap();
        assert!(DataDir::share(dir.path()).unwrap().is_none());
        drop(DataDir::acquire(dir.path(), "x").unwrap());
        let readers = [(); 2].map(|()| DataDir::share(dir.path()).unwrap().unwrap());
        assert!(matches!(DataDir::acquire(dir.path(), "y"), Err(DataDirError::InUse { .. })));
        drop(readers);
        let _owned = DataDir::acquire(dir.path(), "z").unwrap();
        let refused = DataDir::share(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("z (process "), "{refused}");
    }

    #[test]
    fn what_is_not_complete_is_for_who_completes_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(INCOMPLETE_FILE), "").unwrap();
        let refused = DataDir::acquire(dir.path(), "x").unwrap_err();
        assert!(matches!(refused, DataDirError::Incomplete { .. }), "{refused}");
        let owned = DataDir::acquire_incomplete(dir.path(), "x").unwrap();
        std::fs::remove_file(dir.path().join(INCOMPLETE_FILE)).unwrap();
        assert!(matches!(DataDir::acquire(dir.path(), "x"), Err(DataDirError::InUse { .. })));
        drop(owned);
        DataDir::acquire(dir.path(), "x").unwrap();
    }

    #[test]
    fn a_file_is_no_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "").unwrap();
        assert!(matches!(DataDir::acquire(&path, "x"), Err(DataDirError::Io { .. })));
    }
}
