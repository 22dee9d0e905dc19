//! A PostgreSQL of the test process's own.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

/// Runs a server, and ends it when the test process is gone, however it went: its standard input is a pipe
/// that only the test process holds open. A line on it is a crash: all processes of the server end at once, and it starts
/// again.
///
/// The folder is the first argument, the server's command line follows.
const SUPERVISOR: &str = r#"
trap '' HUP INT TERM
folder=$1
shift
"$@" </dev/null &
server=$!
while read -r _; do
  kill -QUIT "$server"
  wait "$server"
  "$@" </dev/null &
  server=$!
done
kill -QUIT "$server"
kill -CONT "$server"
wait "$server"
cd /
rm -rf "$folder"
"#;

const START: Duration = Duration::from_secs(60);

const MISSING: &str = "these tests need PostgreSQL, but its `initdb` and `postgres` are neither on PATH nor in \
                       /usr/lib/postgresql/*/bin (Debian: apt-get install postgresql; macOS: brew install \
                       postgresql@16, and its bin folder on PATH)";

/// A PostgreSQL server with a folder of its own, which holds its data and the Unix socket by which it is
/// reached.
///
/// It flushes as a real one does, or [`Database::open`](crate::Database::open) would not have it.
pub struct PostgresCluster {
    folder: PathBuf,
    databases: AtomicU32,
    /// Where it takes connections over TCP, if it does.
    port: Option<u16>,
    /// Holds the pipe, which the system closes when this process ends.
    supervisor: Child,
}

/// A certificate and its key, as PEM.
struct Tls<'a> {
    certificate: &'a str,
    key: &'a str,
}

/// A server that has crashed and is starting.
#[derive(Debug)]
pub struct Crashed {
    status: PathBuf,
    /// The number of the process that ended.
    ended: Option<String>,
}

impl Crashed {
    /// Whether it takes connections again.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let now = process(&self.status);
        now.is_some() && now != self.ended && is_ready(&self.status)
    }
}

/// A server that stands still. It goes on when this is dropped.
#[derive(Debug)]
pub struct Frozen(Vec<String>);

impl Drop for Frozen {
    fn drop(&mut self) {
        signal("-CONT", &self.0);
    }
}

impl PostgresCluster {
    /// This process's server: started at the first call, gone with the process. A root user's server runs as
    /// the user `postgres`, since it refuses to run as root.
    ///
    /// # Panics
    /// When PostgreSQL is not installed (the message says how to get it), or does not start.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresCluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&binaries(), None))
    }

    /// A server that no other test uses, for doing it harm. It is gone when this is dropped.
    ///
    /// # Panics
    /// As [`PostgresCluster::shared`].
    #[must_use]
    pub fn private() -> Self {
        Self::start(&binaries(), None)
    }

    /// The same, which takes connections over TLS too, at [`port`](Self::port) of 127.0.0.1, with this certificate and its
    /// key (PEM).
    ///
    /// # Panics
    /// As [`PostgresCluster::shared`].
    #[must_use]
    pub fn private_with_tls(certificate: &str, key: &str) -> Self {
        Self::start(&binaries(), Some(Tls { certificate, key }))
    }

    /// Where it takes connections over TCP.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.expect("it was started with TLS")
    }

    /// Stops all processes of the server where they are (SIGSTOP): what is connected stays so, and nothing answers.
    ///
    /// # Panics
    /// Where the system does not tell of the server's processes as Linux does.
    #[must_use]
    pub fn freeze(&self) -> Frozen {
        let server = process(&self.status()).expect("the server runs");
        // First of all the one that makes more of them.
        signal("-STOP", std::slice::from_ref(&server));
        let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children"));
        let mut all: Vec<_> =
            children.expect("Linux lists processes").split_whitespace().map(str::to_owned).collect();
        signal("-STOP", &all);
        all.push(server);
        Frozen(all)
    }

    /// Ends all processes of the server at once and starts it again. Does not wait for either.
    ///
    /// # Panics
    /// When the server's keeper is gone.
    pub fn crash(&mut self) -> Crashed {
        let status = self.status();
        let ended = process(&status);
        let pipe = self.supervisor.stdin.as_mut().expect("it was made with a pipe");
        pipe.write_all(b"crash\n").and_then(|()| pipe.flush()).expect("the keeper reads");
        Crashed { status, ended }
    }

    /// The file in which the server says how far it has come.
    fn status(&self) -> PathBuf {
        self.folder.join("data/postmaster.pid")
    }

    /// Makes an empty database, which stays until the server goes, and returns its URL.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection =
            PgConnection::connect(&self.url("postgres")).await.expect("connecting to PostgreSQL");
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut connection)
            .await
            .expect("creating a test database");
        connection.close().await.expect("closing a connection");
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        let port = self.port.map(|port| format!("&port={port}")).unwrap_or_default();
        format!("postgres://postgres@localhost/{database}?host={}{port}", self.folder.display())
    }

    fn start(binaries: &Path, tls: Option<Tls<'_>>) -> Self {
        let temporary = tempfile::Builder::new().prefix("pg-").tempdir().expect("making a temporary folder");
        let folder = temporary.path().to_owned();
        let owner = owner(&folder);
        let data = folder.join("data");

        let mut initdb = command(&binaries.join("initdb"), &folder, owner);
        initdb.arg("--pgdata").arg(&data);
        initdb.args(["--no-sync", "--auth=trust", "--username=postgres", "--no-locale", "--encoding=UTF8"]);
        let made = initdb.output().expect("running initdb");
        assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));

        let log = folder.join("log");
        let mut supervisor = command(Path::new("sh"), &folder, owner);
        supervisor.args(["-c", SUPERVISOR, "sh"]).arg(&folder).arg(binaries.join("postgres"));
        supervisor.arg("-D").arg(&data).arg("-k").arg(&folder);
        for setting in ["max_connections=300", "shared_buffers=64MB", "log_min_messages=fatal"] {
            supervisor.args(["-c", setting]);
        }
        let port = tls.is_some().then(free_port);
        match tls.zip(port) {
            None => {
                supervisor.args(["-c", "listen_addresses="]);
            }
            Some((tls, port)) => {
                write(&data.join("server.crt"), tls.certificate, owner);
                write(&data.join("server.key"), tls.key, owner);
                supervisor.args(["-c", "listen_addresses=127.0.0.1", "-c", "ssl=on", "-p"]);
                supervisor.arg(port.to_string());
            }
        }
        let supervisor = supervisor
            // Out of reach of a terminal's interrupt, which would leave the folder behind.
            .process_group(0)
            .stdin(Stdio::piped())
            .stderr(fs::File::create(&log).expect("making the server's log"))
            .spawn()
            .expect("starting a shell");
        // From here on the supervisor removes it.
        let _ = temporary.keep();
        let cluster = Self { folder, databases: AtomicU32::new(0), port, supervisor };

        let status = cluster.status();
        let started = Instant::now();
        while !is_ready(&status) {
            let said = fs::read_to_string(&log).unwrap_or_default();
            assert!(started.elapsed() < START && !said.contains("FATAL"), "PostgreSQL did not start: {said}");
            thread::sleep(Duration::from_millis(10));
        }
        cluster
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("it has an address").port()
}

/// Writes a file that its owner alone may read.
fn write(path: &Path, text: &str, owner: Option<(u32, u32)>) {
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).expect("making a file");
    file.write_all(text.as_bytes()).expect("writing a file");
    if let Some((user, group)) = owner {
        chown(path, Some(user), Some(group)).expect("giving a file to `postgres`");
    }
}

/// The number of the server's first process.
fn process(status: &Path) -> Option<String> {
    Some(fs::read_to_string(status).ok()?.lines().next()?.to_owned())
}

/// Whether the last line of the file says that connections are taken.
fn is_ready(status: &Path) -> bool {
    fs::read_to_string(status).is_ok_and(|text| text.lines().nth(7).map(str::trim) == Some("ready"))
}

fn signal(signal: &str, processes: &[String]) {
    let sent = Command::new("sh").args(["-c", "kill \"$@\"", "sh", signal]).args(processes).status();
    assert!(sent.is_ok(), "a shell can be had");
}

fn command(program: &Path, folder: &Path, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_remove("PGDATA").stdin(Stdio::null()).stdout(Stdio::null());
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}

/// Whom the server has to run as, given the folder, when we are root; `None` when it can run as we do.
fn owner(folder: &Path) -> Option<(u32, u32)> {
    if fs::metadata(folder).expect("looking at the temporary folder").uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("reading the users");
    let owner = users.lines().find_map(|line| {
        let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    let (user, group) =
        owner.expect("PostgreSQL does not run as root, and there is no user `postgres` to run it as");
    chown(folder, Some(user), Some(group)).expect("giving the temporary folder to `postgres`");
    Some((user, group))
}

/// The folder of `initdb` and `postgres`: from `PATH`, else the newest version where Debian keeps them.
fn binaries() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    folders.extend(versions.into_iter().rev().map(|(_, folder)| folder));
    folders
        .into_iter()
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
        .expect(MISSING)
}
