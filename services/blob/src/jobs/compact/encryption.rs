//! Which packs have to be rewritten because they are not encrypted as they would be today.
//!
//! All records of a pack were encoded by one process, which has one configuration, and copies are encoded anew. So one
//! sound record tells of all, and what it tells is true as long as the process runs.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::CompactError;
use crate::domain::payload::{DecodeError, Encoding};
use crate::domain::record::{Codec, HEADER_LEN, Header};
use crate::store::Store;
use crate::store::index::PackRow;
use crate::store::pack::PackId;
use crate::store::packs::{self, is_loss};

/// Packs that are looked at in one go, at most.
const LOOKS: usize = 1024;
/// Packs that are chosen in one go, at most: before there are more, the emptied ones may go.
const CHOSEN: usize = 32;
/// Records of a pack that are looked at for a sound one, of each kind.
const RECORDS: u32 = 8;

/// What is known of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It is encrypted as it would be today, or nothing in it can tell.
    Current,
    /// A key that it needs is not here.
    Locked,
}

/// What was chosen.
pub struct Chosen {
    /// The packs to be rewritten.
    pub packs: Vec<PackRow>,
    /// Whether there may be more.
    pub has_more: bool,
}

/// Looks at packs, at each of them once.
pub struct Encryption {
    store: Arc<Store>,
    /// No more than there are packs.
    known: Mutex<HashMap<PackId, Known>>,
}

impl Encryption {
    /// Knows nothing yet.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<PackId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all packs but these.
    pub fn retain(&self, packs: &HashSet<PackId>) {
        self.known().retain(|pack, _| packs.contains(pack));
    }

    /// Says that a key which a pack needs is not here. Keys come with a start only.
    pub fn lock(&self, pack: PackId) {
        self.known().insert(pack, Known::Locked);
    }

    /// Whether a key that a pack needs is known to be missing.
    pub fn is_locked(&self, pack: PackId) -> bool {
        self.known().get(&pack) == Some(&Known::Locked)
    }

    /// Whether that is so for any pack.
    pub fn has_locked(&self) -> bool {
        self.known().values().any(|known| *known == Known::Locked)
    }

    /// Chooses those of `packs` that have to be rewritten, a few at a time.
    pub async fn choose(&self, packs: impl Iterator<Item = PackRow>) -> Result<Chosen, CompactError> {
        let mut chosen = Chosen { packs: Vec::new(), has_more: false };
        let mut looks = 0;
        for pack in packs {
            if self.known().contains_key(&pack.id) {
                continue;
            }
            if looks == LOOKS || chosen.packs.len() == CHOSEN {
                chosen.has_more = true;
                break;
            }
            looks += 1;
            if self.is_current(pack.id).await? {
                self.known().insert(pack.id, Known::Current);
            } else {
                chosen.packs.push(pack);
            }
        }
        Ok(chosen)
    }

    async fn is_current(&self, pack: PackId) -> Result<bool, CompactError> {
        let (index, encoding) = (self.store.reader().index(), self.store.encoding());
        let mut places = Vec::new();
        for row in index.chunks_in(pack, 0, RECORDS).await? {
            match row.codec {
                // The index knows all that there is to know.
                Codec::Raw | Codec::Zstd => return Ok(encoding.is_current(row.codec, &[])),
                Codec::Sealed | Codec::ZstdSealed => places.push(row.location),
            }
        }
        if places.is_empty() {
            places.extend(index.blobs_in(pack, 0, RECORDS).await?.into_iter().map(|(_, location)| location));
        }
        for location in places {
            let encoding = Arc::clone(encoding);
            let look = packs::read(self.store.packs(), location.record(), move |bytes| {
                bytes.map(|record| look(&encoding, record))
            });
            match look.await.map_err(std::io::Error::other)? {
                Ok(Some(is_current)) => return Ok(is_current),
                Ok(None) => {}
                Err(error) if is_loss(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

/// Whether a record is encrypted as it would be today; `None` when it is damaged.
fn look(encoding: &Encoding, record: Bytes) -> Option<bool> {
    let header = record.first_chunk().and_then(Header::decode_known)?;
    let is_current = encoding.is_current(header.codec, record.get(HEADER_LEN..)?);
    match encoding.decode_record(record) {
        Ok(_) | Err(DecodeError::KeyMissing(_)) => Some(is_current),
        Err(DecodeError::Damaged) => None,
    }
}
