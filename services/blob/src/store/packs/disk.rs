//! Packs as files in a folder: `<id>.pack`, the id in 16 hexadecimal digits.
//!
//! A lane has two threads. `append` writes records to the end of the lane's pack, and `flush` makes the file durable
//! (`fdatasync`); each takes all that waits for it at once. Large content goes past the system's page cache.

pub mod append;
mod direct;
pub mod flush;
pub mod room;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use moka::sync::Cache;
use rustix::buffer::spare_capacity;
use rustix::fs::OFlags;
use rustix::io::{Errno, ReadWriteFlags};
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::append::{Appender, UNFLUSHED};
use self::room::Room;
use super::{Listed, Pack, PackStore, ReadAt, Then};
use crate::domain::record::Salt;
use crate::store::counters::Counters;
use crate::store::lane::{Batch, Context, Ended, Entry};
use crate::store::pack::{self, Location, PackId};

const EXTENSION: &str = "pack";
/// A file that is there for a moment at most, to find out whether it can be.
const PROBE: &str = "probe";
/// Packs kept open for reading.
const OPEN_PACKS: u64 = 256;
/// The system reads ahead as well.
const READ_AHEAD: usize = 2;

/// How packs are kept in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The folder; its parent has to exist.
    pub folder: PathBuf,
    /// A pack that has reached this many bytes is not written to any more.
    pub max_size: u64,
    /// Bytes of the disk that are kept free; 5 % of it, at most 1 GiB, when absent.
    pub reserve: Option<u64>,
}

/// The packs in a folder, of which one process at a time may make some.
#[derive(Debug)]
pub struct DiskPacks {
    folder: PathBuf,
    max_size: u64,
    room: Room,
    /// The highest id that was given to a pack.
    last: AtomicI64,
    files: Cache<PackId, Arc<File>>,
    counters: Arc<Counters>,
}

impl DiskPacks {
    /// Opens the folder, making it when it is missing.
    pub fn open(settings: &Settings, counters: Arc<Counters>) -> io::Result<Self> {
        let folder = settings.folder.clone();
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => {
                if let Some(parent) = folder.parent() {
                    File::open(parent)?.sync_all()?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(Self {
            room: Room::new(folder.clone(), settings.reserve),
            folder,
            max_size: settings.max_size,
            last: AtomicI64::new(0),
            files: Cache::new(OPEN_PACKS),
            counters,
        })
    }

    /// Makes the pack of the next id, with a header and nothing else up to the offset `end`. When this returns, file, header
    /// and folder entry are durable.
    fn create(&self, end: u64) -> io::Result<(PackId, File, Salt)> {
        let id = PackId(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        let mut salt = Salt::default();
        getrandom::fill(&mut salt)?;
        let file = options().write(true).create_new(true).mode(0o600).open(self.path(id))?;
        let written = file
            .write_all_at(&pack::start(id, &salt, end), 0)
            .and_then(|()| file.sync_all())
            .and_then(|()| self.sync_folder());
        if let Err(error) = written {
            // Nobody has heard of it, and an unfinished one would be a riddle at the next start.
            let _ = std::fs::remove_file(self.path(id));
            return Err(error);
        }
        Ok((id, file, salt))
    }

    /// No pack that is made from now on has an id up to `last`.
    pub fn begin_after(&self, last: PackId) {
        self.last.fetch_max(last.0, Ordering::Relaxed);
    }

    /// What is not named like a pack is left alone.
    fn ids(&self, from: PackId) -> io::Result<Vec<PackId>> {
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = PathBuf::from(entry?.file_name());
            if let (Some(stem), Some(extension)) = (path.file_stem(), path.extension())
                && extension == EXTENSION
                && let Some(id) = stem.to_str().and_then(PackId::parse)
                && id >= from
            {
                ids.push(id);
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Reads as much as `bytes` has room for.
    fn read_at(&self, location: &Location, mut bytes: Vec<u8>) -> io::Result<Bytes> {
        let file = self.file(location.pack)?;
        let len = usize::try_from(location.stored).map_err(io::Error::other)?;
        while bytes.len() < len {
            let offset = location.position + bytes.len() as u64;
            match rustix::io::pread(&file, spare_capacity(&mut bytes), offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The allocator may have given more room than was asked for.
        bytes.truncate(len);
        Ok(bytes.into())
    }

    fn file(&self, id: PackId) -> io::Result<Arc<File>> {
        if let Some(file) = self.counters.pack_cache.count(self.files.get(&id)) {
            return Ok(file);
        }
        let file = Arc::new(self.open_file(id)?);
        self.files.insert(id, Arc::clone(&file));
        Ok(file)
    }

    fn open_file(&self, id: PackId) -> io::Result<File> {
        options().open(self.path(id))
    }

    fn remove(&self, id: PackId) -> io::Result<()> {
        match std::fs::remove_file(self.path(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
        self.files.invalidate(&id);
        self.sync_folder()
    }

    /// Whether a file can be made, written, made durable and read.
    fn try_to_write(&self) -> io::Result<()> {
        const CONTENT: [u8; 4096] = [0xa5; 4096];
        let path = self.folder.join(PROBE);
        let mut file = options().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        let mut found = [0; CONTENT.len()];
        let tried = file
            .write_all_at(&CONTENT, 0)
            .and_then(|()| file.sync_all())
            .and_then(|()| ReadAt::read_exact_at(&mut file, &mut found, 0));
        std::fs::remove_file(&path).and(tried)?;
        if found != CONTENT {
            return Err(io::Error::other("what was written does not read back"));
        }
        self.sync_folder()
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn path(&self, id: PackId) -> PathBuf {
        path(&self.folder, id)
    }
}

/// The file of a pack.
pub fn path(folder: &Path, id: PackId) -> PathBuf {
    folder.join(format!("{id}.{EXTENSION}"))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// Room for a payload.
fn room(location: &Location) -> Vec<u8> {
    Vec::with_capacity(usize::try_from(location.stored).unwrap_or_default())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[async_trait]
impl PackStore for DiskPacks {
    async fn list(self: Arc<Self>, from: PackId) -> io::Result<Vec<Listed>> {
        // The last pack may have been cut short by a crash, and any by a hand or a disk: all are to be looked at.
        let ids = blocking(move || self.ids(from)).await?;
        Ok(ids.into_iter().map(|id| Listed { id, len: None }).collect())
    }

    fn recheck_from(&self, _newest: PackId) -> PackId {
        PackId(0)
    }

    async fn open(self: Arc<Self>, id: PackId) -> io::Result<Pack> {
        blocking(move || {
            let mut file = self.open_file(id)?;
            let salt = pack::salt(&mut file, id)?;
            Ok(Pack { salt, len: file.metadata()?.len(), bytes: Box::new(file) })
        })
        .await
    }

    fn read(self: Arc<Self>, location: Location, then: Then) {
        // Made on this thread, of which there are few: to an allocator that keeps memory by thread, what is freed elsewhere
        // comes back only when its own thread asks again, and of threads that may block there are many.
        let bytes = room(&location);
        tokio::task::spawn_blocking(move || then(self.read_at(&location, bytes)));
    }

    fn read_now(&self, location: &Location) -> Option<Bytes> {
        let file = self.file(location.pack).ok()?;
        let mut bytes = vec![0; usize::try_from(location.stored).ok()?];
        let mut target = [IoSliceMut::new(&mut bytes)];
        let read = rustix::io::preadv2(file, &mut target, location.position, ReadWriteFlags::NOWAIT);
        read.is_ok_and(|read| read == bytes.len()).then(|| bytes.into())
    }

    fn read_ahead(&self) -> usize {
        READ_AHEAD
    }

    async fn delete(self: Arc<Self>, id: PackId) -> io::Result<()> {
        blocking(move || self.remove(id)).await
    }

    fn is_whole_at_once(&self) -> bool {
        false
    }

    fn is_full(&self) -> bool {
        self.room.is_full()
    }

    async fn probe(self: Arc<Self>) -> io::Result<()> {
        blocking(move || self.try_to_write()).await
    }

    fn start_lane(
        self: Arc<Self>,
        name: &str,
        context: Context,
        entries: mpsc::Receiver<Entry>,
        commits: mpsc::Sender<Batch>,
    ) -> io::Result<Ended> {
        self.begin_after(context.last);
        let runtime = tokio::runtime::Handle::current();
        let (written, unflushed) = std::sync::mpsc::channel();
        let (ended, has_ended) = oneshot::channel();
        let (gate, counters) = (context.gate.clone(), Arc::clone(&context.counters));
        let room = Arc::new(Semaphore::new(UNFLUSHED as usize));
        let appender = Appender::new(self, context, runtime, entries, written, room);
        std::thread::Builder::new().name(format!("append-{name}")).spawn(move || appender.run())?;
        std::thread::Builder::new().name(format!("flush-{name}")).spawn(move || {
            flush::run(&unflushed, &commits, &gate, &counters);
            let _ = ended.send(());
        })?;
        Ok(Ended::new(has_ended))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn packs(parent: &Path) -> Arc<DiskPacks> {
        let settings = Settings { folder: parent.join("packs"), max_size: 1 << 30, reserve: Some(0) };
        Arc::new(DiskPacks::open(&settings, Arc::default()).unwrap())
    }

    #[tokio::test]
    async fn a_new_pack_is_private_and_reads_back() {
        let parent = tempfile::tempdir().unwrap();
        let packs = packs(parent.path());
        let (_, _, first) = packs.create(pack::HEADER_LEN).unwrap();
        packs.begin_after(PackId(0xaa));
        packs.begin_after(PackId(5));
        let (id, _, second) = packs.create(pack::HEADER_LEN).unwrap();
        std::fs::write(packs.folder.join("2.pack"), "not ours").unwrap();
        std::fs::write(packs.folder.join("notes.txt"), "not ours").unwrap();

        assert_eq!(id, PackId(0xab));
        assert_ne!(first, second);
        let list = async |from| {
            let list = Arc::clone(&packs).list(PackId(from)).await.unwrap();
            list.into_iter().map(|listed| listed.id.0).collect::<Vec<_>>()
        };
        assert_eq!((list(0).await, list(2).await), (vec![1, 0xab], vec![0xab]));
        let opened = Arc::clone(&packs).open(id).await.unwrap();
        assert_eq!((opened.salt, opened.len), (Some(second), pack::HEADER_LEN));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&packs.folder), mode(&packs.path(id))), (0o700, 0o600));
    }

    #[test]
    fn a_pack_is_never_made_twice() {
        let parent = tempfile::tempdir().unwrap();
        let packs = packs(parent.path());
        std::fs::write(packs.path(PackId(1)), "there").unwrap();
        assert!(packs.create(pack::HEADER_LEN).is_err());
        assert_eq!(std::fs::read(packs.path(PackId(1))).unwrap(), b"there", "nor taken away by the attempt");
    }

    #[tokio::test]
    async fn what_is_deleted_is_gone_and_who_has_it_open_reads_on() {
        let parent = tempfile::tempdir().unwrap();
        let packs = packs(parent.path());
        let (id, file, _) = packs.create(pack::HEADER_LEN).unwrap();
        file.write_all_at(b"payload", pack::HEADER_LEN).unwrap();
        let location = Location { pack: id, position: pack::HEADER_LEN, stored: 7 };
        assert_eq!(packs.read_at(&location, room(&location)).unwrap(), "payload");
        let mut open = Arc::clone(&packs).open(id).await.unwrap();
        for _ in 0..2 {
            Arc::clone(&packs).delete(id).await.unwrap();
        }
        assert_eq!(packs.read_at(&location, room(&location)).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(packs.read_now(&location).is_none());
        let mut target = [0; 7];
        open.bytes.read_exact_at(&mut target, pack::HEADER_LEN).unwrap();
        assert_eq!(&target, b"payload");
    }
}
