//! Where packs are kept. One contract, two places: files in a [folder](disk), and objects in a [bucket](object).
//!
//! A store of packs takes in [entries](Entry) through lanes and hands them on as [`Batch`]es once their bytes are durable;
//! it gives back the bytes of a [`Location`]. It knows nothing of what is in the index, and does not look at the bytes.

pub mod disk;
pub mod object;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::io::Errno;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use self::disk::DiskPacks;
use self::object::ObjectPacks;
use super::counters::Counters;
use super::lane::{Batch, Context, Ended, Entry};
use super::pack::{Location, PackId};
use crate::domain::record::Salt;

/// What is done with the bytes of a payload, on a thread that may block and compute.
pub type Then = Box<dyn FnOnce(io::Result<Bytes>) + Send>;

/// A place for packs.
///
/// Errors that [`is_loss`] holds for mean that bytes are gone; all others that they cannot be had now.
#[async_trait]
pub trait PackStore: fmt::Debug + Send + Sync {
    /// The packs from the id `from` on, in order.
    async fn list(self: Arc<Self>, from: PackId) -> io::Result<Vec<Listed>>;

    /// The id from which on packs have to be compared with an index whose newest pack is `newest`.
    fn recheck_from(&self, newest: PackId) -> PackId;

    /// Opens a pack to read it from one end to the other.
    async fn open(self: Arc<Self>, id: PackId) -> io::Result<Pack>;

    /// How many packs it is worth to read from one end to the other at once.
    fn scans(&self) -> usize {
        1
    }

    /// Reads the payload that stands there, whole, and calls `then` with it. Does not wait for either.
    fn read(self: Arc<Self>, location: Location, then: Then);

    /// Reads payloads that stand in one pack in this order, whole, and calls what belongs to each once it is there, whatever
    /// becomes of the others. Does not wait for any of it.
    fn read_run(self: Arc<Self>, run: Vec<(Location, Then)>) -> Reading {
        for (location, then) in run {
            Arc::clone(&self).read(location, then);
        }
        Reading::default()
    }

    /// Bytes from the start of a run to its end, at most; 0 where nothing is gained by reading several payloads at once.
    fn longest_run(&self) -> u64 {
        0
    }

    /// The payload that stands there, if it can be had without waiting for anything.
    fn read_now(&self, location: &Location) -> Option<Bytes>;

    /// How many runs of a large blob it is worth to read ahead of the one that is being handed out.
    fn read_ahead(&self) -> usize;

    /// Takes a pack away for good; when this returns, it does not come back. It is no error when it is not there. Who reads it
    /// at this time may still get all of it, or find it missing.
    async fn delete(self: Arc<Self>, id: PackId) -> io::Result<()>;

    /// Whether a pack is complete as soon as an index knows it, whoever writes it.
    fn is_whole_at_once(&self) -> bool;

    /// Whether there is no room for new content. Cheap enough to be asked for every message.
    fn is_full(&self) -> bool;

    /// Tries whether it can be written to, by writing something that is taken away again. A store that knows no better is
    /// found out by the next write.
    async fn probe(self: Arc<Self>) -> io::Result<()> {
        Ok(())
    }

    /// Starts the stages of a lane that are this store's: writes what comes in by `entries`, and hands on batches by `commits`
    /// once they are durable, in the order of their entries. Entries that fail are answered here. Ends once all senders of
    /// `entries` are gone and all was handed on.
    ///
    /// Has to be called within a tokio runtime.
    fn start_lane(
        self: Arc<Self>,
        name: &str,
        context: Context,
        entries: mpsc::Receiver<Entry>,
        commits: mpsc::Sender<Batch>,
    ) -> io::Result<Ended>;
}

/// A run that is being read. When this is dropped, what has not been read yet may never be, and what was to be done with it is
/// dropped.
#[derive(Debug, Default)]
pub struct Reading {
    _task: Option<AbortOnDropHandle<()>>,
}

impl Reading {
    /// By a task.
    pub fn new(task: AbortOnDropHandle<()>) -> Self {
        Self { _task: Some(task) }
    }
}

/// A pack of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: PackId,
    /// Its length in bytes. Absent where a pack has to be opened in any case, to see whether it is the one that the index knows.
    pub len: Option<u64>,
}

/// A pack that can be read.
#[derive(Debug)]
pub struct Pack {
    /// Its salt; `None` when it has no sound header.
    pub salt: Option<Salt>,
    /// Its length in bytes.
    pub len: u64,
    /// Its bytes.
    pub bytes: Box<dyn ReadAt>,
}

/// Bytes that can be read at any offset, for a thread that may block.
pub trait ReadAt: fmt::Debug + Send {
    /// Fills `target` with the bytes from `offset` on. When there are fewer, that is [`io::ErrorKind::UnexpectedEof`].
    fn read_exact_at(&mut self, target: &mut [u8], offset: u64) -> io::Result<()>;

    /// When this returns, everything that can be read is durable.
    fn make_durable(&mut self) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_exact_at(&mut self, target: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, target, offset)
    }

    fn make_durable(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Which store of packs, and how it is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settings {
    /// Files in a folder.
    Disk(disk::Settings),
    /// Objects in a bucket.
    Object(object::Settings),
}

/// Opens a store of packs.
pub fn open(settings: &Settings, counters: &Arc<Counters>) -> io::Result<Arc<dyn PackStore>> {
    match settings {
        Settings::Disk(settings) => Ok(Arc::new(DiskPacks::open(settings, Arc::clone(counters))?)),
        Settings::Object(settings) => Ok(Arc::new(ObjectPacks::new(settings)?)),
    }
}

/// Begins to read the payload at `location`, and gives what `then` makes of it, on a thread that may block and compute. When
/// the result is not waited for any more, it is dropped.
pub fn read<T: Send + 'static>(
    packs: &Arc<dyn PackStore>,
    location: Location,
    then: impl FnOnce(io::Result<Bytes>) -> T + Send + 'static,
) -> oneshot::Receiver<T> {
    let (done, result) = oneshot::channel();
    let then = Box::new(move |bytes| {
        let _ = done.send(then(bytes));
    });
    Arc::clone(packs).read(location, then);
    result
}

/// Whether an error means that the bytes are gone, rather than that they cannot be had now.
pub fn is_loss(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
        || error.raw_os_error() == Some(Errno::IO.raw_os_error())
}
