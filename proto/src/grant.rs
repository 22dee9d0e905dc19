//! Grants and receipts: what metadata and blob say to each other through third parties.
//!
//! Metadata decides who may do what, blob holds the bytes, and neither asks the other on the way of a byte. A grant is
//! metadata's permission, a receipt is blob's word; both travel through the client or the gateway, which can neither
//! make nor change one.
//!
//! With the same key blob seals the handles of uploads that can be resumed: they carry all that it has to know of one.
//!
//! The same envelope, under a key that the gateway and auth share, proves the right to act for others.
//!
//! # Envelope, version 1
//!
//! | bytes | meaning |
//! | --- | --- |
//! | 1 | format: `1` |
//! | 4 | key id, the first bytes of the BLAKE3 hash of the key |
//! | n | the payload: a protobuf message of `holdall/blob/v1/grant.proto`, or a `Delegation` |
//! | 32 | BLAKE3 keyed hash (BLAKE3 paper, §2.3) of everything before it |
//!
//! The MAC key is derived (`BLAKE3 derive_key`) from the shared key and the kind of message, so a write grant can
//! never be taken for a read grant or a receipt. The comparison takes the same time wherever the difference is.

use std::fmt;

use bytes::Bytes;
use prost::Message;

use crate::auth::v1::Delegation;
use crate::blob::v1::{AdminGrant, ReadGrant, Receipt, RootsGrant, UploadHandle, WriteGrant};

const FORMAT: u8 = 1;
const KEY_ID_LEN: usize = 4;
const MAC_LEN: usize = 32;
/// Longer than any grant we make; what a stranger sends beyond it is not looked at.
const MAX_LEN: usize = 1024;

/// The kinds of message; each has a MAC key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`WriteGrant`].
    WriteGrant,
    /// [`Receipt`].
    Receipt,
    /// [`ReadGrant`].
    ReadGrant,
    /// [`UploadHandle`].
    UploadHandle,
    /// [`Delegation`].
    Delegation,
    /// [`RootsGrant`].
    RootsGrant,
    /// [`AdminGrant`].
    AdminGrant,
}

impl Kind {
    /// The context of BLAKE3 `derive_key`: globally unique, never changed.
    const fn context(self) -> &'static str {
        match self {
            Self::WriteGrant => "holdall.blob.v1.WriteGrant 2026-11 mac",
            Self::Receipt => "holdall.blob.v1.Receipt 2026-11 mac",
            Self::ReadGrant => "holdall.blob.v1.ReadGrant 2026-11 mac",
            Self::UploadHandle => "holdall.blob.v1.UploadHandle 2026-11 mac",
            Self::Delegation => "holdall.auth.v1.Delegation 2026-11 mac",
            Self::RootsGrant => "holdall.blob.v1.RootsGrant 2026-11 mac",
            Self::AdminGrant => "holdall.blob.v1.AdminGrant 2026-11 mac",
        }
    }
}

/// A message that can be sealed.
pub trait Sealed: Message + Default {
    /// Which kind it is.
    const KIND: Kind;
    /// Unix time in microseconds from which the message is void.
    fn expires_at_us(&self) -> i64;
}

impl Sealed for WriteGrant {
    const KIND: Kind = Kind::WriteGrant;
    fn expires_at_us(&self) -> i64 {
        self.expires_at_us
    }
}

impl Sealed for Receipt {
    const KIND: Kind = Kind::Receipt;
    fn expires_at_us(&self) -> i64 {
        self.expires_at_us
    }
}

impl Sealed for ReadGrant {
    const KIND: Kind = Kind::ReadGrant;
    fn expires_at_us(&self) -> i64 {
        self.expires_at_us
    }
}

impl Sealed for UploadHandle {
    const KIND: Kind = Kind::UploadHandle;
    fn expires_at_us(&self) -> i64 {
        self.expires_at_us
    }
}

impl Sealed for Delegation {
    const KIND: Kind = Kind::Delegation;
    fn expires_at_us(&self) -> i64 {
        self.expires_at_us
    }
}

impl Sealed for RootsGrant {
    const KIND: Kind = Kind::RootsGrant;
    fn expires_at_us(&self) -> i64 {
        self.expires_at_us
    }
}

impl Sealed for AdminGrant {
    const KIND: Kind = Kind::AdminGrant;
    fn expires_at_us(&self) -> i64 {
        self.expires_at_us
    }
}

/// Why a sealed message was not accepted. Clients learn only that it was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Not an envelope, or of a format this build does not know.
    #[error("the grant is malformed")]
    Malformed,
    /// Sealed with a key that is not in the ring.
    #[error("the grant was sealed with an unknown key")]
    UnknownKey,
    /// The MAC does not fit: it was changed, or made for another use.
    #[error("the grant is not authentic")]
    Forged,
    /// Its time is over.
    #[error("the grant has expired")]
    Expired,
}

/// The MAC keys of one shared key, derived once.
#[derive(Clone)]
struct MacKeys {
    write_grant: [u8; 32],
    receipt: [u8; 32],
    read_grant: [u8; 32],
    upload_handle: [u8; 32],
    delegation: [u8; 32],
    roots_grant: [u8; 32],
    admin_grant: [u8; 32],
}

impl MacKeys {
    fn derive(key: &[u8; 32]) -> Self {
        let of = |kind: Kind| blake3::derive_key(kind.context(), key);
        Self {
            write_grant: of(Kind::WriteGrant),
            receipt: of(Kind::Receipt),
            read_grant: of(Kind::ReadGrant),
            upload_handle: of(Kind::UploadHandle),
            delegation: of(Kind::Delegation),
            roots_grant: of(Kind::RootsGrant),
            admin_grant: of(Kind::AdminGrant),
        }
    }

    fn of(&self, kind: Kind) -> &[u8; 32] {
        match kind {
            Kind::WriteGrant => &self.write_grant,
            Kind::Receipt => &self.receipt,
            Kind::ReadGrant => &self.read_grant,
            Kind::UploadHandle => &self.upload_handle,
            Kind::Delegation => &self.delegation,
            Kind::RootsGrant => &self.roots_grant,
            Kind::AdminGrant => &self.admin_grant,
        }
    }
}

/// The shared keys: the first seals, all open.
#[derive(Clone)]
pub struct KeyRing {
    first: ([u8; KEY_ID_LEN], MacKeys),
    others: Vec<([u8; KEY_ID_LEN], MacKeys)>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("keys", &(1 + self.others.len())).finish_non_exhaustive()
    }
}

impl KeyRing {
    /// A ring of one key: 32 random bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        Self { first: Self::entry(key), others: Vec::new() }
    }

    /// Also opens what was sealed with `key`, for rotation: add the new key everywhere as a second one, then make it
    /// the first, then drop the old one when everything sealed with it has expired.
    #[must_use]
    pub fn and(mut self, key: &[u8; 32]) -> Self {
        self.others.push(Self::entry(key));
        self
    }

    fn entry(key: &[u8; 32]) -> ([u8; KEY_ID_LEN], MacKeys) {
        let [a, b, c, d, ..] = *blake3::hash(key).as_bytes();
        ([a, b, c, d], MacKeys::derive(key))
    }

    /// What each key is called in what it has sealed, in hexadecimal, the first one first. Tells keys apart, and nothing of them.
    pub fn ids(&self) -> Vec<String> {
        let all = std::iter::once(&self.first).chain(&self.others);
        all.map(|(id, _)| id.iter().map(|byte| format!("{byte:02x}")).collect()).collect()
    }

    /// Seals a message with the first key.
    pub fn seal<M: Sealed>(&self, message: &M) -> Bytes {
        let (id, keys) = &self.first;
        let mut out = Vec::with_capacity(1 + KEY_ID_LEN + message.encoded_len() + MAC_LEN);
        out.push(FORMAT);
        out.extend_from_slice(id);
        out.extend_from_slice(&message.encode_to_vec());
        let mac = blake3::keyed_hash(keys.of(M::KIND), &out);
        out.extend_from_slice(mac.as_bytes());
        out.into()
    }

    /// Opens a sealed message that is authentic and not void at `now_us` (Unix time in microseconds).
    pub fn open<M: Sealed>(&self, sealed: &[u8], now_us: i64) -> Result<M, GrantError> {
        if sealed.len() > MAX_LEN {
            return Err(GrantError::Malformed);
        }
        let (signed, mac) = sealed.split_last_chunk::<MAC_LEN>().ok_or(GrantError::Malformed)?;
        let (format, rest) = signed.split_first().ok_or(GrantError::Malformed)?;
        let (id, payload) = rest.split_first_chunk::<KEY_ID_LEN>().ok_or(GrantError::Malformed)?;
        if *format != FORMAT {
            return Err(GrantError::Malformed);
        }
        let (_, keys) = std::iter::once(&self.first)
            .chain(&self.others)
            .find(|(known, _)| known == id)
            .ok_or(GrantError::UnknownKey)?;
        // `blake3::Hash` compares in constant time.
        if blake3::keyed_hash(keys.of(M::KIND), signed) != blake3::Hash::from_bytes(*mac) {
            return Err(GrantError::Forged);
        }
        let message = M::decode(payload).map_err(|_| GrantError::Malformed)?;
        if message.expires_at_us() <= now_us {
            return Err(GrantError::Expired);
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn grant() -> ReadGrant {
        ReadGrant { blob_id: "0199".to_owned(), expires_at_us: 1_000 }
    }

    #[test]
    fn a_sealed_message_opens_to_itself() {
        let ring = KeyRing::new(&KEY);
        assert_eq!(ring.open(&ring.seal(&grant()), 999), Ok(grant()));
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let ring = KeyRing::new(&KEY);
        let sealed = ring.seal(&grant());
        for bit in 0..sealed.len() * 8 {
            let mut bytes = sealed.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(ring.open::<ReadGrant>(&bytes, 0).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn any_truncation_is_found() {
        let ring = KeyRing::new(&KEY);
        let sealed = ring.seal(&grant());
        for len in 0..sealed.len() {
            assert!(ring.open::<ReadGrant>(&sealed[..len], 0).is_err(), "length {len}");
        }
        assert_eq!(ring.open::<ReadGrant>(&[1; 4096], 0), Err(GrantError::Malformed));
    }

    #[test]
    fn one_kind_is_not_another() {
        let ring = KeyRing::new(&KEY);
        // An empty receipt and an empty read grant encode alike but for the MAC.
        let sealed = ring.seal(&Receipt { expires_at_us: 10, ..Receipt::default() });
        assert_eq!(ring.open::<ReadGrant>(&sealed, 0), Err(GrantError::Forged));
        assert_eq!(ring.open::<WriteGrant>(&sealed, 0), Err(GrantError::Forged));
        // What blob shows metadata is not what an administrator shows blob.
        let roots = ring.seal(&RootsGrant { expires_at_us: 10 });
        assert_eq!(ring.open::<AdminGrant>(&roots, 0), Err(GrantError::Forged));
        assert!(ring.open::<Receipt>(&sealed, 0).is_ok());
    }

    #[test]
    fn time_ends_it() {
        let ring = KeyRing::new(&KEY);
        assert_eq!(ring.open::<ReadGrant>(&ring.seal(&grant()), 1_000), Err(GrantError::Expired));
    }

    #[test]
    fn keys_rotate() {
        let (old, new) = (KeyRing::new(&KEY), KeyRing::new(&[8; 32]));
        let both = KeyRing::new(&[8; 32]).and(&KEY);
        assert!(both.open::<ReadGrant>(&old.seal(&grant()), 0).is_ok());
        assert!(new.open::<ReadGrant>(&both.seal(&grant()), 0).is_ok());
        assert_eq!(new.open::<ReadGrant>(&old.seal(&grant()), 0), Err(GrantError::UnknownKey));
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", KeyRing::new(&KEY)), "KeyRing { keys: 1, .. }");
    }
}
