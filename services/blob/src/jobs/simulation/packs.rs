//! Packs in memory, of which some bytes are durable.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::domain::record::Salt;
use crate::store::lane::{Batch, Context, Ended, Entry};
use crate::store::pack::{self, Location, PackId};
use crate::store::packs::{Listed, Pack, PackStore, ReadAt, Then};

#[derive(Debug)]
pub struct MemoryPack {
    pub salt: Salt,
    pub bytes: Vec<u8>,
    /// These outlive a crash.
    pub durable: usize,
}

#[derive(Debug, Default)]
pub struct MemoryPacks(pub Mutex<BTreeMap<PackId, MemoryPack>>);

impl MemoryPacks {
    /// A new pack; its header is durable.
    pub fn create(&self, id: PackId) -> Salt {
        let salt = *blake3::hash(&id.0.to_le_bytes()).as_bytes();
        let bytes = pack::header(id, &salt).to_vec();
        let durable = bytes.len();
        self.0.lock().unwrap().insert(id, MemoryPack { salt, bytes, durable });
        salt
    }

    pub fn len(&self, id: PackId) -> u64 {
        self.0.lock().unwrap()[&id].bytes.len() as u64
    }

    pub fn append(&self, id: PackId, bytes: &[u8]) {
        self.0.lock().unwrap().get_mut(&id).unwrap().bytes.extend(bytes);
    }

    pub fn flush(&self, id: PackId) {
        let mut packs = self.0.lock().unwrap();
        let pack = packs.get_mut(&id).unwrap();
        pack.durable = pack.bytes.len();
    }

    /// The payload that stands there.
    pub fn payload(&self, location: &Location) -> Option<Vec<u8>> {
        let packs = self.0.lock().unwrap();
        let start = usize::try_from(location.position).unwrap();
        let end = start + usize::try_from(location.stored).unwrap();
        packs.get(&location.pack)?.bytes.get(start..end).map(<[u8]>::to_vec)
    }
}

#[derive(Debug)]
struct Copy(Vec<u8>);

impl ReadAt for Copy {
    fn read_exact_at(&mut self, target: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let bytes = self.0.get(start..start + target.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        target.copy_from_slice(bytes);
        Ok(())
    }

    fn make_durable(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[async_trait]
impl PackStore for MemoryPacks {
    async fn list(self: Arc<Self>, from: PackId) -> io::Result<Vec<Listed>> {
        let packs = self.0.lock().unwrap();
        Ok(packs.range(from..).map(|(id, _)| Listed { id: *id, len: None }).collect())
    }

    fn recheck_from(&self, _newest: PackId) -> PackId {
        PackId(0)
    }

    async fn open(self: Arc<Self>, id: PackId) -> io::Result<Pack> {
        let packs = self.0.lock().unwrap();
        let pack = packs.get(&id).ok_or(io::ErrorKind::NotFound)?;
        let mut bytes = Copy(pack.bytes.clone());
        let salt = pack::salt(&mut bytes, id)?;
        Ok(Pack { salt, len: pack.bytes.len() as u64, bytes: Box::new(bytes) })
    }

    fn read(self: Arc<Self>, location: Location, then: Then) {
        then(self.payload(&location).map(Bytes::from).ok_or(io::ErrorKind::NotFound.into()));
    }

    fn read_now(&self, location: &Location) -> Option<Bytes> {
        self.payload(location).map(Bytes::from)
    }

    fn read_ahead(&self) -> usize {
        1
    }

    async fn delete(self: Arc<Self>, id: PackId) -> io::Result<()> {
        self.0.lock().unwrap().remove(&id);
        Ok(())
    }

    fn is_full(&self) -> bool {
        false
    }

    fn start_lane(
        self: Arc<Self>,
        _name: &str,
        _context: Context,
        _entries: mpsc::Receiver<Entry>,
        _commits: mpsc::Sender<Batch>,
    ) -> io::Result<Ended> {
        // Worlds write by themselves, a step at a time.
        Err(io::ErrorKind::Unsupported.into())
    }
}
