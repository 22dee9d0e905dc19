//! Cutting, hashing and encoding, on threads that compute.

use std::sync::Arc;

use blake3::Hasher;
use bytes::Bytes;
use tokio::task::JoinHandle;

use super::{crashed, unencoded};
use crate::domain::cut;
use crate::domain::payload::Encoding;
use crate::domain::record::Kind;
use crate::domain::seal::SealError;
use crate::store::compute::Compute;
use crate::store::lane::{NewChunk, WriteError};

/// Where chunks end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ends {
    /// Where the content says so, and where they are told to.
    #[default]
    ByContent,
    /// Only where they are told to; no digest of the whole is made.
    AsTold,
}

/// A job: under way, or waiting for more.
#[derive(Debug)]
pub enum Work {
    /// It waits.
    Ready(Box<Job>),
    /// It is under way.
    Running(JoinHandle<Result<Box<Job>, WriteError>>),
}

impl Work {
    /// Runs a job.
    pub fn start(mut job: Box<Job>, encoding: &Arc<Encoding>, compute: &Compute) -> Self {
        let encoding = Arc::clone(encoding);
        Self::Running(compute.run(move || {
            job.run(&encoding).map_err(|error| unencoded(&error))?;
            Ok(job)
        }))
    }

    /// The job, once it is done. Leaves a fresh one behind.
    pub async fn take(&mut self) -> Result<Box<Job>, WriteError> {
        match std::mem::replace(self, Self::Ready(Box::default())) {
            Self::Ready(job) => Ok(job),
            Self::Running(handle) => handle.await.map_err(|error| crashed(&error))?,
        }
    }
}

/// What there is to do, and what came of it.
#[derive(Debug, Default)]
pub struct Job {
    /// The next bytes.
    pub input: Vec<Bytes>,
    /// The chunk ends with this input, wherever that is.
    pub is_last: bool,
    /// Where else chunks end.
    ends: Ends,
    /// Of all content.
    pub content: Hasher,
    /// Chunks that ended.
    pub output: Vec<NewChunk>,
    cutter: cut::Cutter,
    /// Of the present chunk.
    hasher: Hasher,
    pieces: Vec<Bytes>,
}

impl Job {
    /// For content that goes on behind what `content` has seen.
    pub fn new(content: Hasher, ends: Ends) -> Self {
        Self { content, ends, ..Self::default() }
    }

    /// One pass over the input, piece by piece, while each is in the processor's cache.
    fn run(&mut self, encoding: &Encoding) -> Result<(), SealError> {
        for mut piece in std::mem::take(&mut self.input) {
            if self.ends == Ends::ByContent {
                self.content.update(&piece);
                while let Some(end) = self.cutter.scan(&piece) {
                    let rest = piece.split_off(end);
                    self.take(std::mem::replace(&mut piece, rest));
                    self.end_chunk(encoding)?;
                }
            }
            self.take(piece);
        }
        if std::mem::take(&mut self.is_last) {
            self.cutter.cut();
            self.end_chunk(encoding)?;
        }
        Ok(())
    }

    fn take(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.hasher.update(&piece);
            self.pieces.push(piece);
        }
    }

    fn end_chunk(&mut self, encoding: &Encoding) -> Result<(), SealError> {
        let pieces = std::mem::take(&mut self.pieces);
        if !pieces.is_empty() {
            self.output.push(encoding.encode(Kind::Chunk, self.hasher.finalize(), pieces)?.into());
        }
        self.hasher.reset();
        Ok(())
    }
}
