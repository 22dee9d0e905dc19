//! The buffer: text and files on their way from one device to another.

use harness::{Server, both_shapes};
use serde_json::{Value, json};

both_shapes!(
    what_one_device_puts_in_another_takes_out,
    the_latest_entry_hides_the_earlier_ones,
    an_empty_buffer_is_nothing,
    entries_are_their_owners_alone,
    an_entry_goes_by_itself,
    entries_count_in_the_quota_and_their_room_comes_back,
);

async fn what_one_device_puts_in_another_takes_out(server: &Server) {
    let phone = server.persona("alice").await;
    let session: Value = phone.sign_in().await.expect(201).json();
    let laptop = server.api().with_bearer(session["token"].as_str().unwrap());

    let put = phone.put("/buffer").body("Grüße\n").send().await.expect(201);
    let entry: Value = put.json();
    assert_eq!((&entry["kind"], &entry["name"], &entry["size"]), (&json!("text"), &json!(null), &json!(8)));
    let text = laptop.get("/buffer").send().await.expect(200);
    assert_eq!((text.text().as_str(), text.header("x-holdall-kind")), ("Grüße\n", "text"));
    assert_eq!(text.header("x-holdall-entry"), entry["entry_id"].as_str().unwrap());

    let named = format!("/buffer?name={}", harness::encode_segment("fünf \"Bilder\".html"));
    laptop.put(&named).body("<script>alert(1)</script>").send().await.expect(201);
    let file = phone.get("/buffer").send().await.expect(200);
    assert_eq!(file.header("x-holdall-kind"), "file");
    assert_eq!(file.text(), "<script>alert(1)</script>");
    assert!(file.header("content-disposition").starts_with("attachment;"));
    assert_eq!(file.header("content-type"), "application/octet-stream");
    assert!(file.header("content-security-policy").contains("sandbox"));
    let part = phone.get("/buffer").header("range", "bytes=1-6").send().await.expect(206);
    assert_eq!(part.text(), "script");
}

async fn the_latest_entry_hides_the_earlier_ones(server: &Server) {
    let alice = server.persona("alice").await;
    for text in ["one", "two", "three"] {
        alice.put("/buffer").body(text).send().await.expect(201);
    }
    assert_eq!(alice.get("/buffer").send().await.expect(200).text(), "three");
    let entries: Vec<Value> = alice.all("/buffer/history?limit=2").await;
    assert_eq!(entries.iter().map(|entry| entry["size"].as_u64().unwrap()).collect::<Vec<_>>(), [5, 3, 3]);
    let first = entries[2]["entry_id"].as_str().unwrap();
    assert_eq!(alice.get(&format!("/buffer/entries/{first}")).send().await.expect(200).text(), "one");
    alice.delete("/buffer").send().await.expect(204);
    alice.get("/buffer").send().await.problem(404, "not_found");
    assert!(alice.all::<Value>("/buffer/history?limit=2").await.is_empty());
}

async fn an_empty_buffer_is_nothing(server: &Server) {
    let alice = server.persona("alice").await;
    alice.get("/buffer").send().await.problem(404, "not_found");
    alice.delete("/buffer").send().await.expect(204);
    for name in ["", "a%2Fb", "..", "a%00b"] {
        alice.put(&format!("/buffer?name={name}")).body("x").send().await.problem(422, "invalid_name");
    }
    alice.put("/buffer?expires_in=0").body("x").send().await.problem(422, "invalid_field");
    alice.get("/buffer").send().await.problem(404, "not_found");
    server.api().get("/buffer").send().await.problem(401, "unauthenticated");
}

async fn entries_are_their_owners_alone(server: &Server) {
    let (alice, bob) = (server.persona("alice").await, server.persona("bob").await);
    let entry: Value = alice.put("/buffer").body("mine").send().await.expect(201).json();
    let entry = format!("/buffer/entries/{}", entry["entry_id"].as_str().unwrap());
    bob.get(&entry).send().await.problem(404, "not_found");
    bob.delete("/buffer").send().await.expect(204);
    assert_eq!(alice.get(&entry).send().await.expect(200).text(), "mine");
}

async fn an_entry_goes_by_itself(server: &Server) {
    let alice = server.persona("alice").await;
    alice.put("/buffer?expires_in=1").body("soon gone").send().await.expect(201);
    harness::eventually("the entry is gone", async || {
        (alice.get("/buffer").send().await.status == 404).then_some(())
    })
    .await;
    assert!(alice.all::<Value>("/buffer/history?limit=2").await.is_empty());
}

async fn entries_count_in_the_quota_and_their_room_comes_back(server: &Server) {
    let alice = server.persona("alice").await;
    alice.put("/buffer").body(vec![7; 1000]).send().await.expect(201);
    assert_eq!(alice.space().await.used_bytes, 1000);
    alice.delete("/buffer").send().await.expect(204);
    assert_eq!(alice.space().await.used_bytes, 0);
}
