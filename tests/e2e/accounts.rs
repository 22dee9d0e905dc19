//! Registering, and changing what an account is known by.

use harness::{Api, Server, both_shapes};
use serde_json::{Value, json};
use uuid::Uuid;

fn unique(who: &str) -> String {
    format!("{who}-{}", Uuid::now_v7().simple().to_string().split_off(20))
}

async fn register(api: &Api, body: Value) -> harness::Answer {
    api.post("/accounts").json(&body).send().await
}

both_shapes!(
    registers_and_reads_the_account,
    a_name_or_address_is_taken_once_whatever_its_case,
    refuses_what_breaks_the_rules_and_says_which,
    the_same_key_registers_once,
    of_many_who_want_a_name_one_gets_it,
    a_password_is_compared_in_its_normal_form,
    a_new_password_ends_the_other_sessions,
    the_address_changes_with_the_password_only,
    an_account_goes_with_all_that_it_has,
);

async fn registers_and_reads_the_account(server: &Server) {
    let api = server.api();
    let username = unique("Änne");
    let email = format!("{}@example.org", unique("anne"));
    let answer = register(&api, json!({"username": username, "password": "correct horse", "email": email}))
        .await
        .expect(201);
    assert!(!answer.text().contains("correct horse"));
    let account: Value = answer.json();
    assert_eq!(account["username"], username);
    assert_eq!(account["email"], email);
    assert_eq!(account["role"], "member");
    assert_eq!(answer.header("location"), "/api/v1/account");

    let credentials = json!({"login": email, "password": "correct horse"});
    let session: Value = api.post("/sessions").json(&credentials).send().await.expect(201).json();
    let signed_in = api.with_bearer(session["token"].as_str().unwrap());
    let own: Value = signed_in.get("/account").send().await.expect(200).json();
    assert_eq!(own, account);
}

async fn a_name_or_address_is_taken_once_whatever_its_case(server: &Server) {
    let api = server.api();
    let username = unique("straße");
    let email = format!("{}@example.org", unique("s"));
    register(&api, json!({"username": username, "password": "correct horse", "email": email}))
        .await
        .expect(201);
    for taken in [
        username.clone(),
        username.to_uppercase().replace("SS", "ß"),
        format!("STRAßE{}", &username["straße".len()..]),
    ] {
        register(&api, json!({"username": taken, "password": "correct horse"}))
            .await
            .problem(409, "username_taken");
    }
    register(
        &api,
        json!({"username": unique("t"), "password": "correct horse", "email": email.to_uppercase()}),
    )
    .await
    .problem(409, "email_taken");
}

async fn refuses_what_breaks_the_rules_and_says_which(server: &Server) {
    let api = server.api();
    let good = || unique("rules");
    let long = "x".repeat(65);
    let huge = "x".repeat(1025);
    let name = |name: &str| json!({"username": name, "password": "correct horse"});
    for (body, field) in [
        (name(""), "username"),
        (name(" blank"), "username"),
        (name("blank "), "username"),
        (name("a/b"), "username"),
        (name("a\\b"), "username"),
        (name("a\u{0}b"), "username"),
        (name("a\nb"), "username"),
        (name("a\u{202e}b"), "username"),
        (name("a\u{200b}b"), "username"),
        (name(&long), "username"),
        (json!({"username": good(), "password": ""}), "password"),
        (json!({"username": good(), "password": "short"}), "password"),
        (json!({"username": good(), "password": huge}), "password"),
        (json!({"username": good(), "password": "correct horse", "email": "no address"}), "email"),
        (json!({"username": good(), "password": "correct horse", "email": "a@b@c"}), "email"),
        (json!({"username": good(), "password": "correct horse", "email": "a\r\nb@c"}), "email"),
    ] {
        let problem = register(&api, body.clone()).await.problem(422, "invalid_account");
        assert_eq!(problem["errors"][0]["field"], field, "{body}: {problem}");
    }
}

async fn the_same_key_registers_once(server: &Server) {
    let api = server.api();
    let body = json!({"username": unique("twice"), "password": "correct horse"});
    let key = unique("key");
    let send =
        async |body: &Value| api.post("/accounts").header("idempotency-key", &key).json(body).send().await;
    let first: Value = send(&body).await.expect(201).json();
    let again: Value = send(&body).await.expect(201).json();
    assert_eq!(first, again);
    let mut other = body.clone();
    other["username"] = json!(unique("other"));
    send(&other).await.problem(422, "idempotency_mismatch");
    let mut wrong = body.clone();
    wrong["password"] = json!("another horse");
    send(&wrong).await.problem(422, "idempotency_mismatch");
}

async fn of_many_who_want_a_name_one_gets_it(server: &Server) {
    let api = server.api();
    let body = json!({"username": unique("race"), "password": "correct horse"});
    let all = futures::future::join_all((0..20).map(|_| register(&api, body.clone()))).await;
    let made = all.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 1);
    for answer in all.iter().filter(|answer| answer.status != 201) {
        answer.problem(409, "username_taken");
    }
}

async fn a_password_is_compared_in_its_normal_form(server: &Server) {
    let api = server.api();
    let username = unique("nfd");
    register(&api, json!({"username": username, "password": "Grüße aus Köln"})).await.expect(201);
    for password in ["Gru\u{308}ße aus Ko\u{308}ln", "Grüße aus Köln"] {
        let credentials = json!({"username": username, "password": password});
        api.post("/sessions").json(&credentials).send().await.expect(201);
    }
}

async fn a_new_password_ends_the_other_sessions(server: &Server) {
    let alice = server.persona("alice").await;
    let other: Value = alice.sign_in().await.expect(201).json();
    let other = alice.with_bearer(other["token"].as_str().unwrap());
    other.get("/account").send().await.expect(200);

    let change = async |current: &str, new: &str| {
        let body = json!({"current_password": current, "new_password": new});
        alice.put("/account/password").json(&body).send().await
    };
    change("not this", "another long one").await.problem(401, "wrong_credentials");
    change(&alice.password, "short").await.problem(422, "invalid_account");
    other.get("/account").send().await.expect(200);
    change(&alice.password, "another long one").await.expect(204);

    server.refuses(&other, "/account").await;
    alice.get("/account").send().await.expect(200);
    alice.sign_in().await.problem(401, "wrong_credentials");
    let credentials = json!({"username": alice.username, "password": "another long one"});
    alice.post("/sessions").json(&credentials).send().await.expect(201);
}

async fn the_address_changes_with_the_password_only(server: &Server) {
    let alice = server.persona("alice").await;
    let email = format!("{}@example.org", unique("new"));
    let change = async |password: &str, email: &str| {
        let body = json!({"current_password": password, "email": email});
        alice.put("/account/email").json(&body).send().await
    };
    change("not this", &email).await.problem(401, "wrong_credentials");
    change(&alice.password, "not an address").await.problem(422, "invalid_account");
    let account: Value = change(&alice.password, &email).await.expect(200).json();
    assert_eq!(account["email"], email);
    let account: Value = alice.get("/account").send().await.expect(200).json();
    assert_eq!(account["email"], email);
    // An empty one removes it.
    change(&alice.password, "").await.expect(200);
    let account: Value = alice.get("/account").send().await.expect(200).json();
    assert_eq!(account["email"], Value::Null);
}

async fn an_account_goes_with_all_that_it_has(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("a/b/c.txt", "mine").await;
    let link = alice.link(&file.node_id).await;
    let number = |account: &Value| account["number"].as_u64().unwrap();
    let own: Value = alice.get("/account").send().await.expect(200).json();

    let wrong = json!({"current_password": "not the password"});
    alice.delete("/account").json(&wrong).send().await.problem(401, "wrong_credentials");
    assert_eq!(alice.download("a/b/c.txt").await, "mine", "a wrong password touches nothing");

    alice.delete("/account").json(&json!({"current_password": alice.password})).send().await.expect(204);
    server.refuses(&alice, "/account").await;
    alice.sign_in().await.problem(401, "wrong_credentials");
    let page = server.api().call_at(http::Method::GET, &format!("/s/{}", link.slug)).send().await;
    assert_eq!(page.status, 404);

    // The name is free again; the number is not.
    let body = json!({"username": alice.username, "password": "another one"});
    let heir: Value = register(&server.api(), body).await.expect(201).json();
    assert!(number(&heir) > number(&own));
    let session = json!({"login": alice.username, "password": "another one"});
    let session: Value = server.api().post("/sessions").json(&session).send().await.expect(201).json();
    let heir = server.api().with_bearer(session["token"].as_str().unwrap());
    heir.get("/fs/a/b/c.txt").send().await.problem(404, "not_found");
}
