//! Making folders, and reading them.

use harness::{Node, Page, Server, both_shapes};
use serde_json::json;
use uuid::Uuid;

both_shapes!(
    a_new_account_has_an_empty_root,
    folders_are_made_in_folders,
    a_name_is_used_once_in_a_folder,
    a_parent_must_be_a_folder_that_is_there,
    a_path_makes_its_folders,
    paths_are_only_so_deep_and_so_long,
    many_make_one_folder_at_once,
);

async fn a_new_account_has_an_empty_root(server: &Server) {
    let alice = server.persona("alice").await;
    let root: Node = alice.get("/nodes/root").send().await.expect(200).json();
    let space = alice.space().await;
    assert_eq!(
        (root.node_id.as_str(), root.parent_id.clone(), root.name.as_str()),
        (space.root_node_id.as_str(), None, "")
    );
    assert_eq!(root.kind, "folder");
    assert_eq!(space.owner_account_id, alice.account_id);
    assert_eq!((space.used_bytes, space.reserved_bytes), (0, 0));
    assert_eq!(alice.node(&root.node_id).await, root);
    for path in ["/nodes/root/children", "/fs", "/fs/"] {
        let page: Page<Node> = alice.get(path).send().await.expect(200).json();
        assert!(page.items.is_empty() && page.next_cursor.is_none());
    }
    let above: Page<Node> = alice.get("/nodes/root/ancestors").send().await.expect(200).json();
    assert!(above.items.is_empty());
}

async fn folders_are_made_in_folders(server: &Server) {
    let alice = server.persona("alice").await;
    let answer = alice.post("/folders").json(&json!({"name": "a"})).send().await.expect(201);
    let a: Node = answer.json();
    assert_eq!(answer.header("location"), format!("/api/v1/nodes/{}", a.node_id));
    assert_eq!(answer.etag(), format!("\"{}\"", a.etag));
    assert_eq!((a.name.as_str(), a.kind.as_str(), a.version.clone()), ("a", "folder", None));
    let b = alice.mkdir(&a.node_id, "b").await;
    let c = alice.mkdir(&b.node_id, "c").await;
    assert_eq!(c.parent_id.as_deref(), Some(b.node_id.as_str()));
    let above: Page<Node> =
        alice.get(&format!("/nodes/{}/ancestors", c.node_id)).send().await.expect(200).json();
    let names: Vec<&str> = above.items.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["", "a", "b"]);
    assert_eq!(alice.children(&a.node_id, "limit=10").await, [b]);
}

async fn a_name_is_used_once_in_a_folder(server: &Server) {
    let alice = server.persona("alice").await;
    let folder = alice.mkdir("root", "folder").await;
    let make = async |parent: &str, name: &str| {
        alice.post("/folders").json(&json!({"parent_id": parent, "name": name})).send().await
    };
    make("root", "folder").await.problem(409, "name_conflict");
    // Names differ by case.
    make("root", "Folder").await.expect(201);
    make(&folder.node_id, "folder").await.expect(201);
    alice.upload("file", "content").await;
    make("root", "file").await.problem(409, "name_conflict");
}

async fn a_parent_must_be_a_folder_that_is_there(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("file", "content").await;
    let make = async |parent: &str| {
        alice.post("/folders").json(&json!({"parent_id": parent, "name": "x"})).send().await
    };
    make(&file.node_id).await.problem(409, "not_a_folder");
    make(&Uuid::now_v7().to_string()).await.problem(404, "not_found");
    make("no-id-at-all").await.problem(404, "not_found");
}

async fn a_path_makes_its_folders(server: &Server) {
    let alice = server.persona("alice").await;
    let answer = alice.post("/fs/a/b/c").send().await.expect(201);
    let c: Node = answer.json();
    assert_eq!(c.name, "c");
    let again: Node = alice.post("/fs/a/b/c").send().await.expect(200).json();
    assert_eq!(again, c);
    let page: Page<Node> = alice.get("/fs/a/b").send().await.expect(200).json();
    assert_eq!(page.items, [c]);
    let file = alice.upload("new/folders/on the way/file", "x").await;
    let above: Page<Node> =
        alice.get(&format!("/nodes/{}/ancestors", file.node_id)).send().await.expect(200).json();
    let names: Vec<&str> = above.items.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["", "new", "folders", "on the way"]);
    alice.put("/fs/a/b/c").body("x").send().await.problem(409, "not_a_file");
    alice
        .put("/fs/new/folders/on%20the%20way/file/below")
        .body("x")
        .send()
        .await
        .problem(409, "not_a_folder");
    alice.get("/fs/nowhere").send().await.problem(404, "not_found");
    alice.get("/fs/nowhere/below").send().await.problem(404, "not_found");
}

async fn paths_are_only_so_deep_and_so_long(server: &Server) {
    let alice = server.persona("alice").await;
    let deep = |depth: usize| format!("/fs/{}", vec!["d"; depth].join("/"));
    alice.post(&deep(64)).send().await.expect(201);
    alice.post(&deep(65)).send().await.problem(422, "invalid_path");
    alice.put(&deep(70)).body("x").send().await.problem(422, "invalid_path");
    let long = format!("/fs/{}", vec!["n".repeat(250); 20].join("/"));
    alice.post(&long).send().await.problem(422, "invalid_path");
}

async fn many_make_one_folder_at_once(server: &Server) {
    let alice = server.persona("alice").await;
    let made = futures::future::join_all(
        (0..16).map(|_| alice.post("/folders").json(&json!({"name": "one"})).send()),
    )
    .await;
    assert_eq!(made.iter().filter(|answer| answer.status == 201).count(), 1);
    made.iter().filter(|answer| answer.status != 201).for_each(|answer| {
        answer.problem(409, "name_conflict");
    });
    let by_path = futures::future::join_all((0..16).map(|_| alice.post("/fs/deep/down/here").send())).await;
    let ids: Vec<String> = by_path.iter().map(|answer| answer.json::<Node>().node_id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(by_path.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(alice.children("root", "limit=100").await.len(), 2);
}
