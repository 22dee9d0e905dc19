//! How fast content goes in and out, as ratios to what the machine can do in the same run.
//!
//! `cargo bench -p holdall-blob`, or with `-- large`, `-- small` or `-- ways` a part of it; `HOLDALL_BENCH_MIB` sets the size of the large blob (default 512), `HOLDALL_BENCH_DIR` where
//! files go (default: the folder for temporary files). Best of three rounds, baseline and service in turn.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a program for people"
)]

mod ways;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdall_blob::domain::cut::Cutter;
use holdall_blob::{Config, GrantsConfig, Service, build};
use holdall_proto::blob::v1::blob_service_client::BlobServiceClient;
use holdall_proto::blob::v1::write_request::Part;
use holdall_proto::blob::v1::{
    ReadGrant, ReadRequest, Receipt, WriteFinish, WriteGrant, WriteHeader, WriteRequest,
};
use holdall_proto::grant::KeyRing;
use holdall_runtime::clock::Clock;
use holdall_runtime::shutdown::Shutdown;
use holdall_runtime::upstream::{self, Upstream};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const MESSAGE: usize = 256 << 10;
const SMALL: usize = 4096;
const ROUNDS: usize = 3;
/// How long small calls are made.
const TIME: Duration = Duration::from_secs(2);
const KEY: [u8; 32] = [0xa5; 32];

/// Makes content that was never there before, at the cost of a copy.
struct Source {
    noise: Vec<u8>,
    unique: AtomicU64,
}

impl Source {
    fn new() -> Self {
        let mut noise = vec![0; 64 << 20];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        Self { noise, unique: AtomicU64::new(0) }
    }

    fn next(&self, len: usize) -> Bytes {
        let number = self.unique.fetch_add(1, Ordering::Relaxed);
        let start = usize::try_from(number).unwrap() * MESSAGE % (self.noise.len() - len);
        let mut bytes = self.noise[start..start + len].to_vec();
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes.into()
    }
}

struct Bench {
    dir: PathBuf,
    keys: KeyRing,
    source: Arc<Source>,
    clock: Clock,
}

impl Bench {
    fn client(service: &Service) -> BlobServiceClient<Upstream> {
        BlobServiceClient::new(upstream::in_process(service.routes.clone(), None))
    }

    async fn write(&self, client: &mut BlobServiceClient<Upstream>, messages: usize, len: usize) -> String {
        let expires_at_us = self.clock.now() + 3_600_000_000;
        let grant =
            self.keys.seal(&WriteGrant { max_size: u64::MAX, expires_at_us, ..WriteGrant::default() });
        let source = Arc::clone(&self.source);
        let header = Part::Header(WriteHeader { grant, size: None });
        let finish = Part::Finish(WriteFinish { size: (messages * len) as u64, digest: Bytes::new() });
        let parts = std::iter::once(header)
            .chain((0..messages).map(move |_| Part::Data(source.next(len))))
            .chain([finish])
            .map(|part| WriteRequest { part: Some(part) });
        let response = client.write(futures::stream::iter(parts)).await.unwrap().into_inner();
        self.keys.open::<Receipt>(&response.receipt, self.clock.now()).unwrap().blob_id
    }

    async fn read(&self, client: &mut BlobServiceClient<Upstream>, blob_id: &str) -> usize {
        let expires_at_us = self.clock.now() + 3_600_000_000;
        let grant = self.keys.seal(&ReadGrant { blob_id: blob_id.to_owned(), expires_at_us });
        let request = ReadRequest { grant, offset: 0, length: 0 };
        let mut answer = client.read(request).await.unwrap().into_inner();
        let mut len = 0;
        while let Some(message) = answer.message().await.unwrap() {
            len += message.data.len();
        }
        len
    }

    fn raw_write(&self, path: &Path, messages: usize) {
        let mut file = File::create(path).unwrap();
        for _ in 0..messages {
            file.write_all(&self.source.next(MESSAGE)).unwrap();
        }
        file.sync_data().unwrap();
    }
}

fn raw_read(path: &Path) -> usize {
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; MESSAGE];
    let mut len = 0;
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return len,
            read => len += read,
        }
    }
}

fn raw_copy(from: &Path, to: &Path) {
    let (mut from, mut to) = (File::open(from).unwrap(), File::create(to).unwrap());
    let mut buffer = vec![0; 1 << 20];
    loop {
        match from.read(&mut buffer).unwrap() {
            0 => return,
            read => to.write_all(&buffer[..read]).unwrap(),
        }
    }
}

/// Appends and flushes of 4 KiB per second, one after the other.
fn flush_rate(path: &Path, time: Duration) -> f64 {
    let file = File::create(path).unwrap();
    let started = Instant::now();
    let mut count = 0_u32;
    while started.elapsed() < time {
        file.write_all_at(&[7; SMALL], u64::from(count) * SMALL as u64).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    f64::from(count) / started.elapsed().as_secs_f64()
}

#[derive(Clone, Copy)]
struct Rate {
    per_second: f64,
    cpu_micros: f64,
}

/// The rate of `callers` that each call again and again, for some time or until there is no more to do.
async fn rate<F, Fut>(callers: usize, call: F) -> Rate
where
    F: Fn(usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = bool> + Send,
{
    let (started, cpu) = (Instant::now(), cpu_time());
    let tasks = (0..callers).map(|caller| {
        let call = call.clone();
        tokio::spawn(async move {
            let mut count = 0_u32;
            while started.elapsed() < TIME && call(caller).await {
                count += 1;
            }
            count
        })
    });
    let counts = futures::future::join_all(tasks.collect::<Vec<_>>()).await;
    let total = f64::from(counts.into_iter().map(Result::unwrap).sum::<u32>());
    let cpu_micros = (cpu_time() - cpu) * 1e6 / total;
    Rate { per_second: total / started.elapsed().as_secs_f64(), cpu_micros }
}

fn line(what: &str, rate: f64, unit: &str, against: &str, baseline: f64) {
    println!("{what:<34} {rate:>10.0} {unit:<6} × {:.2} of {against} ({baseline:.0})", rate / baseline);
}

fn mib_per_s(mib: usize, time: Duration) -> f64 {
    f64::from(u32::try_from(mib).unwrap()) / time.as_secs_f64()
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

/// Seconds of processor time that this process has taken so far, as Linux counts them.
fn cpu_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(' ').collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>();
    // After the name, which may hold anything, and counted from the end, which does not change: utime and stime.
    let after_name = stat.rfind(')').map_or(0, |end| stat[..end].split(' ').count());
    let ticks = |at: usize| {
        fields.get(after_name + at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or_default()
    };
    (ticks(11) + ticks(12)) / 100.0
}

fn main() {
    // `cargo test` runs benches, too, to see whether they do.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(64)
        .enable_all()
        .build()
        .unwrap()
        .block_on(run());
}

async fn run() {
    let mib: usize = std::env::var("HOLDALL_BENCH_MIB").map_or(512, |mib| mib.parse().unwrap());
    let place = std::env::var_os("HOLDALL_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(place).unwrap();
    let key_file = dir.path().join("key");
    let digits: String =
        KEY.iter().enumerate().map(|(at, byte)| format!("{:02x}", usize::from(*byte) ^ at)).collect();
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&key_file)
        .unwrap()
        .write_all(digits.as_bytes())
        .unwrap();
    let key = std::array::from_fn(|at| KEY[at] ^ u8::try_from(at).unwrap());
    let config = Config { grants: GrantsConfig { key_files: vec![key_file] }, ..Config::default() };
    let service = build(&config, &dir.path().join("blob"), Clock::System, &Shutdown::new(Duration::ZERO))
        .await
        .unwrap();
    let bench = Arc::new(Bench {
        dir: dir.path().to_owned(),
        keys: KeyRing::new(&key),
        source: Arc::new(Source::new()),
        clock: Clock::System,
    });
    let is_asked_for = |name| std::env::args().skip(1).all(|arg| arg.starts_with("--") || arg == name);
    if is_asked_for("large") {
        large(&bench, &service, mib).await;
    }
    if is_asked_for("small") {
        small(&bench, &service).await;
    }
    if is_asked_for("ways") {
        ways::run(&bench, &service, mib).await;
    }
    service.close().await;
}

async fn large(bench: &Bench, service: &Service, mib: usize) {
    let messages = mib * (1 << 20) / MESSAGE;
    let mut client = Bench::client(service);
    let mut best = [Duration::MAX; 7];
    let mut used = [f64::MAX; 2];
    // In a virtual machine, memory that was never used costs far more than the copy into it. Now it was.
    let warm = bench.dir.join("warm");
    bench.raw_write(&warm, 3 * ROUNDS * messages);
    std::fs::remove_file(&warm).unwrap();
    for round in 0..ROUNDS {
        let [raw, copy] = ["raw", "copy"].map(|name| bench.dir.join(format!("{name}-{round}")));
        let mut note = |at: usize, time| best[at] = best[at].min(time);
        note(0, timed(|| bench.raw_write(&raw, messages)));
        let (started, cpu) = (Instant::now(), cpu_time());
        let blob = bench.write(&mut client, messages, MESSAGE).await;
        note(1, started.elapsed());
        used[0] = used[0].min(cpu_time() - cpu);
        note(2, timed(|| raw_read(&raw)));
        let (started, cpu) = (Instant::now(), cpu_time());
        assert_eq!(bench.read(&mut client, &blob).await, mib << 20);
        note(3, started.elapsed());
        used[1] = used[1].min(cpu_time() - cpu);
        note(4, timed(|| raw_copy(&raw, &copy)));
        note(
            5,
            timed(|| {
                let (mut cutter, mut chunk, mut content) =
                    (Cutter::default(), blake3::Hasher::new(), blake3::Hasher::new());
                for _ in 0..messages {
                    let bytes = bench.source.next(MESSAGE);
                    content.update(&bytes);
                    let mut rest = &bytes[..];
                    while let Some(end) = cutter.scan(rest) {
                        chunk.update(&rest[..end]).finalize();
                        chunk.reset();
                        rest = &rest[end..];
                    }
                    chunk.update(rest);
                }
            }),
        );
        note(
            6,
            timed(|| {
                let bytes = &bench.source.noise[..];
                let mut cutter = Cutter::default();
                for piece in bytes.chunks(MESSAGE) {
                    let mut rest = piece;
                    while let Some(end) = cutter.scan(rest) {
                        rest = &rest[end..];
                    }
                }
            }),
        );
    }
    let [raw_write, write, raw_read, read, raw_copy, cpu, cut] = best.map(|time| mib_per_s(mib, time));
    line("write", write, "MiB/s", "plain write and fdatasync", raw_write);
    line("write", write, "MiB/s", "cutting and hashing twice on a core", cpu);
    line("read, verified", read, "MiB/s", "plain read from page cache", raw_read);
    line("read, verified", read, "MiB/s", "plain copy from page cache", raw_copy);
    println!("{:<34} {:>10.0} MiB/s", "cutting alone", cut * 64.0 / f64::from(u32::try_from(mib).unwrap()));
    for (what, seconds) in ["write", "read, verified"].into_iter().zip(used) {
        let per_gib = seconds * 1024.0 / f64::from(u32::try_from(mib).unwrap());
        println!("{what:<34} {per_gib:>10.2} processor seconds per GiB, callers included");
    }
    println!("{:?}", service.counters());
}

async fn small(bench: &Arc<Bench>, service: &Service) {
    const CASES: [(&str, usize); 5] = [
        ("4 KiB writes, 64 callers", 64),
        ("4 KiB writes, 16 callers", 16),
        ("4 KiB writes, 1 caller", 1),
        ("4 KiB first reads, 16 callers", 16),
        ("4 KiB reads again, 16 callers", 16),
    ];
    let mut flushes = 0_f64;
    let mut best = [Rate { per_second: 0.0, cpu_micros: f64::MAX }; CASES.len()];
    let clients: Arc<Vec<_>> = Arc::new((0..64).map(|_| Bench::client(service)).collect());
    for _ in 0..ROUNDS {
        flushes = flushes.max(flush_rate(&bench.dir.join("flushes"), TIME));
        let blobs = Arc::new(Mutex::new(Vec::new()));
        for (case, (_, callers)) in CASES.into_iter().enumerate() {
            let (bench, clients, blobs) = (Arc::clone(bench), Arc::clone(&clients), Arc::clone(&blobs));
            let next = Arc::new(AtomicUsize::new(0));
            let call = move |caller: usize| {
                let (bench, mut client, blobs) =
                    (Arc::clone(&bench), clients[caller].clone(), Arc::clone(&blobs));
                let at = next.fetch_add(1, Ordering::Relaxed);
                async move {
                    if case < 3 {
                        let blob = bench.write(&mut client, 1, SMALL).await;
                        blobs.lock().unwrap().push(blob);
                        return true;
                    }
                    let blob = blobs.lock().unwrap().get(if case == 3 { at } else { at % 16 }).cloned();
                    let Some(blob) = blob else { return false };
                    bench.read(&mut client, &blob).await == SMALL
                }
            };
            let rate = rate(callers, call).await;
            best[case].per_second = best[case].per_second.max(rate.per_second);
            best[case].cpu_micros = best[case].cpu_micros.min(rate.cpu_micros);
        }
    }
    for ((what, _), rate) in CASES.into_iter().zip(best) {
        line(what, rate.per_second, "/s", "4 KiB append and fdatasync", flushes);
        println!("{:<34} {:>10.0} processor microseconds each, callers included", "", rate.cpu_micros);
    }
}
