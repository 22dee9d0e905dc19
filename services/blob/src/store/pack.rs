//! Packs: the files that records are appended to.
//!
//! A pack is `packs/<id>.pack`, the id in 16 hexadecimal digits. It is written by one process in one go: nothing is ever
//! appended after a restart, and nothing is changed once it is flushed.
//!
//! # Format, version 1
//!
//! Numbers are little-endian. A pack is a header of 64 bytes and then [records](crate::domain::record).
//!
//! | offset | bytes | meaning |
//! | --- | --- | --- |
//! | 0 | 8 | magic: `HOLDPACK` |
//! | 8 | 4 | version of this format: 1 |
//! | 12 | 4 | zero |
//! | 16 | 8 | id |
//! | 24 | 32 | salt: random bytes that the check of every record is keyed with |
//! | 56 | 8 | the first bytes of BLAKE3 over the 56 bytes before |

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::domain::record::Salt;

/// Bytes of a pack's header; where its first record starts.
pub const HEADER_LEN: u64 = 64;
const MAGIC: &[u8; 8] = b"HOLDPACK";
const VERSION: u32 = 1;
const CHECKED: usize = 56;
const EXTENSION: &str = "pack";

/// The number of a pack, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackId(pub i64);

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a payload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The pack.
    pub pack: PackId,
    /// Offset of the payload in it.
    pub position: u64,
    /// Bytes of the payload as stored.
    pub stored: u32,
}

/// The folder of the packs.
#[derive(Debug)]
pub struct PackDir {
    path: PathBuf,
}

impl PackDir {
    /// Opens the folder `path`, making it when it is missing; its parent has to exist.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {
                if let Some(parent) = path.parent() {
                    File::open(parent)?.sync_all()?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The packs in it, in order. What is not named like a pack is left alone.
    pub fn list(&self) -> io::Result<Vec<PackId>> {
        let mut packs = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let path = PathBuf::from(entry?.file_name());
            if let (Some(stem), Some(extension)) = (path.file_stem(), path.extension())
                && extension == EXTENSION
                && let Some(id) = stem.to_str().and_then(|stem| i64::from_str_radix(stem, 16).ok())
                && stem.to_str() == Some(&PackId(id).to_string())
            {
                packs.push(PackId(id));
            }
        }
        packs.sort_unstable();
        Ok(packs)
    }

    /// Makes a pack that is not there yet. When this returns, file, header and folder entry are durable.
    pub fn create(&self, id: PackId) -> io::Result<(File, Salt)> {
        let mut salt = Salt::default();
        getrandom::fill(&mut salt)?;
        let file = self.options().write(true).create_new(true).mode(0o600).open(self.file(id))?;
        let written = file
            .write_all_at(&header(id, &salt), 0)
            .and_then(|()| file.sync_all())
            .and_then(|()| File::open(&self.path)?.sync_all());
        if let Err(error) = written {
            // Nobody has heard of it, and an unfinished one would be a riddle at the next start.
            let _ = std::fs::remove_file(self.file(id));
            return Err(error);
        }
        Ok((file, salt))
    }

    /// Opens a pack to read from it.
    pub fn read(&self, id: PackId) -> io::Result<File> {
        self.options().open(self.file(id))
    }

    fn options(&self) -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        options
    }

    fn file(&self, id: PackId) -> PathBuf {
        self.path.join(format!("{id}.{EXTENSION}"))
    }
}

fn header(id: PackId, salt: &Salt) -> [u8; 64] {
    let mut bytes = [0; 64];
    let mut fill = bytes.iter_mut();
    let mut put = |field: &[u8]| fill.by_ref().zip(field).for_each(|(to, from)| *to = *from);
    put(MAGIC);
    put(&VERSION.to_le_bytes());
    put(&[0; 4]);
    put(&id.0.to_le_bytes());
    put(salt);
    if let Some((checked, end)) = bytes.split_first_chunk_mut::<CHECKED>() {
        end.copy_from_slice(&check(checked));
    }
    bytes
}

/// The salt of the pack that `file` holds; `None` when its header is not that of the pack `id`.
pub fn salt(file: &File, id: PackId) -> io::Result<Option<Salt>> {
    let mut bytes = [0; 64];
    match file.read_exact_at(&mut bytes, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let salt =
        bytes.split_first_chunk::<CHECKED>().and_then(|(checked, _)| checked.last_chunk::<32>()).copied();
    Ok(salt.filter(|salt| header(id, salt) == bytes))
}

fn check(checked: &[u8; CHECKED]) -> [u8; 8] {
    let mut check = [0; 8];
    blake3::Hasher::new().update(checked).finalize_xof().fill(&mut check);
    check
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_pack_is_private_and_reads_back() {
        let parent = tempfile::tempdir().unwrap();
        let dir = PackDir::open(parent.path().join("packs")).unwrap();
        let (_, first) = dir.create(PackId(0xab)).unwrap();
        let (_, second) = dir.create(PackId(2)).unwrap();
        std::fs::write(dir.path().join("2.pack"), "not ours").unwrap();
        std::fs::write(dir.path().join("notes.txt"), "not ours").unwrap();

        assert_eq!(dir.list().unwrap(), [PackId(2), PackId(0xab)]);
        assert_ne!(first, second);
        assert_eq!(salt(&dir.read(PackId(2)).unwrap(), PackId(2)).unwrap(), Some(second));
        assert_eq!(salt(&dir.read(PackId(2)).unwrap(), PackId(3)).unwrap(), None);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(dir.path()), mode(&dir.file(PackId(2)))), (0o700, 0o600));
        assert!(dir.create(PackId(2)).is_err(), "a pack is never made twice");
        assert!(dir.read(PackId(2)).is_ok(), "nor taken away by the attempt");
    }

    #[test]
    fn a_damaged_header_is_no_header() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        let bytes = header(PackId(7), &[1; 32]);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(salt(&File::open(&path).unwrap(), PackId(7)).unwrap(), None, "bit {bit}");
        }
        std::fs::write(&path, &bytes[..63]).unwrap();
        assert_eq!(salt(&File::open(&path).unwrap(), PackId(7)).unwrap(), None);
    }
}
