//! Deleting, bringing back, deleting for good.

use harness::{Node, Server, both_shapes};
use serde_json::{Value, json};
use uuid::Uuid;

both_shapes!(
    what_is_in_the_trash_is_gone_from_everywhere_else,
    what_is_restored_is_as_it_was,
    a_name_that_was_taken_meanwhile,
    a_folder_that_is_gone_meanwhile,
    purging_gives_the_room_back,
    the_latest_lies_on_top,
    by_path_it_is_the_same,
    it_is_emptied_by_many_at_once,
);

async fn what_is_in_the_trash_is_gone_from_everywhere_else(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("folder/below/file", "content").await;
    let folder: Node = alice.post("/fs/folder").send().await.json();
    let below: Node = alice.post("/fs/folder/below").send().await.json();
    alice.trash(&folder.node_id).await;
    for path in [
        format!("/nodes/{}", folder.node_id),
        format!("/nodes/{}", below.node_id),
        format!("/nodes/{}", file.node_id),
        format!("/nodes/{}/content", file.node_id),
        format!("/nodes/{}/versions", file.node_id),
        format!("/nodes/{}/ancestors", file.node_id),
        format!("/nodes/{}/children", folder.node_id),
        format!("/nodes/{}/children", below.node_id),
        "/fs/folder".to_owned(),
        "/fs/folder/below/file".to_owned(),
    ] {
        alice.get(&path).send().await.problem(404, "not_found");
    }
    alice
        .patch(&format!("/nodes/{}", file.node_id))
        .json(&json!({"name": "x"}))
        .send()
        .await
        .problem(404, "not_found");
    alice.delete(&format!("/nodes/{}", file.node_id)).send().await.problem(404, "not_found");
    alice.put(&format!("/nodes/{}/content", file.node_id)).body("x").send().await.problem(404, "not_found");
    alice
        .put(&format!("/folders/{}/files/x", below.node_id))
        .body("x")
        .send()
        .await
        .problem(404, "not_found");
    let trash: Vec<Node> = alice.all("/trash?limit=10").await;
    assert_eq!(trash.len(), 1);
    assert_eq!(trash[0].node_id, folder.node_id);
    assert!(trash[0].trashed_at.is_some());
    // It is paid for until it is gone for good.
    assert_eq!(alice.space().await.used_bytes, 7);
}

async fn what_is_restored_is_as_it_was(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("folder/file", "content").await;
    let folder: Node = alice.post("/fs/folder").send().await.json();
    alice.trash(&folder.node_id).await;
    let restored: Node =
        alice.post(&format!("/nodes/{}/restore", folder.node_id)).send().await.expect(200).json();
    assert_eq!(
        (restored.node_id, restored.name, restored.trashed_at),
        (folder.node_id.clone(), folder.name, None)
    );
    assert_eq!(alice.node(&file.node_id).await, file);
    assert_eq!(alice.download("folder/file").await, "content");
    assert!(alice.all::<Node>("/trash?limit=10").await.is_empty());
    let again = alice.post(&format!("/nodes/{}/restore", folder.node_id)).send().await;
    again.problem(409, "not_trashed");
}

async fn a_name_that_was_taken_meanwhile(server: &Server) {
    let alice = server.persona("alice").await;
    let old = alice.upload("file", "old").await;
    alice.trash(&old.node_id).await;
    alice.upload("file", "new").await;
    let restore = format!("/nodes/{}/restore", old.node_id);
    alice.post(&restore).send().await.problem(409, "name_conflict");
    alice.post(&restore).json(&json!({"name": "../x"})).send().await.problem(422, "invalid_name");
    let node: Node = alice.post(&restore).json(&json!({"name": "old file"})).send().await.expect(200).json();
    assert_eq!(node.node_id, old.node_id);
    assert_eq!(alice.download("old file").await, "old");
    assert_eq!(alice.download("file").await, "new");
}

async fn a_folder_that_is_gone_meanwhile(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("folder/file", "content").await;
    let folder: Node = alice.post("/fs/folder").send().await.json();
    alice.trash(&file.node_id).await;
    alice.trash(&folder.node_id).await;
    let restore = format!("/nodes/{}/restore", file.node_id);
    alice.post(&restore).send().await.problem(404, "not_found");
    let node: Node = alice.post(&restore).json(&json!({"parent_id": "root"})).send().await.expect(200).json();
    assert_eq!(node.parent_id, Some(alice.space().await.root_node_id));
    assert_eq!(alice.download("file").await, "content");
}

async fn purging_gives_the_room_back(server: &Server) {
    let alice = server.persona("alice").await;
    alice.upload("folder/a", "12345").await;
    alice.upload("folder/b", "1234567").await;
    alice.upload("folder/b", "123").await;
    let folder: Node = alice.post("/fs/folder").send().await.json();
    let lone = alice.upload("lone", "1").await;
    assert_eq!(alice.space().await.used_bytes, 16);
    alice.delete(&format!("/trash/{}", lone.node_id)).send().await.problem(409, "not_trashed");
    alice.trash(&lone.node_id).await;
    alice.trash(&folder.node_id).await;
    assert_eq!(alice.space().await.used_bytes, 16);
    let purge = alice.delete(&format!("/trash/{}", lone.node_id)).send().await;
    assert!(purge.status.is_success(), "{}", purge.text());
    assert_eq!(alice.space().await.used_bytes, 15);
    assert!(alice.delete("/trash").send().await.status.is_success());
    assert_eq!(alice.space().await.used_bytes, 0);
    assert!(alice.all::<Node>("/trash?limit=10").await.is_empty());
    for id in [&lone.node_id, &folder.node_id] {
        alice.post(&format!("/nodes/{id}/restore")).send().await.problem(404, "not_found");
        alice.delete(&format!("/trash/{id}")).send().await.problem(404, "not_found");
    }
    // An empty trash can be emptied.
    assert!(alice.delete("/trash").send().await.status.is_success());
}

async fn the_latest_lies_on_top(server: &Server) {
    let alice = server.persona("alice").await;
    let mut ids = Vec::new();
    for n in 0..7 {
        let node = alice.mkdir("root", &format!("{}", n * 3 % 7)).await;
        alice.trash(&node.node_id).await;
        ids.push(node.node_id);
    }
    ids.reverse();
    let listed: Vec<Node> = alice.all("/trash?limit=2").await;
    assert_eq!(listed.into_iter().map(|node| node.node_id).collect::<Vec<_>>(), ids);
}

async fn by_path_it_is_the_same(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("a/file", "x").await;
    alice.delete("/fs/a/file").send().await.expect(204);
    alice.delete("/fs/a/file").send().await.problem(404, "not_found");
    let trash: Vec<Node> = alice.all("/trash?limit=10").await;
    assert_eq!(trash[0].node_id, file.node_id);
    let unknown = Uuid::now_v7();
    let answer = alice
        .post(&format!("/nodes/{unknown}/restore"))
        .json(&Value::Object(Default::default()))
        .send()
        .await;
    answer.problem(404, "not_found");
}

async fn it_is_emptied_by_many_at_once(server: &Server) {
    let alice = server.persona("alice").await;
    for round in 0..3 {
        for file in 0..8 {
            let node = alice.upload(&format!("{round}/{file}"), "content").await;
            if file % 2 == 0 {
                alice.trash(&node.node_id).await;
            }
        }
        alice.delete(&format!("/fs/{round}")).send().await.expect(204);
        let emptied = futures::future::join_all((0..8).map(|_| alice.delete("/trash").send())).await;
        let counts = emptied.into_iter().map(|answer| answer.expect(200).json::<Value>());
        let purged: u64 = counts.map(|count| count["purged_nodes"].as_u64().unwrap()).sum();
        assert_eq!(purged, 9);
        assert_eq!(alice.space().await.used_bytes, 0);
    }
}
