//! What an administrator sees and does of the background jobs.

use futures::StreamExt;
use holdall_proto::blob::v1::admin_service_client::AdminServiceClient;
use holdall_proto::blob::v1::{
    AdminGrant, Job, JobKind, JobState, ListJobsRequest, RootsGrant, StartJobRequest, StopJobRequest,
    WatchJobsRequest,
};

use super::*;

const MINUTE: i64 = HOUR / 60;

fn client(service: &Service) -> AdminServiceClient<Upstream> {
    AdminServiceClient::new(upstream::in_process(service.routes.clone(), None))
}

fn grant(home: &Home) -> Bytes {
    home.keys.seal(&AdminGrant { expires_at_us: NOW + 5 * MINUTE, ..AdminGrant::default() })
}

fn shutdown() -> Shutdown {
    Shutdown::new(Duration::from_secs(5))
}

/// Watches until the job is as wanted.
async fn until(home: &Home, service: &Service, kind: JobKind, is_wanted: impl Fn(&Job) -> bool) -> Job {
    let watched = client(service).watch_jobs(WatchJobsRequest { grant: grant(home) }).await.unwrap();
    let found = watched.into_inner().filter_map(|message| {
        let jobs = message.unwrap().jobs;
        futures::future::ready(jobs.into_iter().find(|job| job.kind() == kind && is_wanted(job)))
    });
    let mut found = std::pin::pin!(found);
    tokio::time::timeout(Duration::from_secs(30), found.next()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_shown_to_administrators_only() {
    let home = Home::new();
    let mut service = home.start().await;
    service.start_jobs(None, &shutdown());
    let sealed = |expires_at_us| home.keys.seal(&AdminGrant { expires_at_us, ..AdminGrant::default() });
    let refused_grants = [
        Bytes::new(),
        sealed(NOW),
        sealed(NOW + HOUR),
        KeyRing::new(&[1; 32]).seal(&AdminGrant { expires_at_us: NOW + MINUTE, ..AdminGrant::default() }),
        home.keys.seal(&RootsGrant { expires_at_us: NOW + MINUTE }),
        home.write_grant(1),
    ];
    let (mut client, kind) = (client(&service), JobKind::Scrub.into());
    for grant in refused_grants {
        let no = (Code::Unauthenticated, "GRANT_INVALID");
        refused(client.list_jobs(ListJobsRequest { grant: grant.clone() }).await, no.0, no.1);
        refused(client.start_job(StartJobRequest { grant: grant.clone(), kind }).await, no.0, no.1);
        refused(client.stop_job(StopJobRequest { grant: grant.clone(), kind }).await, no.0, no.1);
        refused(client.watch_jobs(WatchJobsRequest { grant }).await, no.0, no.1);
    }
    let jobs = client.list_jobs(ListJobsRequest { grant: grant(&home) }).await.unwrap().into_inner().jobs;
    let states: Vec<_> = jobs.iter().map(|job| (job.kind(), job.state(), job.has_lease)).collect();
    let expected = [
        // There is no metadata to ask.
        (JobKind::Collect, JobState::Disabled, false),
        (JobKind::Compact, JobState::Waiting, false),
        (JobKind::Scrub, JobState::Waiting, false),
    ];
    assert_eq!(states, expected);
    let kind = JobKind::Collect.into();
    let disabled = client.start_job(StartJobRequest { grant: grant(&home), kind }).await;
    refused(disabled, Code::FailedPrecondition, "JOB_DISABLED");
    let disabled = client.stop_job(StopJobRequest { grant: grant(&home), kind }).await;
    refused(disabled, Code::FailedPrecondition, "JOB_DISABLED");
    for kind in [0, 99] {
        let none = client.start_job(StartJobRequest { grant: grant(&home), kind }).await;
        refused(none, Code::InvalidArgument, "INVALID_FIELD");
    }
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_started_stopped_and_goes_on() {
    let mut home = Home::new();
    // So slow that it does not come to an end.
    home.config.scrub.rate = holdall_runtime::config::ByteSize::new(1);
    let mut service = home.start().await;
    for seed in 0..3 {
        write(&service, home.write_grant(1 << 20), &noise(seed, 200_000)).await.unwrap();
    }
    service.start_jobs(None, &shutdown());
    let mut watching =
        client(&service).watch_jobs(WatchJobsRequest { grant: grant(&home) }).await.unwrap().into_inner();
    let kind = JobKind::Scrub.into();
    let start = StartJobRequest { grant: grant(&home), kind };
    let stop = StopJobRequest { grant: grant(&home), kind };
    client(&service).start_job(start.clone()).await.unwrap();
    let job = until(&home, &service, JobKind::Scrub, |job| job.bytes > 0).await;
    assert_eq!((job.state(), job.has_lease), (JobState::Running, true));
    assert!(job.total_bytes.unwrap() >= job.bytes && job.started_at.is_some() && job.ended_at.is_none());

    client(&service).stop_job(stop).await.unwrap();
    let job = until(&home, &service, JobKind::Scrub, |job| job.state() == JobState::Stopped).await;
    assert!(!job.has_lease && job.ended_at.is_some() && job.last_error.is_empty());
    // Anybody may have it now.
    let index = service.store.reader().index();
    let lease = index.lease("scrub", NOW, NOW + 1).await.unwrap().unwrap();
    assert!(!lease.position.is_empty());

    // While somebody has it, it is not done here.
    client(&service).start_job(start.clone()).await.unwrap();
    let job = until(&home, &service, JobKind::Scrub, |job| job.state() != JobState::Stopped).await;
    assert_eq!((job.state(), job.has_lease), (JobState::Waiting, false));
    index.renew(&lease, 0).await.unwrap();
    home.clock.advance(Duration::from_secs(60));
    let later = holdall_proto::timestamp(NOW + MINUTE);
    // The start before this one may still be about to look at the lease.
    client(&service).start_job(start).await.unwrap();
    // That one may also have begun just before the clock went on, and any may come to its end before it is seen at work.
    let goes_on = |job: &Job| {
        job.has_lease || [&job.started_at, &job.ended_at].into_iter().flatten().any(|time| *time == later)
    };
    until(&home, &service, JobKind::Scrub, goes_on).await;

    // Who watches is told of the end.
    service.close().await;
    while let Some(message) = watching.message().await.unwrap() {
        assert_eq!(message.jobs.len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_watches_for_longer_than_the_grant_is_good() {
    let home = Home::new();
    let service = home.start().await;
    let grant = home.keys.seal(&AdminGrant { expires_at_us: NOW + 1_000_000, ..AdminGrant::default() });
    let mut watching = client(&service).watch_jobs(WatchJobsRequest { grant }).await.unwrap().into_inner();
    assert_eq!(watching.message().await.unwrap().unwrap().jobs.len(), 3);
    refused(watching.message().await, Code::Unauthenticated, "GRANT_INVALID");
    assert!(watching.message().await.unwrap().is_none());
    service.close().await;
}
