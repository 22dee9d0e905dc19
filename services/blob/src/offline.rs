//! What an operator does while the service does not run: `holdall-blob fsck` and `holdall-blob rebuild-index`.
//!
//! Both take the data directory for themselves, so neither runs beside the service. Commands that call one that runs are in
//! `remote`, and begin here too.

use std::error::Error as _;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use holdall_runtime::config::{self, Invalid, Validate};
use holdall_runtime::data_dir::DataDir;
use holdall_runtime::run::{Place, StartError};
use holdall_sql::{Database, Durability};
use serde::{Deserialize, Serialize};

use crate::config::Process;
use crate::domain::payload::Encoding;
use crate::store::Settings;
use crate::store::fsck::{Checked, check};
use crate::store::index::{Index, MIGRATIONS};
use crate::store::packs::{self, PackStore};
use crate::store::recover;
use crate::{chain, index_error, remote, store_settings};

/// How often progress is told.
const TICK: Duration = Duration::from_secs(2);
/// The index, when it is a file in the data directory, and what SQLite keeps beside it.
const INDEX: &str = "index.db";
const BESIDE: [&str; 3] = ["", "-wal", "-shm"];

/// Exit code: something is damaged or missing.
const DAMAGED: u8 = 1;
/// Exit code: it could not be done.
const FAILED: u8 = 70;

#[derive(Parser)]
#[command(name = "holdall-blob", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Reads everything that the index points at and tells what is damaged or missing. Changes nothing.
    Fsck(Place),
    /// Makes the index again from the packs.
    RebuildIndex(Place),
    /// Shows, starts and stops the background jobs of a service that runs.
    #[command(subcommand)]
    Jobs(remote::Jobs),
}

/// The configuration of the process, which needs no keys here.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Offline(Process);

impl Validate for Offline {
    fn validate(&self) -> Result<(), Invalid> {
        self.0.data.validate().map_err(|invalid| invalid.within("data"))?;
        self.0.blob.validate().map_err(|invalid| invalid.within("blob"))
    }
}

/// Does what the arguments ask for, when that is something else than to serve.
pub fn main() -> Option<ExitCode> {
    let first = std::env::args_os().nth(1)?;
    if !["fsck", "rebuild-index", "jobs"].map(OsStr::new).contains(&first.as_os_str()) {
        return None;
    }
    let code = run(Cli::parse().command).unwrap_or_else(|error| {
        // It speaks with the words of its cause.
        let text = error.source().map_or_else(|| error.to_string(), chain);
        say(&mut io::stderr(), &format!("holdall-blob: {text}"));
        FAILED
    });
    Some(ExitCode::from(code))
}

fn run(command: Command) -> Result<u8, StartError> {
    holdall_runtime::tls::install_provider();
    let runtime = tokio::runtime::Runtime::new().map_err(StartError::failed)?;
    match command {
        Command::Fsck(place) => runtime.block_on(fsck(&place)),
        Command::RebuildIndex(place) => runtime.block_on(rebuild(&place)),
        Command::Jobs(jobs) => runtime.block_on(remote::run(jobs)).map(|()| 0),
    }
}

/// A data directory that nobody else has meanwhile, and what is in it.
struct Opened {
    data_dir: DataDir,
    index: holdall_sql::Settings,
    packs: Arc<dyn PackStore>,
    encoding: Arc<Encoding>,
}

fn open(place: &Place) -> Result<Opened, StartError> {
    let Offline(process) = config::load(&place.args())?;
    let dir = process.data.dir;
    if !dir.is_dir() {
        return Err(StartError::failed(format!("{} is not there", dir.display())));
    }
    let data_dir = DataDir::acquire(&dir, "holdall-blob")?;
    let Settings { packs, encoding, .. } = store_settings(&process.blob, &dir)?;
    let packs = packs::open(&packs, &Arc::default()).map_err(StartError::failed)?;
    Ok(Opened { data_dir, index: process.blob.index, packs, encoding })
}

async fn open_index(settings: &holdall_sql::Settings) -> Result<Index, StartError> {
    let database = Database::open(settings, &MIGRATIONS, Durability::Rebuildable).await;
    Ok(Index::new(database.map_err(index_error)?))
}

async fn fsck(place: &Place) -> Result<u8, StartError> {
    let Opened { data_dir, index, packs, encoding } = open(place)?;
    // A file is looked at as a copy, since opening it may change it.
    let copy = tempfile::tempdir().map_err(StartError::failed)?;
    let index = if index.url.is_empty() {
        copy_index(data_dir.path(), copy.path()).map_err(StartError::failed)?;
        holdall_sql::Settings::file(&copy.path().join(INDEX))
    } else {
        index
    };
    let index = open_index(&index).await?;
    let out = &mut io::stdout();
    let checked = check(&packs, &index, &encoding, &mut |line| say(out, &line)).await;
    index.database().close().await;
    let Checked { packs, records, bytes, problems, .. } =
        checked.map_err(|error| StartError::failed(chain(&error)))?;
    say(out, &format!("{packs} packs, {records} records, {bytes} bytes, {problems} problems"));
    Ok(if problems == 0 { 0 } else { DAMAGED })
}

fn copy_index(from: &Path, to: &Path) -> io::Result<()> {
    for end in BESIDE {
        let name = format!("{INDEX}{end}");
        if from.join(&name).exists() {
            std::fs::copy(from.join(&name), to.join(&name))?;
        }
    }
    Ok(())
}

async fn rebuild(place: &Place) -> Result<u8, StartError> {
    let Opened { data_dir, index, packs, encoding } = open(place)?;
    if !index.url.is_empty() {
        let problem = "is not a file of this directory; give the service an empty database, and it is filled at the start";
        return Err(StartError::Config(Invalid::new("blob.index.url", problem).into()));
    }
    let out = &mut io::stdout();
    let dir = data_dir.path();
    let new = format!("{INDEX}.new");
    remove(dir, &new).map_err(StartError::failed)?;
    let total =
        Arc::clone(&packs).list(crate::store::pack::PackId(0)).await.map_err(StartError::failed)?.len();
    let index = open_index(&holdall_sql::Settings::file(&dir.join(&new))).await?;
    let mut ticks = tokio::time::interval(TICK);
    let recovering = recover::recover(&packs, &index, &encoding);
    tokio::pin!(recovering);
    loop {
        tokio::select! {
            done = &mut recovering => {
                done.map_err(|error| StartError::failed(chain(&error)))?;
                break;
            }
            _ = ticks.tick() => {
                let read = index.packs().await.map_err(StartError::failed)?.len();
                say(out, &format!("{read} of {total} packs"));
            }
        }
    }
    index.database().close().await;
    remove(dir, INDEX).map_err(StartError::failed)?;
    std::fs::rename(dir.join(&new), dir.join(INDEX)).map_err(StartError::failed)?;
    say(out, &format!("{total} packs are indexed"));
    Ok(0)
}

fn remove(dir: &Path, name: &str) -> io::Result<()> {
    for end in BESIDE {
        match std::fs::remove_file(dir.join(format!("{name}{end}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Whoever does not listen any more does not need to know.
pub(crate) fn say(out: &mut dyn Write, line: &str) {
    let _ = writeln!(out, "{line}");
}
