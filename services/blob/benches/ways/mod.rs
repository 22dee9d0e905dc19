//! The other ways to write: in batches, in goes, and as a delta.

use holdall_proto::blob::v1::batch_result::Result as Outcome;
use holdall_proto::blob::v1::write_at_request::Part as At;
use holdall_proto::blob::v1::write_delta_request::Part as Sent;
use holdall_proto::blob::v1::write_delta_response::Part as Answered;
use holdall_proto::blob::v1::{
    BatchFile, DeltaChunks, FinishUploadRequest, StartUploadRequest, WriteAtFinish, WriteAtHeader,
    WriteAtRequest, WriteBatchRequest, WriteDeltaFinish, WriteDeltaHeader, WriteDeltaRequest,
};

use super::*;

type Client = BlobServiceClient<Upstream>;

/// Files of a batch, and of a message.
const FILES: usize = 20_000;
const FILES_IN_MESSAGE: usize = 60;
/// Bytes of a go.
const GO: usize = 16 << 20;
const SPACE: &str = "00000000-0000-4000-8000-000000000001";

pub async fn run(bench: &Bench, service: &Service, mib: usize) {
    let mut client = Bench::client(service);
    let mut flushes = 0_f64;
    let mut best = [Duration::MAX; 5];
    let mut moved = 0;
    for _ in 0..ROUNDS {
        flushes = flushes.max(flush_rate(&bench.dir.join("flushes"), TIME));
        let content = bench.source.next(mib.min(48) << 20);
        let mut note = |at: usize, started: Instant| best[at] = best[at].min(started.elapsed());
        let started = Instant::now();
        batch(bench, &mut client).await;
        note(0, started);
        let started = Instant::now();
        bench.write(&mut client, content.len() / MESSAGE, MESSAGE).await;
        note(1, started);
        let started = Instant::now();
        goes(bench, &mut client, content.len()).await;
        note(2, started);
        let (chunks, mut content) = (cut(&content), content.to_vec());
        let started = Instant::now();
        delta(bench, &mut client, &content.clone().into(), &chunks).await;
        note(3, started);
        let middle = content.len() / 2;
        content[middle..middle + (1 << 20)].copy_from_slice(&bench.source.next(1 << 20));
        let (content, started) = (Bytes::from(content), Instant::now());
        moved = delta(bench, &mut client, &content, &cut(&content)).await;
        note(4, started);
    }
    let [batch, whole, goes, first, again] = best;
    let files = f64::from(u32::try_from(FILES).unwrap());
    let against = "4 KiB append and fdatasync";
    line("4 KiB files in one batch", files / batch.as_secs_f64(), "/s", against, flushes);
    let rate = |time| mib_per_s(mib.min(48), time);
    line("write in goes of 16 MiB", rate(goes), "MiB/s", "a write in one go", rate(whole));
    line("delta, all of it new", rate(first), "MiB/s", "a write in one go", rate(whole));
    line("delta, 1 MiB of it new", rate(again), "MiB/s", "a write in one go", rate(whole));
    println!("{:<34} {:>10} KiB moved for it", "", moved >> 10);
}

fn grant(bench: &Bench) -> Bytes {
    let expires_at_us = bench.clock.now() + 3_600_000_000;
    let grant =
        WriteGrant { max_size: u64::MAX, expires_at_us, space_id: SPACE.into(), ..Default::default() };
    bench.keys.seal(&grant)
}

async fn batch(bench: &Bench, client: &mut Client) {
    let (source, mut grant) = (Arc::clone(&bench.source), grant(bench));
    let mut file = move || {
        let grant = std::mem::take(&mut grant);
        BatchFile { grant, data: source.next(SMALL), digest: Bytes::new() }
    };
    let messages = (0..FILES.div_ceil(FILES_IN_MESSAGE)).map(move |message| {
        let count = FILES_IN_MESSAGE.min(FILES - message * FILES_IN_MESSAGE);
        WriteBatchRequest { files: (0..count).map(|_| file()).collect() }
    });
    let mut answer = client.write_batch(futures::stream::iter(messages)).await.unwrap().into_inner();
    let mut results = 0;
    while let Some(message) = answer.message().await.unwrap() {
        assert!(message.results.iter().all(|result| matches!(result.result, Some(Outcome::Written(_)))));
        results += message.results.len();
    }
    assert_eq!(results, FILES);
}

async fn goes(bench: &Bench, client: &mut Client, len: usize) {
    let request = StartUploadRequest { grant: grant(bench), size: None };
    let started = client.start_upload(request).await.unwrap().into_inner();
    let (handle, epoch) = (started.handle, started.epoch);
    for offset in (0..len).step_by(GO) {
        let go = GO.min(len - offset);
        let source = Arc::clone(&bench.source);
        let header = At::Header(WriteAtHeader { handle: handle.clone(), epoch, offset: offset as u64 });
        let messages = [header]
            .into_iter()
            .chain((0..go / MESSAGE).map(move |_| At::Data(source.next(MESSAGE))))
            .chain([At::Finish(WriteAtFinish { size: go as u64 })])
            .map(|part| WriteAtRequest { part: Some(part) });
        client.write_at(futures::stream::iter(messages)).await.unwrap();
    }
    let request = FinishUploadRequest { handle, epoch, size: len as u64, digest: Bytes::new() };
    client.finish_upload(request).await.unwrap();
}

fn cut(content: &Bytes) -> Vec<Bytes> {
    let (mut cutter, mut rest, mut chunks) = (Cutter::default(), content.clone(), Vec::new());
    while let Some(end) = cutter.scan(&rest) {
        chunks.push(rest.split_to(end));
    }
    chunks.push(rest);
    chunks
}

/// Returns how many bytes of content were sent.
async fn delta(bench: &Bench, client: &mut Client, content: &Bytes, chunks: &[Bytes]) -> usize {
    let (sender, messages) = tokio::sync::mpsc::channel(4);
    let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
    let mut answer = client.write_delta(messages).await.unwrap().into_inner();
    let send = async |part| sender.send(WriteDeltaRequest { part: Some(part) }).await.unwrap();
    let (size, chunk_count) = (content.len() as u64, u32::try_from(chunks.len()).unwrap());
    send(Sent::Header(WriteDeltaHeader { grant: grant(bench), size, chunk_count })).await;
    let entry = |chunk: &Bytes| {
        let size = u32::try_from(chunk.len()).unwrap().to_le_bytes();
        [&blake3::hash(chunk).as_bytes()[..], &size].concat()
    };
    let entries = chunks.iter().flat_map(entry).collect::<Vec<_>>().into();
    send(Sent::Chunks(DeltaChunks { entries })).await;
    let Some(Answered::Missing(missing)) = answer.message().await.unwrap().unwrap().part else {
        unreachable!("chunks are asked for first")
    };
    let mut moved = 0;
    for number in missing.numbers {
        let mut chunk = chunks[usize::try_from(number).unwrap()].clone();
        moved += chunk.len();
        while !chunk.is_empty() {
            send(Sent::Data(chunk.split_to(chunk.len().min(MESSAGE)))).await;
        }
    }
    send(Sent::Finish(WriteDeltaFinish { digest: Bytes::new() })).await;
    assert!(matches!(answer.message().await.unwrap().unwrap().part, Some(Answered::Written(_))));
    moved
}
