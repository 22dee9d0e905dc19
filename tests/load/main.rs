//! How fast a one-process server is, as ratios to what the machine can do in the same run.
//!
//! ```sh
//! cargo run --release -p e2e --bin load
//! cargo run --release -p e2e --bin load compat
//! cargo run --release -p e2e --bin load blob
//! cargo run --release -p e2e --bin load shapes
//! ```
//!
//! With `compat` only the older APIs, as ratios to the native one; with `compat TEXT` those whose rows hold that text. With
//! `blob` the blob service alone, over gRPC; with `shapes` four processes against one, and with `shapes TEXT` only the rows
//! whose names hold that text.
//!
//! Starts the server and a plain axum beside it, each as a process, and uses the same client on both. Every figure is the
//! median of three rounds, in which the server and its yardstick take turns: on a shared machine only ratios mean much.

mod baseline;
mod blob;
mod client;
mod compat;
#[path = "../compat/setup.rs"]
mod setup;
mod shapes;
#[path = "../compat/signed_in.rs"]
mod signed_in;

use std::{
    io::{Write, stdout},
    path::Path,
    time::{Duration, Instant},
};

use baseline::Baseline;
use bytes::Bytes;
use client::{Request, requests_per_second};
use futures::StreamExt;
use harness::{Content, Persona, Server, Service, Shape};

const ROUNDS: usize = 3;
const MIB: u64 = 1 << 20;
const LARGE: u64 = 1024 * MIB;
const SMALL: u64 = 4096;
const CONNECTIONS: usize = 16;
/// How long requests are counted for.
const SPAN: Duration = Duration::from_secs(4);
const FILES: u64 = 1000;

fn main() {
    let mut part = None;
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        None => {}
        Some("compat") => part = Some(Part::Compat),
        Some("blob") => part = Some(Part::Blob),
        Some("shapes") => part = Some(Part::Shapes),
        Some("baseline") => return baseline::serve(Path::new(&args.next().expect("a folder"))),
        Some(other) => panic!("{other}? There are compat, blob and shapes"),
    }
    if cfg!(debug_assertions) {
        println!("not a release build: these figures mean nothing");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(run(part));
}

/// What to measure, if not everything about the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Compat,
    Blob,
    Shapes,
}

async fn run(part: Option<Part>) {
    if part == Some(Part::Blob) {
        return blob::run().await;
    }
    if part == Some(Part::Shapes) {
        return shapes::run().await;
    }
    // As it is shipped, but for limits on how often somebody may ask.
    let server = Server::start_with(Shape::OneProcess, setup::options()).await;
    if part == Some(Part::Compat) {
        return compat::run(&server).await;
    }
    let alice = server.persona("load").await;
    let folder = server.folder().join("baseline");
    std::fs::create_dir(&folder).expect("the folder of the server takes another");
    let disk = |size, threads| baseline::files_per_second(&folder, size, threads, SPAN / 2);

    println!("medians of {ROUNDS} rounds; a ratio above 1 means: better than the yardstick\n");
    println!("{:<44} {:>14} {:>14} {:>7}", "", "holdall", "yardstick", "ratio");

    // Content that the store has not seen, made beforehand: the client must not be what is measured.
    let large = Content::new("large", LARGE).bytes();
    let mut upload = Figures::new("upload of 1 GiB, MiB/s (plain write, fsync)");
    for round in 0..ROUNDS {
        let fresh = freshen(&large, round);
        let write = baseline::write(&folder.join("large"), &fresh);
        let put = timed(put(&alice, "/fs/large", fresh)).await;
        upload.add(mib_per_second(LARGE, put), mib_per_second(LARGE, write));
    }
    upload.print();

    let baseline = Baseline::start(&folder).await;
    let mut download = Figures::new("download of 1 GiB, MiB/s (plain axum)");
    for _ in 0..ROUNDS {
        let get = timed(drain(&alice, format!("{}/api/v1/fs/large", server.url()))).await;
        let plain = timed(drain(&alice, format!("{}/large", baseline.url()))).await;
        download.add(mib_per_second(LARGE, get), mib_per_second(LARGE, plain));
    }
    download.print();
    drop(large);

    let mut number = 0;
    let mut uploads = Figures::new("4 KiB uploads/s, 16 connections (create+fsync)");
    for _ in 0..ROUNDS {
        let requests = |connection: usize| {
            number += 1_000_000;
            let start = number;
            let alice = &alice;
            move |n: u64| {
                let content = Content::new(format!("{connection} {start} {n}"), SMALL).bytes();
                Request::put(alice, &format!("/api/v1/fs/small/{connection}/{}", start + n), &content)
            }
        };
        let made = requests_per_second(&server.url(), CONNECTIONS, SPAN, requests).await;
        uploads.add(made, disk(SMALL, CONNECTIONS));
    }
    uploads.print();
    let mut alone = Figures::new("4 KiB uploads/s, 1 connection (create+fsync)");
    for _ in 0..ROUNDS {
        let requests = |connection: usize| {
            number += 1_000_000;
            let start = number;
            let alice = &alice;
            move |n: u64| {
                let content = Content::new(format!("{connection} {start} {n}"), SMALL).bytes();
                Request::put(alice, &format!("/api/v1/fs/small/alone/{}", start + n), &content)
            }
        };
        let made = requests_per_second(&server.url(), 1, SPAN, requests).await;
        alone.add(made, disk(SMALL, 1));
    }
    alone.print();

    let names: Vec<String> = (0..FILES).map(|n| format!("list/entry {n:04}")).collect();
    let uploads = names.iter().map(|name| alice.upload(name, Content::new(name.as_str(), SMALL).bytes()));
    let _: Vec<_> = futures::stream::iter(uploads).buffer_unordered(16).collect().await;
    let mut gets = Figures::new("4 KiB downloads/s, 16 connections (plain axum)");
    for _ in 0..ROUNDS {
        let own = |connection: usize| {
            let alice = &alice;
            move |n: u64| {
                let file = (connection as u64 * 7919 + n) % FILES;
                Request::get(alice, &format!("/api/v1/fs/list/entry%20{file:04}"))
            }
        };
        let made = requests_per_second(&server.url(), CONNECTIONS, SPAN, own).await;
        let plain = |_| |_| Request::get(&alice, "/small");
        gets.add(made, requests_per_second(&baseline.url(), CONNECTIONS, SPAN, plain).await);
    }
    gets.print();

    let listing = alice.get("/fs/list?limit=1000").send().await.expect(200).body;
    baseline.set_listing(&listing).await;
    let mut lists = Figures::new("listings of 1,000/s, 16 connections (plain axum)");
    for _ in 0..ROUNDS {
        let own = |_| |_| Request::get(&alice, "/api/v1/fs/list?limit=1000");
        let made = requests_per_second(&server.url(), CONNECTIONS, SPAN, own).await;
        let plain = |_| |_| Request::get(&alice, "/listing");
        lists.add(made, requests_per_second(&baseline.url(), CONNECTIONS, SPAN, plain).await);
    }
    lists.print();

    compat::run(&server).await;

    if let Some(peak) = server.process(Service::Gateway).peak_memory() {
        println!("\nthe server's memory at its peak: {} MiB", peak / MIB);
    }
}

/// The same amount of content, of which nothing was stored before.
fn freshen(content: &Bytes, round: usize) -> Bytes {
    let key = u8::try_from(round).expect("few rounds");
    content.iter().map(|byte| byte ^ key).collect()
}

async fn put(alice: &Persona, path: &str, content: Bytes) {
    let answer = alice.put(path).body(content).send().await;
    assert!(answer.status.is_success(), "{}", answer.text());
}

async fn drain(alice: &Persona, url: String) {
    let path = url.split_at(url.find("//").map_or(0, |at| at + 2)).1;
    let (host, path) = path.split_at(path.find('/').expect("a path"));
    client::drain(host, &Request::get(alice, path), LARGE).await;
}

async fn timed(future: impl Future<Output = ()>) -> Duration {
    let start = Instant::now();
    future.await;
    start.elapsed()
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn mib_per_second(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / MIB as f64 / time.as_secs_f64()
}

/// A row of the table.
struct Figures {
    name: &'static str,
    own: Vec<f64>,
    yardstick: Vec<f64>,
}

impl Figures {
    fn new(name: &'static str) -> Self {
        print!("{name:<48}");
        stdout().flush().expect("somebody reads this");
        Self { name, own: Vec::new(), yardstick: Vec::new() }
    }

    fn add(&mut self, own: f64, yardstick: f64) {
        self.own.push(own);
        self.yardstick.push(yardstick);
    }

    fn print(mut self) {
        let median = |values: &mut Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (own, yardstick) = (median(&mut self.own), median(&mut self.yardstick));
        println!("\r{:<48} {own:>10.0} {yardstick:>14.0} {:>7.2}", self.name, own / yardstick);
    }
}
