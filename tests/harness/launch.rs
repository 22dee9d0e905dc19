//! How an installation is set up: its shape, its configuration files, its commands.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::Command;

/// The ways to run Holdall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The gateway with all services inside, SQLite, one data directory.
    OneProcess,
    /// Gateway, auth, metadata and blob as processes; PostgreSQL; packs in a folder.
    FourProcesses,
    /// Two of each; PostgreSQL; packs in a bucket of S3. Clients use both gateways in turn.
    EightProcesses,
}

impl Shape {
    /// The processes of this shape.
    pub fn services(self) -> &'static [Service] {
        match self {
            Self::OneProcess => &[Service::Gateway],
            Self::FourProcesses | Self::EightProcesses => {
                &[Service::Auth, Service::Metadata, Service::Blob, Service::Gateway]
            }
        }
    }

    /// How many processes there are of each.
    pub fn replicas(self) -> usize {
        match self {
            Self::OneProcess | Self::FourProcesses => 1,
            Self::EightProcesses => 2,
        }
    }
}

/// The parts of Holdall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Accounts, sessions, tokens.
    Auth,
    /// Folders, files, links, changes.
    Metadata,
    /// Bytes.
    Blob,
    /// HTTP.
    Gateway,
}

impl Service {
    /// The name of its program.
    pub fn program(self) -> &'static str {
        match self {
            Self::Auth => "holdall-auth",
            Self::Metadata => "holdall-metadata",
            Self::Blob => "holdall-blob",
            Self::Gateway => "holdall-gateway",
        }
    }

    /// Its name in short, which is also that of its folder in these tests.
    pub fn name(self) -> &'static str {
        self.program().trim_start_matches("holdall-")
    }

    /// The full name of one of its keys, in the configuration of the process that it runs in.
    pub fn key(self, key: &str) -> String {
        match self {
            Self::Gateway => key.to_owned(),
            _ => format!("{}.{key}", self.name()),
        }
    }
}

/// What a test wants to be different from the defaults.
#[derive(Debug, Clone, Default)]
pub struct Options {
    settings: Vec<(Service, String, String)>,
    env: Vec<(String, String)>,
}

impl Options {
    /// The defaults of tests: no rate limits, cheap password hashes, a small reserve of disk space.
    pub fn new() -> Self {
        Self::default()
            .set(Service::Auth, "rate_limits.enabled", "false")
            // What argon2 takes at least: tests register hundreds of accounts.
            .set(Service::Auth, "password.memory_kib", "8")
            .set(Service::Auth, "password.iterations", "1")
    }

    /// Sets a key of a service's configuration, wherever that service runs. The value is TOML.
    #[must_use]
    pub fn set(mut self, service: Service, key: &str, value: &str) -> Self {
        self.settings.retain(|(known, name, _)| (*known, name.as_str()) != (service, key));
        self.settings.push((service, key.to_owned(), value.to_owned()));
        self
    }

    /// Whether a key is set.
    pub(crate) fn sets(&self, service: Service, key: &str) -> bool {
        self.settings.iter().any(|(known, name, _)| (*known, name.as_str()) == (service, key))
    }

    /// Sets a variable of the environment of every process.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The configuration file of one process.
    fn file(&self, shape: Shape, of: Service, more: &[(String, String)]) -> String {
        let mut text = String::new();
        for (service, key, value) in &self.settings {
            if *service == of || shape == Shape::OneProcess {
                writeln!(text, "{} = {value}", service.key(key)).expect("a string takes text");
            }
        }
        for (key, value) in more {
            writeln!(text, "{key} = {value:?}").expect("a string takes text");
        }
        text
    }

    /// Writes the configuration of one process and says how to start it. `place` is the name of its own files.
    pub(crate) fn prepare(
        &self,
        shape: Shape,
        of: Service,
        folder: &Path,
        place: &str,
        listen: &str,
        more: &[(String, String)],
    ) -> Command {
        let file = folder.join(format!("{place}.toml"));
        fs::write(&file, self.file(shape, of, more)).expect("the temporary folder takes a file");
        let mut command = Command::new(of.program()).arg("--config").path(&file).arg("--listen").arg(listen);
        if shape == Shape::OneProcess {
            command = command.arg("--data-dir").path(&data_dir(folder));
        } else if of != Service::Gateway {
            command = command.arg("--data-dir").path(&folder.join(place));
        }
        self.env.iter().fold(command, |command, (name, value)| command.env(name, value))
    }
}

/// The data directory of the one-process shape.
pub(crate) fn data_dir(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// A key that two services share, as `openssl rand -hex 32` makes it.
pub(crate) fn write_key(folder: &Path, name: &str) {
    let mut key = [0; 32];
    getrandom::fill(&mut key).expect("the system has randomness");
    write_secret(folder, name, &hex::encode(key));
}

/// A file that its owner alone can read.
pub(crate) fn write_secret(folder: &Path, name: &str, text: &str) {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(folder.join(name))
        .expect("the temporary folder takes a file");
    writeln!(file, "{text}").expect("the temporary folder takes a file");
}
