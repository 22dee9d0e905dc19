//! Renaming and moving: the tree stays a tree.

use harness::{Node, Server, both_shapes};
use serde_json::{Value, json};
use uuid::Uuid;

async fn patch(who: &harness::Persona, id: &str, body: Value) -> harness::Answer {
    who.patch(&format!("/nodes/{id}")).json(&body).send().await
}

both_shapes!(
    a_move_keeps_everything_below,
    nothing_moves_below_itself,
    opposite_moves_never_make_a_cycle,
    a_taken_name_stays_taken,
    the_root_stays,
    only_into_a_folder_that_is_there,
    a_patch_is_understood_or_refused,
);

async fn a_move_keeps_everything_below(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("a/b/c/file", "content").await;
    let a: Node = alice.post("/fs/a").send().await.json();
    let b: Node = alice.post("/fs/a/b").send().await.json();
    let target = alice.mkdir("root", "target").await;
    let moved: Node = patch(&alice, &b.node_id, json!({"name": "new name", "parent_id": target.node_id}))
        .await
        .expect(200)
        .json();
    assert_eq!((moved.node_id.as_str(), moved.name.as_str()), (b.node_id.as_str(), "new name"));
    assert_eq!(moved.parent_id.as_deref(), Some(target.node_id.as_str()));
    assert_ne!(moved.etag, b.etag);
    assert_eq!(alice.download("target/new name/c/file").await, "content");
    assert_eq!(alice.node(&file.node_id).await, file);
    alice.get("/fs/a/b/c/file").send().await.problem(404, "not_found");
    assert!(alice.children(&a.node_id, "").await.is_empty());
    // To where it is, under the name it has, changes nothing that can be seen.
    let same: Node = patch(&alice, &b.node_id, json!({"name": "new name"})).await.expect(200).json();
    assert_eq!((same.name, same.parent_id), (moved.name, moved.parent_id));
}

async fn nothing_moves_below_itself(server: &Server) {
    let alice = server.persona("alice").await;
    alice.post("/fs/a/b/c").send().await.expect(201);
    let id =
        async |path: &str| -> String { alice.post(path).send().await.expect(200).json::<Node>().node_id };
    let (a, b, c) = (id("/fs/a").await, id("/fs/a/b").await, id("/fs/a/b/c").await);
    for (node, into) in [(&a, &a), (&a, &b), (&a, &c), (&b, &c)] {
        patch(&alice, node, json!({"parent_id": into})).await.problem(409, "would_cycle");
    }
    let root = alice.space().await.root_node_id;
    patch(&alice, &c, json!({"parent_id": root})).await.expect(200);
    patch(&alice, &a, json!({"parent_id": c})).await.expect(200);
    alice.get("/fs/c/a/b").send().await.expect(200);
}

async fn opposite_moves_never_make_a_cycle(server: &Server) {
    let alice = server.persona("alice").await;
    for round in 0..10 {
        let a = alice.mkdir("root", &format!("a {round}")).await.node_id;
        let b = alice.mkdir("root", &format!("b {round}")).await.node_id;
        let (one, two) = tokio::join!(
            patch(&alice, &a, json!({"parent_id": b})),
            patch(&alice, &b, json!({"parent_id": a}))
        );
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{} {}", one.text(), two.text());
        let loser = if one.status == 200 { two } else { one };
        loser.problem(409, "would_cycle");
    }
    assert_eq!(alice.children("root", "limit=100").await.len(), 10);
}

async fn a_taken_name_stays_taken(server: &Server) {
    let alice = server.persona("alice").await;
    let one = alice.upload("one", "1").await;
    alice.upload("two", "2").await;
    let folder = alice.mkdir("root", "folder").await;
    alice.upload("folder/one", "3").await;
    patch(&alice, &one.node_id, json!({"name": "two"})).await.problem(409, "name_conflict");
    patch(&alice, &one.node_id, json!({"parent_id": folder.node_id})).await.problem(409, "name_conflict");
    // A change of case only is a name of its own.
    let upper: Node = patch(&alice, &one.node_id, json!({"name": "One"})).await.expect(200).json();
    assert_eq!(upper.name, "One");
    patch(&alice, &one.node_id, json!({"name": "One", "parent_id": folder.node_id})).await.expect(200);
    assert_eq!(alice.download("folder/One").await, "1");
    assert_eq!(alice.download("two").await, "2");
}

async fn the_root_stays(server: &Server) {
    let alice = server.persona("alice").await;
    let folder = alice.mkdir("root", "folder").await;
    let root = alice.space().await.root_node_id;
    for id in ["root", root.as_str()] {
        patch(&alice, id, json!({"name": "x"})).await.problem(409, "root_immutable");
        patch(&alice, id, json!({"parent_id": folder.node_id})).await.problem(409, "root_immutable");
        alice.delete(&format!("/nodes/{id}")).send().await.problem(409, "root_immutable");
    }
    for path in ["/fs", "/fs/"] {
        let answer = alice.delete(path).send().await;
        assert!(matches!(answer.status.as_u16(), 405 | 409), "{} {}", answer.status, answer.text());
    }
}

async fn only_into_a_folder_that_is_there(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("file", "1").await;
    let other = alice.upload("other", "2").await;
    let gone = alice.mkdir("root", "gone").await;
    alice.trash(&gone.node_id).await;
    patch(&alice, &file.node_id, json!({"parent_id": other.node_id})).await.problem(409, "not_a_folder");
    for missing in [Uuid::now_v7().to_string(), gone.node_id, "x".to_owned()] {
        patch(&alice, &file.node_id, json!({"parent_id": missing})).await.problem(404, "not_found");
    }
    let moved: Node = patch(&alice, &file.node_id, json!({"parent_id": "root"})).await.expect(200).json();
    assert_eq!(moved.parent_id, file.parent_id);
}

async fn a_patch_is_understood_or_refused(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("file", "1").await;
    for (body, statuses) in [
        (r#"{"nmae": "x"}"#, &[400, 422][..]),
        (r#"{"name": 1}"#, &[400, 422]),
        (r#"{"name": "x""#, &[400]),
        ("[]", &[400, 422]),
        ("", &[400]),
        ("\u{0}", &[400]),
    ] {
        let path = format!("/nodes/{}", file.node_id);
        let answer = alice.patch(&path).header("content-type", "application/json").body(body).send().await;
        assert!(statuses.contains(&answer.status.as_u16()), "{body}: {} {}", answer.status, answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json");
        answer.reveals_nothing();
    }
    let answer = alice
        .patch(&format!("/nodes/{}", file.node_id))
        .header("content-type", "text/plain")
        .body(r#"{"name": "x"}"#);
    answer.send().await.problem(415, "unsupported_media_type");
    assert_eq!(alice.node(&file.node_id).await, file);
}
