//! A running installation in either shape.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

use holdall_sql::testing::PostgresCluster;
use tempfile::TempDir;

use crate::{
    Api, Options, Persona, Process, Service, Shape,
    api::Location,
    eventually,
    launch::{data_dir, write_key},
    reaper,
};

/// The key that metadata and blob share.
const GRANT_KEY: &str = "grant.key";
/// The key that auth and the gateway share.
const DELEGATION_KEY: &str = "delegation.key";

/// An installation with a folder of its own. Its processes and its folder are gone when it is dropped.
pub struct Server {
    shape: Shape,
    options: Options,
    databases: Vec<(Service, String)>,
    processes: Vec<(Service, Process, String)>,
    location: Location,
    // Last: the folder goes when the processes have gone.
    folder: TempDir,
}

impl Server {
    /// Starts an installation with the defaults of tests and waits until it is ready.
    pub async fn start(shape: Shape) -> Self {
        Self::start_with(shape, Options::new()).await
    }

    /// Starts an installation and waits until it is ready.
    pub async fn start_with(shape: Shape, options: Options) -> Self {
        let folder = tempfile::Builder::new().prefix("holdall-e2e-").tempdir().expect("a temporary folder");
        reaper::folder(folder.path());
        let mut databases = Vec::new();
        if shape == Shape::FourProcesses {
            write_key(folder.path(), GRANT_KEY);
            write_key(folder.path(), DELEGATION_KEY);
            for service in [Service::Auth, Service::Metadata, Service::Blob] {
                databases.push((service, PostgresCluster::shared().create_database().await));
            }
        }
        let location = Arc::new(RwLock::new(String::new()));
        let mut server = Self { shape, options, databases, processes: Vec::new(), location, folder };
        server.launch().await;
        server
    }

    /// Starts the processes on the folder as it is.
    async fn launch(&mut self) {
        for &service in self.shape.services() {
            let process = self.command(service, "127.0.0.1:0").start();
            let address = process.address().await;
            self.processes.push((service, process, address));
        }
        *self.location.write().expect("not poisoned") = self.address(Service::Gateway).to_owned();
        let api = self.api();
        eventually("the server is ready", async || {
            let answer = api.call_at(http::Method::GET, "/readyz").try_send().await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    /// How to start one of its processes, with the services before it running.
    pub fn command(&self, service: Service, listen: &str) -> crate::Command {
        let mut more = Vec::new();
        if let Some((_, url)) = self.databases.iter().find(|(of, _)| *of == service) {
            let key = if service == Service::Blob { "index.url" } else { "database.url" };
            more.push((service.key(key), url.clone()));
        }
        if self.shape == Shape::FourProcesses {
            match service {
                Service::Auth => {}
                Service::Blob => {}
                Service::Metadata => {
                    more.push(("auth.url".to_owned(), self.address(Service::Auth).to_owned()));
                }
                Service::Gateway => {
                    more.push(("auth.url".to_owned(), self.address(Service::Auth).to_owned()));
                    more.push(("metadata.url".to_owned(), self.address(Service::Metadata).to_owned()));
                    more.push(("blob.url".to_owned(), self.address(Service::Blob).to_owned()));
                }
            }
        }
        let mut options = self.options.clone();
        if self.shape == Shape::FourProcesses {
            let (key, name) = match service {
                Service::Metadata | Service::Blob => ("grants.key_files", GRANT_KEY),
                Service::Auth => ("delegation.key_files", DELEGATION_KEY),
                Service::Gateway => ("auth.delegation.key_files", DELEGATION_KEY),
            };
            options = options.set(service, key, &format!("[{:?}]", self.folder.path().join(name)));
        }
        options.prepare(self.shape, service, self.folder.path(), listen, &more)
    }

    /// Its shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Where the gateway listens: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.location.read().expect("not poisoned").clone()
    }

    /// Where one of its processes listens.
    pub fn address(&self, service: Service) -> &str {
        let found = self.processes.iter().find(|(of, ..)| *of == service);
        &found.unwrap_or_else(|| panic!("{service:?} does not run as a process here")).2
    }

    /// One of its processes.
    pub fn process(&self, service: Service) -> &Process {
        let found = self.processes.iter().find(|(of, ..)| *of == service);
        &found.unwrap_or_else(|| panic!("{service:?} does not run as a process here")).1
    }

    /// The data directory of the one-process shape.
    pub fn data_dir(&self) -> PathBuf {
        assert_eq!(self.shape, Shape::OneProcess, "four processes have three data directories");
        data_dir(self.folder.path())
    }

    /// The folder that holds everything of this installation but its PostgreSQL.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client that is nobody. It follows the server through restarts.
    pub fn api(&self) -> Api {
        Api::new(self.location.clone())
    }

    /// Registers an account whose name starts with `who`, and signs in.
    pub async fn persona(&self, who: &str) -> Persona {
        Persona::register(self.api(), who).await
    }

    /// Kills every process with SIGKILL.
    pub async fn kill9(&mut self) {
        for (_, process, _) in &self.processes {
            process.kill9().await;
        }
        self.processes.clear();
    }

    /// Asks every process to end with SIGTERM, the gateway first, and checks that each ends with 0.
    pub async fn stop(&mut self) {
        for (service, process, _) in self.processes.iter().rev() {
            process.sigterm();
            let status = process.exit().await;
            assert_eq!(status.code(), Some(0), "{service:?} after SIGTERM:\n{}", process.log());
        }
        self.processes.clear();
    }

    /// Starts again on the same data, at another address.
    pub async fn restart(&mut self) {
        if !self.processes.is_empty() {
            self.stop().await;
        }
        self.launch().await;
    }

    /// Everything its processes have written.
    pub fn log(&self) -> String {
        let logs: Vec<String> = self.processes.iter().map(|(_, process, _)| process.log()).collect();
        logs.join("\n")
    }

    /// Prints what its processes write from now on, if the test fails.
    pub fn log_on_failure(&self) -> LogOnFailure<'_> {
        LogOnFailure {
            from: self.processes.iter().map(|(_, process, _)| (process, process.log_len())).collect(),
        }
    }
}

/// Prints the server's log when it is dropped by a panic.
pub struct LogOnFailure<'a> {
    from: Vec<(&'a Process, usize)>,
}

impl Drop for LogOnFailure<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (process, line) in &self.from {
                eprintln!("{}", process.log_since(*line));
            }
        }
    }
}
