//! The session that is remembered between commands.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{env, fmt};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::{Error, Result};

/// Names another file.
const VARIABLE: &str = "HOLDALL_CONFIG";

/// Where somebody is signed in. Never printed with its token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The server.
    pub url: Url,
    /// Who.
    pub username: String,
    /// The secret that proves it.
    pub token: String,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, username, token: _ } = self;
        f.debug_struct("Session")
            .field("url", &url.as_str())
            .field("username", username)
            .finish_non_exhaustive()
    }
}

/// Where the session is kept.
///
/// # Errors
/// [`Error::Other`] when the environment names no place.
pub fn file() -> Result<PathBuf> {
    let from = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = || {
        from("XDG_CONFIG_HOME")
            .filter(|folder| folder.is_absolute())
            .or_else(|| from("APPDATA"))
            .or_else(|| Some(from("HOME")?.join(".config")))
            .map(|folder| folder.join("holdall").join("config.toml"))
    };
    from(VARIABLE)
        .or_else(folder)
        .ok_or_else(|| Error::Other(format!("no place to keep the session: set {VARIABLE} to a file")))
}

/// Reads the session.
///
/// # Errors
/// [`Error::NotSignedIn`] when there is none; [`Error::Other`] when the file makes no sense.
pub fn load(file: &Path) -> Result<Session> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::NotSignedIn),
        Err(error) => return Err(Error::local(format!("cannot read {}", file.display()), error)),
        Ok(text) => text,
    };
    // The parser's own message would quote the line, and with it perhaps the token.
    toml::from_str(&text).map_err(|_| {
        Error::Other(format!("{} is damaged; delete it and sign in again: holdall login URL", file.display()))
    })
}

/// Writes the session, readable by its owner alone, whole or not at all.
///
/// # Errors
/// [`Error::Local`].
pub fn save(file: &Path, session: &Session) -> Result<()> {
    let cannot = |error| Error::local(format!("cannot write {}", file.display()), error);
    let text = toml::to_string(session).map_err(|error| cannot(io::Error::other(error)))?;
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        make_private(folder).map_err(cannot)?;
    }
    let mut draft = file.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let written = write_private(&draft, &text).and_then(|()| fs::rename(&draft, file));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written.map_err(cannot)
}

/// Forgets the session.
///
/// # Errors
/// [`Error::Local`].
pub fn remove(file: &Path) -> Result<()> {
    fs::remove_file(file).map_err(|error| Error::local(format!("cannot delete {}", file.display()), error))
}

fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn write_private(file: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session {
            url: Url::parse("https://files.example.org/").unwrap(),
            username: "ada \"the first\"".into(),
            token: "hs_secret".into(),
        }
    }

    #[test]
    fn a_session_is_kept_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a/b/config.toml");
        assert!(matches!(load(&file), Err(Error::NotSignedIn)));
        save(&file, &session()).unwrap();
        assert_eq!(load(&file).unwrap(), session());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        }
        save(&file, &session()).unwrap();
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        remove(&file).unwrap();
        assert!(matches!(load(&file), Err(Error::NotSignedIn)));
    }

    #[test]
    fn a_damaged_file_is_told_about_without_its_contents() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        fs::write(&file, "token = \"hs_secret").unwrap();
        let error = load(&file).unwrap_err().to_string();
        assert!(error.contains("holdall login") && !error.contains("hs_secret"), "{error}");
    }

    #[test]
    fn a_token_is_never_printed() {
        assert!(!format!("{:?}", session()).contains("secret"));
    }
}
