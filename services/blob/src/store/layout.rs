//! Entries as records, one behind the other: which are written, where each stands, and what the index is told of it.

use std::collections::HashSet;
use std::io::IoSlice;

use blake3::Hash;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::counters::Counters;
use super::index::{ChunkRow, Index, NewBlob};
use super::lane::{Appended, Entry, NewChunk, WriteError};
use super::pack::{Location, PackId};
use crate::domain::manifest::Manifest;
use crate::domain::record::{self, Header, Kind, Salt};

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
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    chunks: u64,
    deduplicated: u64,
    blobs: u64,
    bytes: u64,
}

impl Counts {
    /// Counts it, once it is written.
    pub fn add_to(self, counters: &Counters) {
        Counters::add(&counters.chunks, self.chunks);
        Counters::add(&counters.deduplicated, self.deduplicated);
        Counters::add(&counters.blobs, self.blobs);
        Counters::add(&counters.appended_bytes, self.bytes);
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
        let mut rows = Appended { reply: entry.reply, chunk: None, blob: None, moved_from: entry.moved_from };
        if let Some(chunk) = entry.chunk {
            // The same chunk twice in a batch: both are kept, or neither.
            if known.insert(chunk.chunk.hash) || entry.moved_from.is_some() {
                rows.chunk = Some(layout.chunk(chunk));
                memory.extend(entry.memory);
                counts.chunks += 1;
            } else {
                counts.deduplicated += 1;
            }
        }
        if let Some(manifest) = entry.blob {
            rows.blob = Some(layout.blob(&manifest));
            counts.blobs += 1;
        }
        appended.push(rows);
    }
    counts.bytes = layout.end - start;
    Assembled { layout, entries: appended, memory, counts }
}

/// Where the records of a batch go.
#[derive(Debug)]
pub struct Layout {
    pack: PackId,
    salt: Salt,
    end: u64,
    /// Headers, with what is short behind them, and the pieces that follow.
    parts: Vec<(Vec<u8>, Vec<Bytes>)>,
}

impl Layout {
    /// Offset behind the last record.
    pub fn end(&self) -> u64 {
        self.end
    }

    fn chunk(&mut self, new: NewChunk) -> ChunkRow {
        let header = Header::raw(Kind::Chunk, new.chunk.size, new.chunk.hash);
        let location = self.record(&header, Vec::new(), new.pieces);
        ChunkRow { hash: header.hash, size: header.size, location, codec: header.codec }
    }

    fn blob(&mut self, manifest: &Manifest) -> NewBlob {
        let payload = manifest.encode();
        let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let header = Header::raw(Kind::Manifest, size, blake3::hash(&payload));
        let location = self.record(&header, payload, Vec::new());
        NewBlob::new(manifest, location)
    }

    fn record(&mut self, header: &Header, payload: Vec<u8>, pieces: Vec<Bytes>) -> Location {
        let mut start = Vec::with_capacity(record::HEADER_LEN + payload.len());
        start.extend(header.encode(&self.salt, self.end));
        start.extend(payload);
        let position = self.end + record::HEADER_LEN as u64;
        self.end += header.record_len();
        self.parts.push((start, pieces));
        Location { pack: self.pack, position, stored: header.stored }
    }

    /// All bytes, in order.
    pub fn into_bytes(self) -> Vec<Bytes> {
        let parts = self.parts.into_iter();
        parts.flat_map(|(start, pieces)| std::iter::once(start.into()).chain(pieces)).collect()
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
    let chunk = entry.chunk.as_ref().map_or(0, |new| header + u64::from(new.chunk.size));
    let blob = entry.blob.as_ref().map_or(0, |manifest| header + 128 + 36 * manifest.chunks().len() as u64);
    chunk + blob
}
