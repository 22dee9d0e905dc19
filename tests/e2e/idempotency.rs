//! `Idempotency-Key`: what is sent twice happens once.

use harness::{Answer, Node, Persona, Server, both_shapes};
use serde_json::{Value, json};

async fn changes(alice: &Persona) -> u64 {
    alice.space().await.change_sequence
}

both_shapes!(
    a_folder_is_made_once,
    an_upload_is_made_once,
    a_link_is_made_once,
    twenty_at_once_have_one_effect,
    a_key_is_short_and_visible,
);

async fn a_folder_is_made_once(server: &Server) {
    let alice = server.persona("alice").await;
    let make = async |key: &str, name: &str| {
        alice.post("/folders").header("idempotency-key", key).json(&json!({"name": name})).send().await
    };
    let first: Node = make("key-1", "a").await.expect(201).json();
    let again: Node = make("key-1", "a").await.expect(201).json();
    assert_eq!(first, again);
    // The form of a structured field's string (RFC 9651) is the same key.
    let quoted: Node = make("\"key-1\"", "a").await.expect(201).json();
    assert_eq!(first, quoted);
    make("key-1", "b").await.problem(422, "idempotency_mismatch");
    make("key-2", "a").await.problem(409, "name_conflict");
    assert_eq!(changes(&alice).await, 1);
    // A key is its owner's.
    let bob = server.persona("bob").await;
    bob.post("/folders")
        .header("idempotency-key", "key-1")
        .json(&json!({"name": "b"}))
        .send()
        .await
        .expect(201);
}

async fn an_upload_is_made_once(server: &Server) {
    let alice = server.persona("alice").await;
    let put = async |key: &str, path: &str, body: &'static str| {
        alice.put(path).header("idempotency-key", key).body(body).send().await
    };
    let first: Node = put("up-1", "/fs/a", "content").await.expect(201).json();
    let again: Node = put("up-1", "/fs/a", "content").await.expect(201).json();
    assert_eq!(first, again);
    put("up-1", "/fs/a", "other content").await.problem(422, "idempotency_mismatch");
    put("up-1", "/fs/b", "content").await.problem(422, "idempotency_mismatch");
    // Even after others wrote: the answer is that of the first time, and their content stays.
    alice.upload("a", "newer").await;
    let late: Node = put("up-1", "/fs/a", "content").await.expect(201).json();
    assert_eq!(late, first);
    assert_eq!(alice.download("a").await, "newer");
    assert_eq!(alice.space().await.reserved_bytes, 0);
}

async fn a_link_is_made_once(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("file", "x").await;
    let make =
        async |body: Value| alice.post("/links").header("idempotency-key", "link-1").json(&body).send().await;
    let first: Value = make(json!({"node_id": file.node_id})).await.expect(201).json();
    let again: Value = make(json!({"node_id": file.node_id})).await.expect(201).json();
    assert_eq!(first, again);
    let other = json!({"node_id": file.node_id, "expires_at": "2099-01-01T00:00:00Z"});
    make(other).await.problem(422, "idempotency_mismatch");
    let all: Vec<Value> = alice.all(&format!("/links?node_id={}", file.node_id)).await;
    assert_eq!(all.len(), 1);
}

async fn twenty_at_once_have_one_effect(server: &Server) {
    let alice = server.persona("alice").await;
    let same = |answers: Vec<Answer>| {
        let nodes: Vec<Node> = answers.into_iter().map(|answer| answer.expect(201).json()).collect();
        assert!(nodes.iter().all(|node| *node == nodes[0]), "{nodes:?}");
    };
    let folders = (0..20).map(|_| {
        alice.post("/folders").header("idempotency-key", "storm").json(&json!({"name": "folder"})).send()
    });
    same(futures::future::join_all(folders).await);
    assert_eq!(changes(&alice).await, 1);
    let uploads = (0..20).map(|_| {
        alice.put("/fs/folder/file").header("idempotency-key", "storm-2").body("the content").send()
    });
    same(futures::future::join_all(uploads).await);
    assert_eq!(changes(&alice).await, 2);
    let space = alice.space().await;
    assert_eq!((space.used_bytes, space.reserved_bytes), (11, 0));
}

async fn a_key_is_short_and_visible(server: &Server) {
    let alice = server.persona("alice").await;
    let make = async |key: &str| {
        alice.post("/folders").header("idempotency-key", key).json(&json!({"name": "x"})).send().await
    };
    for key in [&"k".repeat(256), "sp\u{e4}t", ""] {
        assert_eq!(make(key).await.status, 400, "{key:?}");
    }
    make(&"k".repeat(255)).await.expect(201);
}
