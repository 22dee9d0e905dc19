//! The blob service alone, as a process, over TCP.

mod ways;

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use fastcdc::v2020::FastCDC;
use futures::future::join_all;
use harness::{Command, Content, Process};
use holdall_proto::{
    blob::v1::{
        ReadGrant, ReadRequest, Receipt, WriteFinish, WriteGrant, WriteHeader, WriteRequest, WriteResponse,
        blob_service_client::BlobServiceClient, write_request::Part,
    },
    grant::KeyRing,
};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::{Figures, LARGE, MIB, ROUNDS, SMALL, SPAN, baseline, freshen, mib_per_second, timed};

const MESSAGE: usize = 256 << 10;
const CALLERS: usize = 64;
/// Files of a batch.
const BATCH: u64 = 20_000;
/// Not the digest of anything here.
const WRONG: [u8; 32] = [0x5a; 32];

type Client = BlobServiceClient<Channel>;

/// The process, and the key that it shares with this one.
struct Blob {
    process: Process,
    url: String,
    keys: KeyRing,
}

impl Blob {
    async fn start(folder: &Path) -> Self {
        let key = folder.join("key");
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&key).expect("a new folder");
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("the system has random bytes");
        writeln!(file, "{}", hex::encode(secret)).expect("the disk has room");
        // As it is shipped.
        let process = Command::new("holdall-blob")
            .arg("--listen")
            .arg("127.0.0.1:0")
            .arg("--data-dir")
            .path(&folder.join("data"))
            .env("HOLDALL_BLOB__GRANTS__KEY_FILES", &format!("[{key:?}]"))
            .start();
        let url = process.address().await;
        Self { process, url, keys: KeyRing::new(&secret) }
    }

    /// A connection of its own, with room for whole messages: the same that the gateway makes.
    fn client(&self) -> Client {
        let endpoint = Endpoint::from_shared(self.url.clone())
            .expect("an address")
            .tcp_nodelay(true)
            .max_frame_size(256 << 10)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20);
        BlobServiceClient::new(endpoint.connect_lazy())
    }

    fn grant(&self, space: &str) -> Bytes {
        self.keys.seal(&WriteGrant {
            max_size: u64::MAX,
            expires_at_us: in_an_hour(),
            space_id: space.to_owned(),
            ..WriteGrant::default()
        })
    }

    async fn write(&self, client: &mut Client, content: Bytes) -> String {
        let answer = self.call(client, content, Bytes::new()).await.expect("it is taken");
        self.keys.open::<Receipt>(&answer.receipt, 0).expect("a receipt").blob_id
    }

    /// A write that is refused once all is there, before any of it is stored: what the call itself costs.
    async fn refused(&self, client: &mut Client, content: Bytes) {
        let answer = self.call(client, content, Bytes::from_static(&WRONG)).await;
        assert_eq!(answer.expect_err("it has another digest").code(), Code::InvalidArgument);
    }

    async fn call(
        &self,
        client: &mut Client,
        content: Bytes,
        digest: Bytes,
    ) -> Result<WriteResponse, tonic::Status> {
        let header = Part::Header(WriteHeader { grant: self.grant(""), size: None });
        let len = content.len();
        let finish = Part::Finish(WriteFinish { size: len as u64, digest });
        let data =
            (0..len).step_by(MESSAGE).map(move |at| Part::Data(content.slice(at..len.min(at + MESSAGE))));
        let parts = std::iter::once(header).chain(data).chain([finish]);
        let messages = parts.map(|part| WriteRequest { part: Some(part) });
        Ok(client.write(futures::stream::iter(messages)).await?.into_inner())
    }

    async fn read(&self, client: &mut Client, blob_id: &str) -> u64 {
        let grant = ReadGrant { blob_id: blob_id.to_owned(), expires_at_us: in_an_hour() };
        let request = ReadRequest { grant: self.keys.seal(&grant), offset: 0, length: 0 };
        let mut answer = client.read(request).await.expect("it is there").into_inner();
        let mut len = 0;
        while let Some(message) = answer.message().await.expect("it is sound") {
            len += message.data.len() as u64;
        }
        len
    }
}

fn in_an_hour() -> i64 {
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970") + Duration::from_secs(3600);
    i64::try_from(now.as_micros()).expect("before 290000")
}

pub async fn run() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let blob = Blob::start(folder.path()).await;
    println!("medians of {ROUNDS} rounds; a ratio above 1 means: better than the yardstick\n");
    println!("{:<44} {:>14} {:>14} {:>7}", "", "blob", "yardstick", "ratio");
    large(&blob, folder.path()).await;
    small(&blob, folder.path()).await;
    batches(&blob).await;
    changed(&blob).await;
    if let Some(peak) = blob.process.peak_memory() {
        println!("\nits memory at its peak: {} MiB", peak / MIB);
    }
}

async fn large(blob: &Blob, folder: &Path) {
    let mut client = blob.client();
    let content = Content::new("large", LARGE).bytes();
    let plain = folder.join("plain");
    let mut write = Figures::new("write of 1 GiB, MiB/s (plain write, fsync)");
    let mut cut = Vec::new();
    let mut id = String::new();
    for round in 0..ROUNDS {
        let fresh = freshen(&content, round);
        let disk = baseline::write(&plain, &fresh);
        cut.push(cut_and_hash(&fresh));
        let own = timed(async { id = blob.write(&mut client, fresh).await }).await;
        write.add(mib_per_second(LARGE, own), mib_per_second(LARGE, disk));
    }
    let mut hashed = Figures::new("write of 1 GiB, MiB/s (one core: FastCDC, BLAKE3)");
    for (own, cut) in write.own.iter().zip(cut) {
        hashed.add(*own, mib_per_second(LARGE, cut));
    }
    write.print();
    hashed.print();
    drop(content);

    let mut read = Figures::new("read of 1 GiB, MiB/s (copy of a file in memory)");
    for _ in 0..ROUNDS {
        let own = timed(async { assert_eq!(blob.read(&mut client, &id).await, LARGE) }).await;
        read.add(mib_per_second(LARGE, own), mib_per_second(LARGE, copy(&plain, &folder.join("copy"))));
    }
    read.print();
}

async fn small(blob: &Blob, folder: &Path) {
    let clients: Vec<_> = (0..CALLERS).map(|_| blob.client()).collect();
    let number = AtomicU64::new(0);
    let rate = async |is_refused: bool| {
        let start = Instant::now();
        let callers = clients.iter().map(|client| async {
            let mut client = client.clone();
            let mut made = 0_u32;
            while start.elapsed() < SPAN {
                let content = Content::new(number.fetch_add(1, Ordering::Relaxed).to_string(), SMALL).bytes();
                if is_refused {
                    blob.refused(&mut client, content).await;
                } else {
                    blob.write(&mut client, content).await;
                }
                made += 1;
            }
            made
        });
        let made: u32 = join_all(callers).await.into_iter().sum();
        f64::from(made) / start.elapsed().as_secs_f64()
    };
    let mut flushed = Figures::new("4 KiB writes/s, 64 callers (one caller's fsync)");
    let mut calls = Vec::new();
    for _ in 0..ROUNDS {
        let writes = rate(false).await;
        flushed.add(writes, flushes_per_second(&folder.join("flushes")));
        calls.push((writes, rate(true).await));
    }
    flushed.print();
    let mut alone = Figures::new("4 KiB writes/s, 64 callers (the calls alone)");
    calls.into_iter().for_each(|(writes, calls)| alone.add(writes, calls));
    alone.print();
}

async fn batches(blob: &Blob) {
    let mut client = blob.client();
    let mut files = Figures::new("4 KiB files/s in one batch (the calls alone)");
    for round in 0..ROUNDS {
        let made: Vec<_> =
            (0..BATCH).map(|file| Content::new(format!("batch {round} {file}"), SMALL).bytes()).collect();
        let refused = timed(ways::batch(blob, &mut client, made.clone(), true)).await;
        let written = timed(ways::batch(blob, &mut client, made, false)).await;
        files.add(per_second(BATCH, written), per_second(BATCH, refused));
    }
    files.print();
}

async fn changed(blob: &Blob) {
    let mut client = blob.client();
    let mut content = Content::new("changed", LARGE).bytes().to_vec();
    ways::delta(blob, &mut client, &content.clone().into()).await;
    let mut again = Figures::new("1 GiB of which 1 MiB changed, MiB/s (all of it)");
    let mut moved = Vec::new();
    for round in 0..ROUNDS {
        let middle = content.len() / 2;
        content[middle..middle + (1 << 20)]
            .copy_from_slice(&Content::new(format!("change {round}"), MIB).bytes());
        let now = Bytes::from(content.clone());
        let delta = timed(async { moved.push(ways::delta(blob, &mut client, &now).await) }).await;
        let fresh = freshen(&now, round + 1);
        let all = timed(async { drop(blob.write(&mut client, fresh).await) }).await;
        again.add(mib_per_second(LARGE, delta), mib_per_second(LARGE, all));
    }
    again.print();
    println!("of it was sent, at most: {} KiB", moved.iter().max().expect("several rounds") / 1024);
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// What one core needs to find the chunks of content and to name them and all of it.
fn cut_and_hash(content: &Bytes) -> Duration {
    let start = Instant::now();
    for chunk in FastCDC::new(content, 256 << 10, 1 << 20, 4 << 20) {
        let bytes = &content[chunk.offset..chunk.offset + chunk.length];
        std::hint::black_box(blake3::hash(bytes));
    }
    std::hint::black_box(blake3::hash(content));
    start.elapsed()
}

/// Copies a file that the system has in memory, and leaves it there.
fn copy(from: &Path, to: &Path) -> Duration {
    let start = Instant::now();
    let mut from = File::open(from).expect("it was written");
    let mut to = File::create(to).expect("the disk takes a file");
    let mut buffer = vec![0; 1 << 20];
    loop {
        match from.read(&mut buffer).expect("it is whole") {
            0 => return start.elapsed(),
            read => to.write_all(&buffer[..read]).expect("the disk has room"),
        }
    }
}

/// How often a second one caller can add 4 KiB to a file and flush it.
fn flushes_per_second(path: &Path) -> f64 {
    let file = File::create(path).expect("the disk takes a file");
    let start = Instant::now();
    let mut made = 0_u32;
    while start.elapsed() < SPAN / 2 {
        file.write_all_at(&[7; SMALL as usize], u64::from(made) * SMALL).expect("the disk has room");
        file.sync_data().expect("the disk flushes");
        made += 1;
    }
    f64::from(made) / start.elapsed().as_secs_f64()
}
