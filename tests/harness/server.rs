//! A running installation in either shape.

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdall_sql::testing::PostgresCluster;
use tempfile::TempDir;

use crate::{
    Api, Options, Persona, Process, Service, Shape, Wire,
    api::Location,
    bucket::Bucket,
    eventually,
    launch::{data_dir, write_key, write_secret},
    reaper, within,
};

/// The key that metadata and blob share.
const GRANT_KEY: &str = "grant.key";
/// The key that auth and the gateway share.
const DELEGATION_KEY: &str = "delegation.key";
/// What requests to the bucket are signed with.
const S3_ACCESS: &str = "s3.access";
const S3_SECRET: &str = "s3.secret";

/// An installation with a folder of its own. Its processes and its folder are gone when it is dropped.
pub struct Server {
    shape: Shape,
    options: Options,
    databases: Vec<(Service, String)>,
    processes: Vec<Running>,
    location: Location,
    bucket: Option<Bucket>,
    /// Of one that may be harmed.
    own: Option<Own>,
    // Last: the folder goes when the processes have gone.
    folder: TempDir,
}

/// What an installation has for itself, so that it can be harmed.
struct Own {
    postgres: PostgresCluster,
    /// To each of its services, for the other ones.
    wires: Vec<(Service, Wire)>,
}

/// A process of an installation.
struct Running {
    service: Service,
    process: Process,
    address: String,
}

impl Server {
    /// Starts an installation with the defaults of tests and waits until it is ready.
    pub async fn start(shape: Shape) -> Self {
        Self::start_with(shape, Options::new()).await
    }

    /// Starts an installation and waits until it is ready.
    pub async fn start_with(shape: Shape, options: Options) -> Self {
        Self::start_on(shape, options, None).await
    }

    /// Starts an installation with a PostgreSQL of its own, and [wires](Self::wire) between its services.
    pub async fn start_apart(shape: Shape, options: Options) -> Self {
        let own = Own { postgres: PostgresCluster::private(), wires: Vec::new() };
        Self::start_on(shape, options, Some(own)).await
    }

    async fn start_on(shape: Shape, options: Options, own: Option<Own>) -> Self {
        let folder = tempfile::Builder::new().prefix("holdall-e2e-").tempdir().expect("a temporary folder");
        reaper::folder(folder.path());
        let mut databases = Vec::new();
        let bucket = (shape == Shape::EightProcesses).then(Bucket::local);
        if let Some(bucket) = &bucket {
            write_secret(folder.path(), S3_ACCESS, &bucket.access_key);
            write_secret(folder.path(), S3_SECRET, &bucket.secret_key);
        }
        if shape != Shape::OneProcess {
            write_key(folder.path(), GRANT_KEY);
            write_key(folder.path(), DELEGATION_KEY);
            for service in [Service::Auth, Service::Metadata, Service::Blob] {
                let postgres = match &own {
                    Some(own) => &own.postgres,
                    None => PostgresCluster::shared(),
                };
                databases.push((service, postgres.create_database().await));
            }
        }
        let location = Location::default();
        let mut server =
            Self { shape, options, databases, processes: Vec::new(), location, bucket, own, folder };
        server.launch().await;
        server
    }

    /// Starts the processes on the folder as it is.
    async fn launch(&mut self) {
        for &service in self.shape.services() {
            // Those of one service are equal, so the first one names the place of the next.
            for _ in 0..self.shape.replicas() {
                let process = self.another(service, "127.0.0.1:0").start();
                let address = process.address().await;
                if let Some(own) = &mut self.own {
                    own.wires.push((service, Wire::to(&address).await));
                }
                self.processes.push(Running { service, process, address });
            }
        }
        self.location.set(self.addresses(Service::Gateway));
        let api = self.api();
        eventually("the server is ready", async || {
            let answer = api.call_at(http::Method::GET, "/readyz").try_send().await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    /// How to start one of its processes again, of several the first, with the services before it running.
    pub fn command(&self, service: Service, listen: &str) -> crate::Command {
        self.replica(service, 0, listen)
    }

    /// How to start one more process of a service.
    pub fn another(&self, service: Service, listen: &str) -> crate::Command {
        self.replica(service, self.addresses(service).len(), listen)
    }

    /// How to start the process of that number.
    fn replica(&self, service: Service, number: usize, listen: &str) -> crate::Command {
        let mut more = Vec::new();
        let path = |name: &str| self.folder.path().join(name).to_str().expect("UTF-8").to_owned();
        if let Some((_, url)) = self.databases.iter().find(|(of, _)| *of == service) {
            let key = if service == Service::Blob { "index.url" } else { "database.url" };
            more.push((service.key(key), url.clone()));
        }
        let mut options = self.options.clone();
        if self.shape != Shape::OneProcess {
            let needs: &[Service] = match service {
                Service::Auth | Service::Blob => &[],
                Service::Metadata => &[Service::Auth],
                Service::Gateway => &[Service::Auth, Service::Metadata, Service::Blob],
            };
            for needed in needs {
                more.push((format!("{}.url", needed.name()), self.reached_at(*needed).join(",")));
            }
            let (key, name) = match service {
                Service::Metadata | Service::Blob => ("grants.key_files", GRANT_KEY),
                Service::Auth => ("delegation.key_files", DELEGATION_KEY),
                Service::Gateway => ("auth.delegation.key_files", DELEGATION_KEY),
            };
            options = options.set(service, key, &format!("[{:?}]", path(name)));
        }
        if self.shape.replicas() > 1 && service == Service::Auth {
            more.push((service.key("signing.keys_dir"), path("signing")));
        }
        // Links are the same whichever gateway makes them: those of the first one.
        if service == Service::Gateway && number > 0 && !self.options.sets(service, "public.url") {
            more.push(("public.url".to_owned(), self.address(service).to_owned()));
        }
        if let (Service::Blob, Some(bucket)) = (service, &self.bucket) {
            options = options.set(service, "s3.allow_http", "true");
            more.extend([
                (service.key("packs.store"), "s3".to_owned()),
                (service.key("s3.endpoint"), bucket.endpoint.clone()),
                (service.key("s3.bucket"), bucket.name.clone()),
                (service.key("s3.access_key_file"), path(S3_ACCESS)),
                (service.key("s3.secret_key_file"), path(S3_SECRET)),
            ]);
        }
        let place = match number {
            0 => service.name().to_owned(),
            number => format!("{}{number}", service.name()),
        };
        options.prepare(self.shape, service, self.folder.path(), &place, listen, &more)
    }

    /// Its shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Where the gateway listens, of several the first: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.location.first()
    }

    /// Where one of its processes listens; of several the first.
    pub fn address(&self, service: Service) -> &str {
        &self.running(service).address
    }

    /// Where all processes of a service listen.
    pub fn addresses(&self, service: Service) -> Vec<String> {
        let of = self.processes.iter().filter(|running| running.service == service);
        of.map(|running| running.address.clone()).collect()
    }

    /// Where other services find a service.
    fn reached_at(&self, service: Service) -> Vec<String> {
        match &self.own {
            None => self.addresses(service),
            Some(own) => {
                let to = own.wires.iter().filter(|(to, _)| *to == service);
                to.map(|(_, wire)| wire.address().to_owned()).collect()
            }
        }
    }

    fn own(&self) -> &Own {
        self.own.as_ref().expect("it was started apart")
    }

    /// The PostgreSQL of an installation that was started apart.
    pub fn postgres(&self) -> &PostgresCluster {
        &self.own().postgres
    }

    /// The same, to make it crash.
    pub fn postgres_mut(&mut self) -> &mut PostgresCluster {
        &mut self.own.as_mut().expect("it was started apart").postgres
    }

    /// What leads to a service of an installation that was started apart; of several processes to the first.
    pub fn wire(&self, service: Service) -> &Wire {
        let found = self.own().wires.iter().find(|(to, _)| *to == service);
        &found.unwrap_or_else(|| panic!("nothing leads to {service:?}")).1
    }

    /// One of its processes; of several the first.
    pub fn process(&self, service: Service) -> &Process {
        &self.running(service).process
    }

    fn running(&self, service: Service) -> &Running {
        let found = self.processes.iter().find(|running| running.service == service);
        found.unwrap_or_else(|| panic!("{service:?} does not run as a process here"))
    }

    /// The bucket of the shape that has one.
    pub fn bucket(&self) -> &Bucket {
        self.bucket.as_ref().expect("this shape has a bucket")
    }

    /// How many processes there are.
    pub fn processes(&self) -> usize {
        self.processes.len()
    }

    /// Clients no longer take the gateway of that number, as when a load balancer has been told that it will end. Nothing
    /// happens for processes that clients do not call.
    pub fn leave_out(&self, number: usize) {
        let gateways = self
            .processes
            .iter()
            .enumerate()
            .filter(|(at, running)| *at != number && running.service == Service::Gateway);
        self.location.set(gateways.map(|(_, running)| running.address.clone()).collect());
    }

    /// Ends one of its processes, with SIGTERM or SIGKILL, and starts it again at its address.
    pub async fn replace(&mut self, number: usize, gracefully: bool) {
        let Running { service, process, address } = self.processes.remove(number);
        if gracefully {
            process.sigterm();
            let status = process.exit().await;
            assert_eq!(status.code(), Some(0), "{service:?} after SIGTERM:\n{}", process.log());
        } else {
            process.kill9().await;
        }
        let among = self.processes[..number].iter().filter(|running| running.service == service).count();
        let listen = address.strip_prefix("http://").expect("it listens on http");
        let process = self.replica(service, among, listen).start();
        let address = process.address().await;
        self.processes.insert(number, Running { service, process, address });
        self.location.set(self.addresses(Service::Gateway));
    }

    /// The data directory of the one-process shape.
    pub fn data_dir(&self) -> PathBuf {
        assert_eq!(self.shape, Shape::OneProcess, "four processes have three data directories");
        data_dir(self.folder.path())
    }

    /// The URL of a service's database, where these are PostgreSQL's.
    pub fn database(&self, service: Service) -> &str {
        let found = self.databases.iter().find(|(of, _)| *of == service);
        found.map(|(_, url)| url.as_str()).expect("this shape has databases on PostgreSQL")
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

    /// Checks that the credentials of a client are void: at once where each service is one process, and else within the five
    /// seconds for which replicas may remember them.
    pub async fn refuses(&self, api: &Api, path: &str) {
        if self.shape.replicas() > 1 {
            let refused = async || {
                // Replicas are chosen at random: so often all of them are asked.
                for _ in 0..24 {
                    if api.get(path).send().await.status != 401 {
                        return None;
                    }
                }
                Some(())
            };
            within(Duration::from_secs(10), "credentials are void", eventually("they are", refused)).await;
        }
        api.get(path).send().await.problem(401, "unauthenticated");
    }

    /// Sets a key of a service's configuration, from its next start on.
    pub fn set(&mut self, service: Service, key: &str, value: &str) {
        self.options = std::mem::take(&mut self.options).set(service, key, value);
    }

    /// Kills every process with SIGKILL.
    pub async fn kill9(&mut self) {
        for running in &self.processes {
            running.process.kill9().await;
        }
        self.processes.clear();
    }

    /// Asks every process to end with SIGTERM, the gateway first, and checks that each ends with 0.
    pub async fn stop(&mut self) {
        for Running { service, process, .. } in self.processes.iter().rev() {
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
        let logs: Vec<String> = self.processes.iter().map(|running| running.process.log()).collect();
        logs.join("\n")
    }

    /// Prints what its processes write from now on, if the test fails.
    pub fn log_on_failure(&self) -> LogOnFailure<'_> {
        LogOnFailure {
            from: self
                .processes
                .iter()
                .map(|running| (&running.process, running.process.log_len()))
                .collect(),
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
