//! A server of S3 that answers late, wrongly, or not at all: what is acknowledged is there, and the rest is said to have failed.

use super::bucket::{ABORT, ANY, COMPLETE, Fault, GET, LIST, PART, PUT};
use super::*;
use crate::domain::manifest::{Chunk, Manifest};
use crate::domain::record::Codec;
use crate::store::gate::Gate;
use crate::store::lane::{Entry, NewChunk, Reply, Ticket};

/// A store whose requests have little time.
fn hurried() -> (Home, Arc<Bucket>) {
    let mut home = Home::with_bucket(Bucket::local());
    home.object().request_timeout = Duration::from_secs(4);
    let bucket = Arc::clone(home.bucket.as_ref().unwrap());
    (home, bucket)
}

async fn try_write(store: &Store, content: &[u8]) -> Result<Written, UploadError> {
    let mut upload = store.upload(BlobId::new(1), Uuid::nil(), u64::MAX)?;
    for piece in content.chunks(256 << 10) {
        upload.push(Bytes::copy_from_slice(piece)).await?;
    }
    upload.finish(content.len() as u64, None).await
}

const FAILED: UploadError = UploadError::Store(WriteError::Failed);

/// Everything is there, also for a store with a new index.
async fn check(home: &mut Home, store: Store, blobs: &[(BlobId, Vec<u8>)]) {
    for (id, content) in blobs {
        same(&read(&store, *id).await.unwrap(), content);
    }
    store.close().await;
    home.lose_index().await;
    let store = home.open().await;
    for (id, content) in blobs {
        same(&read(&store, *id).await.unwrap(), content);
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_not_noticed() {
    let (mut home, bucket) = hurried();
    // Nothing here may fail for want of time, however busy the machine is.
    home.object().request_timeout = Duration::from_secs(12);
    let store = home.open().await;
    let mut blobs = Vec::new();
    let faults = [
        (PUT, Fault::SlowDown, 2),
        (PUT, Fault::LoseAnswer, 1),
        (PUT, Fault::LoseAnswer, 2),
        (PUT, Fault::Hang, 1),
        (GET, Fault::SlowDown, 2),
        (GET, Fault::Cut, 2),
        (GET, Fault::Hang, 1),
    ];
    for (seed, (which, fault, times)) in (0..).zip(faults) {
        bucket.fail(which, fault, times);
        let content = noise(seed, 50_000);
        let id = try_write(&store, &content).await.unwrap_or_else(|error| panic!("{fault:?}: {error}")).id;
        same(&read(&store, id).await.unwrap(), &content);
        assert_eq!(bucket.heal(), [times], "{fault:?} was met");
        blobs.push((id, content));
    }
    check(&mut home, store, &blobs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_pass_is_said_and_is_over_when_it_is_over() {
    let (mut home, bucket) = hurried();
    let store = home.open().await;
    let mut blobs = Vec::new();
    for (seed, fault) in (0..).zip([Fault::SlowDown, Fault::Hang]) {
        let content = noise(seed, 50_000);
        let id = try_write(&store, &content).await.unwrap().id;
        bucket.fail(ANY, fault, usize::MAX);
        let (small, large) = (noise(100 + seed, 1000), noise(200 + seed, 3 << 20));
        let (first, second) = tokio::join!(try_write(&store, &small), try_write(&store, &large));
        assert_eq!((first, second), (Err(FAILED), Err(FAILED)), "{fault:?}");
        assert_eq!(read(&store, id).await, Err(ReadError::Failed), "{fault:?}");
        bucket.heal();
        same(&read(&store, id).await.unwrap(), &content);
        blobs.push((id, content));
        for content in [small, large] {
            blobs.push((try_write(&store, &content).await.unwrap().id, content));
        }
    }
    check(&mut home, store, &blobs).await;
}

/// Writes content in chunks of 1 MiB that are all there before the lane begins: so they make one batch of up to 32 MiB, and
/// another one.
async fn write_at_once(home: &Home, store: &Store, content: &[u8]) -> Result<BlobId, WriteError> {
    let pieces: Vec<_> = content.chunks(1 << 20).map(Bytes::copy_from_slice).collect();
    let chunk = |bytes: &Bytes| Chunk { hash: blake3::hash(bytes), size: bytes.len() as u32 };
    let manifest =
        Manifest::new(BlobId::new(1), Uuid::nil(), blake3::hash(content), pieces.iter().map(chunk).collect());
    let id = manifest.id();
    let ticket = Ticket::default();
    let (entries, incoming) = mpsc::channel(pieces.len() + 1);
    for piece in pieces {
        let new = NewChunk { chunk: chunk(&piece), codec: Codec::Raw, pieces: vec![piece] };
        let reply = Reply { ticket: ticket.clone(), answer: None };
        entries
            .try_send(Entry {
                chunk: Some(new),
                blob: None,
                segment: None,
                reply,
                memory: None,
                moved_from: None,
            })
            .unwrap();
    }
    let (answer, answered) = tokio::sync::oneshot::channel();
    let reply = Reply { ticket, answer: Some(answer) };
    entries
        .try_send(Entry {
            chunk: None,
            blob: Some(manifest),
            segment: None,
            reply,
            memory: None,
            moved_from: None,
        })
        .unwrap();
    drop(entries);
    let (index, counters) = (store.reader().index().clone(), Arc::new(Counters::default()));
    let packs = home.pack_store();
    let context = Context {
        index: index.clone(),
        encoding: Arc::default(),
        gate: Gate::new(Arc::clone(&counters), async || Ok(())),
        counters: Arc::clone(&counters),
        last: PackId(0),
        lane: "test",
        is_cold: true,
    };
    let (commits, to_commit) = mpsc::channel(16);
    packs.start_lane("bulk", context, incoming, commits).unwrap();
    commit::run(index, counters, Arc::new(Sealed::new(PackId(0))), to_commit).await;
    answered.await.unwrap().map(|()| id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_in_parts_are_whole_or_not_there() {
    let (mut home, bucket) = hurried();
    home.object().request_timeout = Duration::from_secs(10);
    home.object().batch = 32 << 20;
    let store = home.open().await;
    let mut blobs = Vec::new();
    let faults = [
        (COMPLETE, Fault::Count, usize::MAX, true),
        (COMPLETE, Fault::ErrorInside, 1, true),
        (COMPLETE, Fault::LoseAnswer, 1, true),
        (PART, Fault::SlowDown, 2, true),
        (PART, Fault::LoseAnswer, 1, true),
        (COMPLETE, Fault::ErrorInside, usize::MAX, false),
        (PART, Fault::SlowDown, usize::MAX, false),
    ];
    for (seed, (which, fault, times, passes)) in (0..).zip(faults) {
        bucket.fail(ABORT, Fault::Count, usize::MAX);
        bucket.fail(which, fault, times);
        let content = noise(seed, 40 << 20);
        let written = write_at_once(&home, &store, &content).await;
        let met = bucket.heal();
        assert!(met[1] > 0, "{fault:?} was met");
        assert_eq!(met[0] > 0, !passes, "{fault:?}: what fails is given up");
        if passes {
            blobs.push((written.unwrap_or_else(|error| panic!("{fault:?}: {error}")), content));
        } else {
            assert_eq!(written, Err(WriteError::Failed), "{fault:?}");
            blobs.push((write_at_once(&home, &store, &content).await.unwrap(), content));
        }
    }
    check(&mut home, store, &blobs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_out_what_passes_and_else_fails() {
    let (mut home, bucket) = hurried();
    let store = home.open().await;
    let content = noise(1, 9 << 20);
    let id = try_write(&store, &content).await.unwrap().id;
    store.close().await;
    home.lose_index().await;
    bucket.fail(LIST, Fault::SlowDown, usize::MAX);
    assert!(matches!(Store::open(&home.settings, home.index().await).await, Err(OpenError::Packs(_))));
    bucket.heal();
    bucket.fail(LIST, Fault::SlowDown, 2);
    bucket.fail(GET, Fault::Cut, 2);
    let store = home.open().await;
    assert_eq!(bucket.heal(), [2, 2]);
    check(&mut home, store, &[(id, content)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_reads_several_packs_at_once_and_not_all() {
    let (mut home, bucket) = hurried();
    home.object().request_timeout = Duration::from_secs(12);
    let store = home.open().await;
    let mut blobs = Vec::new();
    for seed in 0..12 {
        // Each is a pack.
        let content = noise(seed, 5000);
        blobs.push((try_write(&store, &content).await.unwrap().id, content));
    }
    store.close().await;
    home.lose_index().await;
    bucket.fail(GET, Fault::Hang, usize::MAX);
    let heals = async {
        holdall_runtime::testing::eventually(Duration::from_secs(60), async || bucket.met() >= 8).await;
        bucket.heal()
    };
    // They are asked for again.
    let (store, met) = tokio::join!(home.open(), heals);
    assert_eq!(met, [8]);
    check(&mut home, store, &blobs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_says_nothing_about_its_packs() {
    let (mut home, _bucket) = hurried();
    let store = home.open().await;
    let content = noise(1, 5000);
    let id = try_write(&store, &content).await.unwrap().id;
    store.close().await;
    let name = std::mem::replace(&mut home.object().bucket, "elsewhere".to_owned());
    assert!(matches!(Store::open(&home.settings, home.index().await).await, Err(OpenError::Packs(_))));
    home.object().bucket = name;
    let store = home.open().await;
    assert_eq!(store.reader().index().known(&[blake3::hash(&content)]).await.unwrap().len(), 1);
    check(&mut home, store, &[(id, content)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_reads_do_not_keep_writes_waiting() {
    let (mut home, bucket) = hurried();
    home.object().request_timeout = Duration::from_secs(600);
    home.object().max_reads = 2;
    let store = Arc::new(home.open().await);
    let id = try_write(&store, &noise(1, 5000)).await.unwrap().id;
    bucket.fail(GET, Fault::Hang, usize::MAX);
    let reads: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { read(&store, id).await })
        })
        .collect();
    holdall_runtime::testing::eventually(Duration::from_secs(60), async || bucket.met() == 2).await;
    for seed in 10..20 {
        try_write(&store, &noise(seed, 5000)).await.unwrap();
    }
    assert!(reads.iter().all(|read| !read.is_finished()));
    assert_eq!(bucket.heal(), [2], "no more reads than allowed");
    reads.into_iter().for_each(|read| read.abort());
}
