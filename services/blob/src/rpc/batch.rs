//! `WriteBatch`.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::stream::{FuturesOrdered, StreamExt};
use holdall_proto::blob::v1::batch_result::Result as Outcome;
use holdall_proto::blob::v1::{
    BatchError, BatchFile, BatchResult, WriteBatchRequest, WriteBatchResponse, WriteGrant, WriteResponse,
};
use holdall_proto::grant::GrantError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::grant::{digest, space};
use super::{Rpc, invalid, next};
use crate::domain::{BlobId, SMALL};
use crate::error::Error;
use crate::store::lane::WriteError;
use crate::store::upload::UploadError;

/// Files in a message, at most.
const MESSAGE_FILES: usize = 1024;
/// With so many files under way, or…
const FILES: usize = 1024;
/// …so many bytes of them, no further message is taken.
const BYTES: usize = 4 << 20;
/// Results in a message, at most.
const RESULTS: usize = 256;
/// Messages with results that wait for the client.
const ANSWERS: usize = 4;

pub(super) type Answer = ReceiverStream<Result<WriteBatchResponse, Status>>;

/// Files are written by tasks of their own: whatever the client does, none of them holds what others wait for.
pub(super) fn write(rpc: &Rpc, stream: Streaming<WriteBatchRequest>) -> Answer {
    let (answers, answer) = mpsc::channel(ANSWERS);
    let batch = Batch { rpc: rpc.clone(), answers, grant: None, under_way: FuturesOrdered::new(), bytes: 0 };
    tokio::spawn(batch.run(stream));
    ReceiverStream::new(answer)
}

struct Batch {
    rpc: Rpc,
    answers: mpsc::Sender<Result<WriteBatchResponse, Status>>,
    /// The last one that came, sealed and opened.
    grant: Option<(Bytes, Result<Arc<WriteGrant>, GrantError>)>,
    /// In the order of the files, each with its length.
    under_way: FuturesOrdered<JoinHandle<(usize, BatchResult)>>,
    /// The sum of those lengths.
    bytes: usize,
}

impl Batch {
    async fn run(mut self, mut stream: Streaming<WriteBatchRequest>) {
        let mut end = None;
        while end.is_none() || !self.under_way.is_empty() {
            let has_room = self.under_way.len() < FILES && self.bytes < BYTES;
            tokio::select! {
                Some(first) = self.under_way.next() => {
                    if self.answer(first).await.is_err() {
                        return;
                    }
                }
                message = next(&mut stream, self.rpc.idle_timeout), if has_room && end.is_none() => {
                    end = match message {
                        Ok(Some(message)) => self.take(message).err().map(Err),
                        Ok(None) => Some(Ok(())),
                        // It may be the client that waits.
                        Err(Error::Idle) if !self.under_way.is_empty() => None,
                        Err(error) => Some(Err(error)),
                    };
                }
            }
        }
        if let Some(Err(error)) = end {
            let _ = self.send(Err(error.into())).await;
        }
    }

    /// Begins to write the files of a message.
    fn take(&mut self, message: WriteBatchRequest) -> Result<(), Error> {
        if message.files.len() > MESSAGE_FILES {
            return Err(invalid("files", "must be at most 1024"));
        }
        for file in message.files {
            let grant = self.grant(&file.grant);
            let (rpc, len) = (self.rpc.clone(), file.data.len());
            self.bytes += len;
            self.under_way.push_back(tokio::spawn(async move {
                let written = match grant {
                    Ok(grant) => write_file(&rpc, &grant, file).await,
                    Err(error) => Err(error.into()),
                };
                (len, result(written))
            }));
        }
        Ok(())
    }

    /// The grant for a file that came with `sealed`.
    fn grant(&mut self, sealed: &Bytes) -> Result<Arc<WriteGrant>, GrantError> {
        let now = self.rpc.clock.now();
        match &self.grant {
            Some((last, opened)) if sealed.is_empty() || sealed == last => {
                opened.clone().and_then(|grant| match grant.expires_at_us {
                    end if end <= now => Err(GrantError::Expired),
                    _ => Ok(grant),
                })
            }
            _ => {
                let opened = self.rpc.keys.open(sealed, now).map(Arc::new);
                // A copy: it would keep its message in memory.
                self.grant = Some((Bytes::copy_from_slice(sealed), opened.clone()));
                opened
            }
        }
    }

    /// Answers for the file that was next, and for those behind it that are ready.
    async fn answer(
        &mut self,
        first: Result<(usize, BatchResult), tokio::task::JoinError>,
    ) -> Result<(), ()> {
        let mut results = Vec::new();
        let mut next = Some(first);
        while let Some(done) = next {
            let (len, done) = done.unwrap_or_else(|error| {
                tracing::error!(%error, "writing a file of a batch ended early");
                (0, result(Err(UploadError::from(WriteError::Failed).into())))
            });
            self.bytes -= len;
            results.push(done);
            next =
                if results.len() < RESULTS { self.under_way.next().now_or_never().flatten() } else { None };
        }
        self.send(Ok(WriteBatchResponse { results })).await
    }

    async fn send(&self, answer: Result<WriteBatchResponse, Status>) -> Result<(), ()> {
        let sending = self.answers.send(answer);
        match tokio::time::timeout(self.rpc.idle_timeout, sending).await {
            Ok(Ok(())) => Ok(()),
            // Nobody listens.
            Ok(Err(_)) | Err(_) => Err(()),
        }
    }
}

async fn write_file(rpc: &Rpc, grant: &WriteGrant, file: BatchFile) -> Result<WriteResponse, Error> {
    if file.data.len() > SMALL {
        return Err(UploadError::TooLarge.into());
    }
    let (size, digest) = (file.data.len() as u64, digest("digest", &file.digest)?);
    let mut upload = rpc.store.upload(BlobId::new(rpc.clock.now()), space(grant), grant.max_size)?;
    upload.push(file.data).await?;
    let now = rpc.clock.now();
    let written = upload.finish(size, digest).await?;
    Ok(rpc.receipt(grant, &written, now))
}

fn result(written: Result<WriteResponse, Error>) -> BatchResult {
    let outcome = match written {
        Ok(written) => Outcome::Written(written),
        Err(error) => {
            let (_, reason) = error.kind();
            Outcome::Error(BatchError { reason: reason.into(), message: error.to_string() })
        }
    };
    BatchResult { result: Some(outcome) }
}
