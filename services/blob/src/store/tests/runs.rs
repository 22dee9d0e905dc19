//! Neighbouring chunks of a bucket are read with one request, and none of them suffers for another.

use futures::stream::BoxStream;
use holdall_runtime::config::{ByteSize, HumanDuration};

use super::bucket::{Fault, GET};
use super::*;
use crate::config::CompactionConfig;
use crate::domain::manifest::Manifest;
use crate::jobs::compact::{Compactor, Outcome};
use crate::jobs::control::{Board, Kind};

const LEN: usize = 24 << 20;

struct Rig {
    home: Home,
    store: Arc<Store>,
    id: BlobId,
    content: Vec<u8>,
    /// Bytes of the chunks that the content was cut into.
    sizes: Vec<usize>,
}

impl Rig {
    async fn new(change: impl FnOnce(&mut Home), content: Vec<u8>) -> Self {
        let mut home = Home::with_bucket(Bucket::local());
        // Servers of tests are slow, and what is slow is asked about: so not much is written at once.
        home.object().max_writes = 2;
        change(&mut home);
        let store = Arc::new(home.open().await);
        let id = write(&store, &content).await.id;
        let record = store.reader().index().blob(id).await.unwrap().unwrap().0.manifest.record();
        let record = packs::read(store.packs(), record, |bytes| bytes).await.unwrap().unwrap();
        let (_, manifest) = home.settings.encoding.decode_record(record).unwrap();
        let manifest = Manifest::decode(&manifest).unwrap();
        let sizes = manifest.chunks().iter().map(|chunk| chunk.size as usize).collect();
        Self { home, store, id, content, sizes }
    }

    fn bucket(&self) -> &Bucket {
        self.home.bucket.as_ref().unwrap()
    }

    async fn pieces(&self) -> BoxStream<'static, Result<Bytes, ReadError>> {
        let blob = self.store.reader().blob(self.id).await.unwrap().unwrap();
        match self.store.reader().content(self.id, &blob, 0..u64::MAX).await.unwrap() {
            Content::Pieces(pieces) => pieces,
            Content::Whole(_) => panic!("a large blob comes in pieces"),
        }
    }

    /// Reads all of it, and returns how many requests that took.
    async fn read(&self) -> usize {
        // So that its manifest is known.
        drop(self.pieces().await);
        self.bucket().fail(GET, Fault::Count, usize::MAX);
        same(&read(&self.store, self.id).await.unwrap(), &self.content);
        self.bucket().heal()[0]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_are_read_together() {
    let change = |home: &mut Home| {
        home.settings.reading.memory = 96 << 20;
        home.object().batch = 8 << 20;
    };
    let rig = Rig::new(change, noise(1, 64 << 20)).await;
    let gets = rig.read().await;
    assert!(gets * 2 < rig.sizes.len(), "{gets} requests for {} chunks", rig.sizes.len());
    for (start, end) in [(0, 1), (5 << 20, 6 << 20), (3_000_000, 29_000_000), ((64 << 20) - 1, 64 << 20)] {
        let range = read_range(&rig.store, rig.id, start as u64..end as u64).await.unwrap();
        same(&range, &rig.content[start..end]);
    }
    rig.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_memory_each_chunk_is_read_by_itself() {
    let rig = Rig::new(|home| home.settings.reading.memory = 8 << 20, noise(1, 12 << 20)).await;
    assert!(rig.read().await >= rig.sizes.len());
    rig.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_who_could_use_all_the_memory_share_it() {
    let rig = Rig::new(|home| home.settings.reading.memory = 32 << 20, noise(1, 12 << 20)).await;
    let readers = (0..6).map(|_| read(&rig.store, rig.id));
    for content in futures::future::join_all(readers).await {
        same(&content.unwrap(), &rig.content);
    }
    assert_eq!(rig.store.reader().held_bytes(), 0);
    rig.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_decompressed_and_decrypted_chunk_by_chunk() {
    for keys in [&[][..], &[[7; 32]]] {
        let text = (0..).flat_map(|line| format!("line {line} of many\n").into_bytes()).take(LEN / 2);
        let content = [text.collect(), noise(1, LEN / 2)].concat();
        let encoding = Arc::new(Encoding::new(Some(Compression::new(1)), Keys::new(keys)));
        let rig = Rig::new(|home| home.settings.encoding = encoding, content).await;
        let gets = rig.read().await;
        assert!(gets * 2 < rig.sizes.len(), "{gets} requests for {} chunks", rig.sizes.len());
        rig.store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_is_gone_on_with() {
    let rig = Rig::new(|_| (), noise(1, LEN)).await;
    let mut pieces = rig.pieces().await;
    let mut received = Vec::new();
    let mut breaks = 0;
    loop {
        // Not more than two at once: three would be one too many for a chunk.
        if breaks < 3 && received.len() >= breaks << 20 && rig.bucket().met() == 2 * breaks {
            rig.bucket().fail(GET, Fault::Cut, 2);
            breaks += 1;
        }
        let Some(piece) = pieces.next().await else { break };
        received.extend(piece.unwrap());
    }
    same(&received, &rig.content);
    assert_eq!(rig.bucket().heal(), [2; 3]);
    rig.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_answer_is_one_failure() {
    let rig = Rig::new(|_| (), noise(1, LEN)).await;
    let mut pieces = rig.pieces().await;
    let mut received = Vec::new();
    while received.len() < 3 << 20 {
        received.extend(pieces.next().await.unwrap().unwrap());
    }
    rig.bucket().fail(GET, Fault::SlowDown, usize::MAX);
    let end = loop {
        match pieces.next().await {
            Some(Ok(piece)) => received.extend(piece),
            end => break end,
        }
    };
    assert_eq!(end, Some(Err(ReadError::Failed)));
    same(&received, &rig.content[..received.len()]);
    rig.bucket().heal();
    rig.read().await;
    assert_eq!(rig.store.counters().damaged.load(Ordering::Relaxed), 0);
    rig.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_ends_the_content_behind_the_last_sound_chunk() {
    let rig = Rig::new(|_| (), noise(1, LEN)).await;
    let damaged = rig.sizes.len() - 5;
    let sound: usize = rig.sizes[..damaged].iter().sum();
    let row = rig.store.reader().locate(&[blake3::hash(&rig.content[sound..][..rig.sizes[damaged]])]).await;
    let row = *row.unwrap().values().next().unwrap();
    let object = rig.bucket().object(&format!("{}.pack", row.location.pack));
    flip(&object, row.location.position + 1000);
    let mut pieces = rig.pieces().await;
    let mut received = Vec::new();
    let end = loop {
        match pieces.next().await {
            Some(Ok(piece)) => received.extend(piece),
            end => break end,
        }
    };
    assert_eq!(end, Some(Err(ReadError::Corrupt)));
    assert!(pieces.next().await.is_none());
    same(&received, &rig.content[..sound]);
    assert_eq!(rig.store.counters().damaged.load(Ordering::Relaxed), 1);
    let behind = sound + rig.sizes[damaged];
    same(&read_range(&rig.store, rig.id, behind as u64..u64::MAX).await.unwrap(), &rig.content[behind..]);
    // A pack that is too short lacks what stood at its end, and nothing else.
    File::options().write(true).open(&object).unwrap().set_len(row.location.position).unwrap();
    same(&read_range(&rig.store, rig.id, 0..sound as u64).await.unwrap(), &rig.content[..sound]);
    for chunk in [sound, behind] {
        let range = chunk as u64 - 1..chunk as u64 + 1;
        assert_eq!(read_range(&rig.store, rig.id, range).await, Err(ReadError::Corrupt));
    }
    rig.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moves_meanwhile_is_read_from_where_it_is() {
    let rig = Rig::new(|_| (), noise(1, LEN)).await;
    let mut pieces = rig.pieces().await;
    let mut received = pieces.next().await.unwrap().unwrap().to_vec();
    let index = rig.store.reader().index();
    let config = CompactionConfig {
        rate: ByteSize::new(1 << 40),
        delay: HumanDuration::from_secs(0),
        ..Default::default()
    };
    let compactor = Compactor::new(Arc::clone(&rig.store), &config);
    let control = Board::default().control(Kind::Compact);
    for pack in index.packs().await.unwrap() {
        let outcome = compactor.compact(pack, &control, 1).await.unwrap();
        assert!(matches!(outcome, Outcome::Retired { .. }), "{outcome:?}");
    }
    assert!(compactor.sweep(2).await.unwrap() > 0);
    // It does not know: what it looked up before is gone.
    while let Some(piece) = pieces.next().await {
        received.extend(piece.unwrap());
    }
    same(&received, &rig.content);
    assert_eq!(rig.store.counters().damaged.load(Ordering::Relaxed), 0);
    rig.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_away_takes_his_requests_along() {
    let change = |home: &mut Home| {
        home.object().request_timeout = Duration::from_secs(600);
        home.object().max_reads = 1;
    };
    let rig = Rig::new(change, noise(1, 4 << 20)).await;
    let mut pieces = rig.pieces().await;
    rig.bucket().fail(GET, Fault::Hang, usize::MAX);
    let reading = tokio::spawn(async move { pieces.next().await.map(drop) });
    holdall_runtime::testing::eventually(Duration::from_secs(60), async || rig.bucket().met() == 1).await;
    reading.abort();
    rig.bucket().heal();
    // There is one request at a time: so the other one has ended.
    tokio::time::timeout(Duration::from_secs(60), rig.read()).await.unwrap();
    rig.store.close().await;
}
