//! The pack: what records stand in, one after the other. [`packs`](super::packs) tells where packs are kept.
//!
//! A pack is written by one process in one go: nothing is ever appended after a restart, and nothing is changed once it is
//! durable.
//!
//! # Format, version 1
//!
//! Numbers are little-endian. A pack is a header of 64 bytes and then [records](crate::domain::record).
//!
//! | offset | bytes | meaning |
//! | --- | --- | --- |
//! | 0 | 8 | magic: `HOLDPACK` |
//! | 8 | 4 | version of this format: 1 |
//! | 12 | 4 | zero |
//! | 16 | 8 | id |
//! | 24 | 32 | salt: random bytes that the check of every record is keyed with |
//! | 56 | 8 | the first bytes of BLAKE3 over the 56 bytes before |

use std::fmt;
use std::io;

use super::packs::ReadAt;
use crate::domain::record::{self, Salt};

/// Bytes of a pack's header; where its first record starts.
pub const HEADER_LEN: u64 = 64;
const MAGIC: &[u8; 8] = b"HOLDPACK";
const VERSION: u32 = 1;
const CHECKED: usize = 56;

/// The number of a pack, above 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackId(pub i64);

impl PackId {
    /// The id that is written like this; `None` when none is.
    pub fn parse(text: &str) -> Option<Self> {
        let id = i64::from_str_radix(text, 16).ok().map(Self)?;
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a payload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The pack.
    pub pack: PackId,
    /// Offset of the payload in it.
    pub position: u64,
    /// Bytes of the payload as stored.
    pub stored: u32,
}

impl Location {
    /// The offset behind the payload.
    pub fn end(&self) -> u64 {
        self.position.saturating_add(u64::from(self.stored))
    }

    /// Where the whole record stands, of which this is the payload.
    pub fn record(&self) -> Self {
        let header = record::HEADER_LEN;
        Self {
            pack: self.pack,
            position: self.position.saturating_sub(header as u64),
            stored: self.stored.saturating_add(u32::try_from(header).unwrap_or(u32::MAX)),
        }
    }
}

/// The header of a pack.
pub fn header(id: PackId, salt: &Salt) -> [u8; 64] {
    let mut bytes = [0; 64];
    let mut fill = bytes.iter_mut();
    let mut put = |field: &[u8]| fill.by_ref().zip(field).for_each(|(to, from)| *to = *from);
    put(MAGIC);
    put(&VERSION.to_le_bytes());
    put(&[0; 4]);
    put(&id.0.to_le_bytes());
    put(salt);
    if let Some((checked, end)) = bytes.split_first_chunk_mut::<CHECKED>() {
        end.copy_from_slice(&check(checked));
    }
    bytes
}

/// A pack without content, whose first record will start at the offset `end`.
pub fn start(id: PackId, salt: &Salt, end: u64) -> Vec<u8> {
    let mut bytes = header(id, salt).to_vec();
    let end = usize::try_from(end).unwrap_or_default();
    if let Some(filler @ record::HEADER_LEN..) = end.checked_sub(bytes.len()) {
        bytes.extend(record::Header::filler(filler).encode(salt, HEADER_LEN));
        bytes.resize(end, 0);
    }
    bytes
}

/// The salt of the pack that `source` holds; `None` when its header is not that of the pack `id`.
pub fn salt(source: &mut dyn ReadAt, id: PackId) -> io::Result<Option<Salt>> {
    let mut bytes = [0; 64];
    match source.read_exact_at(&mut bytes, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let salt =
        bytes.split_first_chunk::<CHECKED>().and_then(|(checked, _)| checked.last_chunk::<32>()).copied();
    Ok(salt.filter(|salt| header(id, salt) == bytes))
}

fn check(checked: &[u8; CHECKED]) -> [u8; 8] {
    let mut check = [0; 8];
    blake3::Hasher::new().update(checked).finalize_xof().fill(&mut check);
    check
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn ids_are_written_one_way_only() {
        assert_eq!(PackId::parse("00000000000000ab"), Some(PackId(0xab)));
        for text in
            ["", "ab", "00000000000000AB", "+0000000000000ab", "00000000000000abc", "-000000000000001"]
        {
            assert_eq!(PackId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_damaged_header_is_no_header() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        let bytes = header(PackId(7), &[1; 32]);
        let read = |bytes: &[u8], id| {
            std::fs::write(&path, bytes).unwrap();
            salt(&mut File::open(&path).unwrap(), PackId(id)).unwrap()
        };
        assert_eq!(read(&bytes, 7), Some([1; 32]));
        assert_eq!(read(&bytes, 8), None);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&bytes, 7), None, "bit {bit}");
        }
        assert_eq!(read(&bytes[..63], 7), None);
    }
}
