//! What an operator does while the service runs: `holdall-blob jobs`, which calls it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use bytes::Bytes;
use holdall_proto::blob::v1::admin_service_client::AdminServiceClient;
use holdall_proto::blob::v1::{
    AdminGrant, Job, JobKind, JobState, ListJobsRequest, StartJobRequest, StopJobRequest, WatchJobsRequest,
};
use holdall_proto::grant::KeyRing;
use holdall_runtime::clock::Clock;
use holdall_runtime::config::{self, Invalid, UpstreamConfig, Validate};
use holdall_runtime::run::StartError;
use holdall_runtime::upstream::{self, Upstream};
use tonic::{Code, Status};

use crate::config::Process;
use crate::offline::say;
use crate::{key, keys};

/// How long the command's grant is good for, in microseconds.
const LIFETIME: i64 = 60 * 1_000_000;

/// Which service is called, and how.
#[derive(clap::Args)]
pub struct Service {
    /// Configuration file of the service (TOML): for the key, and the address it listens on.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the service is, or a gateway, when not where it is configured to listen.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// File with the key that metadata and blob share, where no configuration of the service names it: where all runs in one
    /// process, `keys/grants.key` in its data directory.
    #[arg(long, value_name = "FILE", requires = "url", conflicts_with = "config")]
    grant_key: Option<PathBuf>,
    /// PEM file with the authorities that may have signed the service's certificate.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// PEM file with our certificate, where the service asks for one.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// PEM file with its private key.
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// The name expected in the service's certificate.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
}

/// What to do.
#[derive(clap::Subcommand)]
pub enum Jobs {
    /// Tells what each job does.
    List(Service),
    /// Has a job work now, also one that was stopped.
    Start {
        /// Which one.
        kind: Kind,
        #[command(flatten)]
        service: Service,
    },
    /// Stops a job until it is started again, or the service is.
    Stop {
        /// Which one.
        kind: Kind,
        #[command(flatten)]
        service: Service,
    },
    /// Tells what each job does whenever that changes.
    Watch(Service),
}

/// Which job.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Kind {
    /// Deleting what is not used any more.
    Collect,
    /// Emptying packs that are mostly dead.
    Compact,
    /// Looking for damage.
    Scrub,
}

impl From<Kind> for i32 {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Collect => JobKind::Collect,
            Kind::Compact => JobKind::Compact,
            Kind::Scrub => JobKind::Scrub,
        }
        .into()
    }
}

/// Calls the service.
///
/// # Errors
/// [`StartError::Config`] for a configuration that cannot be used, [`StartError::Failed`] when the service cannot be reached or
/// refuses.
pub async fn run(jobs: Jobs) -> Result<(), StartError> {
    let (Jobs::List(service)
    | Jobs::Start { service, .. }
    | Jobs::Stop { service, .. }
    | Jobs::Watch(service)) = &jobs;
    let Reached { mut client, url, keys } = reach(service)?;
    let failed = |status: Status| StartError::failed(format!("{url}: {}", status.message()));
    let grant = grant(&keys);
    match jobs {
        Jobs::List(_) => {
            let answer = client.list_jobs(ListJobsRequest { grant }).await.map_err(failed)?;
            show(&answer.into_inner().jobs);
        }
        Jobs::Start { kind, .. } => {
            let request = StartJobRequest { grant, kind: kind.into() };
            show(client.start_job(request).await.map_err(failed)?.into_inner().job.as_slice());
        }
        Jobs::Stop { kind, .. } => {
            let request = StopJobRequest { grant, kind: kind.into() };
            show(client.stop_job(request).await.map_err(failed)?.into_inner().job.as_slice());
        }
        Jobs::Watch(_) => {
            watch(&mut client, &keys).await.map_err(failed)?;
        }
    }
    Ok(())
}

/// Shows what changes until the service stops.
async fn watch(client: &mut AdminServiceClient<Upstream>, keys: &KeyRing) -> Result<(), Status> {
    let mut last = Vec::new();
    loop {
        let answer = client.watch_jobs(WatchJobsRequest { grant: grant(keys) }).await?;
        let mut messages = answer.into_inner();
        loop {
            match messages.message().await {
                Ok(Some(message)) if message.jobs == last => {}
                Ok(Some(message)) => {
                    show(&message.jobs);
                    say(&mut io::stdout(), "");
                    last = message.jobs;
                }
                Ok(None) => return Ok(()),
                // It was good at first, so its time is over.
                Err(status) if status.code() == Code::Unauthenticated => break,
                Err(status) => return Err(status),
            }
        }
    }
}

struct Reached {
    client: AdminServiceClient<Upstream>,
    url: String,
    keys: KeyRing,
}

fn grant(keys: &KeyRing) -> Bytes {
    let expires_at_us = Clock::System.now().saturating_add(LIFETIME);
    keys.seal(&AdminGrant { expires_at_us, subject: "holdall-blob jobs".to_owned() })
}

fn reach(service: &Service) -> Result<Reached, StartError> {
    let (url, keys) = match (&service.grant_key, &service.url) {
        (Some(file), Some(url)) => (url.clone(), KeyRing::new(&key(file)?)),
        _ => configured(service)?,
    };
    let upstream = UpstreamConfig {
        url: Some(url.clone()),
        ca_file: service.ca_file.clone(),
        cert_file: service.cert_file.clone(),
        key_file: service.key_file.clone(),
        server_name: service.server_name.clone(),
        ..UpstreamConfig::default()
    };
    upstream.validate().map_err(|invalid| StartError::Config(invalid.into()))?;
    let connected =
        upstream::connect(&upstream, Some(upstream.timeout.get()), &upstream::Idempotent::default())?;
    Ok(Reached { client: AdminServiceClient::new(connected), url, keys })
}

/// What the configuration of the service says.
fn configured(service: &Service) -> Result<(String, KeyRing), StartError> {
    let args = config::Args { config: service.config.clone(), ..config::Args::default() };
    let process: Process = config::load(&args)?;
    let url = match &service.url {
        Some(url) => url.clone(),
        None => own_url(&process)?,
    };
    Ok((url, keys(&process.blob.grants)?))
}

/// Where the service listens, seen from its own machine.
fn own_url(process: &Process) -> Result<String, StartError> {
    let listen = process.server.listen;
    if listen.port() == 0 {
        let problem = "names no port, so the service has taken a free one: say which with --url";
        return Err(StartError::Config(Invalid::new("server.listen", problem).into()));
    }
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let scheme = if process.server.tls.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{}", SocketAddr::new(ip, listen.port())))
}

fn show(jobs: &[Job]) {
    for job in jobs {
        say(&mut io::stdout(), &line(job));
    }
}

/// A job in one line, such as `scrub    running  with the lease, 12 of 500 bytes`.
fn line(job: &Job) -> String {
    let kind = match job.kind() {
        JobKind::Collect => "collect",
        JobKind::Compact => "compact",
        JobKind::Scrub => "scrub",
        JobKind::Unspecified => "?",
    };
    let state = match job.state() {
        JobState::Running => "running",
        JobState::Waiting => "waiting",
        JobState::Stopped => "stopped",
        JobState::Disabled => "disabled",
        JobState::Unspecified => "?",
    };
    let mut facts = Vec::new();
    if job.has_lease {
        facts.push("with the lease".to_owned());
    }
    if job.blobs > 0 {
        facts.push(format!("{} blobs", job.blobs));
    }
    match job.total_bytes {
        Some(total) => facts.push(format!("{} of {total} bytes", job.bytes)),
        None if job.bytes > 0 => facts.push(format!("{} bytes", job.bytes)),
        None => {}
    }
    if job.encrypted {
        facts.push("all encrypted as configured".to_owned());
    }
    if !job.last_error.is_empty() {
        facts.push(format!("last error: {}", job.last_error));
    }
    format!("{kind:<8} {state:<8} {}", facts.join(", ")).trim_end().to_owned()
}
