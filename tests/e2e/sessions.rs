//! Signing in and out; what a handle is good for.

use harness::{Page, Server, both_shapes};
use serde_json::{Value, json};
use uuid::Uuid;

both_shapes!(
    wrong_and_unknown_cannot_be_told_apart,
    sessions_are_listed_without_their_secrets,
    an_ended_session_is_worth_nothing_at_once,
    only_a_handle_opens_the_door,
    credentials_come_before_everything_else,
    refreshing_extends_and_gives_an_access_token,
);

async fn wrong_and_unknown_cannot_be_told_apart(server: &Server) {
    let alice = server.persona("alice").await;
    let sign_in = async |username: &str, password: &str| {
        let credentials = json!({"username": username, "password": password});
        alice.anonymous().post("/sessions").json(&credentials).send().await
    };
    let wrong = sign_in(&alice.username, "wrong horse battery").await;
    let unknown = sign_in("nobody-of-that-name", "wrong horse battery").await;
    let empty = sign_in(&alice.username, "").await;
    wrong.problem(401, "wrong_credentials");
    assert_eq!(wrong.seen(), unknown.seen());
    assert_eq!(wrong.seen(), empty.seen());
}

async fn sessions_are_listed_without_their_secrets(server: &Server) {
    let alice = server.persona("alice").await;
    let body = json!({
        "username": alice.username, "password": alice.password, "device_name": "Telefon 📱", "kind": "sync",
    });
    let made: Value = alice.anonymous().post("/sessions").json(&body).send().await.expect(201).json();
    let answer = alice.get("/sessions").send().await.expect(200);
    let token = made["token"].as_str().unwrap();
    assert!(!answer.text().contains(token) && !answer.text().contains(alice.bearer().unwrap()));
    let page: Page<Value> = answer.json();
    assert_eq!(page.items.len(), 2);
    // The newest first.
    assert_eq!(page.items[0]["session_id"], made["session_id"]);
    assert_eq!(page.items[0]["device_name"], "Telefon 📱");
    assert_eq!(page.items[0]["kind"], "sync");
    assert_eq!(page.items[1]["session_id"], *alice.session_id);

    for _ in 0..3 {
        alice.sign_in().await.expect(201);
    }
    let all: Vec<Value> = alice.all("/sessions?limit=2").await;
    assert_eq!(all.len(), 5);
}

async fn an_ended_session_is_worth_nothing_at_once(server: &Server) {
    let alice = server.persona("alice").await;
    let made: Value = alice.sign_in().await.expect(201).json();
    let other = alice.with_bearer(made["token"].as_str().unwrap());
    other.get("/space").send().await.expect(200);
    let path = format!("/sessions/{}", made["session_id"].as_str().unwrap());
    alice.delete(&path).send().await.expect(204);
    server.refuses(&other, "/space").await;
    // Ending it again changes nothing.
    alice.delete(&path).send().await.expect(204);

    alice.delete("/sessions/current").send().await.expect(204);
    server.refuses(&alice, "/space").await;
    alice.post("/sessions/refresh").send().await.problem(401, "unauthenticated");
}

async fn only_a_handle_opens_the_door(server: &Server) {
    let alice = server.persona("alice").await;
    let handle = alice.bearer().unwrap().to_owned();
    let access_token = alice.access_token().await;
    let anonymous = alice.anonymous();
    anonymous.get("/space").send().await.problem(401, "unauthenticated");
    anonymous.get(&format!("/space?access_token={handle}")).send().await.problem(401, "unauthenticated");
    let mut flipped = handle.clone().into_bytes();
    let last = flipped.last_mut().unwrap();
    *last = if *last == b'A' { b'B' } else { b'A' };
    for value in [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer x".to_owned(),
        format!("Basic {handle}"),
        handle.clone(),
        format!("Bearer {access_token}"),
        format!("Bearer {}", &handle[..handle.len() - 1]),
        format!("Bearer {handle}x"),
        format!("Bearer {handle} {handle}"),
        format!("Bearer {}", String::from_utf8(flipped).unwrap()),
        format!("Bearer {}", "x".repeat(4000)),
        format!("Bearer {}", Uuid::now_v7()),
    ] {
        let answer = anonymous.get("/space").header("authorization", &value).send().await;
        answer.problem(401, "unauthenticated");
    }
    // RFC 9110: the name of the scheme is compared without regard to case.
    anonymous.get("/space").header("authorization", &format!("bearer {handle}")).send().await.expect(200);
}

async fn credentials_come_before_everything_else(server: &Server) {
    let api = server.api();
    let id = Uuid::now_v7();
    for (method, path) in [
        ("GET", "/account".to_owned()),
        ("PUT", "/account/password".to_owned()),
        ("PUT", "/account/email".to_owned()),
        ("POST", "/sessions/refresh".to_owned()),
        ("GET", "/sessions".to_owned()),
        ("DELETE", "/sessions/current".to_owned()),
        ("GET", "/space".to_owned()),
        ("GET", "/nodes/root".to_owned()),
        ("PATCH", format!("/nodes/{id}")),
        ("DELETE", format!("/nodes/{id}")),
        ("GET", "/nodes/root/children".to_owned()),
        ("GET", format!("/nodes/{id}/ancestors")),
        ("GET", format!("/nodes/{id}/versions")),
        ("POST", format!("/nodes/{id}/restore")),
        ("POST", "/folders".to_owned()),
        ("GET", "/trash".to_owned()),
        ("DELETE", "/trash".to_owned()),
        ("DELETE", format!("/trash/{id}")),
        ("PUT", "/folders/root/files/x".to_owned()),
        ("PUT", format!("/nodes/{id}/content")),
        ("GET", format!("/nodes/{id}/content")),
        ("GET", "/fs".to_owned()),
        ("GET", "/fs/x".to_owned()),
        ("PUT", "/fs/x".to_owned()),
        ("POST", "/fs/x".to_owned()),
        ("DELETE", "/fs/x".to_owned()),
        ("POST", "/links".to_owned()),
        ("GET", "/links".to_owned()),
        ("GET", format!("/links/{id}")),
        ("PATCH", format!("/links/{id}")),
        ("DELETE", format!("/links/{id}")),
        ("GET", "/changes".to_owned()),
    ] {
        let answer = api.call(method.parse().unwrap(), &path).send().await;
        answer.problem(401, "unauthenticated");
    }
}

async fn refreshing_extends_and_gives_an_access_token(server: &Server) {
    let alice = server.persona("alice").await;
    let session: Value = alice.post("/sessions/refresh").send().await.expect(200).json();
    assert_eq!(session["access_token"].as_str().unwrap().split('.').count(), 3);
    assert!(session["access_token_expires_at"].as_str().unwrap() < session["expires_at"].as_str().unwrap());
}
