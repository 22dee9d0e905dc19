//! Where blobs are: packs on a disk, an index in a database.

mod append;
mod commit;
pub mod counters;
mod download;
mod flush;
pub mod index;
pub mod lane;
pub mod pack;
pub mod reader;
mod recover;
mod room;
mod scan;
pub mod upload;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use uuid::Uuid;

use self::counters::Counters;
use self::index::Index;
use self::lane::{Context, Ended, Lane, PackIds, WriteError};
use self::pack::{PackDir, PackId};
use self::reader::{Limits, Reader};
use self::room::Room;
use self::upload::session::Sessions;
use self::upload::{Shared, Upload, UploadError};
use crate::domain::BlobId;

/// Small blobs on their way into packs, at most.
const SMALL_QUEUE: usize = 1024;
/// Chunks of large blobs on their way into packs, at most.
const BULK_QUEUE: usize = 8;
/// Batches on their way into the index, at most.
const COMMIT_QUEUE: usize = 16;

/// Uploads that can be resumed and that are known of at a time, at most. Each takes about 2 KiB of memory.
const SESSIONS: usize = 4096;

/// How long uploads under way are waited for when the store closes.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a store is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The folder of the packs; its parent has to exist.
    pub packs: PathBuf,
    /// A pack that has reached this many bytes is not written to any more.
    pub pack_size: u64,
    /// Bytes of the disk that are kept free; 5 % of it, at most 1 GiB, when absent.
    pub reserve: Option<u64>,
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
}

/// A store of blobs.
pub struct Store {
    reader: Reader,
    counters: Arc<Counters>,
    sessions: Sessions,
    max_uploads: u64,
    /// Memory for lists of chunks that writers have sent, in bytes.
    list_memory: Arc<Semaphore>,
    open: Mutex<Option<Open>>,
}

struct Open {
    shared: Arc<Shared>,
    ended: Vec<Ended>,
    commits: JoinHandle<()>,
}

impl Store {
    /// Opens a store. What a crash left unindexed is indexed first.
    pub async fn open(settings: &Settings, index: Index) -> Result<Self, OpenError> {
        let packs = Arc::new(PackDir::open(settings.packs.clone())?);
        let last = recover::recover(&packs, &index).await?;
        let counters = Arc::new(Counters::default());
        counters.publish();
        let context = Context {
            packs: Arc::clone(&packs),
            index: index.clone(),
            pack_ids: Arc::new(PackIds::after(last)),
            pack_size: settings.pack_size,
            counters: Arc::clone(&counters),
        };
        let (flushed, to_commit) = mpsc::channel(COMMIT_QUEUE);
        let (small_lane, small_ended) = Lane::start("small", SMALL_QUEUE, context.clone(), flushed.clone())?;
        let (bulk_lane, bulk_ended) = Lane::start("bulk", BULK_QUEUE, context, flushed)?;
        let commits = tokio::spawn(commit::run(index.clone(), Arc::clone(&counters), to_commit));
        let account = |bytes: usize| Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)));
        let shared = Arc::new(Shared {
            small_lane,
            bulk_lane,
            small_memory: account(settings.small_memory),
            bulk_memory: account(settings.bulk_memory),
            room: Arc::new(Room::new(settings.packs.clone(), settings.reserve)),
        });
        let sessions = Sessions::new(index.clone(), SESSIONS);
        let reader = Reader::new(index, packs, Arc::clone(&counters), &settings.reading);
        let open = Open { shared, ended: vec![small_ended, bulk_ended], commits };
        let max_uploads = settings.max_uploads;
        let list_memory = upload::delta::list_memory();
        Ok(Self { reader, counters, sessions, max_uploads, list_memory, open: Mutex::new(Some(open)) })
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

    /// What was done since the store was opened.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes no new blobs, finishes those that their writers have finished, and closes the index. Uploads that are under way are
    /// waited for for a minute.
    pub async fn close(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Open { shared, ended, commits }) = open {
            drop(shared);
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
