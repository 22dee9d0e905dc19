//! What a file was before.

use harness::{Server, Version, both_shapes};
use uuid::Uuid;

both_shapes!(every_write_keeps_the_version_before, a_version_belongs_to_its_file,);

async fn every_write_keeps_the_version_before(server: &Server) {
    let alice = server.persona("alice").await;
    let contents: Vec<String> = (1..=5).map(|n| format!("version {n}")).collect();
    let mut node = alice.upload("file", contents[0].clone()).await;
    for content in &contents[1..] {
        let next = alice.upload("file", content.clone()).await;
        assert_eq!(next.node_id, node.node_id);
        assert_ne!(next.etag, node.etag);
        node = next;
    }
    let path = format!("/nodes/{}/versions?limit=2", node.node_id);
    let versions: Vec<Version> = alice.all(&path).await;
    assert_eq!(versions.len(), 5);
    assert_eq!(versions[0], node.version.clone().unwrap());
    for (version, content) in versions.iter().rev().zip(&contents) {
        let path = format!("/nodes/{}/content?version={}", node.node_id, version.version_id);
        let answer = alice.get(&path).send().await.expect(200);
        assert_eq!(answer.body, *content);
        assert_eq!(answer.etag(), format!("\"{}\"", version.content_etag));
        assert_eq!(version.digest, blake3::hash(content.as_bytes()).to_hex().as_str());
        assert_eq!(version.author_account_id, alice.account_id);
    }
    assert_eq!(alice.space().await.used_bytes, 5 * 9);
}

async fn a_version_belongs_to_its_file(server: &Server) {
    let alice = server.persona("alice").await;
    let one = alice.upload("one", "1").await;
    let two = alice.upload("two", "2").await;
    let folder = alice.mkdir("root", "folder").await;
    let foreign = two.version.unwrap().version_id;
    for version in [foreign, Uuid::now_v7().to_string(), "x".to_owned()] {
        let path = format!("/nodes/{}/content?version={version}", one.node_id);
        alice.get(&path).send().await.problem(404, "not_found");
    }
    alice.get(&format!("/nodes/{}/versions", folder.node_id)).send().await.problem(409, "not_a_file");
}
