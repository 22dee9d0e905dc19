//! Cutting and hashing, on threads that may block.

use blake3::Hasher;
use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::domain::cut;
use crate::domain::manifest::Chunk;
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
    Running(JoinHandle<Box<Job>>),
}

impl Work {
    /// Runs a job.
    pub fn start(mut job: Box<Job>) -> Self {
        Self::Running(tokio::task::spawn_blocking(move || {
            job.run();
            job
        }))
    }

    /// The job, once it is done. Leaves a fresh one behind.
    pub async fn take(&mut self) -> Result<Box<Job>, WriteError> {
        match std::mem::replace(self, Self::Ready(Box::default())) {
            Self::Ready(job) => Ok(job),
            Self::Running(handle) => handle.await.map_err(|error| {
                tracing::error!(%error, "cutting content failed");
                WriteError::Failed
            }),
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
    len: usize,
}

impl Job {
    /// For content that goes on behind what `content` has seen.
    pub fn new(content: Hasher, ends: Ends) -> Self {
        Self { content, ends, ..Self::default() }
    }

    /// One pass over the input, piece by piece, while each is in the processor's cache.
    fn run(&mut self) {
        for mut piece in std::mem::take(&mut self.input) {
            if self.ends == Ends::ByContent {
                self.content.update(&piece);
                while let Some(end) = self.cutter.scan(&piece) {
                    let rest = piece.split_off(end);
                    self.take(std::mem::replace(&mut piece, rest));
                    self.end_chunk();
                }
            }
            self.take(piece);
        }
        if std::mem::take(&mut self.is_last) {
            self.cutter.cut();
            self.end_chunk();
        }
    }

    fn take(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.hasher.update(&piece);
            self.len += piece.len();
            self.pieces.push(piece);
        }
    }

    fn end_chunk(&mut self) {
        // No chunk exceeds 4 MiB.
        if let (len @ 1.., pieces) = (std::mem::take(&mut self.len), std::mem::take(&mut self.pieces))
            && let Ok(size) = u32::try_from(len)
        {
            let chunk = Chunk { hash: self.hasher.finalize(), size };
            self.output.push(NewChunk { chunk, pieces });
        }
        self.hasher.reset();
    }
}
