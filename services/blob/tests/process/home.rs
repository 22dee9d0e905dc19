//! A data directory with a key, and a server on it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use holdall_proto::blob::v1::blob_service_client::BlobServiceClient;
use holdall_proto::grant::KeyRing;
use holdall_runtime::config::UpstreamConfig;
use holdall_runtime::upstream::{self, Upstream};
use tempfile::TempDir;

use crate::strace::Strace;

/// A server is up again after so long, whatever has happened before…
const START: Duration = Duration::from_secs(5);
/// …or after that much processor time, where others need the processors and the disk too.
const START_WORK: Duration = Duration::from_secs(2);
/// A server that has to end does so within this time.
const END: Duration = Duration::from_secs(40);

pub type Client = BlobServiceClient<Upstream>;

/// A data directory and how a server on it is configured. Deleted when dropped.
pub struct Home {
    dir: TempDir,
    data: PathBuf,
    settings: Vec<(&'static str, String)>,
    pub keys: KeyRing,
}

impl Home {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        Self::with_data(dir, data)
    }

    /// One whose data is in a folder of another file system.
    pub fn on(file_system: &Path) -> Self {
        Self::with_data(tempfile::tempdir().unwrap(), file_system.join("data"))
    }

    fn with_data(dir: TempDir, data: PathBuf) -> Self {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(dir.path().join("key")).unwrap();
        let key = *blake3::hash(b"a key").as_bytes();
        for byte in key {
            write!(file, "{byte:02x}").unwrap();
        }
        Self { dir, data, settings: Vec::new(), keys: KeyRing::new(&key) }
    }

    /// With `[blob]` setting `name` (upper case, `__` between its parts) at `value`.
    pub fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((name, value.into()));
        self
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The packs, in order.
    pub fn packs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.data.join("packs")).unwrap();
        let mut packs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        packs.sort();
        packs
    }

    /// Deletes the index, which has to come back from the packs.
    pub fn lose_index(&self) {
        for name in ["index.db", "index.db-wal", "index.db-shm"] {
            let _ = std::fs::remove_file(self.data.join(name));
        }
    }

    /// The program, or another one that runs it.
    pub fn command(&self) -> Command {
        self.configure(Command::new(env!("CARGO_BIN_EXE_holdall-blob")))
    }

    fn configure(&self, mut command: Command) -> Command {
        let key_files = format!("[{:?}]", self.dir.path().join("key"));
        command
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&self.data)
            .env("HOLDALL_BLOB__GRANTS__KEY_FILES", key_files)
            .env("HOLDALL_BLOB__PACKS__RESERVE", "0")
            .env("HOLDALL_BLOB__PACKS__MAX_SIZE", "16MiB")
            .env("HOLDALL_TELEMETRY__LOG", "off")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        for (name, value) in &self.settings {
            command.env(format!("HOLDALL_BLOB__{name}"), value);
        }
        command
    }

    /// Starts the program, which has to be up in time.
    pub fn start(&self) -> Server {
        let started = Instant::now();
        let server = Server::spawn(self.command()).expect("it does not start");
        let (time, work) = (started.elapsed(), server.processor_time());
        assert!(time < START || work < START_WORK, "it needed {time:?} and worked for {work:?} to start");
        server
    }

    /// Starts the program with more in its environment.
    pub fn start_with(&self, environment: &[(&str, &str)]) -> Server {
        let mut command = self.command();
        command.envs(environment.iter().copied());
        Server::spawn(command).expect("it does not start")
    }

    /// Starts the program with something done to its system calls; `None` when it has ended before it listened.
    pub fn start_under(&self, strace: &Strace) -> Option<Server> {
        Server::spawn(self.configure(strace.command(env!("CARGO_BIN_EXE_holdall-blob"))))
    }
}

/// A running process; killed when dropped.
pub struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn spawn(mut command: Command) -> Option<Self> {
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut server = Self { child, url: String::new() };
        if line.is_empty() {
            server.child.wait().unwrap();
            return None;
        }
        server.url = line.trim().strip_prefix("holdall-blob listening on ").expect(&line).to_owned();
        Some(server)
    }

    /// A connection of its own.
    pub fn client(&self) -> Client {
        BlobServiceClient::new(self.connect())
    }

    pub fn connect(&self) -> Upstream {
        let config = UpstreamConfig { url: Some(self.url.clone()), ..UpstreamConfig::default() };
        upstream::connect(&config, None, &Default::default()).unwrap()
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Lets the process open files up to this number, and none beyond.
    pub fn limit_files(&self, limit: usize) {
        let process = format!("--pid={}", self.pid());
        let status = Command::new("prlimit").args([process, format!("--nofile={limit}:")]).status().unwrap();
        assert!(status.success());
    }

    /// The lowest number that no open file has.
    pub fn next_file(&self) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
        let files: Vec<usize> =
            files.map(|file| file.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
        (0..).find(|number| !files.contains(number)).unwrap()
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, which it has to do without complaint.
    pub async fn stop(self) {
        self.signal("-TERM");
        assert_eq!(self.end().await.code(), Some(0));
    }

    /// Waits until somebody else has killed it.
    pub async fn was_killed(self) {
        let status = self.end().await;
        assert_eq!(status.signal(), Some(9), "{status:?}");
    }

    async fn end(self) -> ExitStatus {
        let pid = self.pid().to_string();
        let mut server = self;
        // Connections of this process have to go on: the server may be waiting for them.
        let end = tokio::task::spawn_blocking(move || server.child.wait().unwrap());
        let Ok(status) = tokio::time::timeout(END, end).await else {
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
            panic!("the server does not end");
        };
        status.unwrap()
    }

    /// What it has used of the processors.
    fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // After the name, which is in brackets: user and system time, in hundredths of a second.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
        Duration::from_millis(10 * ticks.sum::<u64>())
    }

    /// The most memory it ever held, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
