//! Runs: chunks that stand next to each other in a pack and are asked for at once.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::index::ChunkRow;
use super::packs::Reading;
use super::reader::{Held, ReadError, crashed};
use crate::domain::payload::decoding_memory;

/// Bytes between two chunks that are fetched for nothing, at most: they take less time than another request. Between
/// neighbours there is a header.
const GAP: u64 = 64 << 10;

/// How long a run may become. A single chunk may always be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Chunks.
    pub chunks: usize,
    /// Bytes from its start to its end.
    pub span: u64,
    /// Bytes of memory that reading it takes.
    pub memory: u64,
}

/// Chunks of one pack, in the order in which they stand there.
#[derive(Clone, Debug)]
pub struct Run {
    rows: Vec<ChunkRow>,
    start: u64,
    end: u64,
    memory: u64,
    limits: Limits,
}

impl Run {
    /// A run that begins with this chunk.
    pub fn new(first: ChunkRow, limits: Limits) -> Self {
        let start = first.location.position;
        let (end, memory) = (first.location.end(), memory(&first));
        Self { rows: vec![first], start, end, memory: memory.into(), limits }
    }

    /// Takes one chunk more in, if it stands behind the last one and the limits allow it.
    pub fn add(&mut self, row: ChunkRow) -> bool {
        let Self { rows, start, end, memory: taken, limits } = self;
        let is_next = rows.first().is_some_and(|first| first.location.pack == row.location.pack)
            && row.location.position.checked_sub(*end).is_some_and(|gap| gap <= GAP);
        let memory = *taken + u64::from(memory(&row));
        let fits = rows.len() < limits.chunks
            && row.location.end().saturating_sub(*start) <= limits.span
            && memory <= limits.memory;
        if is_next && fits {
            (*end, *taken) = (row.location.end(), memory);
            rows.push(row);
        }
        is_next && fits
    }

    /// Bytes of memory that it takes to read all of it.
    pub fn memory(&self) -> u64 {
        self.memory
    }

    /// Its chunks, in order.
    pub fn into_rows(self) -> Vec<ChunkRow> {
        self.rows
    }
}

/// Bytes of memory that it takes to read a chunk.
pub fn memory(row: &ChunkRow) -> u32 {
    decoding_memory(row.codec, row.location.stored, row.size)
}

/// A run that is being read: its chunks come in order. When it is dropped, the rest need not be read any more.
pub struct Coming {
    chunks: VecDeque<oneshot::Receiver<Result<Held, ReadError>>>,
    _reading: Reading,
}

impl Coming {
    /// Of chunks that `reading` is to bring.
    pub fn new(chunks: VecDeque<oneshot::Receiver<Result<Held, ReadError>>>, reading: Reading) -> Self {
        Self { chunks, _reading: reading }
    }

    /// The next chunk, once it is there and was verified; `None` when all have been.
    pub async fn next(&mut self) -> Option<Result<Held, ReadError>> {
        let held = self.chunks.front_mut()?.await;
        self.chunks.pop_front();
        Some(held.unwrap_or_else(|error| Err(crashed(&error))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::Codec;
    use crate::store::pack::{Location, PackId};

    const WIDE: Limits = Limits { chunks: 100, span: 8 << 20, memory: 100 << 20 };

    fn chunk(pack: i64, position: u64, stored: u32, codec: Codec) -> ChunkRow {
        let location = Location { pack: PackId(pack), position, stored };
        ChunkRow { hash: blake3::hash(&position.to_le_bytes()), size: 1 << 20, location, codec }
    }

    /// Chunks of 1 MiB with a header between them.
    fn neighbours(codec: Codec) -> impl Iterator<Item = ChunkRow> {
        (0..).map(move |number| chunk(1, 128 + number * ((1 << 20) + 64), 1 << 20, codec))
    }

    /// How long a run of them becomes.
    fn count(mut chunks: impl Iterator<Item = ChunkRow>, limits: Limits) -> usize {
        let mut run = Run::new(chunks.next().unwrap(), limits);
        while run.add(chunks.next().unwrap()) {}
        run.into_rows().len()
    }

    #[test]
    fn a_run_ends_at_the_first_limit() {
        let raw = || neighbours(Codec::Raw);
        assert_eq!(count(raw(), WIDE), 7, "with the headers an eighth is beyond 8 MiB");
        assert_eq!(count(raw(), Limits { span: (8 << 20) + 7 * 64, ..WIDE }), 8);
        assert_eq!(count(raw(), Limits { chunks: 4, ..WIDE }), 4);
        assert_eq!(count(raw(), Limits { memory: 3 << 20, ..WIDE }), 3);
        assert_eq!(
            count(neighbours(Codec::Zstd), Limits { memory: 6 << 20, ..WIDE }),
            3,
            "and room to decode"
        );
        assert_eq!(count(raw(), Limits { span: 0, ..WIDE }), 1);
        assert_eq!(count(raw(), Limits { chunks: 0, span: 0, memory: 0 }), 1, "one can always be read");
    }

    #[test]
    fn memory_is_that_of_all_chunks() {
        let mut chunks = neighbours(Codec::ZstdSealed);
        let mut run = Run::new(chunks.next().unwrap(), WIDE);
        assert_eq!(run.memory(), 2 << 20);
        assert!(run.add(chunks.next().unwrap()));
        assert_eq!(run.memory(), 4 << 20);
        assert!(!run.add(chunk(2, 0, 1, Codec::Raw)));
        assert_eq!(run.memory(), 4 << 20, "without what was not taken");
    }

    #[test]
    fn only_what_follows_closely_in_the_same_pack_is_taken_in() {
        let goes_on = |row| Run::new(chunk(1, 1000, 500, Codec::Raw), WIDE).add(row);
        assert!(goes_on(chunk(1, 1500, 5, Codec::Raw)));
        assert!(goes_on(chunk(1, 1500 + GAP, 5, Codec::Raw)));
        assert!(!goes_on(chunk(1, 1501 + GAP, 5, Codec::Raw)), "too far");
        assert!(!goes_on(chunk(1, 1499, 5, Codec::Raw)), "across");
        assert!(!goes_on(chunk(1, 1000, 500, Codec::Raw)), "the same");
        assert!(!goes_on(chunk(1, 200, 5, Codec::Raw)), "before");
        assert!(!goes_on(chunk(2, 1564, 5, Codec::Raw)), "elsewhere");
    }
}
