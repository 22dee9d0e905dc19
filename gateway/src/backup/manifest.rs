//! The manifest: what belongs to a backup. One line of JSON, and one with its BLAKE3 digest in hexadecimal.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::embedded::backup::pack_file;

/// A whole backup.
pub const WHOLE: &str = "backup.manifest";
/// What one that is not whole has copied.
pub const UNFINISHED: &str = "unfinished.manifest";
/// The folder with the packs.
pub const PACKS: &str = "packs";
/// What the folders with databases and keys start with.
pub const DATABASES: &str = "databases-";

const FORMAT: u32 = 1;

/// What belongs to a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// 1.
    format: u32,
    /// The release that made it.
    program: String,
    /// When metadata was copied, in Unix microseconds.
    pub made_at: i64,
    /// The folder with the files.
    pub folder: String,
    /// Databases and keys.
    pub files: Vec<StoredFile>,
    /// Packs, in the order of their ids.
    pub packs: Vec<StoredPack>,
}

/// A file that is as it is in the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredFile {
    /// Where it is in the data directory, and in the folder.
    pub path: String,
    /// What is in it.
    pub content: Part,
}

/// A pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredPack {
    /// Its id.
    pub id: String,
    /// What tells it from other packs of that id.
    pub salt: String,
    /// What was copied of it, each time that it had grown. The file may be longer.
    pub parts: Vec<Part>,
}

/// Bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// How many.
    pub size: u64,
    /// Their BLAKE3-256 in hexadecimal.
    pub blake3: String,
}

impl StoredPack {
    /// How many of its bytes are there.
    pub fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.size).sum()
    }
}

impl Manifest {
    /// One of nothing yet.
    pub fn new(made_at: i64) -> Self {
        Self {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            made_at,
            folder: format!("{DATABASES}{made_at}"),
            files: Vec::new(),
            packs: Vec::new(),
        }
    }

    /// Bytes of all that it speaks of.
    pub fn size(&self) -> u64 {
        let files = self.files.iter().map(|file| file.content.size);
        files.chain(self.packs.iter().map(StoredPack::len)).sum()
    }

    /// Reads the one of that name; `None` when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] for one that is damaged, or of a later release.
    pub fn read(folder: &Path, name: &str) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(folder.join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let invalid = |problem: &str| io::Error::new(ErrorKind::InvalidData, problem.to_owned());
        let (json, digest) = text.split_once('\n').ok_or_else(|| invalid("it is cut off"))?;
        if blake3::hash(json.as_bytes()).to_hex().as_str() != digest.trim_end() {
            return Err(invalid("it is damaged"));
        }
        let format = serde_json::from_str(json).map(|Format { format }| format);
        if format.is_ok_and(|format| format != FORMAT) {
            return Err(invalid("it was made by another release"));
        }
        let manifest: Self = serde_json::from_str(json).map_err(|_| invalid("it makes no sense"))?;
        if !manifest.is_contained() {
            return Err(invalid("it names files elsewhere"));
        }
        Ok(Some(manifest))
    }

    /// Writes it under that name, in place of one that is there. When this returns, that is durable.
    pub fn write(&self, folder: &Path, name: &str) -> io::Result<()> {
        let json = serde_json::to_string(self)?;
        let digest = blake3::hash(json.as_bytes()).to_hex();
        let new = folder.join(format!("{name}.new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        write!(file, "{json}\n{digest}\n")?;
        file.sync_all()?;
        fs::rename(&new, folder.join(name))?;
        File::open(folder)?.sync_all()
    }

    /// Whether it speaks only of what is in its own folders.
    fn is_contained(&self) -> bool {
        let is_plain = |path: &str| {
            let mut parts = Path::new(path).components();
            !path.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
        };
        is_plain(&self.folder)
            && self.files.iter().all(|file| is_plain(&file.path))
            && self.packs.iter().all(|pack| pack_file(&pack.id).is_some())
    }

    /// Where a file is, and where it goes in a data directory.
    pub fn file(&self, backup: &Path, file: &StoredFile) -> PathBuf {
        backup.join(&self.folder).join(&file.path)
    }
}

/// What every format has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The file of a pack in a folder of packs.
pub fn pack_path(folder: &Path, id: &str) -> PathBuf {
    // An id that is none names no file.
    folder.join(pack_file(id).unwrap_or_else(|| PathBuf::from("no-pack")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let part = Part { size: 7, blake3: "00".repeat(32) };
        Manifest {
            files: vec![StoredFile { path: "blob/index.db".to_owned(), content: part.clone() }],
            packs: vec![StoredPack {
                id: "000000000000000a".to_owned(),
                salt: "11".repeat(32),
                parts: vec![part.clone(), part],
            }],
            ..Manifest::new(5)
        }
    }

    #[test]
    fn it_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(dir.path(), WHOLE).unwrap(), None);
        manifest().write(dir.path(), WHOLE).unwrap();
        assert_eq!(Manifest::read(dir.path(), WHOLE).unwrap(), Some(manifest()));
        assert_eq!(manifest().size(), 21);
        Manifest::new(6).write(dir.path(), WHOLE).unwrap();
        assert_eq!(Manifest::read(dir.path(), WHOLE).unwrap(), Some(Manifest::new(6)));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        manifest().write(dir.path(), WHOLE).unwrap();
        let path = dir.path().join(WHOLE);
        let bytes = fs::read(&path).unwrap();
        for (at, _) in bytes.iter().enumerate().filter(|(at, _)| at + 1 < bytes.len()) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert!(Manifest::read(dir.path(), WHOLE).is_err(), "byte {at}");
        }
        for len in 0..bytes.len() - 1 {
            fs::write(&path, &bytes[..len]).unwrap();
            assert!(Manifest::read(dir.path(), WHOLE).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = |path: &str| {
            let mut manifest = manifest();
            manifest.files[0].path = path.to_owned();
            manifest
        };
        let pack = |id: &str| {
            let mut manifest = manifest();
            manifest.packs[0].id = id.to_owned();
            manifest
        };
        let folder = Manifest { folder: "..".to_owned(), ..manifest() };
        for manifest in
            [file("../x"), file("/x"), file(""), file("a/../../x"), pack("../x"), pack(""), folder]
        {
            manifest.write(dir.path(), WHOLE).unwrap();
            assert!(Manifest::read(dir.path(), WHOLE).is_err(), "{manifest:?}");
        }
    }
}
