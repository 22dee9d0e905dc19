//! The store as a whole, on a real folder and database.

#![expect(clippy::cast_possible_truncation, reason = "sizes in tests are small")]

#[path = "../../tests/bucket/mod.rs"]
mod bucket;
mod crash;
mod damage;
mod encryption;
mod failure;
mod faults;
mod mutated;
mod replicas;
mod resume;
mod runs;
mod slow;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::StreamExt;
use holdall_sql::testing::TestDatabase;
use holdall_sql::{Database, Durability};
use tempfile::TempDir;

use self::bucket::Bucket;
use super::index::MIGRATIONS;
use super::pack::HEADER_LEN;
use super::packs::object::Secret;
use super::reader::{Content, ReadError};
use super::upload::Written;
use super::*;
use crate::domain::compress::Compression;
use crate::domain::cut::tests::noise;
use crate::domain::seal::Keys;
use crate::domain::{SMALL, cut};

/// Makes a test of each of these functions for each kind of store.
macro_rules! everywhere {
    ($($name:ident)*) => {
        everywhere! { @ disk_with_sqlite, Home::new(); $($name)* }
        everywhere! { @ bucket_with_sqlite, Home::with_bucket(Bucket::new()); $($name)* }
        everywhere! { @ bucket_with_postgres, Home::with_bucket(Bucket::new()).with_postgres().await; $($name)* }
    };
    (@ $kind:ident, $home:expr; $($name:ident)*) => {
        mod $kind {
            #[allow(unused_imports, reason = "not every kind needs all")]
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($home).await;
                }
            )*
        }
    };
}
use everywhere;

everywhere! {
    what_is_written_is_read
    ranges_are_exact
    the_same_content_is_stored_once
    concurrent_small_writes_share_flushes
    an_upload_that_is_given_up_leaves_nothing_to_read
    wrong_announcements_are_refused
    many_tiny_pieces_are_one_chunk
    without_memory_to_spare_uploads_still_go_on
    a_closed_store_takes_no_more
}

/// A folder with a store in it, which can be opened many times.
struct Home {
    dir: TempDir,
    settings: Settings,
    /// The packs are there.
    bucket: Option<Arc<Bucket>>,
    /// The index is there.
    database: Option<TestDatabase>,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            packs: packs::Settings::Disk(packs::disk::Settings {
                folder: dir.path().join("packs"),
                max_size: 1 << 30,
                reserve: Some(0),
            }),
            encoding: Arc::new(Encoding::new(Some(Compression::new(1)), Keys::default())),
            small_memory: 8 << 20,
            bulk_memory: 64 << 20,
            max_uploads: 100,
            reading: Limits { memory: 64 << 20, chunk_cache: 1 << 20, blob_cache: 1 << 20 },
        };
        Self { dir, settings, bucket: None, database: None }
    }

    fn with_bucket(bucket: Bucket) -> Self {
        Self::sharing(Arc::new(bucket), &format!("test/{}", Uuid::now_v7()))
    }

    fn sharing(bucket: Arc<Bucket>, prefix: &str) -> Self {
        let mut home = Self::new();
        home.settings.packs = packs::Settings::Object(packs::object::Settings {
            endpoint: Some(bucket.endpoint.clone()),
            region: bucket.region.clone(),
            bucket: bucket.name.clone(),
            prefix: prefix.to_owned(),
            access_key: Secret(bucket.access_key.clone()),
            secret_key: Secret(bucket.secret_key.clone()),
            allow_http: true,
            request_timeout: Duration::from_secs(20),
            max_reads: 16,
            max_writes: 4,
            batch: 16 << 20,
        });
        home.bucket = Some(bucket);
        home
    }

    async fn with_postgres(mut self) -> Self {
        self.database = Some(holdall_sql::testing::postgres(&MIGRATIONS).await);
        self
    }

    async fn index(&self) -> Index {
        let settings = match &self.database {
            Some(database) => database.settings().clone(),
            None => holdall_sql::Settings::file(&self.dir.path().join("index.db")),
        };
        Index::new(Database::open(&settings, &MIGRATIONS, Durability::Rebuildable).await.unwrap())
    }

    async fn open(&self) -> Store {
        Store::open(&self.settings, self.index().await).await.unwrap()
    }

    /// The next time the store is opened, its index is empty.
    async fn lose_index(&mut self) {
        if self.database.is_some() {
            self.database = Some(holdall_sql::testing::postgres(&MIGRATIONS).await);
        }
        for name in ["index.db", "index.db-wal", "index.db-shm"] {
            let _ = std::fs::remove_file(self.dir.path().join(name));
        }
    }

    /// The folder with the packs.
    fn folder(&self) -> PathBuf {
        self.dir.path().join("packs")
    }

    fn disk(&mut self) -> &mut packs::disk::Settings {
        match &mut self.settings.packs {
            packs::Settings::Disk(disk) => disk,
            packs::Settings::Object(_) => panic!("the packs are elsewhere"),
        }
    }

    fn object(&mut self) -> &mut packs::object::Settings {
        match &mut self.settings.packs {
            packs::Settings::Disk(_) => panic!("the packs are elsewhere"),
            packs::Settings::Object(object) => object,
        }
    }

    /// The store of the packs, without the rest.
    fn pack_store(&self) -> Arc<dyn PackStore> {
        packs::open(&self.settings.packs, &Arc::default()).unwrap()
    }

    /// The packs' files, in order.
    fn packs(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().path());
        let mut packs: Vec<_> =
            files.filter(|file| file.extension().is_some_and(|extension| extension == "pack")).collect();
        packs.sort();
        packs
    }
}

async fn write_in(store: &Store, content: &[u8], piece: usize) -> Written {
    let mut upload = store.upload(BlobId::new(1), Uuid::nil(), u64::MAX).unwrap();
    for piece in content.chunks(piece.max(1)) {
        upload.push(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    upload.finish(content.len() as u64, None).await.unwrap()
}

async fn write(store: &Store, content: &[u8]) -> Written {
    write_in(store, content, 256 << 10).await
}

async fn read_range(store: &Store, id: BlobId, range: std::ops::Range<u64>) -> Result<Vec<u8>, ReadError> {
    let blob = store.reader().blob(id).await?.expect("the blob is there");
    match store.reader().content(id, &blob, range).await? {
        Content::Whole(bytes) => Ok(bytes.into()),
        Content::Pieces(mut pieces) => {
            let mut all = Vec::new();
            while let Some(piece) = pieces.next().await {
                let piece = piece?;
                assert!((1..=SMALL).contains(&piece.len()));
                all.extend(piece);
            }
            Ok(all)
        }
    }
}

async fn read(store: &Store, id: BlobId) -> Result<Vec<u8>, ReadError> {
    read_range(store, id, 0..u64::MAX).await
}

fn same(actual: &[u8], expected: &[u8]) {
    assert!(actual == expected, "{} bytes differ from {}", actual.len(), expected.len());
}

async fn what_is_written_is_read(home: Home) {
    let store = home.open().await;
    let mut blobs = Vec::new();
    for (seed, size) in
        [0, 1, 4096, SMALL - 1, SMALL, SMALL + 1, 1 << 20, 5 << 20, 20 << 20].into_iter().enumerate()
    {
        let content = noise(seed as u64, size);
        for piece in [256 << 10, 1 << 20, size.min(50_000)] {
            let written = write_in(&store, &content, piece).await;
            assert_eq!((written.size, written.digest), (size as u64, blake3::hash(&content)));
            let blob = store.reader().blob(written.id).await.unwrap().unwrap();
            assert_eq!((blob.size(), blob.digest()), (written.size, written.digest));
            same(&read(&store, written.id).await.unwrap(), &content);
            blobs.push((written.id, content.clone()));
        }
    }
    assert!(store.reader().blob(BlobId::new(0)).await.unwrap().is_none());
    store.close().await;
    let store = home.open().await;
    for (id, content) in blobs {
        same(&read(&store, id).await.unwrap(), &content);
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_can_be_elsewhere() {
    let home = Home::new();
    let contents = [noise(1, 5000), noise(2, 3 << 20)];
    let mut ids = Vec::new();
    // The second time it is an empty one.
    for round in 0..2 {
        let database = holdall_sql::testing::postgres(&MIGRATIONS).await;
        let store = Store::open(&home.settings, Index::new(database.database().clone())).await.unwrap();
        for content in &contents {
            ids.push((write(&store, content).await.id, content.clone()));
        }
        let chunks = store.counters().chunks.load(Ordering::Relaxed);
        assert_eq!(chunks == 0, round == 1, "what is there already is known from the packs");
        for (id, content) in &ids {
            same(&read(&store, *id).await.unwrap(), content);
        }
        store.close().await;
    }
}

async fn ranges_are_exact(home: Home) {
    let store = home.open().await;
    let content = noise(1, 9 << 20);
    let id = write(&store, &content).await.id;
    let small = write(&store, &content[..1000]).await.id;
    let bounds: Vec<u64> = {
        let row = store.reader().index().blob(id).await.unwrap().unwrap().0;
        let payload = packs::read(&home.pack_store(), row.manifest, |bytes| bytes).await.unwrap().unwrap();
        let manifest = crate::domain::manifest::Manifest::decode(&payload).unwrap();
        let mut end = 0;
        manifest
            .chunks()
            .iter()
            .flat_map(|chunk| {
                end += u64::from(chunk.size);
                [end - 1, end, end + 1]
            })
            .collect()
    };
    let mut ranges = vec![(0, 0), (0, 1), (0, content.len() as u64 + 5), (content.len() as u64, 9 << 21)];
    ranges.extend(bounds.windows(2).map(|pair| (pair[0], pair[1])));
    ranges.extend(bounds.iter().map(|bound| (*bound, bound + 300_000)));
    let mut random = noise(2, 16 * 100)
        .chunks(8)
        .map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
        .collect::<Vec<_>>();
    while let (Some(start), Some(len)) = (random.pop(), random.pop()) {
        let start = start % content.len() as u64;
        ranges.push((start, start + len % (3 << 20)));
    }
    for (start, end) in ranges {
        let clamp = |at: u64, content: &[u8]| (at as usize).min(content.len());
        let expected = &content[clamp(start, &content)..clamp(end, &content)];
        same(&read_range(&store, id, start..end).await.unwrap(), expected);
        let part = &content[..1000];
        let expected = &part[clamp(start, part)..clamp(end, part)];
        same(&read_range(&store, small, start..end).await.unwrap(), expected);
    }
    store.close().await;
}

async fn the_same_content_is_stored_once(home: Home) {
    let store = home.open().await;
    for content in [noise(1, 1000), noise(2, 6 << 20)] {
        let first = write(&store, &content).await;
        let chunks = store.counters().chunks.load(Ordering::Relaxed);
        let second = write(&store, &content).await;
        assert_eq!(store.counters().chunks.load(Ordering::Relaxed), chunks);
        assert_ne!(first.id, second.id);
        for id in [first.id, second.id] {
            same(&read(&store, id).await.unwrap(), &content);
        }
    }
    // A change in the middle costs a few chunks only.
    let before = store.counters().appended_bytes.load(Ordering::Relaxed);
    let mut content = noise(2, 6 << 20);
    content.insert(3 << 20, 7);
    let id = write(&store, &content).await.id;
    same(&read(&store, id).await.unwrap(), &content);
    let added = store.counters().appended_bytes.load(Ordering::Relaxed) - before;
    assert!(added < 2 * cut::MAX as u64, "{added}");
    store.close().await;
}

async fn concurrent_small_writes_share_flushes(home: Home) {
    const WRITES: u64 = 400;
    let store = Arc::new(home.open().await);
    let writes = (0..WRITES).map(|seed| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let content = noise(seed, 4096);
            (write(&store, &content).await.id, content)
        })
    });
    for write in writes.collect::<Vec<_>>() {
        let (id, content) = write.await.unwrap();
        same(&read(&store, id).await.unwrap(), &content);
    }
    let flushes = store.counters().flushes.load(Ordering::Relaxed);
    assert!(flushes < WRITES / 4, "{flushes} flushes");
    store.close().await;
}

async fn an_upload_that_is_given_up_leaves_nothing_to_read(mut home: Home) {
    let store = home.open().await;
    for size in [1000, 5 << 20] {
        let id = BlobId::new(1);
        let mut upload = store.upload(id, Uuid::nil(), u64::MAX).unwrap();
        for piece in noise(1, size).chunks(100_000) {
            upload.push(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        drop(upload);
        assert!(store.reader().blob(id).await.unwrap().is_none());
    }
    store.close().await;
    home.lose_index().await;
    let store = home.open().await;
    assert_eq!(count(&store, "blobs").await, 0);
    store.close().await;
}

async fn count(store: &Store, table: &str) -> i64 {
    let text = format!("SELECT COUNT(*) FROM {table}");
    let row = holdall_sql::dynamic(text).fetch_one(store.reader().index().database()).await.unwrap();
    row.get(0).unwrap()
}

async fn wrong_announcements_are_refused(home: Home) {
    let store = home.open().await;
    for size in [0, 1000, SMALL + 1, 3 << 20] {
        let content = noise(1, size);
        let begin = async || {
            let mut upload = store.upload(BlobId::new(1), Uuid::nil(), size as u64).unwrap();
            for piece in content.chunks(256 << 10) {
                upload.push(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            upload
        };
        let size = size as u64;
        assert_eq!(begin().await.finish(size + 1, None).await, Err(UploadError::WrongSize));
        let wrong = Some(blake3::hash(b"something else"));
        assert_eq!(begin().await.finish(size, wrong).await, Err(UploadError::WrongDigest));
        let mut upload = begin().await;
        assert_eq!(upload.push(Bytes::from_static(b"x")).await, Err(UploadError::TooLarge));
        let right = Some(blake3::hash(&content));
        assert!(begin().await.finish(size, right).await.is_ok());
    }
    store.close().await;
}

async fn many_tiny_pieces_are_one_chunk(home: Home) {
    let store = home.open().await;
    let content = noise(1, 100_000);
    let written = write_in(&store, &content, 7).await;
    same(&read(&store, written.id).await.unwrap(), &content);
    assert_eq!(count(&store, "chunks").await, 1);
    store.close().await;
}

async fn without_memory_to_spare_uploads_still_go_on(mut home: Home) {
    home.settings.small_memory = 300 << 10;
    home.settings.bulk_memory = 1 << 20;
    home.settings.reading.memory = 5 << 20;
    let store = Arc::new(home.open().await);
    let uploads = (0..8_u64).map(|seed| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let content = noise(seed, (seed as usize + 1) * 500_000);
            (write(&store, &content).await.id, content)
        })
    });
    for upload in uploads.collect::<Vec<_>>() {
        let (id, content) = upload.await.unwrap();
        same(&read(&store, id).await.unwrap(), &content);
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pack_is_followed_by_another() {
    let mut home = Home::new();
    home.disk().max_size = 3 << 20;
    let store = home.open().await;
    let mut blobs = Vec::new();
    for seed in 0..6 {
        let content = noise(seed, 2 << 20);
        blobs.push((write(&store, &content).await.id, content));
    }
    assert!(home.packs().len() >= 4, "{:?}", home.packs());
    store.close().await;
    let store = home.open().await;
    for (id, content) in blobs {
        same(&read(&store, id).await.unwrap(), &content);
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_and_goes_on_reading() {
    let mut home = Home::new();
    let store = home.open().await;
    let id = write(&store, b"there").await.id;
    store.close().await;
    home.disk().reserve = Some(u64::MAX);
    let store = home.open().await;
    let refused = store.upload(BlobId::new(1), Uuid::nil(), 1).map(drop);
    assert_eq!(refused, Err(UploadError::Store(WriteError::Full)));
    assert_eq!(read(&store, id).await.unwrap(), b"there");
    store.close().await;
}

async fn a_closed_store_takes_no_more(home: Home) {
    let store = home.open().await;
    store.close().await;
    assert!(store.upload(BlobId::new(1), Uuid::nil(), 1).is_err());
}

/// Changes the byte at `position` of a file.
fn flip(path: &Path, position: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).unwrap();
    file.write_all_at(&[byte[0] ^ 1], position).unwrap();
}
