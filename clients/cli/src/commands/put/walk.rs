//! What there is to upload.

use std::fs;
use std::path::{Path, PathBuf};

use super::{file_name, not_unicode};
use crate::error::{Error, Result};
use crate::output;
use crate::path::RemotePath;

/// Something to upload.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A file.
    File {
        /// Where it is.
        local: PathBuf,
        /// Where it goes.
        remote: RemotePath,
        /// How long it is now.
        size: u64,
    },
    /// A folder with nothing in it. Others come about by their files.
    EmptyFolder {
        /// Where it goes.
        remote: RemotePath,
    },
}

impl Found {
    /// Bytes to upload.
    pub fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            Self::EmptyFolder { .. } => 0,
        }
    }
}

/// Finds everything in and below what was named, before anything is uploaded.
pub fn walk(jobs: Vec<(PathBuf, RemotePath)>, recursive: bool) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for (local, remote) in jobs {
        let about = fs::metadata(&local).map_err(|error| cannot_read(&local, error))?;
        if about.is_dir() {
            if !recursive {
                return Err(Error::Usage(format!("{} is a folder; use -r to upload it", local.display())));
            }
            folder(&local, remote, &mut found)?;
        } else if !about.is_file() {
            return Err(Error::Usage(format!(
                "{} is not a file; pipe it into: holdall put - REMOTE",
                local.display()
            )));
        } else if remote.is_root() || (remote.is_folder() && file_name(&local)?.is_none()) {
            return Err(Error::Usage(format!("{} has no name to upload it under", local.display())));
        } else {
            found.push(Found::File { local, remote, size: about.len() });
        }
    }
    Ok(found)
}

fn folder(local: &Path, remote: RemotePath, found: &mut Vec<Found>) -> Result<()> {
    let mut pending = vec![(local.to_owned(), remote)];
    while let Some((local, remote)) = pending.pop() {
        let mut entries: Vec<_> = fs::read_dir(&local)
            .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
            .map_err(|error| cannot_read(&local, error))?;
        if entries.is_empty() && !remote.is_root() {
            found.push(Found::EmptyFolder { remote });
            continue;
        }
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let name = entry.file_name();
            let target = remote.join(name.to_str().ok_or_else(|| not_unicode(&path))?);
            // Of the entry itself: a link is not followed, so there are no circles.
            let about = entry.metadata().map_err(|error| cannot_read(&path, error))?;
            if about.is_dir() {
                pending.push((path, target));
            } else if about.is_file() {
                found.push(Found::File { local: path, remote: target, size: about.len() });
            } else {
                output::complain(&format!("{} is left out: neither a file nor a folder", path.display()));
            }
        }
    }
    Ok(())
}

fn cannot_read(local: &Path, error: std::io::Error) -> Error {
    Error::local(format!("cannot read {}", local.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(path: &str) -> RemotePath {
        RemotePath::parse(path).unwrap()
    }

    #[test]
    fn a_folder_is_walked_without_following_links() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("a/empty")).unwrap();
        fs::write(root.join("a/ü.txt"), "12345").unwrap();
        fs::write(root.join("top"), "").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(root, root.join("a/circle")).unwrap();
        let mut found = walk(vec![(root.to_owned(), remote("to/x"))], true).unwrap();
        found.sort_by_key(|found| match found {
            Found::File { remote, .. } | Found::EmptyFolder { remote } => remote.to_string(),
        });
        assert_eq!(
            found,
            [
                Found::EmptyFolder { remote: remote("to/x/a/empty") },
                Found::File { local: root.join("a/ü.txt"), remote: remote("to/x/a/ü.txt"), size: 5 },
                Found::File { local: root.join("top"), remote: remote("to/x/top"), size: 0 },
            ]
        );
    }

    #[test]
    fn a_folder_needs_a_flag_and_what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let folder = walk(vec![(dir.path().to_owned(), remote("x"))], false);
        assert!(matches!(folder, Err(Error::Usage(text)) if text.contains("-r")));
        let missing = walk(vec![(dir.path().join("nothing"), remote("x"))], true);
        assert!(matches!(missing, Err(Error::Local { doing, .. }) if doing.contains("nothing")));
    }
}
