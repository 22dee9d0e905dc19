//! The manifest: which chunks, in order, make up a blob.
//!
//! # Format, version 1
//!
//! Numbers are little-endian. It is the payload of a record of kind manifest, whose hash covers it.
//!
//! | offset | bytes | meaning |
//! | --- | --- | --- |
//! | 0 | 1 | version of this format: 1 |
//! | 1 | 3 | zero |
//! | 4 | 4 | number of chunks, `n` |
//! | 8 | 16 | blob id |
//! | 24 | 16 | the space that the blob was written for; zero when it has no UUID |
//! | 40 | 32 | BLAKE3-256 of the content |
//! | 72 | 36 × `n` | for each chunk its name (BLAKE3-256, 32 bytes) and its size in bytes (4 bytes) |

use std::ops::Range;

use blake3::Hash;
use uuid::Uuid;

use super::{BlobId, cut};

const VERSION: u8 = 1;
const HEAD_LEN: usize = 72;
/// Bytes of a chunk in a list.
pub const ENTRY_LEN: usize = 36;

/// A chunk of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// BLAKE3-256 of its bytes: its name.
    pub hash: Hash,
    /// Its bytes; never 0, never more than [`cut::MAX`].
    pub size: u32,
}

/// A blob's chunks, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    id: BlobId,
    space: Uuid,
    digest: Hash,
    chunks: Vec<Chunk>,
    /// Where each chunk ends in the blob.
    ends: Vec<u64>,
}

/// A part of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The chunk.
    pub chunk: Chunk,
    /// Which of its bytes.
    pub bytes: Range<usize>,
}

impl Manifest {
    /// A manifest of `chunks`, in order. `space` is nil when the blob's space has no UUID for a name.
    #[must_use]
    pub fn new(id: BlobId, space: Uuid, digest: Hash, chunks: Vec<Chunk>) -> Self {
        let ends = chunks
            .iter()
            .scan(0, |end, chunk| {
                *end += u64::from(chunk.size);
                Some(*end)
            })
            .collect();
        Self { id, space, digest, chunks, ends }
    }

    /// Whose chunks they are.
    #[must_use]
    pub fn id(&self) -> BlobId {
        self.id
    }

    /// The space that the blob was written for; nil when it has no UUID.
    #[must_use]
    pub fn space(&self) -> Uuid {
        self.space
    }

    /// BLAKE3-256 of the content.
    #[must_use]
    pub fn digest(&self) -> Hash {
        self.digest
    }

    /// Bytes of content.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.ends.last().copied().unwrap_or_default()
    }

    /// The chunks.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// About how much memory it takes, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.chunks.len() * (size_of::<Chunk>() + size_of::<u64>())
    }

    /// The parts of chunks that make up the bytes in `range` of the blob, in order; what lies beyond its end is left out.
    pub fn parts(&self, range: Range<u64>) -> impl Iterator<Item = Part> {
        let first = self.ends.partition_point(|end| *end <= range.start);
        self.chunks.iter().zip(&self.ends).skip(first).map_while(move |(chunk, end)| {
            let start = end - u64::from(chunk.size);
            let within = |at: u64| usize::try_from(at.clamp(start, *end) - start).unwrap_or_default();
            let bytes = within(range.start)..within(range.end);
            (!bytes.is_empty()).then_some(Part { chunk: *chunk, bytes })
        })
    }

    /// Its bytes in a pack.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let count = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEAD_LEN + ENTRY_LEN * self.chunks.len());
        bytes.extend([VERSION, 0, 0, 0]);
        bytes.extend(count.to_le_bytes());
        bytes.extend(self.id.as_bytes());
        bytes.extend(self.space.as_bytes());
        bytes.extend(self.digest.as_bytes());
        encode_chunks(&self.chunks, &mut bytes);
        bytes
    }

    /// Reads its bytes; `None` when they are not a manifest that this build understands.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, entries) = bytes.split_first_chunk::<HEAD_LEN>()?;
        let (start, digest) = head.split_last_chunk::<32>()?;
        let (start, space) = start.split_last_chunk::<16>()?;
        let (start, id) = start.split_last_chunk::<16>()?;
        let (start, count) = start.split_last_chunk::<4>()?;
        let chunks = decode_chunks(entries)?;
        if start != [VERSION, 0, 0, 0] || u32::try_from(chunks.len()) != Ok(u32::from_le_bytes(*count)) {
            return None;
        }
        let (id, space) = (BlobId::from_bytes(*id), Uuid::from_bytes(*space));
        Some(Self::new(id, space, Hash::from_bytes(*digest), chunks))
    }
}

/// Adds a list of chunks to `bytes`, [`ENTRY_LEN`] for each.
pub fn encode_chunks(chunks: &[Chunk], bytes: &mut Vec<u8>) {
    for chunk in chunks {
        bytes.extend(chunk.hash.as_bytes());
        bytes.extend(chunk.size.to_le_bytes());
    }
}

/// Reads a list of chunks; `None` when that is none, or a chunk has a size that none can have.
#[must_use]
pub fn decode_chunks(bytes: &[u8]) -> Option<Vec<Chunk>> {
    let (entries, []) = bytes.as_chunks::<ENTRY_LEN>() else { return None };
    let chunk = |entry: &[u8; ENTRY_LEN]| {
        let (hash, size) = entry.split_first_chunk::<32>()?;
        let size = u32::from_le_bytes(*size.first_chunk()?);
        let fits = size > 0 && usize::try_from(size).is_ok_and(|size| size <= cut::MAX);
        fits.then_some(Chunk { hash: Hash::from_bytes(*hash), size })
    };
    entries.iter().map(chunk).collect()
}

/// Most chunks that a blob can have: their number and their record's length are 32-bit, and their list is held in memory.
pub const MAX_CHUNKS: usize = 8 << 20;
/// Most bytes of a manifest.
pub const MAX_LEN: usize = HEAD_LEN + ENTRY_LEN * MAX_CHUNKS;

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(sizes: &[u32]) -> Manifest {
        let chunks = sizes.iter().map(|size| Chunk { hash: blake3::hash(&size.to_le_bytes()), size: *size });
        Manifest::new(BlobId::new(77), Uuid::from_u128(5), blake3::hash(b"all"), chunks.collect())
    }

    #[test]
    fn it_reads_back() {
        for sizes in [&[][..], &[1], &[300_000, 4 << 20, 1]] {
            let manifest = manifest(sizes);
            assert_eq!(manifest.size(), sizes.iter().map(|size| u64::from(*size)).sum::<u64>());
            assert_eq!(Manifest::decode(&manifest.encode()), Some(manifest));
        }
    }

    #[test]
    fn nothing_else_is_taken_for_one() {
        let bytes = manifest(&[5, 6]).encode();
        for len in 0..bytes.len() {
            assert_eq!(Manifest::decode(&bytes[..len]), None, "length {len}");
        }
        assert_eq!(Manifest::decode(&[&bytes[..], &[0]].concat()), None);
        for (at, value) in [(0, 2), (1, 1), (4, 1), (bytes.len() - 1, 0xff)] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            assert_eq!(Manifest::decode(&bytes), None, "byte {at}");
        }
        assert_eq!(Manifest::decode(&manifest(&[0]).encode()), None);
    }

    #[test]
    fn ranges_name_the_right_bytes() {
        let sizes = [3_u32, 1, 4, 1, 5];
        let manifest = manifest(&sizes);
        let flat: Vec<(u32, usize)> =
            sizes.iter().flat_map(|size| (0..*size as usize).map(move |at| (*size, at))).collect();
        for start in 0..=15_u64 {
            for end in 0..=16_u64 {
                let named: Vec<_> = manifest
                    .parts(start..end)
                    .flat_map(|part| part.bytes.map(move |at| (part.chunk.size, at)))
                    .collect();
                let (from, to) = {
                    let at = |at: u64| usize::try_from(at.min(14)).unwrap();
                    (at(start), at(end.max(start)))
                };
                assert_eq!(named, flat[from..to], "{start}..{end}");
            }
        }
    }
}
