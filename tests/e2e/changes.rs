//! The log of changes: complete, in order, nothing twice.

use std::sync::atomic::{AtomicBool, Ordering};

use harness::{Change, Node, Page, Persona, Server, both_shapes};
use serde_json::json;

/// Everything after a cursor (empty for the start), page by page, and the cursor to go on from.
async fn follow(alice: &Persona, mut cursor: String, limit: u32) -> (Vec<Change>, String) {
    let mut changes = Vec::new();
    loop {
        let from = if cursor.is_empty() { String::new() } else { format!("&cursor={cursor}") };
        let page: Page<Change> =
            alice.get(&format!("/changes?limit={limit}{from}")).send().await.expect(200).json();
        changes.extend(page.items);
        cursor = page.next_cursor.expect("a feed always goes on");
        if page.has_more != Some(true) {
            return (changes, cursor);
        }
    }
}

both_shapes!(
    everything_that_happens_is_told_in_order,
    what_did_not_happen_is_not_told,
    a_follower_misses_nothing_while_many_write,
    a_cursor_nobody_gave_is_refused,
);

async fn everything_that_happens_is_told_in_order(server: &Server) {
    let alice = server.persona("alice").await;
    let first: Page<Change> = alice.get("/changes").send().await.expect(200).json();
    assert!(first.items.is_empty() && first.has_more == Some(false));
    let start = first.next_cursor.unwrap();

    let file = alice.upload("a/file", "one").await;
    let a: Node = alice.post("/fs/a").send().await.expect(200).json();
    let changed = alice.upload("a/file", "two").await;
    alice
        .patch(&format!("/nodes/{}", file.node_id))
        .json(&json!({"name": "renamed"}))
        .send()
        .await
        .expect(200);
    let b = alice.mkdir("root", "b").await;
    alice
        .patch(&format!("/nodes/{}", a.node_id))
        .json(&json!({"parent_id": b.node_id}))
        .send()
        .await
        .expect(200);
    alice.trash(&b.node_id).await;
    alice.post(&format!("/nodes/{}/restore", b.node_id)).send().await.expect(200);
    alice.trash(&b.node_id).await;
    assert!(alice.delete("/trash").send().await.status.is_success());

    let expected = [
        ("created", &a.node_id),
        ("created", &file.node_id),
        ("content", &file.node_id),
        ("moved", &file.node_id),
        ("created", &b.node_id),
        ("moved", &a.node_id),
        ("trashed", &b.node_id),
        ("restored", &b.node_id),
        ("trashed", &b.node_id),
        ("purged", &b.node_id),
    ];
    for limit in [1, 3, 1000] {
        let (changes, _) = follow(&alice, start.clone(), limit).await;
        let told: Vec<(&str, &String)> =
            changes.iter().map(|change| (change.kind.as_str(), &change.node_id)).collect();
        assert_eq!(told, expected, "{limit}");
        assert!(changes.iter().zip(1..).all(|(change, sequence)| change.sequence == sequence));
        assert_eq!(changes[1].version_id, Some(file.version.clone().unwrap().version_id));
        assert_eq!(changes[2].version_id, Some(changed.version.clone().unwrap().version_id));
        assert_eq!(changes[0].version_id, None);
    }
    assert_eq!(alice.space().await.change_sequence, 10);
}

async fn what_did_not_happen_is_not_told(server: &Server) {
    let alice = server.persona("alice").await;
    alice.upload("file", "content").await;
    let (_, cursor) = follow(&alice, String::new(), 100).await;
    alice.post("/folders").json(&json!({"name": "file"})).send().await.problem(409, "name_conflict");
    alice
        .put("/fs/file")
        .header("if-match", "\"other\"")
        .body("x")
        .send()
        .await
        .problem(412, "precondition_failed");
    alice.get("/fs/file").send().await.expect(200);
    alice.upload("file", "content").await;
    let bob = server.persona("bob").await;
    bob.upload("file", "bob's").await;
    assert!(follow(&alice, cursor, 100).await.0.is_empty());
}

async fn a_follower_misses_nothing_while_many_write(server: &Server) {
    let alice = server.persona("alice").await;
    let done = AtomicBool::new(false);
    let writers = async {
        let writes = (0..8_u32).map(|writer| {
            let alice = &alice;
            async move {
                for n in 0..12 {
                    let node = alice.upload(&format!("w{writer}/f{n}"), format!("{writer} {n}")).await;
                    if n % 3 == 0 {
                        alice.trash(&node.node_id).await;
                    }
                }
            }
        });
        futures::future::join_all(writes).await;
        done.store(true, Ordering::SeqCst);
    };
    let follower = async {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let last = done.load(Ordering::SeqCst);
            let (changes, next) = follow(&alice, cursor, 7).await;
            seen.extend(changes.into_iter().map(|change| change.sequence));
            cursor = next;
            if last {
                return seen;
            }
        }
    };
    let ((), seen) = tokio::join!(writers, follower);
    let total = alice.space().await.change_sequence;
    assert_eq!(total, 8 + 8 * 12 + 8 * 4);
    assert_eq!(seen, (1..=total).collect::<Vec<u64>>());
}

async fn a_cursor_nobody_gave_is_refused(server: &Server) {
    let alice = server.persona("alice").await;
    let first: Page<Change> = alice.get("/changes").send().await.expect(200).json();
    let own = first.next_cursor.unwrap();
    let epoch = own.strip_suffix("-0").expect("nothing has happened yet");
    let beyond = [format!("{epoch}-1"), format!("{epoch}-"), format!("{epoch}--1"), format!("{epoch}-+0")];
    let garbage = ["", "x", "0", "-1", "-0", "99999999999999999999999", "1'"].map(str::to_owned);
    for cursor in garbage.into_iter().chain(beyond) {
        let answer = alice.get(&format!("/changes?cursor={cursor}")).send().await;
        assert!(matches!(answer.status.as_u16(), 400 | 422), "{cursor}: {} {}", answer.status, answer.text());
        answer.reveals_nothing();
    }
    // One of another log of changes, as that of a server that was restored since.
    let other = alice.get("/changes?cursor=0123456789abcdef-0").send().await;
    other.problem(410, "cursor_expired");
}
