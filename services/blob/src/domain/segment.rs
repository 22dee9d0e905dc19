//! The segment: a part of an upload that can be resumed, once it is durable.
//!
//! An upload is written in segments, one behind the other. The blob it becomes has the chunks of all of them. Each segment
//! names the epoch of whoever wrote it; one without chunks only says that an epoch has begun.
//!
//! Where two segments of an upload start at the same offset, the record that was written later counts.
//!
//! # Format, version 1
//!
//! Numbers are little-endian. It is the payload of a record of kind segment, whose hash covers it.
//!
//! | offset | bytes | meaning |
//! | --- | --- | --- |
//! | 0 | 1 | version of this format: 1 |
//! | 1 | 3 | zero |
//! | 4 | 4 | number of chunks, `n` |
//! | 8 | 16 | id of the upload, which is that of the blob to be |
//! | 24 | 16 | the space that the upload is for; zero when it has no UUID |
//! | 40 | 8 | epoch, at most 2⁶³ − 1 |
//! | 48 | 8 | offset in the content at which the segment starts, at most 2⁶³ − 1 |
//! | 56 | 8 | Unix time in microseconds from which the upload is void, signed |
//! | 64 | 36 × `n` | for each chunk its name (BLAKE3-256, 32 bytes) and its size in bytes (4 bytes) |

use uuid::Uuid;

use super::BlobId;
use super::manifest::{Chunk, ENTRY_LEN, decode_chunks, encode_chunks};

const VERSION: u8 = 1;
const HEAD_LEN: usize = 64;

/// Most chunks that a segment can have.
pub const MAX_CHUNKS: usize = 4096;
/// Bytes of the longest segment.
pub const MAX_LEN: usize = HEAD_LEN + ENTRY_LEN * MAX_CHUNKS;

/// A segment of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The upload: the id of the blob to be.
    pub upload: BlobId,
    /// The space it is for; nil when that has no UUID for a name.
    pub space: Uuid,
    /// The epoch of whoever wrote it.
    pub epoch: i64,
    /// Where it starts in the content, in bytes.
    pub start: u64,
    /// When the upload is void, in Unix microseconds.
    pub expires_at: i64,
    /// Its chunks, in order.
    pub chunks: Vec<Chunk>,
}

impl Segment {
    /// Its bytes in a pack.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let count = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(self.encoded_len());
        bytes.extend([VERSION, 0, 0, 0]);
        bytes.extend(count.to_le_bytes());
        bytes.extend(self.upload.as_bytes());
        bytes.extend(self.space.as_bytes());
        bytes.extend(self.epoch.to_le_bytes());
        bytes.extend(self.start.to_le_bytes());
        bytes.extend(self.expires_at.to_le_bytes());
        encode_chunks(&self.chunks, &mut bytes);
        bytes
    }

    /// How many bytes those are.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        HEAD_LEN + ENTRY_LEN * self.chunks.len()
    }

    /// Reads its bytes; `None` when they are not a segment that this build understands.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, entries) = bytes.split_first_chunk::<HEAD_LEN>()?;
        let (head, expires_at) = head.split_last_chunk::<8>()?;
        let (head, start) = head.split_last_chunk::<8>()?;
        let (head, epoch) = head.split_last_chunk::<8>()?;
        let (head, space) = head.split_last_chunk::<16>()?;
        let (head, upload) = head.split_last_chunk::<16>()?;
        let (head, count) = head.split_last_chunk::<4>()?;
        let chunks = decode_chunks(entries)?;
        let (epoch, start) = (i64::from_le_bytes(*epoch), u64::from_le_bytes(*start));
        let is_sound = head == [VERSION, 0, 0, 0]
            && u32::try_from(chunks.len()) == Ok(u32::from_le_bytes(*count))
            && epoch >= 0
            && i64::try_from(start).is_ok();
        is_sound.then_some(Self {
            upload: BlobId::from_bytes(*upload),
            space: Uuid::from_bytes(*space),
            epoch,
            start,
            expires_at: i64::from_le_bytes(*expires_at),
            chunks,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(sizes: &[u32]) -> Segment {
        let chunks = sizes.iter().map(|size| Chunk { hash: blake3::hash(&size.to_le_bytes()), size: *size });
        Segment {
            upload: BlobId::new(7),
            space: Uuid::from_u128(5),
            epoch: i64::MAX,
            start: 1 << 40,
            expires_at: -5,
            chunks: chunks.collect(),
        }
    }

    #[test]
    fn it_reads_back() {
        for sizes in [&[][..], &[1], &[300_000, 4 << 20, 1]] {
            let segment = segment(sizes);
            let bytes = segment.encode();
            assert_eq!(bytes.len(), segment.encoded_len());
            assert_eq!(Segment::decode(&bytes), Some(segment));
        }
    }

    #[test]
    fn nothing_else_is_taken_for_one() {
        let bytes = segment(&[5, 6]).encode();
        for len in 0..bytes.len() {
            assert_eq!(Segment::decode(&bytes[..len]), None, "length {len}");
        }
        assert_eq!(Segment::decode(&[&bytes[..], &[0]].concat()), None);
        for (at, value) in [(0, 2), (1, 1), (4, 1), (47, 0xff), (55, 0xff), (bytes.len() - 1, 0xff)] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            assert_eq!(Segment::decode(&bytes), None, "byte {at}");
        }
        assert_eq!(Segment::decode(&segment(&[0]).encode()), None);
    }
}
