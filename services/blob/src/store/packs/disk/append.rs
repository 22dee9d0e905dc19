//! The first stage: records are put at the end of a pack.

use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::DiskPacks;
use super::direct::{self, BLOCK, Buffer};
use crate::domain::record::Salt;
use crate::store::gate::Gate;
use crate::store::index::{PackRow, Rows};
use crate::store::lane::{Batch, Context, Entry, WriteError};
use crate::store::layout::{self, Assembled, entry_len};
use crate::store::pack::{HEADER_LEN, PackId};

/// Bytes that are written ahead of the flusher: what the flush before an answer may have to wait for, at most.
pub const UNFLUSHED: u32 = 64 << 20;
/// A batch is closed once it has this many bytes…
const BATCH_BYTES: u64 = 16 << 20;
/// …or entries.
const BATCH_ENTRIES: usize = 1024;
/// Most pieces that one `pwritev` takes (`IOV_MAX` on Linux).
const MAX_PIECES: usize = 1024;

/// A batch that is written and not yet flushed.
#[derive(Debug)]
pub struct Unflushed {
    /// The batch.
    pub batch: Batch,
    /// The pack it stands in.
    pub pack: Arc<OpenPack>,
    /// Its share of what may be written ahead of the flusher.
    pub room: OwnedSemaphorePermit,
}

/// A pack that is being written: by one appender, while one flusher makes durable what is there.
#[derive(Debug)]
pub struct OpenPack {
    id: PackId,
    salt: Salt,
    file: File,
    /// Where the next record goes.
    end: AtomicU64,
    /// Everything before this offset has been flushed.
    flushed: AtomicU64,
    /// The file cannot be trusted with anything more.
    abandoned: AtomicBool,
    /// Held while the file's length changes.
    length: Mutex<()>,
    /// Written past the page cache: records of a batch end at a multiple of [`BLOCK`].
    is_direct: bool,
}

impl OpenPack {
    fn create(packs: &DiskPacks, is_direct: bool, gate: &Gate) -> Result<Self, WriteError> {
        let created = packs.create(start(is_direct)).and_then(|(id, file, salt)| {
            if is_direct {
                direct::bypass_cache(&file)?;
            }
            Ok(Self::new(id, salt, file, is_direct))
        });
        created.map_err(|error| {
            tracing::error!(%error, "cannot make a pack");
            gate.report(&error)
        })
    }

    /// A pack with nothing in it but its header, which is durable.
    pub fn new(id: PackId, salt: Salt, file: File, is_direct: bool) -> Self {
        Self {
            id,
            salt,
            file,
            end: AtomicU64::new(start(is_direct)),
            flushed: AtomicU64::new(start(is_direct)),
            abandoned: AtomicBool::new(false),
            length: Mutex::new(()),
            is_direct,
        }
    }

    /// Its id.
    pub fn id(&self) -> PackId {
        self.id
    }

    fn is_empty(&self) -> bool {
        self.end() <= start(self.is_direct)
    }

    fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    fn lock_length(&self) -> MutexGuard<'_, ()> {
        // Whoever panicked left at worst bytes beyond the end, which are written over.
        self.length.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes everything that was appended before this call durable.
    ///
    /// After an error the pack is abandoned: the system may have dropped what it could not write and report success the
    /// next time, so that a second attempt would prove nothing.
    pub fn flush(&self) -> io::Result<()> {
        if self.is_abandoned() {
            return Err(io::Error::other("an earlier flush of this pack failed"));
        }
        let end = self.end();
        match self.file.sync_data() {
            Ok(()) => {
                self.flushed.fetch_max(end, Ordering::AcqRel);
                Ok(())
            }
            Err(error) => {
                self.abandon();
                Err(error)
            }
        }
    }

    /// Takes away what was not flushed, which nobody was told of: a later reader must not find in the system's memory what
    /// is not on the disk.
    pub fn abandon(&self) {
        let _length = self.lock_length();
        self.abandoned.store(true, Ordering::Release);
        if let Err(error) = self.file.set_len(self.flushed.load(Ordering::Acquire)) {
            tracing::error!(pack = %self.id, %error, "cannot cut off what could not be flushed");
        }
    }

    /// Writes all pieces at the end, or nothing.
    fn append(&self, pieces: &mut [IoSlice<'_>], buffer: &mut Buffer) -> io::Result<()> {
        let _length = self.lock_length();
        if self.is_abandoned() {
            return Err(io::Error::other("an earlier flush of this pack failed"));
        }
        let start = self.end();
        let result = if self.is_direct {
            buffer.write_at(&self.file, pieces, start)
        } else {
            write_at(&self.file, pieces, start)
        };
        match &result {
            Ok(end) => self.end.store(*end, Ordering::Release),
            Err(_) => {
                if self.file.set_len(start).is_err() {
                    self.abandoned.store(true, Ordering::Release);
                }
            }
        }
        result.map(drop)
    }
}

/// Where the first record of a pack starts.
fn start(is_direct: bool) -> u64 {
    if is_direct { BLOCK as u64 } else { HEADER_LEN }
}

/// Writes all pieces, one after the other, from `offset` on; returns the offset behind the last one.
fn write_at(file: &File, mut pieces: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<u64> {
    IoSlice::advance_slices(&mut pieces, 0);
    while !pieces.is_empty() {
        let next = pieces.get(..MAX_PIECES).unwrap_or(pieces);
        match rustix::io::pwritev(file, next, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut pieces, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(offset)
}

/// The thread of this stage.
pub struct Appender {
    packs: Arc<DiskPacks>,
    context: Context,
    runtime: tokio::runtime::Handle,
    incoming: mpsc::Receiver<Entry>,
    written: Sender<Unflushed>,
    room: Arc<Semaphore>,
    pack: Option<Arc<OpenPack>>,
    buffer: Buffer,
}

impl Appender {
    /// Appends what comes in by `incoming` and passes it on by `written`, ahead of the flusher by as many bytes as there is `room`
    /// for.
    pub fn new(
        packs: Arc<DiskPacks>,
        context: Context,
        runtime: tokio::runtime::Handle,
        incoming: mpsc::Receiver<Entry>,
        written: Sender<Unflushed>,
        room: Arc<Semaphore>,
    ) -> Self {
        Self { packs, context, runtime, incoming, written, room, pack: None, buffer: Buffer::default() }
    }

    /// The same, going on with a pack.
    #[cfg(test)]
    pub fn writing_to(mut self, pack: Arc<OpenPack>) -> Self {
        self.pack = Some(pack);
        self
    }

    /// Runs until all senders are gone.
    pub fn run(mut self) {
        while let Some(first) = self.incoming.blocking_recv() {
            let mut bytes = entry_len(&first);
            let mut entries = vec![first];
            while bytes < BATCH_BYTES
                && entries.len() < BATCH_ENTRIES
                && let Ok(entry) = self.incoming.try_recv()
            {
                bytes += entry_len(&entry);
                entries.push(entry);
            }
            self.batch(entries, bytes);
        }
    }

    fn batch(&mut self, entries: Vec<Entry>, bytes: u64) {
        let known = self.runtime.block_on(layout::known(&self.context.index, &entries));
        let result = known.and_then(|known| Ok((known, self.room(bytes)?, self.pack(bytes)?)));
        match result {
            Ok((known, room, pack)) => {
                let encoding = &self.context.encoding;
                let assembled = layout::assemble(entries, known, pack.id, pack.salt, pack.end(), encoding);
                self.append(pack, assembled, room);
            }
            Err(error) => entries.into_iter().for_each(|entry| entry.reply.fail(error)),
        }
    }

    /// Waits until the flusher is near enough.
    fn room(&self, bytes: u64) -> Result<OwnedSemaphorePermit, WriteError> {
        let bytes = u32::try_from(bytes).unwrap_or(UNFLUSHED).min(UNFLUSHED);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes);
        self.runtime.block_on(room).map_err(|_closed| WriteError::Failed)
    }

    /// The pack to write the next `bytes` to.
    fn pack(&mut self, bytes: u64) -> Result<Arc<OpenPack>, WriteError> {
        if let Some(pack) = &self.pack {
            let fits = pack.is_empty() || pack.end() + bytes <= self.packs.max_size;
            if fits && !pack.is_abandoned() {
                return Ok(Arc::clone(pack));
            }
        }
        // The flusher keeps the old one for as long as it needs it.
        self.pack = None;
        let pack = Arc::new(OpenPack::create(&self.packs, self.context.is_cold, &self.context.gate)?);
        // Known to the index before anything in it is, so that nothing relies on a pack whose loss would go unnoticed.
        let row = PackRow { id: pack.id, salt: pack.salt, indexed_to: HEADER_LEN };
        let row = Rows { packs: vec![row], ..Rows::default() };
        self.runtime.block_on(self.context.index.add(&row)).map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot add a pack to the index");
            WriteError::Failed
        })?;
        self.pack = Some(Arc::clone(&pack));
        Ok(pack)
    }

    fn append(&mut self, pack: Arc<OpenPack>, assembled: Assembled, room: OwnedSemaphorePermit) {
        let Assembled { mut layout, entries, memory, counts } = assembled;
        if pack.is_direct {
            layout.fill(BLOCK);
        }
        let result = pack.append(&mut layout.pieces(), &mut self.buffer);
        drop(memory);
        let pack_row = PackRow { id: pack.id, salt: pack.salt, indexed_to: layout.end() };
        let batch = Batch { lane: self.context.lane, pack: Some(pack_row), is_closed: false, entries };
        match result {
            Ok(()) => {
                counts.add_to(&self.context.counters);
                if let Err(refused) = self.written.send(Unflushed { batch, pack, room }) {
                    refused.0.batch.fail(WriteError::Failed);
                }
            }
            Err(error) => {
                tracing::error!(pack = %pack.id, %error, "cannot append to a pack");
                batch.fail(self.context.gate.report(&error));
            }
        }
    }
}
