//! The life of a server process, from its arguments to its exit code.
//!
//! A server's `main` is one call of [`main`] with the function that builds and serves it;
//! `examples/server.rs` is a whole one.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args as _, CommandFactory, FromArgMatches};

use crate::BoxError;
use crate::admin::{Admin, Ready};
use crate::config::{self, Args, ConfigError, ProcessConfig};
use crate::data_dir::DataDirError;
use crate::serve::{BoundListener, Server};
use crate::shutdown::{Drained, Shutdown};
use crate::telemetry::{self, Scrape};
use crate::tls::TlsError;

/// Exit code: the configuration cannot be used, or the data directory is in use (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;
/// Exit code: the start failed for another reason (`EX_SOFTWARE`).
pub const EXIT_FAILED: u8 = 70;
/// Exit code: stopped as asked, but requests had to be cut off.
pub const EXIT_CUT_OFF: u8 = 1;

/// Threads for blocking work. The default of 512 would turn a slow disk into 512 threads.
const MAX_BLOCKING_THREADS: usize = 64;

/// What is left of blocking work after everything has been drained is waited for this long.
const BLOCKING_LIMIT: Duration = Duration::from_secs(2);

/// A process that has started, in the hands of its server.
#[derive(Debug)]
pub struct Process<C> {
    /// The name of the program.
    pub name: &'static str,
    /// Its configuration, validated.
    pub config: C,
    /// When to stop.
    pub shutdown: Shutdown,
    ready: Ready,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(#[source] BoxError),
    /// Another process owns the data directory.
    #[error("{0}")]
    InUse(#[source] DataDirError),
    /// Anything else.
    #[error("{0}")]
    Failed(#[source] BoxError),
}

impl StartError {
    /// With [`EXIT_FAILED`].
    pub fn failed(error: impl Into<BoxError>) -> Self {
        Self::Failed(error.into())
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::InUse(_) => EXIT_CONFIG,
            Self::Failed(_) => EXIT_FAILED,
        }
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error.into())
    }
}

impl From<TlsError> for StartError {
    fn from(error: TlsError) -> Self {
        Self::Config(error.into())
    }
}

impl From<crate::upstream::UpstreamError> for StartError {
    fn from(error: crate::upstream::UpstreamError) -> Self {
        Self::Config(error.into())
    }
}

impl From<DataDirError> for StartError {
    fn from(error: DataDirError) -> Self {
        match error {
            DataDirError::InUse { .. } => Self::InUse(error),
            DataDirError::Incomplete { .. } => Self::Config(error.into()),
            DataDirError::Io { .. } => Self::failed(error),
        }
    }
}

impl<C> Process<C> {
    /// Says on standard output, and in the log, where a server can be reached. Programs read the line
    /// `NAME listening on URL`; it comes when connections are about to be taken, and the process is ready from then on.
    pub fn announce(&self, server: &Server, listener: &BoundListener) {
        // First, so that whoever reads the line finds it so.
        self.ready.set();
        announce(self.name, server.scheme(), listener);
    }
}

pub(crate) fn announce(name: &str, scheme: &str, listener: &BoundListener) {
    let url = format!("{scheme}://{}", listener.local_addr());
    let mut out = std::io::stdout().lock();
    // A closed standard output is no reason not to serve.
    let _ = writeln!(out, "{name} listening on {url}").and_then(|()| out.flush());
    tracing::info!(name, %url, "listening");
}

/// [`BoundListener::bind`] with an error that says which address.
pub async fn bind(addr: SocketAddr) -> Result<BoundListener, StartError> {
    BoundListener::bind(addr)
        .await
        .map_err(|error| StartError::failed(format!("cannot listen on {addr}: {error}")))
}

/// Runs a server from its arguments to its exit code.
///
/// `start` builds the server and serves until `process.shutdown` is requested, which SIGTERM and SIGINT do.
/// After it the tasks of the shutdown are waited for, within its limit.
pub fn main<C, F, Fut>(name: &'static str, start: F) -> ExitCode
where
    C: ProcessConfig,
    F: FnOnce(Process<C>) -> Fut,
    Fut: Future<Output = Result<(), StartError>>,
{
    let args = arguments(name);
    match prepare(name, &args, start) {
        Ok(code) => code,
        Err(error) => {
            complain(name, &error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn arguments(name: &'static str) -> Args {
    let matches = Args::command().name(name).version(env!("CARGO_PKG_VERSION")).get_matches();
    Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Does something else than serve when the first argument says so:
/// `NAME COMMAND [ARGUMENTS] [--config FILE] [--data-dir DIR]`, with the arguments that are `A`, or `()` for none.
///
/// `about` is what `--help` says of the command. Exit codes and log are those of a server.
pub fn command<C, A, Fut>(
    name: &'static str,
    command: &'static str,
    about: &'static str,
    work: impl FnOnce(C, A) -> Fut,
) -> Option<ExitCode>
where
    C: ProcessConfig,
    A: clap::Args,
    Fut: Future<Output = Result<(), StartError>>,
{
    command_with(name, command, about, |config, arguments| {
        let work = work(config, arguments);
        async { work.await.map(|()| 0) }
    })
}

/// As [`command`], with an exit code of its own when it could be done.
pub fn command_with<C, A, Fut>(
    name: &'static str,
    command: &'static str,
    about: &'static str,
    work: impl FnOnce(C, A) -> Fut,
) -> Option<ExitCode>
where
    C: ProcessConfig,
    A: clap::Args,
    Fut: Future<Output = Result<u8, StartError>>,
{
    std::env::args_os().nth(1).filter(|first| first == command)?;
    // Last, since each set of arguments says what it is itself about.
    let place =
        Place::augment_args(A::augment_args(clap::Command::new(command))).about(about).long_about(about);
    let matches = clap::Command::new(name)
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .subcommand(place)
        .get_matches();
    let (_, matches) = matches.subcommand()?;
    let read = Place::from_arg_matches(matches).and_then(|place| Ok((place, A::from_arg_matches(matches)?)));
    let (place, arguments) = read.unwrap_or_else(|error| error.exit());
    let done = config::load(&place.args()).map_err(StartError::from).and_then(|config: C| {
        crate::tls::install_provider();
        let runtime = tokio::runtime::Runtime::new().map_err(StartError::failed)?;
        runtime.block_on(async {
            let telemetry = telemetry::start(name, config.telemetry(), false).map_err(StartError::failed)?;
            let done = work(config, arguments).await;
            telemetry.shutdown().await;
            done
        })
    });
    Some(done.map_or_else(
        |error| {
            complain(name, &error);
            ExitCode::from(error.exit_code())
        },
        ExitCode::from,
    ))
}

/// Where a command works that is not serving.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory with this server's data.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Place {
    /// The same as arguments of a server, for [`config::load`].
    #[must_use]
    pub fn args(&self) -> Args {
        Args { config: self.config.clone(), data_dir: self.data_dir.clone(), ..Args::default() }
    }
}

fn prepare<C, F, Fut>(name: &'static str, args: &Args, start: F) -> Result<ExitCode, StartError>
where
    C: ProcessConfig,
    F: FnOnce(Process<C>) -> Fut,
    Fut: Future<Output = Result<(), StartError>>,
{
    crate::tls::install_provider();
    let config: C = config::load(args)?;
    if args.check_config {
        let _ = writeln!(std::io::stdout(), "configuration is valid");
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .enable_all()
        .build()
        .map_err(StartError::failed)?;
    let ended = runtime.block_on(async {
        let telemetry = telemetry::start(name, config.telemetry(), config.admin().listen.is_some())
            .map_err(StartError::failed)?;
        let ended = live(name, config, telemetry.scrape(), start).await;
        if let Err(error) = &ended {
            tracing::error!(%error, "cannot start");
        }
        telemetry.shutdown().await;
        ended
    });
    runtime.shutdown_timeout(BLOCKING_LIMIT);
    ended
}

async fn live<C, F, Fut>(
    name: &'static str,
    config: C,
    scrape: Option<Scrape>,
    start: F,
) -> Result<ExitCode, StartError>
where
    C: ProcessConfig,
    F: FnOnce(Process<C>) -> Fut,
    Fut: Future<Output = Result<(), StartError>>,
{
    let shutdown = Shutdown::with_drain(config.shutdown().drain.get(), config.shutdown().timeout.get());
    shutdown.on_signals().map_err(StartError::failed)?;
    let ready = Ready::default();
    let admin = match config.admin().listen.zip(scrape) {
        Some((addr, scrape)) => {
            Some(Admin::start(addr, name, ready.clone(), shutdown.clone(), scrape).await?)
        }
        None => None,
    };
    let ended = start(Process { name, config, shutdown: shutdown.clone(), ready }).await;
    let drained = shutdown.drain().await;
    if let Some(admin) = admin {
        admin.stop().await;
    }
    ended?;
    Ok(match drained {
        Drained::Complete => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Drained::CutOff(number) => {
            tracing::warn!(number, "stopped with work cut off");
            ExitCode::from(EXIT_CUT_OFF)
        }
    })
}

#[expect(clippy::print_stderr, reason = "for the person who starts the server")]
fn complain(name: &str, error: &StartError) {
    eprintln!("{name}: {error}");
}
