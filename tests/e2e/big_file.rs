//! A file that is larger than any memory the server may take.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use futures::StreamExt;
use harness::{Content, Node, Server, Service, Shape};

const GIB: u64 = 1 << 30;
const SIZE: u64 = 4 * GIB;
const MEMORY: u64 = 256 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_gibibytes_up_and_down() {
    let server = Server::start(Shape::OneProcess).await;
    let _log = server.log_on_failure();
    let alice = server.persona("alice").await;
    let content = Content::new("four gibibytes", SIZE);
    let rate = |start: Instant| {
        let millis = start.elapsed().as_millis().max(1);
        format!("{:?}, {} MB/s", start.elapsed(), u128::from(SIZE) / 1000 / millis)
    };

    let start = Instant::now();
    let hasher = Arc::new(Mutex::new(blake3::Hasher::new()));
    let hashed = Arc::clone(&hasher);
    let body = content.stream().map(move |piece| {
        piece.inspect(|piece| {
            hashed.lock().unwrap().update(piece);
        })
    });
    let answer = alice
        .put("/fs/big")
        .header("content-length", &SIZE.to_string())
        .body(reqwest::Body::wrap_stream(body))
        .send()
        .await
        .expect(201);
    println!("upload of 4 GiB: {}", rate(start));
    let sent = hasher.lock().unwrap().finalize();
    let node: Node = answer.json();
    assert_eq!((node.size(), node.digest()), (SIZE, sent.to_hex().as_str()));

    let start = Instant::now();
    let response = alice.get("/fs/big").open().await;
    assert_eq!((response.status().as_u16(), response.content_length()), (200, Some(SIZE)));
    let mut hasher = blake3::Hasher::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        hasher.update(&chunk.expect("the download goes on"));
    }
    println!("download of 4 GiB: {}", rate(start));
    assert_eq!(hasher.finalize(), sent);

    for (at, len) in [(2 * GIB - 1000, 2000), (3 * GIB + 12_345, 5_000_000), (SIZE - 10, 10)] {
        let range = format!("bytes={at}-{}", at + len - 1);
        let part = alice.get("/fs/big").header("range", &range).send().await.expect(206);
        assert_eq!(part.header("content-range"), format!("bytes {at}-{}/{SIZE}", at + len - 1));
        assert!(part.body == content.range(at, len));
    }

    if let Some(peak) = server.process(Service::Gateway).peak_memory() {
        println!("the server's memory at its peak: {} MiB", peak >> 20);
        assert!(peak < MEMORY, "the server took {} MiB", peak >> 20);
    }
}
