//! Entries as records, one behind the other: which are written, where each stands, and what the index is told of it.

use std::collections::HashSet;
use std::io::IoSlice;

use blake3::Hash;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::counters::Counters;
use super::index::{ChunkRow, Index, NewBlob, SegmentRow};
use super::lane::{Appended, Entry, NewChunk, WriteError};
use super::pack::{Location, PackId};
use crate::domain::manifest::{Chunk, Manifest};
use crate::domain::payload::{Encoded, Encoding};
use crate::domain::record::{self, Header, Kind, Salt};
use crate::domain::seal::SealError;
use crate::domain::segment::Segment;

/// Entries that are ready to be written.
#[derive(Debug)]
pub struct Assembled {
    /// Their bytes.
    pub layout: Layout,
    /// What becomes of them, in order.
    pub entries: Vec<Appended>,
    /// The memory that the bytes take; to be given back once they are written.
    pub memory: Vec<OwnedSemaphorePermit>,
    /// What they come to.
    pub counts: Counts,
}

/// What is written.
#[derive(Debug, Default)]
pub struct Counts {
    /// Bytes of chunks, and as stored.
    chunks: Vec<(u32, u32)>,
    /// Bytes of chunks.
    deduplicated: Vec<u32>,
    blobs: u64,
    entries: usize,
    bytes: u64,
}

impl Counts {
    /// Counts it, once it is written.
    pub fn add_to(self, counters: &Counters) {
        for (size, stored) in &self.chunks {
            counters.chunk(*size, *stored);
        }
        for size in &self.deduplicated {
            counters.duplicate(*size);
        }
        Counters::add(&counters.blobs, self.blobs);
        counters.batch(self.entries, self.bytes);
    }
}

/// Those chunks of `entries` that are there already.
pub async fn known(index: &Index, entries: &[Entry]) -> Result<HashSet<Hash>, WriteError> {
    // What is copied is there, of course.
    let new = entries.iter().filter(|entry| entry.moved_from.is_none());
    let hashes: Vec<Hash> = new.filter_map(|entry| Some(entry.chunk.as_ref()?.chunk.hash)).collect();
    if hashes.is_empty() {
        return Ok(HashSet::new());
    }
    index.known(&hashes).await.map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "cannot look up chunks");
        WriteError::Failed
    })
}

/// Lays entries out from the offset `start` of a pack on, without chunks that are `known`. Those whose upload has failed are
/// answered and left out.
pub fn assemble(
    entries: Vec<Entry>,
    mut known: HashSet<Hash>,
    pack: PackId,
    salt: Salt,
    start: u64,
    encoding: &Encoding,
) -> Assembled {
    let mut layout = Layout { pack, salt, end: start, parts: Vec::new() };
    let mut appended = Vec::with_capacity(entries.len());
    let mut memory = Vec::new();
    let mut counts = Counts::default();
    for entry in entries {
        if let Some(error) = entry.reply.ticket.failure() {
            entry.reply.fail(error);
            continue;
        }
        let blob = entry.blob.map(|blob| encode(Kind::Manifest, blob.encode(), blob, encoding));
        let segment = entry.segment.map(|segment| encode(Kind::Segment, segment.encode(), segment, encoding));
        let (blob, segment) = match (blob.transpose(), segment.transpose()) {
            (Ok(blob), Ok(segment)) => (blob, segment),
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "cannot encode a list of chunks");
                entry.reply.fail(WriteError::Failed);
                continue;
            }
        };
        let moved_from = entry.moved_from;
        let mut rows = Appended { reply: entry.reply, chunk: None, blob: None, segment: None, moved_from };
        if let Some(chunk) = entry.chunk {
            // The same chunk twice in a batch: both are kept, or neither.
            if known.insert(chunk.chunk.hash) || moved_from.is_some() {
                let row = layout.chunk(chunk);
                counts.chunks.push((row.size, row.location.stored));
                rows.chunk = Some(row);
                memory.extend(entry.memory);
            } else {
                counts.deduplicated.push(chunk.chunk.size);
            }
        }
        if let Some((blob, encoded)) = blob {
            rows.blob = Some(layout.blob(&blob, encoded));
            counts.blobs += 1;
        }
        rows.segment = segment.map(|(segment, encoded)| layout.segment(segment, encoded));
        appended.push(rows);
    }
    counts.entries = appended.len();
    counts.bytes = layout.end - start;
    Assembled { layout, entries: appended, memory, counts }
}

/// Where the records of a batch go.
#[derive(Debug)]
pub struct Layout {
    pack: PackId,
    salt: Salt,
    end: u64,
    /// Headers, and the payloads that follow.
    parts: Vec<([u8; record::HEADER_LEN], Vec<Bytes>)>,
}

/// A list of chunks, with `payload` as it is to be stored.
fn encode<T>(kind: Kind, payload: Vec<u8>, list: T, encoding: &Encoding) -> Result<(T, Encoded), SealError> {
    let payload = Bytes::from(payload);
    Ok((list, encoding.encode(kind, blake3::hash(&payload), vec![payload])?))
}

impl Layout {
    /// Offset behind the last record.
    pub fn end(&self) -> u64 {
        self.end
    }

    fn chunk(&mut self, new: NewChunk) -> ChunkRow {
        let (NewChunk { codec, .. }, Chunk { hash, size }) = (&new, new.chunk);
        let header = Header { kind: Kind::Chunk, codec: *codec, stored: new.stored(), size, hash };
        let location = self.record(&header, new.pieces);
        ChunkRow { hash: header.hash, size: header.size, location, codec: header.codec }
    }

    fn blob(&mut self, manifest: &Manifest, encoded: Encoded) -> NewBlob {
        NewBlob::new(manifest, self.record(&encoded.header, encoded.pieces))
    }

    fn segment(&mut self, segment: Segment, encoded: Encoded) -> SegmentRow {
        SegmentRow { location: self.record(&encoded.header, encoded.pieces), segment }
    }

    fn record(&mut self, header: &Header, pieces: Vec<Bytes>) -> Location {
        let start = header.encode(&self.salt, self.end);
        let position = self.end + record::HEADER_LEN as u64;
        self.end += header.record_len();
        self.parts.push((start, pieces));
        Location { pack: self.pack, position, stored: header.stored }
    }

    /// Fills up to the next multiple of `block` bytes, which is more than a header takes.
    pub fn fill(&mut self, block: usize) {
        let Ok(over @ 1..) = usize::try_from(self.end % block as u64) else { return };
        let gap = block - over;
        let len = if gap < record::HEADER_LEN { gap + block } else { gap };
        self.record(&Header::filler(len), vec![vec![0; len - record::HEADER_LEN].into()]);
    }

    /// All bytes, in order.
    pub fn into_bytes(self) -> Vec<Bytes> {
        let parts = self.parts.into_iter();
        parts
            .flat_map(|(start, pieces)| std::iter::once(Bytes::copy_from_slice(&start)).chain(pieces))
            .collect()
    }

    /// As [`Layout::into_bytes`], for one system call.
    pub fn pieces(&self) -> Vec<IoSlice<'_>> {
        let parts = self.parts.iter();
        parts
            .flat_map(|(start, pieces)| {
                std::iter::once(&start[..]).chain(pieces.iter().map(|piece| &piece[..]))
            })
            .map(IoSlice::new)
            .collect()
    }
}

/// About how many bytes an entry adds to a pack.
pub fn entry_len(entry: &Entry) -> u64 {
    let header = record::HEADER_LEN as u64;
    let chunk = entry.chunk.as_ref().map_or(0, |new| header + u64::from(new.stored()));
    let blob = entry.blob.as_ref().map_or(0, |manifest| header + 128 + 36 * manifest.chunks().len() as u64);
    let segment = entry.segment.as_ref().map_or(0, |segment| header + 128 + segment.encoded_len() as u64);
    chunk + blob + segment
}
