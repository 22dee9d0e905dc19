//! Handing out a large blob, chunk by chunk, a little ahead of whoever reads it.

use std::collections::{HashMap, VecDeque};

use blake3::Hash;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::oneshot;

use super::index::ChunkRow;
use super::reader::{Held, ReadError, Reader, crashed, slice};
use crate::domain::SMALL;
use crate::domain::manifest::{Chunk, Part};

/// Chunks whose places are looked up together.
const LOCATE: usize = 128;

/// The bytes of `parts`, in order, in pieces of at most [`SMALL`].
pub fn stream(reader: Reader, parts: VecDeque<Part>) -> BoxStream<'static, Result<Bytes, ReadError>> {
    let download = Download { reader, parts, rows: HashMap::new(), ahead: VecDeque::new(), current: None };
    stream::try_unfold(download, async |mut download| {
        Ok(download.next().await?.map(|bytes| (bytes, download)))
    })
    .boxed()
}

type Reading = oneshot::Receiver<Result<Held, ReadError>>;

struct Download {
    reader: Reader,
    parts: VecDeque<Part>,
    /// Places of the chunks to come.
    rows: HashMap<Hash, ChunkRow>,
    /// Reads under way or done, for parts that were taken from `parts`.
    ahead: VecDeque<(Part, Reading)>,
    /// What is left to hand out of a chunk.
    current: Option<(Part, Held)>,
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        let (mut part, held) = match self.current.take() {
            Some(current) => current,
            None => {
                self.read_ahead(1).await?;
                let Some((part, reading)) = self.ahead.pop_front() else { return Ok(None) };
                (part, reading.await.map_err(|error| crashed(&error))??)
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

    /// Sees to it that `count` chunks are being read, if there are as many.
    async fn read_ahead(&mut self, count: usize) -> Result<(), ReadError> {
        while self.ahead.len() < count
            && let Some(part) = self.parts.pop_front()
        {
            let row = self.row(&part.chunk).await?;
            self.ahead.push_back((part, self.reader.hold(row).await?));
        }
        Ok(())
    }

    /// Reads a chunk that was taken back before all of it was handed out.
    async fn read_again(&mut self, part: &Part) -> Result<(Held, Bytes), ReadError> {
        loop {
            let row = self.row(&part.chunk).await?;
            let held = self.reader.hold(row).await?.await.map_err(|error| crashed(&error))??;
            if let Some(bytes) = held.get() {
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
        match self.rows.get(&chunk.hash) {
            Some(row) if row.size == chunk.size => Ok(*row),
            _ => {
                tracing::error!(chunk = %chunk.hash, "a chunk is missing");
                Err(ReadError::Corrupt)
            }
        }
    }
}
