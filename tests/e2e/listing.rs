//! Lists in pages.

use std::collections::BTreeSet;

use futures::StreamExt;
use harness::{Node, Page, Persona, Server, both_shapes, encode_segment, eventually};
use serde_json::json;

const MANY: usize = 1_200;

/// Makes a folder as a patient client does: what may be repeated is repeated, with the same key. So many at once take a
/// slow disk long enough for that.
async fn make(alice: &Persona, parent: &str, name: &str) -> String {
    eventually("the folder is made", async || {
        let answer = alice
            .post("/folders")
            .header("idempotency-key", &encode_segment(name))
            .json(&json!({"parent_id": parent, "name": name}))
            .send()
            .await;
        if answer.status.is_server_error() {
            assert_eq!(answer.json::<serde_json::Value>()["retryable"], true, "{}", answer.text());
            return None;
        }
        Some(answer.expect(201).json::<Node>().node_id)
    })
    .await
}

both_shapes!(
    a_large_folder_in_every_order,
    pages_go_on_while_things_change,
    a_cursor_belongs_to_its_list,
    a_limit_has_limits,
);

async fn a_large_folder_in_every_order(server: &Server) {
    let alice = server.persona("alice").await;
    let folder = alice.mkdir("root", "large").await;
    // Made in an order that is neither that of the names nor its reverse.
    let names: Vec<String> = (0..MANY).map(|n| format!("entry {:04} ä", n * 7_919 % MANY)).collect();
    let made = futures::stream::iter(&names).map(|name| {
        let (alice, folder) = (&alice, &folder.node_id);
        make(alice, folder, name)
    });
    let made: BTreeSet<String> = made.buffer_unordered(16).collect().await;
    assert_eq!(made.len(), MANY);

    let by_name = |a: &Node, b: &Node| a.name.as_bytes().cmp(b.name.as_bytes());
    let by_time = |a: &Node, b: &Node| (&a.modified_at, &a.node_id).cmp(&(&b.modified_at, &b.node_id));
    for limit in [100, 333, 1000] {
        for order in ["name", "modified"] {
            for direction in ["asc", "desc"] {
                let query = format!("order={order}&direction={direction}&limit={limit}");
                let listed = alice.children(&folder.node_id, &query).await;
                let ids: BTreeSet<String> = listed.iter().map(|node| node.node_id.clone()).collect();
                assert_eq!((listed.len(), &ids), (MANY, &made), "{query}");
                assert!(
                    listed.is_sorted_by(|a, b| {
                        let order = if order == "name" { by_name(a, b) } else { by_time(a, b) };
                        (if direction == "asc" { order } else { order.reverse() }).is_lt()
                    }),
                    "{query}"
                );
            }
        }
    }
    let by_path: Vec<Node> = alice.all("/fs/large?order=name&direction=desc&limit=500").await;
    assert_eq!(by_path, alice.children(&folder.node_id, "order=name&direction=desc&limit=1000").await);
}

async fn pages_go_on_while_things_change(server: &Server) {
    let alice = server.persona("alice").await;
    for n in 0..20 {
        alice.mkdir("root", &format!("{n:02}")).await;
    }
    let first: Page<Node> = alice.get("/nodes/root/children?limit=10").send().await.expect(200).json();
    alice.trash(&first.items[3].node_id).await;
    alice.mkdir("root", "00 new before").await;
    alice.mkdir("root", "zz new after").await;
    let cursor = first.next_cursor.unwrap();
    let rest = alice.children("root", &format!("limit=100&cursor={cursor}")).await;
    let names: Vec<&str> = rest.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "zz new after"]);
}

async fn a_cursor_belongs_to_its_list(server: &Server) {
    let alice = server.persona("alice").await;
    let other = alice.mkdir("root", "other").await;
    for n in 0..5 {
        alice.mkdir("root", &format!("{n}")).await;
        alice.mkdir(&other.node_id, &format!("{n}")).await;
    }
    let page: Page<Node> = alice.get("/nodes/root/children?limit=2").send().await.expect(200).json();
    let cursor = page.next_cursor.unwrap();
    let bob = server.persona("bob").await;
    for n in 0..5 {
        bob.mkdir("root", &format!("{n}")).await;
    }
    for answer in [
        alice.get(&format!("/nodes/root/children?limit=2&order=modified&cursor={cursor}")).send().await,
        alice.get(&format!("/nodes/root/children?limit=2&direction=desc&cursor={cursor}")).send().await,
        alice.get(&format!("/nodes/{}/children?limit=2&cursor={cursor}", other.node_id)).send().await,
        alice.get(&format!("/trash?limit=2&cursor={cursor}")).send().await,
        bob.get(&format!("/nodes/root/children?limit=2&cursor={cursor}")).send().await,
        alice.get("/nodes/root/children?cursor=x").send().await,
        alice.get(&format!("/nodes/root/children?cursor={cursor}x")).send().await,
        alice.get(&format!("/nodes/root/children?cursor={}", &cursor[1..])).send().await,
    ] {
        answer.problem(400, "invalid_cursor");
    }
    alice.get(&format!("/nodes/root/children?limit=3&cursor={cursor}")).send().await.expect(200);
}

async fn a_limit_has_limits(server: &Server) {
    let alice = server.persona("alice").await;
    for n in 0..3 {
        alice.mkdir("root", &format!("{n}")).await;
    }
    for query in ["", "limit=1000", "limit=3"] {
        assert_eq!(alice.children("root", query).await.len(), 3, "{query}");
    }
    for query in [
        "limit=-1",
        "limit=x",
        "limit=1.5",
        "limit=99999999999999999999",
        "order=size",
        "direction=up",
        "unknown=1",
    ] {
        let answer = alice.get(&format!("/nodes/root/children?{query}")).send().await;
        assert!(matches!(answer.status.as_u16(), 400 | 422), "{query}: {} {}", answer.status, answer.text());
        answer.reveals_nothing();
    }
    let file = alice.upload("file", "x").await;
    alice.get(&format!("/nodes/{}/children", file.node_id)).send().await.problem(409, "not_a_folder");
}
