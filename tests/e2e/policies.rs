//! What folders do with the files in them, and links that do more than open.

use harness::{Link, Node, Persona, Server, both_shapes};
use http::Method;
use serde_json::{Value, json};

both_shapes!(
    files_go_when_their_time_is_over,
    a_folder_holds_so_many_files,
    old_versions_go,
    a_folder_can_do_without_the_trash,
    a_policy_can_be_taken_back,
    a_link_is_good_for_so_many_downloads,
    a_link_can_call_the_file_by_another_name,
    a_retried_link_with_a_relative_expiry_is_the_same,
);

async fn policy(alice: &Persona, folder: &str, policy: Value) -> Node {
    alice.put(&format!("/folders/{folder}/policy")).json(&policy).send().await.expect(200).json()
}

async fn names(alice: &Persona, folder: &str) -> Vec<String> {
    alice.children(folder, "").await.into_iter().map(|node| node.name).collect()
}

async fn files_go_when_their_time_is_over(server: &Server) {
    let alice = server.persona("alice").await;
    let folder = alice.mkdir("root", "short-lived").await.node_id;
    let node = policy(&alice, &folder, json!({"time_to_live": 1})).await;
    let expected = json!({"time_to_live": 1, "max_files": 0, "max_versions": 0, "skip_trash": false});
    assert_eq!(node.policy, Some(expected));
    let file = alice.upload("short-lived/a.txt", "a").await;
    assert!(file.expires_at.is_some());
    let link = alice.link(&file.node_id).await;
    harness::eventually("the file is gone", async || {
        (alice.get("/fs/short-lived/a.txt").send().await.status == 404).then_some(())
    })
    .await;
    alice.get(&format!("/nodes/{}", file.node_id)).send().await.problem(404, "not_found");
    assert_eq!(server.api().call_at(Method::GET, &format!("/s/{}", link.slug)).send().await.status, 404);
    assert!(names(&alice, &folder).await.is_empty());
    // Its name is free at once.
    let again = alice.upload("short-lived/a.txt", "b").await;
    assert_ne!(again.node_id, file.node_id);
}

async fn a_folder_holds_so_many_files(server: &Server) {
    let alice = server.persona("alice").await;
    let folder = alice.mkdir("root", "few").await.node_id;
    policy(&alice, &folder, json!({"max_files": 2})).await;
    for name in ["a", "b", "c"] {
        alice.upload(&format!("few/{name}"), name).await;
    }
    assert_eq!(names(&alice, &folder).await, ["b", "c"]);
    assert!(alice.all::<Node>("/trash?limit=5").await.is_empty(), "what is too much goes for good");
    assert_eq!(alice.space().await.used_bytes, 2);
}

async fn old_versions_go(server: &Server) {
    let alice = server.persona("alice").await;
    policy(&alice, "root", json!({"max_versions": 2})).await;
    for content in ["1", "22", "333"] {
        alice.upload("f", content).await;
    }
    let node: Node = alice.children("root", "").await.swap_remove(0);
    let versions: Vec<Value> = alice.all(&format!("/nodes/{}/versions?limit=5", node.node_id)).await;
    assert_eq!(versions.iter().map(|version| version["size"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(alice.space().await.used_bytes, 5);
}

async fn a_folder_can_do_without_the_trash(server: &Server) {
    let alice = server.persona("alice").await;
    policy(&alice, "root", json!({"skip_trash": true})).await;
    let file = alice.upload("f", "gone for good").await;
    alice.trash(&file.node_id).await;
    assert!(alice.all::<Node>("/trash?limit=5").await.is_empty());
    assert_eq!(alice.space().await.used_bytes, 0);
}

async fn a_policy_can_be_taken_back(server: &Server) {
    let (alice, bob) = (server.persona("alice").await, server.persona("bob").await);
    let folder = alice.mkdir("root", "f").await.node_id;
    policy(&alice, &folder, json!({"time_to_live": 3600})).await;
    assert_eq!(policy(&alice, &folder, json!({})).await.policy, None);
    assert!(alice.upload("f/stays", "x").await.expires_at.is_none());
    let file = alice.upload("f/stays", "x").await.node_id;
    let put = |id: &str| format!("/folders/{id}/policy");
    let body = json!({"max_files": 1});
    alice.put(&put(&file)).json(&body).send().await.problem(409, "not_a_folder");
    bob.put(&put(&folder)).json(&body).send().await.problem(404, "not_found");
    alice.put(&put(&folder)).json(&json!({"max_files": -1})).send().await.problem(422, "invalid_field");
    alice.put(&put(&folder)).json(&json!({"colour": 1})).send().await.problem(422, "invalid_field");
}

async fn a_link_is_good_for_so_many_downloads(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("once.txt", "read me").await;
    let body = json!({"node_id": file.node_id, "max_downloads": 2});
    let link: Link = alice.post("/links").json(&body).send().await.expect(201).json();
    assert_eq!((link.max_downloads, link.downloads), (Some(2), Some(0)));
    let (page, download) = (format!("/s/{}", link.slug), format!("/s/{}/download", link.slug));
    let api = server.api();
    for _ in 0..3 {
        api.call_at(Method::GET, &page).send().await.expect(200);
    }
    for _ in 0..2 {
        assert_eq!(api.call_at(Method::GET, &download).send().await.expect(200).text(), "read me");
    }
    let counted: Link = alice.get(&format!("/links/{}", link.link_id)).send().await.expect(200).json();
    assert_eq!(counted.downloads, Some(2));
    assert_eq!(api.call_at(Method::GET, &download).send().await.status, 404);
    assert_eq!(api.call_at(Method::GET, &page).send().await.status, 404);
    assert!(names(&alice, "root").await.is_empty(), "the next attempt deletes the file");
    assert_eq!(alice.all::<Node>("/trash?limit=5").await.len(), 1);
}

async fn a_link_can_call_the_file_by_another_name(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("secret plan.txt", "x").await;
    let body = json!({"node_id": file.node_id, "file_name": "Grüße.txt"});
    let link: Link = alice.post("/links").json(&body).send().await.expect(201).json();
    let api = server.api();
    let page = api.call_at(Method::GET, &format!("/s/{}", link.slug)).send().await.expect(200).text();
    assert!(page.contains("Grüße.txt") && !page.contains("secret plan"), "{page}");
    let download = api.call_at(Method::GET, &format!("/s/{}/download", link.slug)).send().await.expect(200);
    assert!(download.header("content-disposition").contains("filename*=UTF-8''Gr%C3%BC%C3%9Fe.txt"));
}

async fn a_retried_link_with_a_relative_expiry_is_the_same(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("f", "x").await;
    let body = json!({"node_id": file.node_id, "expires_in": 3600});
    let make = async || -> Link {
        let call = alice.post("/links").header("idempotency-key", "\"retry\"").json(&body);
        call.send().await.expect(201).json()
    };
    let first = make().await;
    assert_eq!(make().await, first);
}
