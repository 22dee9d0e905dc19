//! The yardsticks: the disk alone, and an axum that does nothing but answer.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, RwLock},
    thread,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use tokio_util::io::ReaderStream;

/// Writes a file of its own and flushes it, as plainly as can be.
pub fn write(path: &Path, content: &Bytes) -> Duration {
    let start = Instant::now();
    let mut file = File::create(path).expect("the disk takes a file");
    for piece in content.chunks(1 << 20) {
        file.write_all(piece).expect("the disk has room");
    }
    file.sync_all().expect("the disk flushes");
    start.elapsed()
}

/// How many small files a second the disk takes, each flushed, by that many threads.
pub fn files_per_second(folder: &Path, size: u64, threads: usize, span: Duration) -> f64 {
    let content = vec![7; usize::try_from(size).expect("small")];
    let start = Instant::now();
    let made: u32 = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let (content, folder) = (&content, folder.join(format!("files {worker}")));
                scope.spawn(move || {
                    fs::create_dir_all(&folder).expect("the disk takes a folder");
                    let mut made = 0;
                    while start.elapsed() < span {
                        let mut file =
                            File::create(folder.join(made.to_string())).expect("the disk takes a file");
                        file.write_all(content).expect("the disk has room");
                        file.sync_all().expect("the disk flushes");
                        made += 1;
                    }
                    made
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("the disk works")).sum()
    });
    let rate = f64::from(made) / start.elapsed().as_secs_f64();
    for worker in 0..threads {
        fs::remove_dir_all(folder.join(format!("files {worker}"))).expect("it is ours");
    }
    rate
}

/// An axum in a process of its own.
pub struct Baseline {
    child: Child,
    url: String,
}

impl Baseline {
    /// Starts this very program as the yardstick.
    pub async fn start(folder: &Path) -> Self {
        let this = std::env::current_exe().expect("a program knows its path");
        let mut child =
            Command::new(this).arg("baseline").arg(folder).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut url = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut url)
            .expect("it says where it is");
        Self { child, url: url.trim().to_owned() }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// What it is to answer for a listing.
    pub async fn set_listing(&self, listing: &Bytes) {
        let client = reqwest::Client::new();
        let answer = client.put(format!("{}/listing", self.url)).body(listing.clone()).send().await;
        assert!(answer.expect("it answers").status().is_success());
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        // It is ours, and either runs or does not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves the large file of the folder, 4 KiB, and a listing.
pub fn serve(folder: &Path) {
    let large = folder.join("large");
    let listing = Arc::new(RwLock::new(Bytes::new()));
    let kept = Arc::clone(&listing);
    let small = Bytes::from(vec![7; 4096]);
    let router = Router::new()
        .route(
            "/large",
            get(async move || {
                let file = tokio::fs::File::open(&large).await.expect("it was written");
                let length = file.metadata().await.expect("it is a file").len();
                let body = Body::from_stream(ReaderStream::with_capacity(file, 256 << 10));
                ([("content-length", length.to_string())], body)
            }),
        )
        .route("/small", get(async move || small.clone()))
        .route(
            "/listing",
            get(async move || {
                ([("content-type", "application/json")], listing.read().expect("not poisoned").clone())
            })
            .put(async move |body: Bytes| {
                *kept.write().expect("not poisoned") = body;
            }),
        );
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("http://{}", listener.local_addr().expect("it is bound"));
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            stream.set_nodelay(true).expect("a TCP socket");
        });
        axum::serve(listener, router).await.expect("it serves");
    });
}
