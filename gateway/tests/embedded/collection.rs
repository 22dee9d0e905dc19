//! What is deleted for good leaves the disk, and nothing else does.

use holdall_proto::blob::v1::admin_service_client::AdminServiceClient;
use holdall_proto::blob::v1::{AdminGrant, Job, JobKind, JobState, ListJobsRequest, StartJobRequest};
use holdall_proto::grant::KeyRing;
use holdall_runtime::keyfile;
use holdall_runtime::upstream::Upstream;

use super::*;

pub(super) const NOW: i64 = 1_795_000_000_000_000;
const MINUTE: i64 = 60_000_000;
const SIZE: usize = 3 << 20;

/// The background jobs of a bench, as an administrator has them.
pub(super) struct Jobs {
    client: AdminServiceClient<Upstream>,
    keys: KeyRing,
    clock: ManualClock,
}

impl Jobs {
    pub(super) fn of(bench: &Bench, clock: &ManualClock) -> Self {
        let client = AdminServiceClient::new(bench.services.connections.blob_control.clone());
        let key = keyfile::load(&bench.dir.path().join("data/keys/grants.key")).unwrap();
        Self { client, keys: KeyRing::new(&key), clock: clock.clone() }
    }

    /// Runs one to its end, a minute from now.
    pub(super) async fn run(&mut self, kind: JobKind) {
        self.clock.advance(Duration::from_secs(60));
        let now = self.clock.clock().now();
        let grant = self.keys.seal(&AdminGrant { expires_at_us: now + MINUTE, subject: String::new() });
        self.client.start_job(StartJobRequest { grant: grant.clone(), kind: kind.into() }).await.unwrap();
        let (client, ended_at) = (self.client.clone(), Some(holdall_proto::timestamp(now)));
        eventually(Duration::from_secs(60), async || {
            let request = ListJobsRequest { grant: grant.clone() };
            let jobs = client.clone().list_jobs(request).await.unwrap().into_inner().jobs;
            let job: Job = jobs.into_iter().find(|job| job.kind() == kind).unwrap();
            assert_eq!(job.last_error, "");
            job.state() == JobState::Waiting && job.ended_at == ended_at
        })
        .await;
    }
}

/// Bytes that cannot be compressed.
pub(super) fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(SIZE / 8).flatten().collect()
}

fn packs(bench: &Bench) -> Vec<Vec<u8>> {
    let packs = std::fs::read_dir(bench.dir.path().join("data/blob/packs")).unwrap();
    packs.map(|pack| std::fs::read(pack.unwrap().path()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_for_good_leaves_the_disk() {
    let clock = ManualClock::at(NOW);
    let bench = Bench::at(clock.clock(), |config| {
        let blob = &mut config.blob.embedded;
        blob.packs.max_size = "4MiB".parse().unwrap();
        blob.packs.reserve = Some("0".parse().unwrap());
        blob.compaction.delay = "0s".parse().unwrap();
    })
    .await;
    let names = ["gone", "kept", "trashed", "last"];
    let contents = [1, 2, 3, 4].map(noise);
    for (name, content) in names.iter().zip(&contents) {
        let put = bench.put(&format!("/fs/{name}"), &[], content.clone()).await;
        assert_eq!(put.status, StatusCode::CREATED);
    }
    let space = async || bench.get("/space", &[]).await.json()["used_bytes"].as_u64().unwrap();
    let before: usize = packs(&bench).iter().map(Vec::len).sum();
    let used = space().await;
    assert!(before >= 4 * SIZE && used == 4 * SIZE as u64);

    let delete = async |path| bench.send(Method::DELETE, path, &[], Body::empty()).await.status;
    assert_eq!(delete("/fs/gone").await, StatusCode::NO_CONTENT);
    assert!(delete("/trash").await.is_success());
    assert_eq!(delete("/fs/trashed").await, StatusCode::NO_CONTENT);
    assert_eq!(space().await, 3 * SIZE as u64);

    let mut jobs = Jobs::of(&bench, &clock);
    let holds = |content: &[u8]| {
        let start = &content[..256];
        packs(&bench).iter().any(|pack| pack.windows(start.len()).any(|window| window == start))
    };
    // Asked about and marked; blobs go after a grace, then chunks after another.
    for _ in 0..2 {
        jobs.run(JobKind::Collect).await;
        jobs.run(JobKind::Compact).await;
        assert!(holds(&contents[0]), "the grace is not over");
    }
    for _ in 0..3 {
        clock.advance(Duration::from_secs(49 * 3600));
        jobs.run(JobKind::Collect).await;
    }
    jobs.run(JobKind::Compact).await;
    assert!(!holds(&contents[0]));
    assert!(contents[1..].iter().all(|content| holds(content)));
    let after: usize = packs(&bench).iter().map(Vec::len).sum();
    assert!(before - after > SIZE / 10 * 9, "{after} of {before} bytes are left");

    let read = async |name: &str| bench.get(&format!("/fs/{name}"), &[]).await;
    assert_eq!(read("gone").await.status, StatusCode::NOT_FOUND);
    assert!(read("kept").await.body == contents[1] && read("last").await.body == contents[3]);
    // What is in the trash can be had back.
    let trash = bench.get("/trash", &[]).await.json();
    let id = trash["items"][0]["node_id"].as_str().unwrap();
    let restored = bench.post(&format!("/nodes/{id}/restore"), &json!({})).await;
    assert_eq!(restored.status, StatusCode::OK, "{:?}", restored.body);
    assert!(read("trashed").await.body == contents[2]);
}
