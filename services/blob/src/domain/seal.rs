//! Encryption of payloads.
//!
//! # Format, version 1
//!
//! | offset | bytes | meaning |
//! | --- | --- | --- |
//! | 0 | 8 | id of the key: the first bytes of BLAKE3 `derive_key("holdall blob payload key id v1", key)` |
//! | 8 | 32 | salt: random bytes of this payload alone |
//! | 40 | 8 | the first bytes of BLAKE3 over the 40 bytes before and the hash in the record's header |
//! | 48 | `n` | AES-256-GCM of the `n` bytes of the payload, compressed if it is |
//! | 48 + `n` | 16 | the tag of AES-256-GCM |
//!
//! * The key of AES-256-GCM is BLAKE3 over the salt, keyed with `derive_key("holdall blob payload v1", key)`. It is used once,
//!   so the nonce is 12 zeros.
//! * Associated data, 38 bytes: the kind (1), codec (1), decoded size (4) and hash (32) as they stand in the record's header.
//!   A payload therefore opens under its own header only, in whatever pack and place.
//! * The bytes at 40 tell a key that is not here from a damaged id of one that is.
//!
//! What stays visible is what the header and the index say: kinds, sizes and hashes. Who has the packs and no key can find
//! out whether a chunk is one that he has, too, and nothing else of what is in it, nor which chunks make up a blob.

use std::fmt;

use bytes::{Bytes, BytesMut};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::record::Header;

/// What encryption adds to a payload, in bytes.
pub const OVERHEAD: usize = PREFIX_LEN + TAG_LEN;

const ID_LEN: usize = 8;
const SALT_LEN: usize = 32;
const NAMED_LEN: usize = ID_LEN + SALT_LEN;
const PREFIX_LEN: usize = 48;
const TAG_LEN: usize = 16;
const ID_CONTEXT: &str = "holdall blob payload key id v1";
const KEY_CONTEXT: &str = "holdall blob payload v1";

/// The name of a key. Says nothing of the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; ID_LEN]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

struct Key {
    id: KeyId,
    derived: [u8; 32],
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.id).finish()
    }
}

/// Why a payload could not be encrypted.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no randomness")]
pub struct SealError;

/// Why a payload could not be decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// It was encrypted with a key that is not here.
    KeyMissing(KeyId),
    /// It is not what was stored once.
    Damaged,
}

/// Keys that payloads are encrypted with. The first one encrypts, if any does; all decrypt.
#[derive(Debug, Default)]
pub struct Keys {
    all: Vec<Key>,
    /// Nothing is encrypted any more.
    is_over: bool,
}

impl Keys {
    /// These keys; none when payloads are not to be encrypted.
    #[must_use]
    pub fn new(keys: &[[u8; 32]]) -> Self {
        let key = |key: &[u8; 32]| {
            let id = *blake3::derive_key(ID_CONTEXT, key).first_chunk().unwrap_or(&[0; ID_LEN]);
            Key { id: KeyId(id), derived: blake3::derive_key(KEY_CONTEXT, key) }
        };
        Self { all: keys.iter().map(key).collect(), is_over: false }
    }

    /// These keys, of which none encrypts.
    #[must_use]
    pub fn only_decrypting(self) -> Self {
        Self { is_over: true, ..self }
    }

    fn first(&self) -> Option<&Key> {
        self.all.first().filter(|_| !self.is_over)
    }

    /// The key that encrypts, if there is one.
    #[must_use]
    pub fn current(&self) -> Option<KeyId> {
        self.first().map(|key| key.id)
    }

    /// `pieces`, which are `header.stored` bytes together before encryption, as they are to be stored; `None` when there is no
    /// key. `header` has the codec of what will be stored.
    pub fn seal(&self, header: &Header, pieces: &[Bytes]) -> Result<Option<Vec<u8>>, SealError> {
        let Some(key) = self.first() else { return Ok(None) };
        let mut salt = [0; SALT_LEN];
        getrandom::fill(&mut salt).map_err(|_| SealError)?;
        let len = pieces.iter().map(Bytes::len).sum::<usize>();
        let mut bytes = Vec::with_capacity(len + OVERHEAD);
        bytes.extend_from_slice(&prefix(key.id, &salt, header));
        pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        let content = bytes.get_mut(PREFIX_LEN..).unwrap_or_default();
        // Refuses what is longer than 64 GiB, which nothing here is.
        let tag = cipher(key, &salt)
            .and_then(|cipher| cipher.seal_in_place_separate_tag(nonce(), associated(header), content).ok())
            .ok_or(SealError)?;
        bytes.extend_from_slice(tag.as_ref());
        Ok(Some(bytes))
    }

    /// Takes what [`Keys::seal`] made back, in place.
    pub fn open(&self, header: &Header, stored: Bytes) -> Result<Bytes, OpenError> {
        let damaged = OpenError::Damaged;
        let (id, salt) = split(&stored, header).ok_or(damaged)?;
        let key = self.all.iter().find(|key| key.id == id).ok_or(OpenError::KeyMissing(id))?;
        let cipher = cipher(key, &salt).ok_or(damaged)?;
        let mut bytes = stored.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        let mut content = bytes.split_off(PREFIX_LEN.min(bytes.len()));
        let len = cipher.open_in_place(nonce(), associated(header), &mut content).map_err(|_| damaged)?.len();
        content.truncate(len);
        Ok(content.freeze())
    }
}

/// The id of the key that a payload, of which at least the beginning is given, was encrypted with.
#[must_use]
pub fn key_of(stored: &[u8]) -> Option<KeyId> {
    stored.first_chunk().copied().map(KeyId)
}

fn prefix(id: KeyId, salt: &[u8; SALT_LEN], header: &Header) -> [u8; PREFIX_LEN] {
    let mut bytes = [0; PREFIX_LEN];
    let mut fill = bytes.iter_mut();
    let mut put = |field: &[u8]| fill.by_ref().zip(field).for_each(|(to, from)| *to = *from);
    put(&id.0);
    put(salt);
    if let Some((named, check)) = bytes.split_first_chunk_mut::<NAMED_LEN>() {
        blake3::Hasher::new().update(named).update(header.hash.as_bytes()).finalize_xof().fill(check);
    }
    bytes
}

/// The key's id and the salt, when the prefix is sound and stands before something.
fn split(stored: &[u8], header: &Header) -> Option<(KeyId, [u8; SALT_LEN])> {
    let found = stored.first_chunk::<PREFIX_LEN>().filter(|_| stored.len() >= OVERHEAD)?;
    let (id, rest) = found.split_first_chunk::<ID_LEN>()?;
    let (id, salt) = (KeyId(*id), *rest.first_chunk::<SALT_LEN>()?);
    (*found == prefix(id, &salt, header)).then_some((id, salt))
}

fn cipher(key: &Key, salt: &[u8; SALT_LEN]) -> Option<LessSafeKey> {
    let once = blake3::keyed_hash(&key.derived, salt);
    UnboundKey::new(&AES_256_GCM, once.as_bytes()).ok().map(LessSafeKey::new)
}

/// Every payload has a key of its own.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn associated(header: &Header) -> Aad<[u8; 38]> {
    let mut bytes = [0; 38];
    let mut fill = bytes.iter_mut();
    let mut put = |field: &[u8]| fill.by_ref().zip(field).for_each(|(to, from)| *to = *from);
    put(&[header.kind.number(), header.codec.number()]);
    put(&header.size.to_le_bytes());
    put(header.hash.as_bytes());
    Aad::from(bytes)
}
