//! What every process needs of its machine: files, addresses, limits.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use procfs::process::LimitValue;

use super::Report;
use crate::config::ServerConfig;
use crate::data_dir::{DataDir, DataDirError, INCOMPLETE_FILE};
use crate::keyfile;

/// Open files that a server needs beside those of connections: packs, databases, the log.
const OTHER_FILES: u64 = 512;

impl Report {
    /// Looks at a data directory. Returns whether a process that runs has it.
    pub fn data_dir(&mut self, dir: &Path) -> bool {
        const NAME: &str = "data.dir";
        let shown = dir.display();
        let file = match fs::metadata(dir) {
            Ok(file) if file.is_dir() => file,
            Ok(_) => {
                self.wrong(NAME, format!("{shown} is no directory"), "name another one");
                return false;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.ok(NAME, format!("{shown} is not there yet, and is made at the start"));
                return false;
            }
            Err(error) => {
                self.wrong(NAME, format!("{shown}: {error}"), "give the server's user the right to use it");
                return false;
            }
        };
        if dir.join(INCOMPLETE_FILE).exists() {
            let advice = "delete what is in it, and restore the backup again";
            self.wrong(NAME, format!("{shown}: a backup was not restored to its end"), advice);
            return false;
        }
        let own = fs::metadata("/proc/self").map(|file| file.uid()).ok();
        if own.is_some_and(|own| own != 0 && own != file.uid()) {
            let found = format!("{shown} belongs to the user {}, and this is another one", file.uid());
            self.warning(NAME, found, "run the server, and this, as the user that it belongs to");
        }
        if file.mode() & 0o077 != 0 {
            let found = format!("{shown} can be looked into by others (mode {:o})", file.mode() & 0o777);
            self.warning(NAME, found, "chmod 700 it, unless a group is meant to");
        }
        let probe = dir.join(format!(".doctor-{}", std::process::id()));
        match fs::write(&probe, b"x").and_then(|()| fs::remove_file(&probe)) {
            Ok(()) => {}
            Err(error) => {
                let advice = "give the server's user the right to write there, or make room";
                self.wrong(NAME, format!("{shown} cannot be written to: {error}"), advice);
                return false;
            }
        }
        match DataDir::share(dir) {
            Ok(_) => {
                self.ok(NAME, format!("{shown} can be used, and nobody uses it"));
                false
            }
            Err(DataDirError::InUse { owner, .. }) => {
                self.ok(NAME, format!("{shown} is in use by {owner}"));
                true
            }
            Err(error) => {
                self.wrong(NAME, error.to_string(), "give the server's user the right to use it");
                false
            }
        }
    }

    /// Looks at a file with a key of 64 hexadecimal digits.
    pub fn key_file(&mut self, name: &str, file: &Path) {
        match keyfile::load(file) {
            Ok(_) => self.secret_file(name, file),
            Err(error) => self.wrong(name, error.to_string(), "make one, or name another file"),
        }
    }

    /// Looks at who may read a file with a secret.
    pub fn secret_file(&mut self, name: &str, file: &Path) {
        let shown = file.display();
        match fs::metadata(file) {
            Ok(found) if found.mode() & 0o037 != 0 => {
                let found = format!("others may read {shown} (mode {:o})", found.mode() & 0o777);
                self.wrong(name, found, "chmod 600 it, and change the key if others have read it");
            }
            Ok(_) => self.ok(name, format!("{shown} can be read")),
            Err(error) => self.wrong(name, format!("{shown}: {error}"), "put it there"),
        }
    }

    /// Looks at where a server listens, and its certificate.
    pub fn server(&mut self, server: &ServerConfig, is_running: bool) {
        self.listen("server.listen", server.listen, is_running);
        if let Some(tls) = &server.tls {
            self.certificate("server.tls", tls);
        }
        self.open_files(server.limits.max_connections as u64);
    }

    /// Looks whether an address can be listened on.
    pub fn listen(&mut self, name: &str, address: SocketAddr, is_running: bool) {
        match TcpListener::bind(address) {
            Ok(_) => self.ok(name, format!("{address} is free")),
            Err(error) if error.kind() == ErrorKind::AddrInUse && is_running => {
                self.ok(name, format!("{address} is in use, and the server runs"));
            }
            Err(error) => {
                self.wrong(
                    name,
                    format!("cannot listen on {address}: {error}"),
                    "stop who uses it, or choose another one",
                );
            }
        }
    }

    /// Looks whether so many connections can be open at once.
    fn open_files(&mut self, connections: u64) {
        const NAME: &str = "open files";
        let limits = procfs::process::Process::myself().and_then(|process| process.limits());
        let needed = connections + OTHER_FILES;
        match limits.map(|limits| limits.max_open_files.soft_limit) {
            Ok(LimitValue::Value(limit)) if limit < needed => {
                let found =
                    format!("{limit} may be open, {needed} are needed for server.limits.max_connections");
                self.warning(
                    NAME,
                    found,
                    "raise the limit (LimitNOFILE of systemd, ulimit -n), or lower max_connections",
                );
            }
            Ok(LimitValue::Value(limit)) => self.ok(NAME, format!("{limit} may be open")),
            Ok(LimitValue::Unlimited) => self.ok(NAME, "any number may be open"),
            Err(error) => self.warning(NAME, format!("the limit cannot be read: {error}"), ""),
        }
    }
}
