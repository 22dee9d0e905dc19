//! What an operator can say about a database.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Where the database is and how many connections it may have.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `sqlite:///absolute/file`, `sqlite://relative/file` (the rest of the URL is the path, byte for byte),
    /// or `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=/file`.
    ///
    /// Empty means that the service keeps a SQLite file of its own: see [`Settings::or_file`].
    pub url: String,
    /// Most connections in use at once: readers on SQLite (the writers are apart, and not counted), all on
    /// PostgreSQL.
    pub max_connections: u32,
    /// Whether opening the database brings its schema up to date. If not, one that is not up to date is refused: it is the
    /// business of whoever calls [`Database::migrate`](crate::Database::migrate), with rights that the service need not have.
    pub migrate: bool,
    /// PostgreSQL: the role that the service runs as, to which a migration gives the right to read and write rows. Empty
    /// when that is the role that migrates.
    pub runtime_role: String,
    /// PostgreSQL: how many seconds opening waits for a server that cannot be reached yet.
    pub wait_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: String::new(),
            max_connections: 8,
            migrate: true,
            runtime_role: String::new(),
            wait_seconds: 60,
        }
    }
}

impl Settings {
    /// Settings for a SQLite file.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self::default().or_file(path)
    }

    /// These settings, with the SQLite file at `path` where no URL was given.
    #[must_use]
    pub fn or_file(mut self, path: &Path) -> Self {
        if self.url.is_empty() {
            self.url = format!("sqlite://{}", path.display());
        }
        self
    }

    /// The SQLite file, when it is one: how a service learns which directory has to exist.
    #[must_use]
    pub fn sqlite_path(&self) -> Option<&Path> {
        self.url.strip_prefix("sqlite://").map(Path::new)
    }
}

impl Settings {
    /// Where the database is, without what a PostgreSQL URL may hold of secrets: user, password and parameters are left out.
    #[must_use]
    pub fn place(&self) -> String {
        match self.url.split_once("://") {
            Some(("sqlite", _)) => self.url.clone(),
            Some((scheme, rest)) => {
                let rest = rest.split('?').next().unwrap_or_default();
                let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
                format!("{scheme}://{place}")
            }
            None => String::new(),
        }
    }
}

/// Without what a PostgreSQL URL may hold of secrets: user, password and parameters are left out.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("url", &self.place())
            .field("max_connections", &self.max_connections)
            .field("migrate", &self.migrate)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        for url in [
            "postgres://user:hunter2@db:5432/holdall",
            "postgres://user:hunter2@db/holdall?password=hunter2",
            "postgres://user:p@hunter2@db/holdall",
            "postgres://db/holdall?password=hunter2@x",
            "hunter2",
        ] {
            let text = format!("{:?}", Settings { url: url.into(), ..Settings::default() });
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_file_stands_in_where_no_url_is_given() {
        let settings = Settings::default().or_file(Path::new("/data/a b?.db"));
        assert_eq!(settings.sqlite_path(), Some(Path::new("/data/a b?.db")));
        let given = Settings { url: "postgres://db/x".into(), ..Settings::default() };
        assert_eq!(given.clone().or_file(Path::new("/data/a.db")), given);
        assert_eq!(given.sqlite_path(), None);
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(serde_json::from_str::<Settings>(r#"{"url":"sqlite://x"}"#).is_ok());
        assert!(serde_json::from_str::<Settings>(r#"{"uri":"sqlite://x"}"#).is_err());
    }
}
