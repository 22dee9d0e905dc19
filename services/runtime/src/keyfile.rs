//! Secret keys in files: 32 bytes as 64 hexadecimal digits, with blanks or line ends around them allowed.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};

/// Why there is no key to work with. Says nothing of the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("cannot read key file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file cannot be made.
    #[error("cannot write key file {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file holds something else than a key.
    #[error("key file {} does not hold 64 hexadecimal digits; make one with: openssl rand -hex 32", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The file holds a key that anybody would guess.
    #[error("key file {} holds a well-known key; make one with: openssl rand -hex 32", path.display())]
    WellKnown {
        /// The file.
        path: PathBuf,
    },
}

/// Reads the key in a file. Warns in the log when others than its owner may read the file.
pub fn load(path: &Path) -> Result<[u8; 32], KeyFileError> {
    let read = |source| KeyFileError::Read { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(read)?;
    let mode = fs::metadata(path).map_err(read)?.permissions().mode();
    // The group's right to read is how mounted secrets are shared with a process that is not root.
    if mode & 0o037 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "others may read a key file");
    }
    let key = parse(text.trim()).ok_or_else(|| KeyFileError::Malformed { path: path.to_owned() })?;
    // All bytes alike: nobody's random key.
    if key.iter().all(|byte| Some(byte) == key.first()) {
        return Err(KeyFileError::WellKnown { path: path.to_owned() });
    }
    Ok(key)
}

/// As [`load`]; a file that is not there is made first, with a random key, for its owner alone.
pub fn load_or_create(path: &Path) -> Result<[u8; 32], KeyFileError> {
    match load(path) {
        Err(KeyFileError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
            create(path).map_err(|source| KeyFileError::Write { path: path.to_owned(), source })?;
            load(path)
        }
        done => done,
    }
}

/// Complete under its name or not there at all, and durable: a key that is lost makes what it sealed
/// worthless.
fn create(path: &Path) -> std::io::Result<()> {
    let mut key = [0; 32];
    SystemRandom::new()
        .fill(&mut key)
        .map_err(|_| std::io::Error::other("the system gives no randomness"))?;
    let mut text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    text.push('\n');
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    // Does not replace a key that another process made in this moment.
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::File::open(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?
        .sync_all()
}

fn parse(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = [0; 32];
    for (index, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grants.key");
        assert!(matches!(load(&path), Err(KeyFileError::Read { .. })));
        let key = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap(), key);
        assert_eq!(load(&path).unwrap(), key);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_ne!(load_or_create(&dir.path().join("other.key")).unwrap(), key);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grants.key");
        let digits = "0123456789abcdefABCDEF0123456789abcdefABCDEF0123456789abcdefABCD";
        fs::write(&path, format!("\n{digits} \n")).unwrap();
        assert_eq!(load(&path).unwrap()[..3], [0x01, 0x23, 0x45]);
        for text in
            ["", "00", &digits[1..], &format!("{digits}0"), &digits.replace('0', "g"), &"é".repeat(32)]
        {
            fs::write(&path, text).unwrap();
            assert!(matches!(load(&path), Err(KeyFileError::Malformed { .. })), "{text}");
        }
        fs::write(&path, "00".repeat(32)).unwrap();
        assert!(matches!(load(&path), Err(KeyFileError::WellKnown { .. })));
    }
}
