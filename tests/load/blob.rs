//! The blob service alone, as a process, over TCP.

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
        ReadGrant, ReadRequest, Receipt, WriteFinish, WriteGrant, WriteHeader, WriteRequest,
        blob_service_client::BlobServiceClient, write_request::Part,
    },
    grant::KeyRing,
};
use tonic::transport::{Channel, Endpoint};

use crate::{Figures, LARGE, MIB, ROUNDS, SMALL, SPAN, baseline, freshen, mib_per_second, timed};

const MESSAGE: usize = 256 << 10;
const CALLERS: usize = 64;

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
    fn client(&self) -> BlobServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(self.url.clone())
            .expect("an address")
            .tcp_nodelay(true)
            .max_frame_size(256 << 10)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20);
        BlobServiceClient::new(endpoint.connect_lazy())
    }

    async fn write(&self, client: &mut BlobServiceClient<Channel>, content: Bytes) -> String {
        let grant = WriteGrant { max_size: u64::MAX, expires_at_us: in_an_hour(), ..WriteGrant::default() };
        let header = Part::Header(WriteHeader { grant: self.keys.seal(&grant), size: None });
        let len = content.len();
        let finish = Part::Finish(WriteFinish { size: len as u64, digest: Bytes::new() });
        let data =
            (0..len).step_by(MESSAGE).map(move |at| Part::Data(content.slice(at..len.min(at + MESSAGE))));
        let parts = std::iter::once(header).chain(data).chain([finish]);
        let messages = parts.map(|part| WriteRequest { part: Some(part) });
        let answer = client.write(futures::stream::iter(messages)).await.expect("it is taken").into_inner();
        self.keys.open::<Receipt>(&answer.receipt, 0).expect("a receipt").blob_id
    }

    async fn read(&self, client: &mut BlobServiceClient<Channel>, blob_id: &str) -> u64 {
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
    let mut writes = Figures::new("4 KiB writes/s, 64 callers (one caller's fsync)");
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let callers = clients.iter().map(|client| async {
            let mut client = client.clone();
            let mut made = 0_u32;
            while start.elapsed() < SPAN {
                let content = Content::new(number.fetch_add(1, Ordering::Relaxed).to_string(), SMALL);
                blob.write(&mut client, content.bytes()).await;
                made += 1;
            }
            made
        });
        let made: u32 = join_all(callers).await.into_iter().sum();
        let rate = f64::from(made) / start.elapsed().as_secs_f64();
        writes.add(rate, flushes_per_second(&folder.join("flushes")));
    }
    writes.print();
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
