//! `If-Match` and its kin (RFC 9110 §13): nobody loses what another wrote.

use harness::{Node, Server, both_shapes};
use serde_json::json;

both_shapes!(
    reading_again_costs_nothing,
    a_stale_write_is_refused,
    nodes_have_conditions_too,
    of_many_writers_on_one_version_one_wins,
    conditions_that_make_no_sense_are_refused,
);

async fn reading_again_costs_nothing(server: &Server) {
    let alice = server.persona("alice").await;
    let node = alice.upload("file", "content").await;
    let first = alice.get("/fs/file").send().await.expect(200);
    let etag = first.etag();
    assert_eq!(etag, format!("\"{}\"", node.version.unwrap().content_etag));
    let date = first.header("last-modified").to_owned();
    for (header, value) in [
        ("if-none-match", etag.clone()),
        ("if-none-match", format!("W/{etag}")),
        ("if-none-match", format!("\"other\", {etag}")),
        ("if-none-match", "*".to_owned()),
        ("if-modified-since", date.clone()),
    ] {
        for call in [alice.get("/fs/file"), alice.head("/fs/file")] {
            let answer = call.header(header, &value).send().await.expect(304);
            assert!(answer.body.is_empty());
            assert_eq!(answer.etag(), etag);
        }
    }
    for (header, value) in [
        ("if-none-match", "\"other\""),
        ("if-modified-since", "Thu, 01 Jan 2015 00:00:00 GMT"),
        ("if-modified-since", "no date"),
    ] {
        alice.get("/fs/file").header(header, value).send().await.expect(200);
    }
    // The tag decides where both are there.
    let both = alice.get("/fs/file").header("if-none-match", "\"other\"").header("if-modified-since", &date);
    both.send().await.expect(200);
    alice.upload("file", "changed").await;
    alice.get("/fs/file").header("if-none-match", &etag).send().await.expect(200);
}

async fn a_stale_write_is_refused(server: &Server) {
    let alice = server.persona("alice").await;
    alice.upload("file", "one").await;
    let one = alice.get("/fs/file").send().await.etag();
    let put = async |condition: &str, value: &str, body: &'static str| {
        alice.put("/fs/file").header(condition, value).body(body).send().await
    };
    put("if-match", "\"other\"", "two").await.problem(412, "precondition_failed");
    put("if-match", &format!("W/{one}"), "two").await.problem(412, "precondition_failed");
    put("if-none-match", "*", "two").await.problem(412, "precondition_failed");
    assert_eq!(alice.download("file").await, "one");
    put("if-match", &format!("\"other\", {one}"), "two").await.expect(200);
    put("if-match", &one, "three").await.problem(412, "precondition_failed");
    put("if-match", "*", "three").await.expect(200);
    assert_eq!(alice.download("file").await, "three");

    let new = alice.put("/fs/new").header("if-match", "*").body("x").send().await;
    new.problem(412, "precondition_failed");
    alice.get("/fs/new").send().await.problem(404, "not_found");
    alice.put("/fs/new").header("if-none-match", "*").body("x").send().await.expect(201);
}

async fn nodes_have_conditions_too(server: &Server) {
    let alice = server.persona("alice").await;
    let folder = alice.mkdir("root", "folder").await;
    let path = format!("/nodes/{}", folder.node_id);
    let answer = alice.get(&path).send().await.expect(200);
    let etag = answer.etag();
    let rename = async |condition: &str, name: &str| {
        alice.patch(&path).header("if-match", condition).json(&json!({"name": name})).send().await
    };
    rename("\"other\"", "a").await.problem(412, "precondition_failed");
    let renamed = rename(&etag, "a").await.expect(200);
    assert_ne!(renamed.etag(), etag);
    rename(&etag, "b").await.problem(412, "precondition_failed");
    let delete = async |condition: &str| alice.delete(&path).header("if-match", condition).send().await;
    delete(&etag).await.problem(412, "precondition_failed");
    delete(&renamed.etag()).await.expect(204);
}

async fn of_many_writers_on_one_version_one_wins(server: &Server) {
    let alice = server.persona("alice").await;
    alice.upload("file", "base").await;
    let etag = alice.get("/fs/file").send().await.etag();
    let writes = (0..12).map(|writer| {
        alice.put("/fs/file").header("if-match", &etag).body(format!("writer {writer}")).send()
    });
    let answers = futures::future::join_all(writes).await;
    let won: Vec<Node> =
        answers.iter().filter(|answer| answer.status == 200).map(harness::Answer::json).collect();
    assert_eq!(won.len(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.problem(412, "precondition_failed");
    }
    let left = alice.get("/fs/file").send().await;
    assert_eq!(left.etag(), format!("\"{}\"", won[0].version.as_ref().unwrap().content_etag));
}

async fn conditions_that_make_no_sense_are_refused(server: &Server) {
    let alice = server.persona("alice").await;
    alice.upload("file", "one").await;
    let many = vec!["\"x\""; 65].join(", ");
    for value in ["no quotes", "\"", "\"open", "\"a\" \"b\"", "*, \"a\"", "", &many] {
        let answer = alice.put("/fs/file").header("if-match", value).body("two").send().await;
        assert_eq!(answer.status, 400, "{value:?}: {}", answer.text());
    }
    assert_eq!(alice.download("file").await, "one");
}
