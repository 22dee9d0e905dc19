//! The record: the unit in which chunks and manifests stand in a pack.
//!
//! # Format, version 1
//!
//! Numbers are little-endian. A record is a header of 64 bytes and the payload right behind it; the next record follows
//! without padding.
//!
//! | offset | bytes | meaning |
//! | --- | --- | --- |
//! | 0 | 4 | magic: `F5 48 52 0A` |
//! | 4 | 1 | version of this format: 1 |
//! | 5 | 1 | kind: 1 chunk, 2 manifest, 3 segment, 4 filler |
//! | 6 | 1 | codec of the payload: 0 raw, 1 zstd, 2 sealed, 3 zstd and then sealed; see [`payload`](super::payload) |
//! | 7 | 1 | zero |
//! | 8 | 4 | bytes of the payload as stored |
//! | 12 | 4 | bytes of the payload once decoded |
//! | 16 | 32 | BLAKE3-256 of the payload once decoded; for a chunk, its name |
//! | 48 | 16 | the first bytes of BLAKE3 keyed with the pack's salt over the 48 bytes before and the record's offset in the pack (8 bytes) |
//!
//! A filler's payload is zeros that mean nothing; its hash is zero too. Writers that have to end at a multiple of some number
//! of bytes put it behind their last record.
//!
//! The check at the end binds a header to its pack and its place. A reader that lost its way can therefore look for the
//! magic: content cannot imitate a record, because whoever sends content does not know the salt, and a block that a disk
//! put in the wrong place is not taken for what should stand there.

use blake3::Hash;

/// Bytes of a record's header.
pub const HEADER_LEN: usize = 64;
/// What every record starts with.
pub const MAGIC: [u8; 4] = [0xf5, b'H', b'R', b'\n'];
const VERSION: u8 = 1;
const CHECKED: usize = 48;

/// A pack's random bytes.
pub type Salt = [u8; 32];

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A piece of content.
    Chunk,
    /// The list of a blob's chunks: see [`manifest`](super::manifest).
    Manifest,
    /// A part of an upload that can be resumed: see [`segment`](super::segment).
    Segment,
    /// Nothing: what follows starts at a round offset.
    Filler,
}

impl Kind {
    /// Its number in records.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Chunk => 1,
            Self::Manifest => 2,
            Self::Segment => 3,
            Self::Filler => 4,
        }
    }
}

/// How a payload is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    Raw,
    /// Compressed.
    Zstd,
    /// Encrypted.
    Sealed,
    /// Compressed, then encrypted.
    ZstdSealed,
}

impl Codec {
    /// Its number in records and in the index.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Zstd => 1,
            Self::Sealed => 2,
            Self::ZstdSealed => 3,
        }
    }

    /// The codec with that number, if this build knows it.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Raw, Self::Zstd, Self::Sealed, Self::ZstdSealed]
            .into_iter()
            .find(|codec| codec.number() == number)
    }
}

/// A record without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it holds.
    pub kind: Kind,
    /// How the payload is encoded.
    pub codec: Codec,
    /// Bytes of the payload as stored.
    pub stored: u32,
    /// Bytes of the payload once decoded.
    pub size: u32,
    /// BLAKE3-256 of the payload once decoded.
    pub hash: Hash,
}

impl Header {
    /// The header of a filler that takes `len` bytes with its own.
    #[must_use]
    pub fn filler(len: usize) -> Self {
        let stored = u32::try_from(len.saturating_sub(HEADER_LEN)).unwrap_or_default();
        Self { kind: Kind::Filler, codec: Codec::Raw, stored, size: stored, hash: Hash::from_bytes([0; 32]) }
    }

    /// The header's bytes, for a record at `offset` of the pack with that salt.
    #[must_use]
    pub fn encode(&self, salt: &Salt, offset: u64) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let mut fill = bytes.iter_mut();
        let mut put = |field: &[u8]| fill.by_ref().zip(field).for_each(|(to, from)| *to = *from);
        put(&MAGIC);
        put(&[VERSION, self.kind.number(), self.codec.number(), 0]);
        put(&self.stored.to_le_bytes());
        put(&self.size.to_le_bytes());
        put(self.hash.as_bytes());
        if let Some((checked, end)) = bytes.split_first_chunk_mut::<CHECKED>() {
            end.copy_from_slice(&check(checked, salt, offset));
        }
        bytes
    }

    /// Reads the header that stands at `offset` of the pack with that salt; `None` when none stands there.
    #[must_use]
    pub fn decode(bytes: &[u8; HEADER_LEN], salt: &Salt, offset: u64) -> Option<Self> {
        let (checked, end) = bytes.split_first_chunk::<CHECKED>()?;
        if *end != check(checked, salt, offset) {
            return None;
        }
        Self::decode_known(bytes)
    }

    /// Reads the header of a record that is known to stand there. Its check is not looked at, for which a salt would be needed:
    /// what it says is to be believed once the payload has turned out to have its hash.
    #[must_use]
    pub fn decode_known(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let (checked, _) = bytes.split_first_chunk::<CHECKED>()?;
        if !checked.starts_with(&MAGIC) {
            return None;
        }
        let (start, hash) = checked.split_last_chunk::<32>()?;
        let [_, _, _, _, VERSION, kind, codec, 0, lengths @ ..] = start else { return None };
        let (stored, rest) = lengths.split_first_chunk::<4>()?;
        let (size, _) = rest.split_first_chunk::<4>()?;
        Some(Self {
            kind: match kind {
                1 => Kind::Chunk,
                2 => Kind::Manifest,
                3 => Kind::Segment,
                4 => Kind::Filler,
                _ => return None,
            },
            codec: Codec::from_number(*codec)?,
            stored: u32::from_le_bytes(*stored),
            size: u32::from_le_bytes(*size),
            hash: Hash::from_bytes(*hash),
        })
    }

    /// Bytes of the whole record.
    #[must_use]
    pub fn record_len(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.stored)
    }
}

fn check(checked: &[u8; CHECKED], salt: &Salt, offset: u64) -> [u8; HEADER_LEN - CHECKED] {
    let mut check = [0; HEADER_LEN - CHECKED];
    let mut hasher = blake3::Hasher::new_keyed(salt);
    hasher.update(checked).update(&offset.to_le_bytes()).finalize_xof().fill(&mut check);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = [9; 32];

    fn header() -> (Header, [u8; HEADER_LEN]) {
        let (kind, codec, hash) = (Kind::Manifest, Codec::Raw, blake3::hash(b"abc"));
        let header = Header { kind, codec, stored: 3, size: 3, hash };
        (header, header.encode(&SALT, 4096))
    }

    #[test]
    fn a_header_reads_back() {
        let (header, bytes) = header();
        assert_eq!(Header::decode(&bytes, &SALT, 4096), Some(header));
        assert!(bytes.starts_with(&MAGIC));
        assert_eq!(header.record_len(), 67);
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let (_, bytes) = header();
        for bit in 0..HEADER_LEN * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bytes, &SALT, 4096), None, "bit {bit}");
        }
    }

    #[test]
    fn a_header_belongs_to_one_place_in_one_pack() {
        let (_, bytes) = header();
        assert_eq!(Header::decode(&bytes, &SALT, 4097), None);
        assert_eq!(Header::decode(&bytes, &[8; 32], 4096), None);
    }

    #[test]
    fn where_it_is_known_to_stand_no_salt_is_needed() {
        let (header, mut bytes) = header();
        assert_eq!(Header::decode_known(&bytes), Some(header));
        bytes[0] ^= 1;
        assert_eq!(Header::decode_known(&bytes), None);
    }

    #[test]
    fn unknown_kinds_codecs_and_versions_are_not_guessed_at() {
        for (at, value) in [(4, 2), (5, 0), (5, 5), (6, 4), (7, 1)] {
            let (_, mut bytes) = header();
            bytes[at] = value;
            let checked: [u8; CHECKED] = bytes[..CHECKED].try_into().unwrap();
            bytes[CHECKED..].copy_from_slice(&check(&checked, &SALT, 4096));
            assert_eq!(Header::decode(&bytes, &SALT, 4096), None, "byte {at}");
        }
    }
}
