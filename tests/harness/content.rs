//! Content for files: any amount, made from a seed, the same each time, readable from anywhere.

use std::io;

use bytes::{Bytes, BytesMut};
use futures::Stream;

/// How much is made at a time.
const PIECE: usize = 256 * 1024;

/// `len` bytes that do not compress and do not repeat: the output of BLAKE3 (an extendable-output function) for a seed.
#[derive(Debug, Clone)]
pub struct Content {
    seed: String,
    len: u64,
}

impl Content {
    /// Content of that length; another seed gives other content.
    pub fn new(seed: impl Into<String>, len: u64) -> Self {
        Self { seed: seed.into(), len }
    }

    /// How many bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes of a range, as far as there are any.
    pub fn range(&self, start: u64, len: u64) -> Bytes {
        let len = len.min(self.len.saturating_sub(start));
        let mut bytes = BytesMut::zeroed(usize::try_from(len).expect("it fits into memory"));
        let mut source = blake3::Hasher::new().update(self.seed.as_bytes()).finalize_xof();
        source.set_position(start);
        source.fill(&mut bytes);
        bytes.freeze()
    }

    /// All of it at once. For content that fits into memory.
    pub fn bytes(&self) -> Bytes {
        self.range(0, self.len)
    }

    /// All of it, a piece at a time, none made before it is asked for.
    pub fn pieces(&self) -> impl Iterator<Item = Bytes> + Send + use<> {
        let content = self.clone();
        let step = PIECE as u64;
        (0..content.len.div_ceil(step)).map(move |piece| content.range(piece * step, step))
    }

    /// As a request body.
    pub fn stream(&self) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        futures::stream::iter(self.pieces().map(Ok))
    }

    /// The BLAKE3-256 of all of it, in hex.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        self.pieces().for_each(|piece| {
            hasher.update(&piece);
        });
        hasher.finalize().to_hex().to_string()
    }
}

/// Cuts bytes into pieces of at most `size`, as a body that arrives in that many frames.
pub fn chunks_of(bytes: &Bytes, size: usize) -> Vec<Bytes> {
    let mut rest = bytes.clone();
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        chunks.push(rest.split_to(size.min(rest.len())));
    }
    chunks
}
