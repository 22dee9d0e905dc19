//! `AdminService`.

use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use holdall_proto::blob::v1::admin_service_server::{AdminService, AdminServiceServer};
use holdall_proto::blob::v1::{
    AdminGrant, Job, JobKind, JobState, ListJobsRequest, ListJobsResponse, StartJobRequest, StartJobResponse,
    StopJobRequest, StopJobResponse, WatchJobsRequest, WatchJobsResponse,
};
use holdall_proto::grant::{GrantError, KeyRing};
use holdall_proto::timestamp;
use holdall_runtime::clock::Clock;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::{Request, Response, Status};

use super::{MAX_MESSAGE, invalid};
use crate::error::Error;
use crate::jobs::control::{self, Board, Disabled, Kind, State};

/// The longest that a grant may be good for, in microseconds.
const LONGEST: i64 = 10 * 60 * 1_000_000;
/// Between two messages to one who watches.
const PAUSE: Duration = Duration::from_secs(1);

/// The methods for administrators.
pub struct AdminRpc {
    board: Board,
    keys: KeyRing,
    clock: Clock,
}

impl AdminRpc {
    /// Over the jobs of this process. Grants are opened with `keys`.
    pub fn new(board: Board, keys: KeyRing, clock: Clock) -> Self {
        Self { board, keys, clock }
    }

    /// As a gRPC service.
    pub fn into_service(self) -> AdminServiceServer<Self> {
        AdminServiceServer::new(self).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Opens a grant, and returns whom it was made for, and how long it is still good for.
    fn authorize(&self, grant: &[u8]) -> Result<(String, Duration), Error> {
        let now = self.clock.now();
        let grant: AdminGrant = self.keys.open(grant, now)?;
        let left = grant.expires_at_us.saturating_sub(now);
        if left > LONGEST {
            return Err(GrantError::Malformed.into());
        }
        Ok((grant.subject, Duration::from_micros(left.unsigned_abs())))
    }

    fn job(&self, kind: Kind) -> Job {
        job(kind, &self.board.status(kind))
    }
}

#[tonic::async_trait]
impl AdminService for AdminRpc {
    type WatchJobsStream = BoxStream<'static, Result<WatchJobsResponse, Status>>;

    async fn list_jobs(
        &self,
        request: Request<ListJobsRequest>,
    ) -> Result<Response<ListJobsResponse>, Status> {
        self.authorize(&request.get_ref().grant)?;
        Ok(Response::new(ListJobsResponse { jobs: Kind::ALL.map(|kind| self.job(kind)).into() }))
    }

    async fn start_job(
        &self,
        request: Request<StartJobRequest>,
    ) -> Result<Response<StartJobResponse>, Status> {
        let (subject, _) = self.authorize(&request.get_ref().grant)?;
        let kind = kind(request.get_ref().kind())?;
        self.board.start(kind).map_err(Error::from)?;
        tracing::info!(job = kind.name(), by = subject, "a job was told to start");
        Ok(Response::new(StartJobResponse { job: Some(self.job(kind)) }))
    }

    async fn stop_job(&self, request: Request<StopJobRequest>) -> Result<Response<StopJobResponse>, Status> {
        let (subject, _) = self.authorize(&request.get_ref().grant)?;
        let kind = kind(request.get_ref().kind())?;
        self.board.stop(kind).map_err(Error::from)?;
        tracing::info!(job = kind.name(), by = subject, "a job was told to stop");
        Ok(Response::new(StopJobResponse { job: Some(self.job(kind)) }))
    }

    async fn watch_jobs(
        &self,
        request: Request<WatchJobsRequest>,
    ) -> Result<Response<Self::WatchJobsStream>, Status> {
        let (_, left) = self.authorize(&request.get_ref().grant)?;
        let now = Instant::now();
        let mut statuses = self.board.watch();
        statuses.mark_changed();
        let watcher = Watcher { statuses, next: now, void: now + left };
        let messages = stream::unfold(Some(watcher), async |watcher| {
            let mut watcher = watcher?;
            match timeout_at(watcher.void, watcher.next()).await {
                Ok(message) => Some((Ok(message?), Some(watcher))),
                Err(_) => Some((Err(Error::from(GrantError::Expired).into()), None)),
            }
        });
        Ok(Response::new(messages.take_until(self.board.end().clone().cancelled_owned()).boxed()))
    }
}

/// One who watches.
struct Watcher {
    statuses: watch::Receiver<[control::Status; 3]>,
    /// When a message may be sent.
    next: Instant,
    /// When the grant is void.
    void: Instant,
}

impl Watcher {
    /// How things stand once they have changed; `None` when they never do again.
    async fn next(&mut self) -> Option<WatchJobsResponse> {
        sleep_until(self.next).await;
        self.statuses.changed().await.ok()?;
        self.next = Instant::now() + PAUSE;
        let all = self.statuses.borrow_and_update();
        let jobs = Kind::ALL.iter().zip(&*all).map(|(kind, status)| job(*kind, status)).collect();
        Some(WatchJobsResponse { jobs })
    }
}

impl From<Disabled> for Error {
    fn from(Disabled: Disabled) -> Self {
        Self::JobDisabled
    }
}

fn kind(kind: JobKind) -> Result<Kind, Error> {
    match kind {
        JobKind::Unspecified => Err(invalid("kind", "must name a job")),
        JobKind::Collect => Ok(Kind::Collect),
        JobKind::Compact => Ok(Kind::Compact),
        JobKind::Scrub => Ok(Kind::Scrub),
    }
}

fn job(kind: Kind, status: &control::Status) -> Job {
    let kind = match kind {
        Kind::Collect => JobKind::Collect,
        Kind::Compact => JobKind::Compact,
        Kind::Scrub => JobKind::Scrub,
    };
    let state = match status.state {
        State::Disabled => JobState::Disabled,
        State::Waiting => JobState::Waiting,
        State::Running => JobState::Running,
        State::Stopped => JobState::Stopped,
    };
    Job {
        kind: kind.into(),
        state: state.into(),
        has_lease: status.has_lease,
        blobs: status.progress.blobs,
        bytes: status.progress.bytes,
        total_bytes: status.progress.total_bytes,
        last_error: status.failure.clone().unwrap_or_default(),
        started_at: status.started_at.map(timestamp),
        ended_at: status.ended_at.map(timestamp),
        encrypted: status.progress.is_encrypted,
    }
}
