//! Many hands on one tree at once, at random; then the books are checked.

use std::collections::{BTreeMap, BTreeSet};

use harness::{Answer, Change, Node, Page, Persona, Seed, Server, Version, both_shapes};
use serde_json::json;

both_shapes!(whatever_happens_at_once_the_books_are_right);

const WORKERS: usize = 6;
const STEPS: usize = 50;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// One random call, which may be refused for good reason and for no other.
async fn step(alice: &Persona, seed: &mut Seed, ids: &mut Vec<String>) {
    let id = seed.pick(ids).clone();
    let other = seed.pick(ids).clone();
    let (name, second) = (*seed.pick(&NAMES), *seed.pick(&NAMES));
    let answer: Answer = match seed.below(12) {
        0..=2 => alice.post("/folders").json(&json!({"parent_id": id, "name": name})).send().await,
        3..=5 => alice.put(&format!("/folders/{id}/files/{name}")).body(random(seed)).send().await,
        6 => alice.put(&format!("/fs/{name}/{second}")).body(random(seed)).send().await,
        7 => alice.patch(&format!("/nodes/{id}")).json(&json!({"name": name})).send().await,
        8..=9 => {
            alice.patch(&format!("/nodes/{id}")).json(&json!({"parent_id": other, "name": name})).send().await
        }
        10 => alice.delete(&format!("/nodes/{id}")).send().await,
        _ => match seed.below(3) {
            0 => alice.delete(&format!("/trash/{id}")).send().await,
            _ => alice.post(&format!("/nodes/{id}/restore")).json(&json!({"name": name})).send().await,
        },
    };
    if answer.status.is_success() {
        if let Ok(node) = serde_json::from_slice::<Node>(&answer.body) {
            ids.push(node.node_id);
        }
    } else {
        assert!(matches!(answer.status.as_u16(), 404 | 409), "{} answered {}", answer.request, answer.text());
        answer.problem(answer.status.as_u16(), answer.json::<serde_json::Value>()["code"].as_str().unwrap());
    }
}

fn random(seed: &mut Seed) -> Vec<u8> {
    let len = usize::try_from(seed.below(3000)).unwrap();
    (0..len).map(|_| u8::try_from(seed.below(256)).unwrap()).collect()
}

async fn whatever_happens_at_once_the_books_are_right(server: &Server) {
    let alice = server.persona("alice").await;
    let root = alice.space().await.root_node_id;
    let shared = alice.mkdir("root", "a").await.node_id;
    let mut seed = Seed::new("whatever_happens_at_once_the_books_are_right");
    let workers = (0..WORKERS).map(|_| {
        let (alice, mut seed, mut ids) = (&alice, seed.fork(), vec![root.clone(), shared.clone()]);
        async move {
            for _ in 0..STEPS {
                step(alice, &mut seed, &mut ids).await;
            }
        }
    });
    futures::future::join_all(workers.collect::<Vec<_>>()).await;

    // A tree: everything is reached once from the root, and no two siblings have one name.
    let mut live = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let children = alice.children(&folder, "limit=1000").await;
        let names: BTreeSet<&str> = children.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names.len(), children.len());
        for node in children {
            assert_eq!(node.parent_id.as_deref(), Some(folder.as_str()));
            if node.kind == "folder" {
                folders.push(node.node_id.clone());
            }
            assert!(live.insert(node.node_id.clone(), node).is_none(), "reached twice");
        }
    }

    // The log: without gaps, and the last that it says of a node is what the node is.
    let space = alice.space().await;
    let mut changes: Vec<Change> = Vec::new();
    let mut from = String::new();
    loop {
        let page: Page<Change> =
            alice.get(&format!("/changes?limit=100{from}")).send().await.expect(200).json();
        changes.extend(page.items);
        from = format!("&cursor={}", page.next_cursor.unwrap());
        if page.has_more != Some(true) {
            break;
        }
    }
    assert!(changes.iter().map(|change| change.sequence).eq(1..=space.change_sequence));
    let mut told: BTreeMap<&str, (&str, Option<&str>)> = BTreeMap::new();
    for change in &changes {
        let before = told.get(change.node_id.as_str()).copied();
        assert_eq!(before.is_none(), change.kind == "created", "{change:?} after {before:?}");
        let version = change.version_id.as_deref().or(before.and_then(|(_, version)| version));
        told.insert(&change.node_id, (&change.kind, version));
    }
    for (id, node) in &live {
        let (kind, version) = told[id.as_str()];
        assert!(!matches!(kind, "trashed" | "purged"), "{id} is live and was {kind} last");
        assert_eq!(version, node.version.as_ref().map(|version| version.version_id.as_str()));
    }

    // The quota, once what is in the trash is gone: what is used is the sum of what is there.
    assert!(alice.delete("/trash").send().await.status.is_success());
    let mut used = 0;
    for node in live.values().filter(|node| node.kind == "file") {
        let versions: Vec<Version> = alice.all(&format!("/nodes/{}/versions?limit=1000", node.node_id)).await;
        used += versions.iter().map(|version| version.size).sum::<u64>();
        let body = alice.get(&format!("/nodes/{}/content", node.node_id)).send().await.expect(200).body;
        assert_eq!(blake3::hash(&body).to_hex().as_str(), node.digest());
    }
    let space = alice.space().await;
    assert_eq!((space.used_bytes, space.reserved_bytes), (used, 0));
}
