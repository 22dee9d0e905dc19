//! What metadata does not use any more goes, and its bytes with it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdall_proto::metadata::v1::roots_service_server::{RootsService, RootsServiceServer};
use holdall_proto::metadata::v1::{
    AcknowledgeReleasedRequest, AcknowledgeReleasedResponse, CheckLiveRequest, CheckLiveResponse,
    ListReleasedRequest, ListReleasedResponse,
};
use holdall_runtime::config::HumanDuration;
use tonic::service::Routes;
use tonic::{Request, Response};

use super::*;
use crate::jobs::collect::Collector;
use crate::jobs::compact::Compactor;
use crate::jobs::control::{Kind, Turn};
use crate::jobs::roots::{Metadata, RootsError};

/// Metadata, as far as blob needs it.
#[derive(Clone, Default)]
struct Roots(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    instance: String,
    live: HashSet<String>,
    released: Vec<String>,
}

#[tonic::async_trait]
impl RootsService for Roots {
    async fn list_released(
        &self,
        request: Request<ListReleasedRequest>,
    ) -> Result<Response<ListReleasedResponse>, Status> {
        assert!(!request.get_ref().grant.is_empty());
        let known = self.0.lock().unwrap();
        let (blob_ids, instance) = (known.released.clone(), known.instance.clone());
        Ok(Response::new(ListReleasedResponse { blob_ids, instance }))
    }

    async fn acknowledge_released(
        &self,
        request: Request<AcknowledgeReleasedRequest>,
    ) -> Result<Response<AcknowledgeReleasedResponse>, Status> {
        let noted = request.into_inner().blob_ids;
        self.0.lock().unwrap().released.retain(|id| !noted.contains(id));
        Ok(Response::new(AcknowledgeReleasedResponse {}))
    }

    async fn check_live(
        &self,
        request: Request<CheckLiveRequest>,
    ) -> Result<Response<CheckLiveResponse>, Status> {
        let known = self.0.lock().unwrap();
        let is_live = |id: &String| known.live.contains(id) || known.released.contains(id);
        let live_blob_ids = request.into_inner().blob_ids.into_iter().filter(is_live).collect();
        Ok(Response::new(CheckLiveResponse { live_blob_ids, instance: known.instance.clone() }))
    }
}

impl Roots {
    fn named(instance: &str) -> Self {
        let roots = Self::default();
        roots.0.lock().unwrap().instance = instance.to_owned();
        roots
    }

    /// A collector that asks this.
    fn collector(&self, home: &Home, service: &Service) -> Collector<Metadata> {
        let upstream = upstream::in_process(Routes::new(RootsServiceServer::new(self.clone())), None);
        let index = service.store.reader().index().clone();
        let metadata = Metadata::new(upstream, home.keys.clone(), home.clock.clock(), index.clone());
        Collector::new(index, metadata, 48 * HOUR)
    }

    async fn collect(&self, home: &Home, service: &Service) -> Result<(), RootsError> {
        let (collector, control) = (self.collector(home, service), service.board.control(Kind::Collect));
        jobs::collect(&service.store, &collector, &control, Turn::Due, &home.clock.clock()).await
    }
}

async fn compact(home: &Home, service: &Service) {
    let config = CompactionConfig { delay: HumanDuration::from_secs(0), ..CompactionConfig::default() };
    let compactor = Compactor::new(Arc::clone(&service.store), &config);
    let control = service.board.control(Kind::Compact);
    jobs::compact(&service.store, &compactor, &control, &home.clock.clock()).await.unwrap();
}

async fn scrub(home: &Home, service: &Service) {
    let control = service.board.control(Kind::Scrub);
    jobs::scrub(&service.store, u64::MAX, &control, Turn::Due, &home.clock.clock()).await.unwrap();
}

/// All bytes of all packs.
fn on_disk(home: &Home) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(home.dir.path().join("blob/packs")).unwrap() {
        bytes.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    bytes
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|bytes| bytes == needle)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_used_any_more_leaves_the_disk() {
    let home = Home::new();
    let roots = Roots::named("the one");
    let service = home.start().await;
    let content = noise(1, 5 << 20);
    let mut ids = Vec::new();
    let mut put = async |service: &Service, content: &[u8]| {
        let response = write(service, home.write_grant(content.len() as u64), content).await.unwrap();
        let id = home.receipt(&response).blob_id;
        ids.push(id.clone());
        id
    };
    let gone = put(&service, &[&content[..], b"the end of what is deleted"].concat()).await;
    let kept = put(&service, &content).await;
    let small = put(&service, b"small and deleted").await;
    let twice = [put(&service, b"twice the same").await, put(&service, b"twice the same").await];
    let never_committed = put(&service, b"never committed").await;
    roots.0.lock().unwrap().live.extend([kept.clone(), twice[0].clone()]);
    roots.0.lock().unwrap().released.extend([gone.clone(), small.clone()]);
    // What is being written to is left alone.
    compact(&home, &service).await;
    service.close().await;

    let service = home.start().await;
    let size = on_disk(&home).len();
    let advance = |hours: u64| home.clock.advance(Duration::from_secs(hours * 3600));
    // Grants of this test would expire.
    let leave =
        |id: &str| home.keys.seal(&ReadGrant { blob_id: id.to_owned(), expires_at_us: NOW + 10_000 * HOUR });
    let readable = async |service: &Service, id: &str| read(service, leave(id), 0, 0).await.is_ok();
    roots.collect(&home, &service).await.unwrap();
    advance(47);
    roots.collect(&home, &service).await.unwrap();
    for id in [&gone, &kept, &small, &twice[0], &twice[1], &never_committed] {
        assert!(readable(&service, id).await, "the grace is not over");
    }
    advance(2);
    roots.collect(&home, &service).await.unwrap();
    assert!(!readable(&service, &gone).await && !readable(&service, &small).await);
    assert!(readable(&service, &never_committed).await, "it was not asked about before this");
    for _ in 0..3 {
        advance(49);
        roots.collect(&home, &service).await.unwrap();
    }
    assert!(!readable(&service, &never_committed).await && !readable(&service, &twice[1]).await);
    assert!(holds(&on_disk(&home), b"small and deleted"), "the bytes go last");
    compact(&home, &service).await;

    let bytes = on_disk(&home);
    for text in [&b"small and deleted"[..], b"never committed", b"the end of what is deleted"] {
        assert!(!holds(&bytes, text));
    }
    assert!(holds(&bytes, b"twice the same"));
    assert!(bytes.len() < size, "{} of {size} bytes", bytes.len());
    assert_eq!(read(&service, leave(&kept), 0, 0).await.unwrap(), content);
    assert_eq!(read(&service, leave(&twice[0]), 0, 0).await.unwrap(), b"twice the same");
    service.close().await;

    // All that is left is found again without the index.
    for name in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = std::fs::remove_file(home.dir.path().join("blob").join(name));
    }
    let service = home.start().await;
    assert_eq!(read(&service, leave(&kept), 0, 0).await.unwrap(), content);
    assert_eq!(read(&service, leave(&twice[0]), 0, 0).await.unwrap(), b"twice the same");
    assert!(!readable(&service, &gone).await && !readable(&service, &small).await);
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_on_the_word_of_another_metadata() {
    let home = Home::new();
    let service = home.start().await;
    let response = write(&service, home.write_grant(7), b"content").await.unwrap();
    let id = home.receipt(&response).blob_id;
    let (roots, other) = (Roots::named("the one"), Roots::named("another"));
    roots.0.lock().unwrap().live.insert(id.clone());
    roots.collect(&home, &service).await.unwrap();
    for _ in 0..4 {
        home.clock.advance(Duration::from_secs(49 * 3600));
        let refused = other.collect(&home, &service).await;
        assert!(matches!(refused, Err(RootsError::Foreign)), "{refused:?}");
    }
    let leave = home.keys.seal(&ReadGrant { blob_id: id, expires_at_us: NOW + 10_000 * HOUR });
    assert_eq!(read(&service, leave, 0, 0).await.unwrap(), b"content");
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_finds_what_has_moved() {
    let home = Home::new();
    let service = home.start().await;
    let contents = [b"a few bytes".to_vec(), noise(3, 6 << 20)];
    let mut ids = Vec::new();
    for content in &contents {
        let response = write(&service, home.write_grant(1 << 30), content).await.unwrap();
        ids.push(home.receipt(&response).blob_id);
    }
    // So that there is something dead.
    for round in 0..3 {
        let response = write(&service, home.write_grant(1 << 30), &noise(10 + round, 6 << 20)).await.unwrap();
        let id = domain::BlobId::parse(&home.receipt(&response).blob_id).unwrap();
        let index = service.store.reader().index();
        index.condemn_blobs(&[id], 1).await.unwrap();
        assert!(index.delete_blob(id, 1, 1).await.unwrap());
        while index.delete_chunks(1, 100).await.unwrap().chunks > 0 {}
    }
    service.close().await;
    let service = home.start().await;
    // One reader has begun, and the places of the rest are known to it.
    let mut begun = client(&service)
        .read(ReadRequest { grant: home.read_grant(&ids[1]), offset: 0, length: 0 })
        .await
        .unwrap()
        .into_inner();
    let mut received = begun.message().await.unwrap().unwrap().data.to_vec();
    read(&service, home.read_grant(&ids[0]), 0, 0).await.unwrap();
    compact(&home, &service).await;
    while let Some(message) = begun.message().await.unwrap() {
        received.extend(message.data);
    }
    assert!(received == contents[1]);
    for (id, content) in ids.iter().zip(&contents) {
        assert!(read(&service, home.read_grant(id), 0, 0).await.unwrap() == *content);
    }
    let counters = service.counters();
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    assert!(count(&counters.compacted_packs) >= 1);
    assert_eq!((count(&counters.damaged), count(&counters.quarantined_packs)), (0, 0));
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_with_damage_that_is_wanted_is_kept() {
    let home = Home::new();
    let service = home.start().await;
    let content = noise(3, 100_000);
    let response = write(&service, home.write_grant(1 << 20), &content).await.unwrap();
    let id = home.receipt(&response).blob_id;
    let dead = write(&service, home.write_grant(1 << 20), &noise(4, 200_000)).await.unwrap();
    let dead = domain::BlobId::parse(&home.receipt(&dead).blob_id).unwrap();
    let index = service.store.reader().index();
    index.condemn_blobs(&[dead], 1).await.unwrap();
    assert!(index.delete_blob(dead, 1, 1).await.unwrap());
    assert_eq!(index.delete_chunks(1, 100).await.unwrap().chunks, 1);
    service.close().await;
    let pack = std::fs::read_dir(home.dir.path().join("blob/packs")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&pack).unwrap();
    // In the middle of the first chunk.
    bytes[50_000] ^= 1;
    std::fs::write(&pack, &bytes).unwrap();

    let service = home.start().await;
    compact(&home, &service).await;
    compact(&home, &service).await;
    assert_eq!(std::fs::read(&pack).unwrap(), bytes);
    assert_eq!(
        service.counters().quarantined_packs.load(std::sync::atomic::Ordering::Relaxed),
        1,
        "and is not looked at again"
    );
    refused(read(&service, home.read_grant(&id), 0, 0).await, Code::DataLoss, "CORRUPT");
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_before_anybody_reads_it() {
    let home = Home::new();
    let service = home.start().await;
    let contents: Vec<_> = (0..3).map(|seed| noise(seed, 100_000)).collect();
    let large = noise(9, 3 << 20);
    let mut ids = Vec::new();
    for content in contents.iter().chain([&large]) {
        let response = write(&service, home.write_grant(1 << 30), content).await.unwrap();
        ids.push(home.receipt(&response).blob_id);
    }
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    scrub(&home, &service).await;
    let records = count(&service.counters().scrubbed_records);
    assert!(records >= 3 * 2 + 2, "{records}");
    assert_eq!(count(&service.counters().damaged), 0);
    scrub(&home, &service).await;
    assert_eq!(count(&service.counters().scrubbed_records), records, "a cycle a day at most");
    service.close().await;

    // The header of one chunk, and the payload of the next.
    let pack = std::fs::read_dir(home.dir.path().join("blob/packs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| holds(&std::fs::read(path).unwrap(), &contents[0][..100]))
        .unwrap();
    let mut bytes = std::fs::read(&pack).unwrap();
    let at = |content: &[u8]| bytes.windows(100).position(|bytes| bytes == &content[..100]).unwrap();
    let (first, second) = (at(&contents[0]), at(&contents[1]));
    bytes[first - 20] ^= 1;
    bytes[second + 500] ^= 1;
    std::fs::write(&pack, &bytes).unwrap();
    home.clock.advance(Duration::from_secs(25 * 3600));
    let service = home.start().await;
    scrub(&home, &service).await;
    assert_eq!(count(&service.counters().damaged), 2);
    assert_eq!(std::fs::read(&pack).unwrap(), bytes, "nothing is changed");
    let leave =
        |id: &str| home.keys.seal(&ReadGrant { blob_id: id.to_owned(), expires_at_us: NOW + 100 * HOUR });
    for (id, content) in [(&ids[0], &contents[0]), (&ids[2], &contents[2]), (&ids[3], &large)] {
        assert!(read(&service, leave(id), 0, 0).await.unwrap() == *content, "the rest can be read");
    }
    refused(read(&service, leave(&ids[1]), 0, 0).await, Code::DataLoss, "CORRUPT");
    // The same content, sent again, takes the place of both.
    for content in &contents[..2] {
        let grant = home.keys.seal(&WriteGrant { expires_at_us: NOW + 100 * HOUR, ..write_grant(1 << 20) });
        write(&service, grant, content).await.unwrap();
    }
    assert!(read(&service, leave(&ids[1]), 0, 0).await.unwrap() == contents[1]);
    service.close().await;
}
