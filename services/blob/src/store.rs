//! Where blobs are: packs on a disk or in a bucket, an index in a database.

mod commit;
mod compute;
pub mod counters;
mod download;
pub(crate) mod fsck;
pub mod gate;
pub mod index;
pub mod lane;
pub(crate) mod layout;
pub mod pack;
pub mod packs;
pub mod reader;
pub(crate) mod recover;
mod run;
pub(crate) mod scan;
mod sealed;
pub mod upload;
pub mod verify;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use uuid::Uuid;

use self::compute::Compute;
use self::counters::Counters;
use self::gate::Gate;
use self::index::Index;
use self::lane::{Context, Ended, Entry, Lane, WriteError};
use self::pack::PackId;
use self::packs::PackStore;
use self::reader::{Limits, Reader};
use self::sealed::Sealed;
use self::upload::session::Sessions;
use self::upload::{Shared, Upload, UploadError};
use crate::domain::BlobId;
use crate::domain::payload::Encoding;
use crate::domain::seal::KeyId;

/// Small blobs on their way into packs, at most.
const SMALL_QUEUE: usize = 1024;
/// Chunks of large blobs on their way into packs, at most.
const BULK_QUEUE: usize = 8;
/// Copies on their way into packs, at most.
const COPY_QUEUE: usize = 1024;
/// Batches on their way into the index, at most.
const COMMIT_QUEUE: usize = 16;

/// Uploads that can be resumed and that are known of at a time, at most. Each takes about 2 KiB of memory.
const SESSIONS: usize = 4096;

/// How long uploads under way are waited for when the store closes.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a store is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where packs are kept.
    pub packs: packs::Settings,
    /// How what stands in them is encoded.
    pub encoding: Arc<Encoding>,
    /// Memory for content of small blobs on its way in, in bytes.
    pub small_memory: usize,
    /// Memory for content of large blobs on its way in, in bytes.
    pub bulk_memory: usize,
    /// Unfinished uploads of a space that can be resumed, at most.
    pub max_uploads: u64,
    /// What reading may take.
    pub reading: Limits,
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The packs cannot be read, or threads cannot be started.
    #[error("the packs cannot be used")]
    Packs(#[from] io::Error),
    /// The index does not work.
    #[error("the index cannot be used")]
    Index(#[from] index::Error),
    /// The index speaks of another pack of that number.
    #[error(
        "the index was made for other packs than these (pack {0} differs); give this store an empty database for its index"
    )]
    ForeignIndex(PackId),
    /// Not all that the index has to know can be read.
    #[error("pack {0} holds what is encrypted with the key {1}, which is not among the keys of this store")]
    KeyMissing(PackId, KeyId),
}

/// A store of blobs.
pub struct Store {
    reader: Reader,
    packs: Arc<dyn PackStore>,
    sealed: Arc<Sealed>,
    counters: Arc<Counters>,
    sessions: Sessions,
    max_uploads: u64,
    /// Memory for lists of chunks that writers have sent, in bytes.
    list_memory: Arc<Semaphore>,
    open: Mutex<Option<Open>>,
}

struct Open {
    shared: Arc<Shared>,
    copy_lane: Lane,
    ended: Vec<Ended>,
    commits: JoinHandle<()>,
}

impl Store {
    /// Opens a store. What a crash left unindexed is indexed first.
    pub async fn open(settings: &Settings, index: Index) -> Result<Self, OpenError> {
        let counters = Arc::new(Counters::default());
        counters.publish();
        let encoding = Arc::clone(&settings.encoding);
        let packs = packs::open(&settings.packs, &counters)?;
        let last = recover::recover(&packs, &index, &encoding).await?;
        let probed = Arc::clone(&packs);
        let gate = Gate::new(Arc::clone(&counters), move || Arc::clone(&probed).probe());
        let context = Context {
            index: index.clone(),
            encoding: Arc::clone(&encoding),
            gate: gate.clone(),
            counters: Arc::clone(&counters),
            last,
            lane: "",
            is_cold: false,
        };
        let sealed = Arc::new(Sealed::new(last));
        let (durable, to_commit) = mpsc::channel(COMMIT_QUEUE);
        let (small_lane, small_ended) =
            Lane::start(&packs, "small", SMALL_QUEUE, context.clone(), durable.clone())?;
        let context = Context { is_cold: true, ..context };
        let (bulk_lane, bulk_ended) =
            Lane::start(&packs, "bulk", BULK_QUEUE, context.clone(), durable.clone())?;
        let (copy_lane, copy_ended) = Lane::start(&packs, "copy", COPY_QUEUE, context, durable)?;
        let commits =
            tokio::spawn(commit::run(index.clone(), Arc::clone(&counters), Arc::clone(&sealed), to_commit));
        let account = |bytes: usize| Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)));
        let shared = Arc::new(Shared {
            small_lane,
            bulk_lane,
            small_memory: account(settings.small_memory),
            bulk_memory: account(settings.bulk_memory),
            packs: Arc::clone(&packs),
            encoding: Arc::clone(&encoding),
            compute: Compute::new()?,
            gate,
            counters: Arc::clone(&counters),
        });
        let sessions = Sessions::new(index.clone(), SESSIONS);
        let reader =
            Reader::new(index, Arc::clone(&packs), encoding, Arc::clone(&counters), &settings.reading);
        let ended = vec![small_ended, bulk_ended, copy_ended];
        Ok(Self {
            reader,
            packs,
            sealed,
            counters,
            sessions,
            max_uploads: settings.max_uploads,
            list_memory: upload::delta::list_memory(),
            open: Mutex::new(Some(Open { shared, copy_lane, ended, commits })),
        })
    }

    /// Begins to write a blob of at most `limit` bytes under that id. `space` is recorded with it; nil for none.
    pub fn upload(&self, id: BlobId, space: Uuid, limit: u64) -> Result<Upload, UploadError> {
        Upload::new(self.shared()?, id, space, limit)
    }

    fn shared(&self) -> Result<Arc<Shared>, WriteError> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().map(|open| Arc::clone(&open.shared)).ok_or(WriteError::Failed)
    }

    fn index(&self) -> &Index {
        self.reader.index()
    }

    /// For reading.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// How content is encoded.
    pub fn encoding(&self) -> &Arc<Encoding> {
        self.reader.encoding()
    }

    /// Where packs are kept.
    pub fn packs(&self) -> &Arc<dyn PackStore> {
        &self.packs
    }

    /// Whether nothing will be added to a pack any more.
    pub fn is_sealed(&self, pack: PackId) -> bool {
        self.packs.is_whole_at_once() || self.sealed.contains(pack)
    }

    /// Gives a copy of a record to a lane that is for those alone, waiting for room.
    pub async fn send_copy(&self, entry: Entry) -> Result<(), WriteError> {
        let lane = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.as_ref().map(|open| open.copy_lane.clone()).ok_or(WriteError::Failed)?
        };
        lane.send(entry).await
    }

    /// What was done since the store was opened.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes no new blobs, finishes those that their writers have finished, and closes the index. Uploads that are under way are
    /// waited for for a minute.
    pub async fn close(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Open { shared, copy_lane, ended, commits }) = open {
            drop((shared, copy_lane));
            let all_ended = async {
                for lane in ended {
                    lane.wait().await;
                }
                commits.await
            };
            match tokio::time::timeout(PATIENCE, all_ended).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "writing to the index ended early"),
                Err(_elapsed) => tracing::warn!("closing while uploads are under way"),
            }
        }
        self.reader.index().database().close().await;
    }
}

#[cfg(test)]
mod tests;
