//! Uploads and downloads that break off, and clients that take their time.

use std::time::Duration;

use bytes::Bytes;
use harness::{Content, Persona, Server, both_shapes, eventually, raw};
use tokio::time::interval;

const MIB: u64 = 1024 * 1024;

/// Whatever was reserved is given back.
async fn settled(alice: &Persona) {
    eventually("no reservation is left", async || (alice.space().await.reserved_bytes == 0).then_some(()))
        .await;
}

both_shapes!(
    half_a_body_leaves_nothing,
    a_chunked_body_without_its_end_leaves_nothing,
    an_overwrite_that_breaks_off_changes_nothing,
    http2_streams_can_be_reset,
    slow_senders_and_readers_are_served,
    readers_may_leave,
    more_than_was_announced_is_not_content,
);

async fn half_a_body_leaves_nothing(server: &Server) {
    let alice = server.persona("alice").await;
    for (size, sent) in [(10, 0), (10, 9), (300_000, 299_999), (5 * MIB, 3 * MIB)] {
        let content = Content::new(format!("half {sent} of {size}"), size).bytes();
        let head = raw::head(&alice, "PUT /api/v1/fs/half", &[&format!("content-length: {size}")]);
        // The sender says that there is no more: it is told.
        let mut connection = raw::Connection::open(&alice).await;
        connection.send(head.as_bytes()).await;
        connection.send(&content[..usize::try_from(sent).unwrap()]).await;
        connection.finish().await;
        if let Some(answer) = connection.answer(true).await {
            answer.problem(400, "truncated_body");
        }
        alice.get("/fs/half").send().await.problem(404, "not_found");
        // The sender is gone.
        let mut connection = raw::Connection::open(&alice).await;
        connection.send(head.as_bytes()).await;
        connection.send(&content[..usize::try_from(sent).unwrap()]).await;
        drop(connection);
        settled(&alice).await;
        alice.get("/fs/half").send().await.problem(404, "not_found");
    }
    let space = alice.space().await;
    assert_eq!((space.used_bytes, space.change_sequence), (0, 0));
}

async fn a_chunked_body_without_its_end_leaves_nothing(server: &Server) {
    let alice = server.persona("alice").await;
    alice.upload("file", "old").await;
    let before = alice.space().await;
    for path in ["file", "new"] {
        let head = raw::head(&alice, &format!("PUT /api/v1/fs/{path}"), &["transfer-encoding: chunked"]);
        for body in [
            &b""[..],
            b"5\r\nhello\r\n",
            b"5\r\nhel",
            b"5\r\nhello\r\n0\r\n",
            b"zz\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhello!\r\n0\r\n\r\n",
        ] {
            let mut connection = raw::Connection::open(&alice).await;
            connection.send(head.as_bytes()).await;
            connection.send(body).await;
            connection.finish().await;
            if let Some(answer) = connection.answer(true).await {
                assert_eq!(answer.status, 400, "{body:?}: {}", answer.text());
            }
            connection.closed().await;
        }
    }
    settled(&alice).await;
    assert_eq!(alice.download("file").await, "old");
    alice.get("/fs/new").send().await.problem(404, "not_found");
    let after = alice.space().await;
    assert_eq!((after.used_bytes, after.change_sequence), (before.used_bytes, before.change_sequence));
}

async fn an_overwrite_that_breaks_off_changes_nothing(server: &Server) {
    let alice = server.persona("alice").await;
    let old = Content::new("old", 2 * MIB);
    let node = alice.upload("file", old.bytes()).await;
    for cut in [0, 1, 100_000, 4 * MIB] {
        let content = Content::new("new", 8 * MIB).range(0, cut);
        let mut connection = raw::Connection::open(&alice).await;
        let head = raw::head(&alice, "PUT /api/v1/fs/file", &[&format!("content-length: {}", 8 * MIB)]);
        connection.send(head.as_bytes()).await;
        connection.send(&content).await;
        drop(connection);
        settled(&alice).await;
        assert!(alice.download("file").await == old.bytes());
        assert_eq!(alice.node(&node.node_id).await, node);
    }
    // And it can be written as ever.
    alice.upload("file", "new").await;
    assert_eq!(alice.download("file").await, "new");
}

async fn http2_streams_can_be_reset(server: &Server) {
    let alice = server.persona("alice").await;
    let folder = tempfile::tempdir().unwrap();
    // curl kills the transfer after a second at a rate that makes it last for minutes: RST_STREAM or a closed connection.
    let file = folder.path().join("file");
    std::fs::write(&file, Content::new("reset", 8 * MIB).bytes()).unwrap();
    let output = tokio::process::Command::new("curl")
        .args(["--silent", "--http2-prior-knowledge", "--limit-rate", "100K", "--max-time", "1", "-T"])
        .arg(&file)
        .args(["-H", &format!("Authorization: Bearer {}", alice.bearer().unwrap())])
        .arg(format!("{}/api/v1/fs/reset", alice.url()))
        .output()
        .await
        .expect("curl is installed");
    assert_eq!(output.status.code(), Some(28), "it runs into its time limit");
    settled(&alice).await;
    alice.get("/fs/reset").send().await.problem(404, "not_found");
    assert_eq!(alice.space().await.used_bytes, 0);
}

async fn slow_senders_and_readers_are_served(server: &Server) {
    let alice = server.persona("alice").await;
    let content = Content::new("slow", 40).bytes();
    let upload = async {
        let mut beat = interval(Duration::from_millis(50));
        let mut connection = raw::Connection::open(&alice).await;
        connection.send(raw::head(&alice, "PUT /api/v1/fs/slow", &["content-length: 40"]).as_bytes()).await;
        for byte in &content {
            beat.tick().await;
            connection.send(&[*byte]).await;
        }
        connection.answer(true).await.expect("an answer").expect(201);
    };
    let large = Content::new("slowly read", 3 * MIB).bytes();
    let download = async {
        alice.upload("slowly read", large.clone()).await;
        let mut beat = interval(Duration::from_millis(20));
        let mut response = alice.get("/fs/slowly%20read").open().await;
        let mut read = Vec::new();
        while let Some(chunk) = response.chunk().await.expect("the download goes on") {
            beat.tick().await;
            read.extend_from_slice(&chunk);
        }
        assert!(read == large);
    };
    // Others are not kept waiting by them.
    let others = async {
        for n in 0..20 {
            alice.upload("quick", format!("{n}")).await;
            assert_eq!(alice.download("quick").await, format!("{n}"));
        }
    };
    tokio::join!(upload, download, others);
    assert_eq!(alice.download("slow").await, content);
}

async fn readers_may_leave(server: &Server) {
    let alice = server.persona("alice").await;
    let content = Content::new("left", 12 * MIB);
    alice.upload("file", content.bytes()).await;
    for _ in 0..20 {
        let mut response = alice.get("/fs/file").open().await;
        let first: Bytes = response.chunk().await.expect("it begins").expect("it is not empty");
        assert!(first == content.range(0, first.len() as u64));
    }
    assert!(alice.download("file").await == content.bytes());
}

async fn more_than_was_announced_is_not_content(server: &Server) {
    let alice = server.persona("alice").await;
    // What follows the announced length is the next request, and no good one.
    let mut connection = raw::Connection::open(&alice).await;
    connection.send(raw::head(&alice, "PUT /api/v1/fs/file", &["content-length: 5"]).as_bytes()).await;
    connection.send(b"hello and more").await;
    connection.answer(true).await.expect("an answer").expect(201);
    if let Some(answer) = connection.answer(true).await {
        assert_eq!(answer.status, 400);
    }
    assert_eq!(alice.download("file").await, "hello");
}
