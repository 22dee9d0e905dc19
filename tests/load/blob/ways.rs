//! The other ways to write: many small files in one stream, and what changed of a large one.

use bytes::Bytes;
use fastcdc::v2020::FastCDC;
use holdall_proto::blob::v1::{
    BatchFile, DeltaChunks, WriteBatchRequest, WriteDeltaFinish, WriteDeltaHeader, WriteDeltaRequest,
    batch_result::Result as Outcome, write_delta_request::Part as Sent,
    write_delta_response::Part as Answered,
};
use tokio_stream::wrappers::ReceiverStream;

use super::{Blob, Client, MESSAGE, WRONG};

/// A space of somebody: what deltas are looked up in.
const SPACE: &str = "00000000-0000-4000-8000-000000000001";
/// Files of a message of a batch.
const FILES: usize = 60;

/// Writes all files in one stream; with `refused`, the same files under a digest that is not theirs, which costs the calls and
/// nothing else.
pub async fn batch(blob: &Blob, client: &mut Client, files: Vec<Bytes>, refused: bool) {
    let digest = if refused { Bytes::from_static(&WRONG) } else { Bytes::new() };
    let count = files.len();
    let mut grant = blob.grant(SPACE);
    let messages: Vec<_> = files
        .chunks(FILES)
        .map(|files| WriteBatchRequest {
            files: files
                .iter()
                .map(|data| BatchFile {
                    grant: std::mem::take(&mut grant),
                    data: data.clone(),
                    digest: digest.clone(),
                })
                .collect(),
        })
        .collect();
    let mut answer =
        client.write_batch(futures::stream::iter(messages)).await.expect("it is taken").into_inner();
    let mut results = 0;
    while let Some(message) = answer.message().await.expect("it is answered") {
        let is_written = |outcome: &Option<Outcome>| matches!(outcome, Some(Outcome::Written(_)));
        assert!(message.results.iter().all(|one| is_written(&one.result) != refused), "{message:?}");
        results += message.results.len();
    }
    assert_eq!(results, count);
}

/// Writes what the space lacks of the content. Returns how many bytes of content were sent.
pub async fn delta(blob: &Blob, client: &mut Client, content: &Bytes) -> u64 {
    let chunks: Vec<_> = FastCDC::new(content, 256 << 10, 1 << 20, 4 << 20)
        .map(|chunk| content.slice(chunk.offset..chunk.offset + chunk.length))
        .collect();
    let (sender, messages) = tokio::sync::mpsc::channel(4);
    let messages = ReceiverStream::new(messages);
    let mut answer = client.write_delta(messages).await.expect("it is taken").into_inner();
    let send = async |part| sender.send(WriteDeltaRequest { part: Some(part) }).await.expect("it is read");
    let (size, chunk_count) = (content.len() as u64, u32::try_from(chunks.len()).expect("not so many"));
    send(Sent::Header(WriteDeltaHeader { grant: blob.grant(SPACE), size, chunk_count })).await;
    let entry = |chunk: &Bytes| {
        let size = u32::try_from(chunk.len()).expect("at most 4 MiB").to_le_bytes();
        [&blake3::hash(chunk).as_bytes()[..], &size].concat()
    };
    let entries = chunks.iter().flat_map(entry).collect::<Vec<_>>().into();
    send(Sent::Chunks(DeltaChunks { entries })).await;
    let Some(Answered::Missing(missing)) = answer.message().await.expect("it answers").and_then(|it| it.part)
    else {
        panic!("chunks are asked for first")
    };
    let mut moved = 0;
    for number in missing.numbers {
        let mut chunk = chunks[usize::try_from(number).expect("a number of a chunk")].clone();
        moved += chunk.len() as u64;
        while !chunk.is_empty() {
            send(Sent::Data(chunk.split_to(chunk.len().min(MESSAGE)))).await;
        }
    }
    send(Sent::Finish(WriteDeltaFinish { digest: Bytes::new() })).await;
    let last = answer.message().await.expect("it answers").and_then(|it| it.part);
    assert!(matches!(last, Some(Answered::Written(_))));
    moved
}
