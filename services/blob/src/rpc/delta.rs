//! `GetChunking` and `WriteDelta`.

use holdall_proto::blob::v1::write_delta_request::Part;
use holdall_proto::blob::v1::write_delta_response::Part as Answered;
use holdall_proto::blob::v1::{
    DeltaMissing, GetChunkingResponse, WriteDeltaRequest, WriteDeltaResponse, WriteResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::Instrument;

use super::grant::{digest, space};
use super::{Rpc, invalid, next};
use crate::domain::manifest::decode_chunks;
use crate::domain::{BlobId, cut};
use crate::error::Error;
use crate::store::upload::UploadError;
use crate::store::upload::delta::MAX_LISTED;

pub(super) type Answer = ReceiverStream<Result<WriteDeltaResponse, Status>>;

/// Answers that wait for the client.
const ANSWERS: usize = 4;

pub(super) fn chunking() -> GetChunkingResponse {
    let bytes = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    let (strict_mask, loose_mask) = cut::masks();
    GetChunkingResponse {
        algorithm: "fastcdc-v2020".to_owned(),
        normalization_level: cut::NORMALIZATION_LEVEL,
        min_size: bytes(cut::MIN),
        average_size: bytes(cut::AVG),
        max_size: bytes(cut::MAX),
        gear: cut::gear().to_vec(),
        strict_mask,
        loose_mask,
        hash: "blake3-256".to_owned(),
        max_chunks: MAX_LISTED,
    }
}

pub(super) fn write(rpc: &Rpc, stream: Streaming<WriteDeltaRequest>) -> Answer {
    let (answers, answer) = mpsc::channel(ANSWERS);
    let rpc = rpc.clone();
    let writing = async move {
        let last = tokio::select! {
            last = run(&rpc, stream, &answers) => last,
            // Nobody listens any more.
            () = answers.closed() => return,
        };
        let last = last.map(|written| WriteDeltaResponse { part: Some(Answered::Written(written)) });
        let _ = answers.send(last.map_err(Status::from)).await;
    };
    tokio::spawn(writing.in_current_span());
    ReceiverStream::new(answer)
}

async fn run(
    rpc: &Rpc,
    mut stream: Streaming<WriteDeltaRequest>,
    answers: &mpsc::Sender<Result<WriteDeltaResponse, Status>>,
) -> Result<WriteResponse, Error> {
    let Some(Part::Header(header)) = next_part(rpc, &mut stream).await? else {
        return Err(invalid("header", "must be the first message"));
    };
    let grant = rpc.open_grant(&header.grant)?;
    if header.size > grant.max_size {
        return Err(UploadError::TooLarge.into());
    }
    let id = BlobId::new(rpc.clock.now());
    let mut delta = rpc.store.delta(id, space(&grant), header.size, header.chunk_count).await?;
    loop {
        match next_part(rpc, &mut stream).await? {
            Some(Part::Chunks(list)) if !delta.is_listed() => {
                let chunks = decode_chunks(&list.entries)
                    .ok_or(invalid("chunks.entries", "must be names and sizes of chunks"))?;
                let missing = DeltaMissing { numbers: delta.list(&chunks).await? };
                let answer = WriteDeltaResponse { part: Some(Answered::Missing(missing)) };
                let sent = tokio::time::timeout(rpc.idle_timeout, answers.send(Ok(answer))).await;
                sent.map_err(|_| Error::Idle)?.map_err(|_| Error::Truncated)?;
            }
            Some(Part::Data(data)) if delta.is_listed() => delta.push(data).await?,
            Some(Part::Finish(finish)) => {
                let digest = digest("finish.digest", &finish.digest)?;
                let now = rpc.clock.now();
                let written = delta.finish(digest).await?;
                return Ok(rpc.receipt(&grant, &written, now));
            }
            Some(Part::Chunks(_)) => return Err(invalid("chunks", "are more than were announced")),
            Some(Part::Data(_)) => return Err(invalid("data", "must come after all chunks were named")),
            Some(Part::Header(_)) => return Err(invalid("header", "must be the first message only")),
            None => return Err(Error::Truncated),
        }
    }
}

/// The next part, or `None` at the end of the stream.
async fn next_part(rpc: &Rpc, stream: &mut Streaming<WriteDeltaRequest>) -> Result<Option<Part>, Error> {
    match next(stream, rpc.idle_timeout).await? {
        None => Ok(None),
        Some(message) => message.part.map(Some).ok_or(invalid("part", "must be one that is known")),
    }
}
