//! Whatever is sent, the server answers in good order, and goes on.

use harness::{Answer, Persona, Seed, Server, both_shapes, raw};
use http::Method;
use serde_json::json;

/// Sends bytes as they are and reads the answer, if there is one.
async fn send(alice: &Persona, bytes: &[u8]) -> Option<Answer> {
    let mut connection = raw::Connection::open(alice).await;
    connection.send(bytes).await;
    connection.finish().await;
    connection.answer(!bytes.starts_with(b"HEAD ")).await
}

fn good_order(request: &str, answer: &Answer) {
    // 507 says that the space has no room for what was announced.
    let defect = answer.status.is_server_error() && answer.status != 507;
    assert!(!defect, "{request} was answered {} {}", answer.status, answer.text());
    answer.reveals_nothing();
}

both_shapes!(
    unknown_paths_and_methods_are_problems,
    the_front_door_answers,
    a_request_has_an_id,
    json_has_limits,
    what_is_not_http_is_not_answered_with_a_defect,
    mutated_requests_never_find_a_defect,
);

async fn unknown_paths_and_methods_are_problems(server: &Server) {
    let alice = server.persona("alice").await;
    for path in ["/nowhere", "/nodes", "/accounts/x", "/nodes/root/nowhere", "", "/"] {
        for api in [&*alice, &alice.anonymous()] {
            let answer = api.get(path).send().await;
            // What exists for another method only is a 405.
            assert!(
                matches!(answer.status.as_u16(), 404 | 405),
                "{path}: {} {}",
                answer.status,
                answer.text()
            );
            let code = if answer.status == 404 { "not_found" } else { "method_not_allowed" };
            answer.problem(answer.status.as_u16(), code);
        }
    }
    for (method, path, allowed) in [
        ("DELETE", "/space", "GET"),
        ("POST", "/account", "GET"),
        ("GET", "/accounts", "POST"),
        ("GET", "/folders", "POST"),
        ("PUT", "/trash", "DELETE"),
        ("TRACE", "/space", "GET"),
        ("BREW", "/nodes/root", "PATCH"),
    ] {
        let answer = alice.call(method.parse().unwrap(), path).send().await;
        answer.problem(405, "method_not_allowed");
        let allow: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
        assert!(allow.contains(&allowed) && !allow.contains(&method), "{method} {path}: {allow:?}");
    }
    // Nobody changes the method by a header.
    alice.get("/space").header("x-http-method-override", "DELETE").send().await.expect(200);
}

async fn the_front_door_answers(server: &Server) {
    let api = server.api();
    let get = async |path: &str| api.call_at(Method::GET, path).send().await;
    assert_eq!(get("/healthz").await.expect(200).text().trim(), "ok");
    get("/readyz").await.expect(200);
    let page = get("/").await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.headers.contains_key("content-security-policy"));
    get("/nowhere").await.expect(404).reveals_nothing();
    get("/s/").await.expect(404).reveals_nothing();
    get("/static/../Cargo.toml").await.expect(404).reveals_nothing();
    for path in ["/metrics", "/debug", "/admin", "/.git/config", "/.env"] {
        get(path).await.expect(404);
    }
}

async fn a_request_has_an_id(server: &Server) {
    let alice = server.persona("alice").await;
    let own = alice.get("/space").header("x-request-id", "my-request-42").send().await.expect(200);
    assert_eq!(own.header("x-request-id"), "my-request-42");
    let one = alice.get("/space").send().await.header("x-request-id").to_owned();
    let two = alice.get("/space").send().await.header("x-request-id").to_owned();
    assert_ne!(one, two);
    for odd in ["a b", "<x>", &"x".repeat(500), "\"quoted\""] {
        let answer = alice.get("/space").header("x-request-id", odd).send().await.expect(200);
        assert_ne!(answer.header("x-request-id"), odd);
    }
}

async fn json_has_limits(server: &Server) {
    let alice = server.persona("alice").await;
    let post = async |body: String| {
        alice.post("/folders").header("content-type", "application/json").body(body).send().await
    };
    let large = format!(r#"{{"name": "{}"}}"#, "x".repeat(2 << 20));
    post(large).await.problem(413, "too_large");
    for body in [
        "[".repeat(100_000),
        "{\"a\":".repeat(10_000),
        r#"{"name": "a", "name": "b"}"#.to_owned(),
        r#"{"name": NaN}"#.to_owned(),
        r#"{"name": "a", "parent_id": 1e999}"#.to_owned(),
        r#"{"name": null}"#.to_owned(),
        r#"{"name": {"$ne": ""}}"#.to_owned(),
        "\u{feff}{\"name\": \"a\"}".to_owned(),
        "null".to_owned(),
    ] {
        let answer = post(body.clone()).await;
        assert!(
            matches!(answer.status.as_u16(), 400 | 422),
            "{body:.40}: {} {}",
            answer.status,
            answer.text()
        );
        assert_eq!(answer.header("content-type"), "application/problem+json");
        answer.reveals_nothing();
    }
    assert!(alice.children("root", "").await.is_empty());
    let form = alice
        .post("/folders")
        .header("content-type", "application/x-www-form-urlencoded")
        .body("name=a")
        .send()
        .await;
    form.problem(415, "unsupported_media_type");
    let none = alice.post("/folders").body(r#"{"name": "a"}"#).send().await;
    none.problem(415, "unsupported_media_type");
}

async fn what_is_not_http_is_not_answered_with_a_defect(server: &Server) {
    let alice = server.persona("alice").await;
    let auth = format!("authorization: Bearer {}\r\n", alice.bearer().unwrap());
    let put = "PUT /api/v1/fs/smuggled HTTP/1.1\r\nhost: x\r\n";
    let hundred: String = (0..120).map(|n| format!("x-{n}: y\r\n")).collect();
    let large = format!("x: {}\r\n", "y".repeat(70_000));
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "z".repeat(70_000));
    for bytes in [
        "\r\n\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".to_owned(),
        "GET http://[::1/ HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        "GET * HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        "CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        "GET /\u{0} HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\nhost: x\n\n".to_owned(),
        "GET / HTTP/1.1\r\nhost: x\r\nname\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nhost: x\r\nna me: x\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nhost: x\r\n folded: x\r\n\r\n".to_owned(),
        format!("{put}{auth}content-length: -1\r\n\r\n"),
        format!("{put}{auth}content-length: +5\r\n\r\nhello"),
        format!("{put}{auth}content-length: 1e9\r\n\r\nhello"),
        format!("{put}{auth}content-length: 18446744073709551616\r\n\r\nhello"),
        format!("{put}{auth}content-length: 9223372036854775807\r\n\r\nhello"),
        format!("{put}{auth}content-length: 5\r\ncontent-length: 6\r\n\r\nhello!"),
        format!("{put}{auth}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{put}{auth}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
        format!("{put}{auth}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        format!("{put}{auth}expect: something\r\ncontent-length: 5\r\n\r\nhello"),
        format!("GET / HTTP/1.1\r\nhost: x\r\n{hundred}\r\n"),
        format!("GET / HTTP/1.1\r\nhost: x\r\n{large}\r\n"),
        long,
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\u{0}\u{0}".to_owned(),
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}".to_owned(),
    ] {
        if let Some(answer) = send(&alice, bytes.as_bytes()).await {
            good_order(&format!("{bytes:.80}"), &answer);
        }
    }
    alice.get("/fs/smuggled").send().await.problem(404, "not_found");
    assert_eq!(alice.space().await.used_bytes, 0);
}

async fn mutated_requests_never_find_a_defect(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("folder/file", "content").await;
    let link = alice.link(&file.node_id).await;
    let id = &file.node_id;
    let body = |method: &str, path: &str, body: &str| {
        let length = format!("content-length: {}", body.len());
        let head = raw::head(
            &alice,
            &format!("{method} {path}"),
            &["content-type: application/json", "if-match: \"x\"", "idempotency-key: k", &length],
        );
        format!("{head}{body}").into_bytes()
    };
    let get = |path: &str| {
        raw::head(
            &alice,
            &format!("GET {path}"),
            &["range: bytes=1-3", "if-none-match: \"x\"", "if-range: \"x\""],
        )
        .into_bytes()
    };
    let requests = [
        get("/api/v1/fs/folder/file?download=1"),
        get("/api/v1/fs/folder?limit=2&order=name&direction=desc&cursor=abc"),
        get(&format!("/api/v1/nodes/{id}/content?version={id}")),
        get(&format!("/api/v1/nodes/{id}/ancestors")),
        get("/api/v1/changes?cursor=1&limit=10"),
        get("/api/v1/links?limit=2"),
        get(&format!("/s/{}", link.slug)),
        get(&format!("/s/{}/download", link.slug)),
        body("PUT", "/api/v1/fs/folder/other%20file", "some content"),
        body("POST", "/api/v1/folders", r#"{"parent_id": "root", "name": "näme"}"#),
        body("PATCH", &format!("/api/v1/nodes/{id}"), r#"{"name": "x", "parent_id": "root"}"#),
        body(
            "POST",
            "/api/v1/links",
            &json!({"node_id": id, "expires_at": "2030-01-01T00:00:00Z"}).to_string(),
        ),
        body(
            "POST",
            "/api/v1/sessions",
            r#"{"username": "a", "password": "b", "device_name": "c", "kind": "web"}"#,
        ),
        body("POST", "/api/v1/accounts", r#"{"username": "../x", "password": "short", "email": "x"}"#),
        body("PUT", "/api/v1/account/password", r#"{"current_password": "a", "new_password": "b"}"#),
    ];
    let interesting: [&[u8]; 16] = [
        b"%00",
        b"%2e%2e",
        b"%2f",
        b"%ff",
        b"\0",
        b"\xff\xfe",
        b"'",
        b"\"",
        b"-1",
        b"99999999999999999999",
        b"\r\n",
        b"..",
        b"/",
        b"%",
        b"\xf0\x9f\x8e\x92",
        b",",
    ];
    let mut seed = Seed::new("mutated_requests");
    for _ in 0..400 {
        let mut request = seed.pick(&requests).clone();
        for _ in 0..=seed.below(3) {
            if request.is_empty() {
                break;
            }
            let at = usize::try_from(seed.below(request.len() as u64)).unwrap();
            match seed.below(5) {
                0 => request[at] ^= 1 << seed.below(8),
                1 => {
                    request.remove(at);
                }
                2 => {
                    request.splice(at..at, seed.pick(&interesting).iter().copied());
                }
                3 => {
                    request.truncate(at.max(1));
                }
                _ => {
                    let end = (at + 20).min(request.len());
                    let part = request[at..end].to_vec();
                    request.splice(at..at, part);
                }
            }
        }
        if let Some(answer) = send(&alice, &request).await {
            good_order(&String::from_utf8_lossy(&request), &answer);
        }
    }
    server.api().call_at(Method::GET, "/readyz").send().await.expect(200);
}
