//! One world, and everybody in it.

mod compaction;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use holdall_sql::sql;
use uuid::Uuid;

use super::packs::MemoryPacks;
use super::{Dice, Events};
use crate::domain::BlobId;
use crate::domain::manifest::{Chunk, Manifest};
use crate::domain::payload::Encoding;
use crate::domain::record::Codec;
use crate::jobs::collect::{Collector, Walk};
use crate::jobs::roots::{Roots, RootsError};
use crate::store::index::{Index, Moved, NewBlob, PackRow, Rows};
use crate::store::lane::{Entry, NewChunk, Reply, Ticket};
use crate::store::layout;
use crate::store::pack::{HEADER_LEN, Location, PackId};
use crate::store::packs::PackStore;
use crate::store::recover;
use crate::store::scan::{Found, Scanner};

/// What has to happen in some world.
pub const EVENTS: [&str; 12] = [
    "blob committed",
    "blob refused",
    "blob condemned",
    "blob deleted",
    "blob spared",
    "chunk deduplicated",
    "chunk deleted",
    "pack compacted",
    "pack deleted",
    "index lost",
    "index set back",
    "version made of another",
];

const SECOND: i64 = 1_000_000;
/// How long a receipt is good for.
const RECEIPT: i64 = 20 * SECOND;
/// How long a transaction of metadata may take.
const TRANSACTION: i64 = 5 * SECOND;
const GRACE: i64 = 50 * SECOND;
/// A pack of this size is not written to any more.
const PACK_SIZE: u64 = 700;
const STEPS: usize = 70;
const TABLES: [&str; 4] = ["packs", "chunks", "blobs", "refs"];

/// An upload under way.
#[derive(Clone, Debug)]
struct Writer {
    id: BlobId,
    chunks: Vec<Chunk>,
    /// Chunks that are done with.
    done: usize,
    /// What was found out about the next one.
    known: Option<bool>,
    /// What was appended and is not in the index.
    pending: Rows,
    /// Where that stands.
    records: Vec<(PackId, u64)>,
    /// Once the manifest is appended: until when its receipt will be good.
    receipt: Option<i64>,
}

impl Writer {
    /// Takes note of a record.
    fn appended(&mut self, rows: Rows) {
        self.records.extend(rows.packs.iter().map(|pack| (pack.id, pack.indexed_to)));
        self.pending.packs.extend(rows.packs);
        self.pending.chunks.extend(rows.chunks);
        self.pending.blobs.extend(rows.blobs);
    }
}

#[derive(Debug)]
struct Compaction {
    pack: PackRow,
    copies: Vec<Moved>,
    to: Option<PackId>,
    is_scanned: bool,
    has_followed: bool,
}

struct State {
    dice: Dice,
    now: i64,
    last_pack: PackId,
    /// What is written to: by writers, and by the compactor.
    current: [Option<PackId>; 2],
    writers: Vec<Writer>,
    /// Where records start that are not in the index. As in a lane, a pack is never said to be indexed beyond the first.
    unindexed: HashSet<(PackId, u64)>,
    compaction: Option<Compaction>,
    walk: Walk,
    /// What is in every blob that has a receipt.
    contents: HashMap<BlobId, Vec<Chunk>>,
    receipts: Vec<(BlobId, i64)>,
    versions: BTreeMap<BlobId, u32>,
    /// Versions that are being made of others, and by when they are.
    copies: Vec<(BlobId, i64)>,
    released: Vec<BlobId>,
    events: Events,
}

pub struct World {
    seed: u64,
    index: Index,
    packs: Arc<MemoryPacks>,
    state: Mutex<State>,
}

/// The metadata of a world. While it is asked, others go on.
struct Metadata(Arc<World>);

#[async_trait]
impl Roots for Metadata {
    async fn released(&self) -> Result<Vec<BlobId>, RootsError> {
        self.0.others().await;
        Ok(self.0.with(|state| state.released.iter().copied().take(3).collect()))
    }

    async fn acknowledge(&self, blobs: &[BlobId]) -> Result<(), RootsError> {
        self.0.others().await;
        self.0.with(|state| state.released.retain(|id| !blobs.contains(id)));
        self.0.fails()
    }

    async fn live(&self, blobs: &[BlobId]) -> Result<HashSet<BlobId>, RootsError> {
        self.0.others().await;
        let live = self.0.with(|state| {
            let is_live = |id: &&BlobId| state.versions.contains_key(id) || state.released.contains(id);
            blobs.iter().filter(is_live).copied().collect()
        });
        self.0.others().await;
        self.0.fails()?;
        Ok(live)
    }
}

impl World {
    /// Makes room for an older state of the index beside it.
    pub async fn prepare(index: &Index) {
        for table in TABLES {
            let text = format!("CREATE TABLE old_{table} AS SELECT * FROM {table}");
            holdall_sql::dynamic(text).execute(index.database()).await.unwrap();
        }
    }

    pub async fn new(seed: u64, index: Index) -> Arc<Self> {
        let state = State {
            dice: Dice(seed),
            now: 1_000_000 * SECOND,
            last_pack: PackId(0),
            current: [None; 2],
            writers: Vec::new(),
            unindexed: HashSet::new(),
            compaction: None,
            walk: Walk::Blobs(None),
            contents: HashMap::new(),
            receipts: Vec::new(),
            versions: BTreeMap::new(),
            copies: Vec::new(),
            released: Vec::new(),
            events: Events::new(),
        };
        let world = Self { seed, index, packs: Arc::default(), state: Mutex::new(state) };
        world.empty_index().await;
        world.remember().await;
        Arc::new(world)
    }

    pub fn events(&self) -> Events {
        self.with(|state| state.events.clone())
    }

    /// A part of the world that is looked at or changed at once.
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap())
    }

    fn count(&self, event: &'static str, count: u64) {
        if count > 0 {
            self.with(|state| *state.events.entry(event).or_default() += count);
        }
    }

    fn roll(&self, end: usize) -> usize {
        self.with(|state| state.dice.below(end))
    }

    fn now(&self) -> i64 {
        self.with(|state| state.now)
    }

    pub async fn run(self: &Arc<Self>) {
        let collector = Collector::new(self.index.clone(), Metadata(Arc::clone(self)), GRACE);
        for _ in 0..STEPS {
            match self.roll(20) {
                0..=12 => self.other().await,
                13..=17 => self.collect(&collector).await,
                18 => self.remember().await,
                _ => {
                    if self.roll(3) == 0 {
                        self.crash().await;
                    }
                }
            }
        }
        self.check("the end").await;
    }

    async fn collect(self: &Arc<Self>, collector: &Collector<Metadata>) {
        let now = self.now();
        let (step, result) = match self.roll(4) {
            0 => ("hints", collector.hints(now).await),
            1 => ("due", collector.due(now).await),
            2 => ("reap", collector.reap(now).await),
            _ => {
                let mut walk = self.with(|state| match state.walk {
                    Walk::Done(_) => Walk::Blobs(None),
                    walk => walk,
                });
                let result = collector.walk(&mut walk, now).await;
                self.with(|state| state.walk = walk);
                ("walk", result)
            }
        };
        if let Ok(progress) = result {
            self.count("blob condemned", progress.condemned);
            self.count("blob deleted", progress.deleted.len() as u64);
            self.count("blob spared", progress.spared);
            self.count("chunk deleted", progress.chunks);
        }
        self.check(step).await;
    }

    /// Some steps of everybody but the collector.
    async fn others(&self) {
        for _ in 0..self.roll(3) {
            self.other().await;
        }
    }

    /// Now and then there is no answer.
    fn fails(&self) -> Result<(), RootsError> {
        if self.roll(20) == 0 { Err(RootsError::Malformed) } else { Ok(()) }
    }

    async fn other(&self) {
        match self.roll(16) {
            0 => self.begin_upload(),
            1..=6 => self.write().await,
            7 | 8 => self.commit_receipt(),
            9 => self.release(),
            10 => self.copy_version(),
            11 | 12 => self.pass_time(),
            _ => self.compact().await,
        }
    }

    fn pass_time(&self) {
        self.with(|state| {
            let seconds = state.dice.pick(&[1, 4, 11, 30, 55]).unwrap();
            state.now += seconds * SECOND;
            let now = state.now;
            state.receipts.retain(|(_, until)| *until > now);
            state.copies.retain(|(_, until)| *until > now);
        });
    }

    // ---- metadata

    fn commit_receipt(&self) {
        self.with(|state| {
            if let Some((id, _)) = state.dice.pick(&state.receipts) {
                *state.versions.entry(id).or_default() += 1;
            }
        });
    }

    fn release(&self) {
        self.with(|state| {
            let all: Vec<_> = state.versions.keys().copied().collect();
            let Some(id) = state.dice.pick(&all) else { return };
            if let Some(count) = state.versions.get_mut(&id) {
                *count -= 1;
                if *count == 0 {
                    state.versions.remove(&id);
                }
            }
            if !state.released.contains(&id) {
                state.released.push(id);
            }
        });
    }

    /// Begins to make a version of another, or ends it, whatever became of the other meanwhile.
    fn copy_version(&self) {
        let has_ended = self.with(|state| {
            if !state.copies.is_empty() && state.dice.chance(60) {
                let at = state.dice.below(state.copies.len());
                let (id, _) = state.copies.swap_remove(at);
                *state.versions.entry(id).or_default() += 1;
                return true;
            }
            let all: Vec<_> = state.versions.keys().copied().collect();
            if let Some(id) = state.dice.pick(&all) {
                state.copies.push((id, state.now + TRANSACTION));
            }
            false
        });
        self.count("version made of another", u64::from(has_ended));
    }

    // ---- writers

    fn begin_upload(&self) {
        self.with(|state| {
            let count = 1 + state.dice.below(3);
            let chunks = (0..count)
                .map(|_| {
                    let payload = payload(state.dice.below(7));
                    Chunk { hash: blake3::hash(&payload), size: u32::try_from(payload.len()).unwrap() }
                })
                .collect();
            let id = BlobId::new(state.now);
            let pending = Rows::default();
            state.writers.push(Writer {
                id,
                chunks,
                done: 0,
                known: None,
                pending,
                records: Vec::new(),
                receipt: None,
            });
        });
    }

    async fn write(&self) {
        let Some(mut writer) = self.with(|state| {
            if state.writers.is_empty() {
                return None;
            }
            let at = state.dice.below(state.writers.len());
            Some(state.writers.swap_remove(at))
        }) else {
            return;
        };
        if let Some(until) = writer.receipt {
            self.finish(writer, until).await;
            return;
        }
        let is_chunk_pending = !writer.pending.chunks.is_empty();
        match (writer.chunks.get(writer.done).copied(), writer.known) {
            // A chunk of a larger blob goes into the index by itself, and that of a small one with its blob.
            _ if is_chunk_pending && writer.chunks.len() > 1 => {
                let rows = self.flush(&mut writer);
                self.index.add(&rows).await.unwrap();
            }
            (Some(chunk), None) => {
                let is_known = self.index.known(&[chunk.hash]).await.unwrap().contains(&chunk.hash);
                writer.known = Some(is_known);
                self.count("chunk deduplicated", u64::from(is_known));
            }
            (Some(chunk), Some(is_known)) => {
                if !is_known {
                    let pieces = vec![Bytes::from(payload_of(&chunk))];
                    let appended =
                        self.append(0, Some(NewChunk { chunk, codec: Codec::Raw, pieces }), None, None).await;
                    writer.appended(appended);
                }
                writer.known = None;
                writer.done += 1;
            }
            (None, _) => {
                let digest = blake3::hash(&writer.chunks.iter().flat_map(payload_of).collect::<Vec<_>>());
                let manifest = Manifest::new(writer.id, Uuid::nil(), digest, writer.chunks.clone());
                let appended = self.append(0, None, Some(manifest), None).await;
                writer.appended(appended);
                writer.receipt = Some(self.now() + RECEIPT);
            }
        }
        self.with(|state| state.writers.push(writer));
    }

    async fn finish(&self, mut writer: Writer, until: i64) {
        let rows = self.flush(&mut writer);
        if self.index.add(&rows).await.unwrap().is_empty() {
            self.with(|state| {
                state.contents.insert(writer.id, writer.chunks);
                if until > state.now {
                    state.receipts.push((writer.id, until));
                }
            });
            self.count("blob committed", 1);
        } else {
            self.count("blob refused", 1);
        }
    }

    /// Makes durable what a writer has appended, and gives the rows for it.
    fn flush(&self, writer: &mut Writer) -> Rows {
        let mut rows = std::mem::take(&mut writer.pending);
        self.with(|state| {
            for record in writer.records.drain(..) {
                state.unindexed.remove(&record);
            }
            // Of several rows of a pack one is enough.
            let packs: BTreeMap<PackId, PackRow> = rows.packs.iter().map(|pack| (pack.id, *pack)).collect();
            rows.packs = packs.into_values().collect();
            for pack in &mut rows.packs {
                self.packs.flush(pack.id);
                let others = state.unindexed.iter().filter(|(id, _)| *id == pack.id).map(|(_, start)| *start);
                pack.indexed_to = others.min().unwrap_or(self.packs.len(pack.id));
            }
        });
        rows
    }

    /// Puts a record at the end of a lane's pack. The row of the pack tells where it starts.
    async fn append(
        &self,
        lane: usize,
        chunk: Option<NewChunk>,
        blob: Option<Manifest>,
        moved_from: Option<Location>,
    ) -> Rows {
        let current = self.with(|state| state.current[lane]);
        let id = match current {
            Some(id) if self.packs.len(id) < PACK_SIZE => id,
            _ => {
                let id = self.with(|state| {
                    state.last_pack.0 += 1;
                    state.current[lane] = Some(state.last_pack);
                    state.last_pack
                });
                let salt = self.packs.create(id);
                let row = PackRow { id, salt, indexed_to: HEADER_LEN };
                self.index.add(&Rows { packs: vec![row], ..Rows::default() }).await.unwrap();
                id
            }
        };
        let salt = self.packs.0.lock().unwrap()[&id].salt;
        let reply = Reply { ticket: Ticket::default(), answer: None };
        let entry = Entry { chunk, blob, segment: None, reply, memory: None, moved_from };
        let start = self.packs.len(id);
        if lane == 0 {
            self.with(|state| state.unindexed.insert((id, start)));
        }
        let assembled = layout::assemble(vec![entry], HashSet::new(), id, salt, start, &Encoding::default());
        for piece in assembled.layout.pieces() {
            self.packs.append(id, &piece);
        }
        let mut rows =
            Rows { packs: vec![PackRow { id, salt, indexed_to: assembled.layout.end() }], ..Rows::default() };
        for entry in assembled.entries {
            rows.chunks.extend(entry.chunk);
            rows.blobs.extend(entry.blob);
        }
        rows
    }

    // ---- crashes

    /// Keeps the index as it is for [`World::crash`] to go back to.
    async fn remember(&self) {
        for table in TABLES {
            let old = format!("DELETE FROM old_{table}");
            holdall_sql::dynamic(old).execute(self.index.database()).await.unwrap();
            let copy = format!("INSERT INTO old_{table} SELECT * FROM {table}");
            holdall_sql::dynamic(copy).execute(self.index.database()).await.unwrap();
        }
    }

    async fn empty_index(&self) {
        for table in TABLES {
            let text = format!("DELETE FROM {table}");
            holdall_sql::dynamic(text).execute(self.index.database()).await.unwrap();
        }
    }

    /// The process ends: what is in memory is gone, what is not durable partly. The index is as it was, as it was earlier, or
    /// gone.
    async fn crash(&self) {
        self.with(|state| {
            state.writers.clear();
            state.unindexed.clear();
            state.compaction = None;
            state.current = [None; 2];
            for pack in self.packs.0.lock().unwrap().values_mut() {
                let beyond = pack.bytes.len() - pack.durable;
                pack.bytes.truncate(pack.durable + state.dice.below(beyond + 1));
                pack.durable = pack.bytes.len();
            }
        });
        match self.roll(5) {
            0 => {
                self.count("index lost", 1);
                self.empty_index().await;
                self.with(|state| state.walk = Walk::Blobs(None));
            }
            1 => {
                self.count("index set back", 1);
                self.empty_index().await;
                for table in TABLES {
                    let text = format!("INSERT INTO {table} SELECT * FROM old_{table}");
                    holdall_sql::dynamic(text).execute(self.index.database()).await.unwrap();
                }
            }
            _ => {}
        }
        let packs: Arc<dyn PackStore> = Arc::clone(&self.packs) as _;
        let last = recover::recover(&packs, &self.index, &Arc::default()).await.unwrap();
        self.with(|state| state.last_pack = last);
        self.remember().await;
        self.check("crash").await;
    }

    // ---- what must hold

    /// Everything that is in use, or can come into use, is there.
    async fn check(&self, after: &str) {
        let seed = self.seed;
        let needed: Vec<(BlobId, Vec<Chunk>)> = self.with(|state| {
            let now = state.now;
            let receipts = state.receipts.iter().filter(|(_, until)| *until > now).map(|(id, _)| *id);
            let copies = state.copies.iter().filter(|(_, until)| *until > now).map(|(id, _)| *id);
            let needed: HashSet<_> = state.versions.keys().copied().chain(receipts).chain(copies).collect();
            needed.into_iter().map(|id| (id, state.contents[&id].clone())).collect()
        });
        if needed.is_empty() {
            return;
        }
        let ids: Vec<_> = needed.iter().map(|(id, _)| *id).collect();
        let manifests = self.index.locate_blobs(&ids).await.unwrap();
        let damaged = sql("SELECT COUNT(*) FROM chunks WHERE damaged = 1").fetch_one(self.index.database());
        assert_eq!(damaged.await.unwrap().get::<i64>(0).unwrap(), 0, "seed {seed}, after {after}: damage");
        let hashes: HashSet<_> =
            needed.iter().flat_map(|(_, chunks)| chunks).map(|chunk| chunk.hash).collect();
        let rows = self.index.locate(&hashes.into_iter().collect::<Vec<_>>()).await.unwrap();
        for (id, chunks) in needed {
            let manifest = manifests.get(&id).and_then(|location| self.packs.payload(location));
            let manifest = manifest.and_then(|payload| Manifest::decode(&payload));
            assert_eq!(
                manifest.map(|manifest| (manifest.id(), manifest.chunks().to_vec())),
                Some((id, chunks.clone())),
                "seed {seed}, after {after}: a manifest"
            );
            for chunk in chunks {
                let stored = rows.get(&chunk.hash).and_then(|row| self.packs.payload(&row.location));
                assert_eq!(stored, Some(payload_of(&chunk)), "seed {seed}, after {after}: a chunk of {id}");
            }
        }
    }
}

/// The bytes of a chunk: there are but a few different ones.
fn payload(name: usize) -> Vec<u8> {
    vec![u8::try_from(name).unwrap(); 20 + name]
}

fn payload_of(chunk: &Chunk) -> Vec<u8> {
    let name = usize::try_from(chunk.size).unwrap() - 20;
    payload(name)
}
