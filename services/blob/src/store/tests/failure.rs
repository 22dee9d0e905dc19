//! Disks and databases that fail: nobody is told that something is kept which is not.

use super::*;
use crate::domain::record::Codec;
use crate::store::gate::Trouble;
use crate::store::index::{BlobRow, ChunkRow, NewBlob, PackRow};
use crate::store::lane::{Appended, Batch, Entry, NewChunk, Reply, Ticket};
use crate::store::pack::Location;
use crate::store::packs::PackStore;
use crate::store::packs::disk::append::{Appender, OpenPack};
use crate::store::packs::disk::{DiskPacks, flush};

fn sealed() -> Arc<Sealed> {
    Arc::new(Sealed::new(PackId(0)))
}

/// A lane whose first pack is `file`.
struct Rig {
    home: Home,
    index: Index,
    entries: mpsc::Sender<Entry>,
    gate: Gate,
    counters: Arc<Counters>,
    commits: JoinHandle<()>,
}

impl Rig {
    async fn new(file: File) -> Self {
        let mut home = Home::new();
        let counters = Arc::new(Counters::default());
        let packs = Arc::new(DiskPacks::open(home.disk(), Arc::clone(&counters)).unwrap());
        packs.begin_after(PackId(1));
        let index = home.index().await;
        let gate = Gate::new(Arc::clone(&counters), {
            let packs = Arc::clone(&packs);
            move || Arc::clone(&packs).probe()
        });
        let context = Context {
            index: index.clone(),
            encoding: Arc::default(),
            gate: gate.clone(),
            counters: Arc::clone(&counters),
            last: PackId(1),
            lane: "test",
            is_cold: false,
        };
        let (entries, incoming) = mpsc::channel(100);
        let (written, unflushed) = std::sync::mpsc::channel();
        let (flushed, to_commit) = mpsc::channel(100);
        let runtime = tokio::runtime::Handle::current();
        let room = Arc::new(Semaphore::new(64 << 20));
        let first = Arc::new(OpenPack::new(PackId(1), [1; 32], file, false));
        let appender = Appender::new(packs, context, runtime, incoming, written, room).writing_to(first);
        std::thread::spawn(move || appender.run());
        let (told, count) = (gate.clone(), Arc::clone(&counters));
        std::thread::spawn(move || flush::run(&unflushed, &flushed, &told, &count));
        let commits = tokio::spawn(commit::run(index.clone(), Arc::clone(&counters), sealed(), to_commit));
        Self { home, index, entries, gate, counters, commits }
    }

    /// Sends a chunk of an upload, and the upload's manifest if it `is_last`.
    async fn send(
        &self,
        ticket: &Ticket,
        content: &'static [u8],
        is_last: bool,
    ) -> tokio::sync::oneshot::Receiver<Result<(), WriteError>> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let hash = blake3::hash(content);
        let chunk = crate::domain::manifest::Chunk { hash, size: content.len() as u32 };
        let manifest =
            || crate::domain::manifest::Manifest::new(BlobId::new(1), Uuid::nil(), hash, vec![chunk]);
        let entry = Entry {
            chunk: Some(NewChunk { chunk, codec: Codec::Raw, pieces: vec![Bytes::from_static(content)] }),
            blob: is_last.then(manifest),
            segment: None,
            reply: Reply { ticket: ticket.clone(), answer: Some(answer) },
            memory: None,
            moved_from: None,
        };
        self.entries.send(entry).await.unwrap();
        answered
    }

    async fn count(&self, table: &str) -> i64 {
        let text = format!("SELECT COUNT(*) FROM {table}");
        holdall_sql::dynamic(text).fetch_one(self.index.database()).await.unwrap().get(0).unwrap()
    }

    /// What comes after a failure goes well, into a pack of its own.
    async fn goes_on(self) {
        let content = b"after the failure";
        assert_eq!(self.send(&Ticket::default(), content, true).await.await.unwrap(), Ok(()));
        assert_eq!((self.count("blobs").await, self.count("chunks").await), (1, 1));
        let row = self.index.locate(&[blake3::hash(content)]).await.unwrap().remove(&blake3::hash(content));
        assert_ne!(row.unwrap().location.pack, PackId(1));
        assert_eq!(self.home.packs().len(), 1);
        drop(self.entries);
        self.commits.await.unwrap();
    }
}

fn device(path: &str) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_room_is_refused() {
    let rig = Rig::new(device("/dev/full")).await;
    let upload = Ticket::default();
    assert_eq!(rig.send(&upload, b"first", false).await.await.unwrap(), Err(WriteError::Full));
    // The rest of that upload fails for the same reason, though it could be written.
    assert_eq!(rig.send(&upload, b"second", true).await.await.unwrap(), Err(WriteError::Full));
    assert_eq!(rig.counters.flushes.load(Ordering::Relaxed), 0);
    assert_eq!(rig.gate.trouble(), Some(Trouble::Full));
    rig.goes_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_flush_is_not_tried_again() {
    // It takes every write, and cannot be flushed.
    let rig = Rig::new(device("/dev/null")).await;
    let upload = Ticket::default();
    assert_eq!(rig.send(&upload, b"first", false).await.await.unwrap(), Err(WriteError::Failed));
    assert_eq!(rig.send(&upload, b"second", true).await.await.unwrap(), Err(WriteError::Failed));
    assert_eq!(rig.count("chunks").await, 0);
    assert_eq!(rig.counters.flushes.load(Ordering::Relaxed), 1);
    assert_eq!(rig.gate.trouble(), Some(Trouble::Other));
    rig.goes_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_flushed_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pack");
    // Open for reading only, and longer than what was flushed.
    std::fs::write(&path, vec![0; 1000]).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let pack = OpenPack::new(PackId(1), [1; 32], file, false);
    pack.abandon();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), HEADER_LEN);
    assert!(pack.flush().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_commit_keeps_no_blob() {
    let rig = Rig::new(device("/dev/null")).await;
    // The first pack fails; the next one is sound.
    assert!(rig.send(&Ticket::default(), b"opens the way", false).await.await.unwrap().is_err());
    let alter = async |statement| {
        holdall_sql::sql(statement).execute(rig.index.database()).await.unwrap();
    };
    alter("ALTER TABLE blobs RENAME TO elsewhere").await;
    let upload = Ticket::default();
    assert_eq!(rig.send(&upload, b"first", true).await.await.unwrap(), Err(WriteError::Failed));
    alter("ALTER TABLE elsewhere RENAME TO blobs").await;
    assert_eq!(rig.send(&upload, b"second", true).await.await.unwrap(), Err(WriteError::Failed));
    assert_eq!(rig.count("blobs").await, 0);
    assert_eq!(rig.send(&Ticket::default(), b"second", true).await.await.unwrap(), Ok(()));
    assert_eq!(rig.count("blobs").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_upload_takes_no_chunk_from_another() {
    let home = Home::new();
    let index = home.index().await;
    let location = |position| Location { pack: PackId(1), position, stored: 3 };
    let hash = blake3::hash(b"abc");
    let chunk = ChunkRow { hash, size: 3, location: location(128), codec: Codec::Raw };
    let id = BlobId::new(1);
    let blob = BlobRow { id, size: 3, digest: hash, manifest: location(200) };
    let new = NewBlob { row: blob, space: Uuid::nil(), chunks: vec![hash] };

    // Both want the same chunk, which was written once, for the first of them.
    let (answer, answered) = tokio::sync::oneshot::channel();
    let first = Reply { ticket: Ticket::default(), answer: None };
    Reply { ticket: first.ticket.clone(), answer: None }.fail(WriteError::Failed);
    let second = Reply { ticket: Ticket::default(), answer: Some(answer) };
    let entries = vec![
        Appended { reply: first, chunk: Some(chunk), blob: None, segment: None, moved_from: None },
        Appended { reply: second, chunk: None, blob: Some(new), segment: None, moved_from: None },
    ];
    let (flushed, to_commit) = mpsc::channel(1);
    let pack = PackRow { id: PackId(1), salt: [1; 32], indexed_to: 300 };
    flushed.send(Batch { lane: "test", pack: Some(pack), is_closed: false, entries }).await.unwrap();
    drop(flushed);
    commit::run(index.clone(), Arc::default(), sealed(), to_commit).await;
    assert_eq!(answered.await.unwrap(), Ok(()));
    assert_eq!(index.blob(id).await.unwrap(), Some((blob, Some(chunk))));
    assert_eq!(index.packs().await.unwrap(), [pack], "noted at the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_written_to_refuses_at_once_reads_on_and_recovers() {
    let home = Home::new();
    let store = home.open().await;
    let content = noise(1, 2 << 20);
    let there = write(&store, b"there").await.id;
    assert_eq!(read(&store, there).await.unwrap(), b"there");
    let try_write = async || {
        let mut upload = store.upload(BlobId::new(1), Uuid::nil(), u64::MAX)?;
        for piece in content.chunks(256 << 10) {
            upload.push(Bytes::copy_from_slice(piece)).await?;
        }
        upload.finish(content.len() as u64, None).await
    };
    let failed = Err(UploadError::Store(WriteError::Failed));
    let count =
        |of: fn(&Counters) -> &std::sync::atomic::AtomicU64| of(store.counters()).load(Ordering::Relaxed);

    // The first pack for large blobs cannot be made.
    let away = home.dir.path().join("away");
    std::fs::rename(home.folder(), &away).unwrap();
    assert_eq!(try_write().await.map(drop), failed);
    assert_eq!(count(|all| &all.degraded), 1);
    assert!(count(|all| all.write_error(Trouble::Other)) > 0);
    // Small ones could be written, but who knows.
    let refused = count(|all| &all.refused_degraded);
    assert_eq!(
        store.upload(BlobId::new(1), Uuid::nil(), 1).map(drop),
        Err(UploadError::Store(WriteError::Failed))
    );
    assert_eq!(count(|all| &all.refused_degraded), refused + 1);
    assert_eq!(read(&store, there).await.unwrap(), b"there");

    std::fs::rename(&away, home.folder()).unwrap();
    holdall_runtime::testing::eventually(Duration::from_secs(60), async || count(|all| &all.degraded) == 0)
        .await;
    let id = try_write().await.unwrap().id;
    same(&read(&store, id).await.unwrap(), &content);
    assert_eq!(home.packs().len(), 2, "nothing is left of the attempts");
    store.close().await;
}
