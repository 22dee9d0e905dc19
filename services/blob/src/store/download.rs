//! Handing out a large blob, chunk by chunk, a little ahead of whoever reads it.

use std::collections::{HashMap, VecDeque};

use blake3::Hash;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

use super::index::ChunkRow;
use super::reader::{Held, ReadError, Reader, slice};
use super::run::Coming;
use crate::domain::SMALL;
use crate::domain::manifest::{Chunk, Part};

/// Chunks whose places are looked up together.
const LOCATE: usize = 128;

/// The bytes of `parts`, in order, in pieces of at most [`SMALL`].
pub fn stream(reader: Reader, parts: VecDeque<Part>) -> BoxStream<'static, Result<Bytes, ReadError>> {
    let download =
        Download { reader, parts, taken: 0, rows: HashMap::new(), ahead: VecDeque::new(), current: None };
    stream::try_unfold(download, async |mut download| {
        Ok(download.next().await?.map(|bytes| (bytes, download)))
    })
    .boxed()
}

struct Download {
    reader: Reader,
    parts: VecDeque<Part>,
    /// Chunks that were handed out, or are being.
    taken: usize,
    /// Places of the chunks to come.
    rows: HashMap<Hash, ChunkRow>,
    /// Runs that are being read or were, for parts that were taken from `parts`.
    ahead: VecDeque<Ahead>,
    /// What is left to hand out of a chunk.
    current: Option<(Part, Held)>,
}

/// A run, and what is wanted of each of its chunks.
struct Ahead {
    parts: VecDeque<Part>,
    chunks: Coming,
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        let (mut part, held) = match self.current.take() {
            Some(current) => current,
            None => {
                self.read_ahead(1).await?;
                let Some(chunk) = self.take().await? else { return Ok(None) };
                chunk
            }
        };
        let (held, bytes) = match held.get() {
            Some(bytes) => (held, bytes),
            None => self.read_again(&part).await?,
        };
        let piece = part.bytes.start..part.bytes.end.min(part.bytes.start + SMALL);
        let bytes = slice(&bytes, piece.clone())?;
        part.bytes.start = piece.end;
        if !part.bytes.is_empty() {
            self.current = Some((part, held));
        }
        self.read_ahead(self.reader.read_ahead()).await?;
        Ok(Some(bytes))
    }

    /// The next chunk of those that are being read.
    async fn take(&mut self) -> Result<Option<(Part, Held)>, ReadError> {
        let Some(run) = self.ahead.front_mut() else { return Ok(None) };
        let held = run.chunks.next().await.transpose()?;
        let taken = run.parts.pop_front().zip(held);
        if run.parts.is_empty() {
            self.ahead.pop_front();
        }
        self.taken += 1;
        Ok(taken)
    }

    /// Sees to it that `count` runs are being read, if there is enough for as many. No run is longer than what was handed out
    /// before and one chunk: the first comes soon, and who leaves early has had little read in vain.
    async fn read_ahead(&mut self, count: usize) -> Result<(), ReadError> {
        while self.ahead.len() < count
            && let Some(part) = self.parts.pop_front()
        {
            let first = self.row(&part.chunk).await?;
            let mut run = self.reader.run(first, 1 + self.taken);
            let mut parts = VecDeque::from([part]);
            while let Some(next) = self.parts.front()
                && let Some(row) = self.known(&next.chunk)
                && run.add(row)
            {
                parts.extend(self.parts.pop_front());
            }
            self.ahead.push_back(Ahead { parts, chunks: self.reader.hold(run).await? });
        }
        Ok(())
    }

    /// Reads a chunk that was taken back before all of it was handed out.
    async fn read_again(&mut self, part: &Part) -> Result<(Held, Bytes), ReadError> {
        loop {
            let row = self.row(&part.chunk).await?;
            let mut chunks = self.reader.hold(self.reader.run(row, 1)).await?;
            if let Some(held) = chunks.next().await.transpose()?
                && let Some(bytes) = held.get()
            {
                return Ok((held, bytes));
            }
        }
    }

    async fn row(&mut self, chunk: &Chunk) -> Result<ChunkRow, ReadError> {
        if !self.rows.contains_key(&chunk.hash) {
            let next = self.parts.iter().map(|part| part.chunk.hash);
            let hashes: Vec<_> = std::iter::once(chunk.hash).chain(next).take(LOCATE).collect();
            self.rows = self.reader.locate(&hashes).await?;
        }
        self.known(chunk).ok_or_else(|| {
            tracing::error!(chunk = %chunk.hash, "a chunk is missing");
            ReadError::Corrupt
        })
    }

    fn known(&self, chunk: &Chunk) -> Option<ChunkRow> {
        self.rows.get(&chunk.hash).filter(|row| row.size == chunk.size).copied()
    }
}
