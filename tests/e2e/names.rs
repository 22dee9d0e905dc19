//! What a file or folder may be called.

use harness::{Node, Persona, Server, both_shapes, encode_segment, raw};
use serde_json::json;
use unicode_normalization::UnicodeNormalization;

/// Names that are as good as any.
fn good() -> Vec<String> {
    let mut names: Vec<String> = [
        "plain.txt",
        "with space",
        "  blanks around  ",
        "trailing dot.",
        ".hidden",
        "...",
        "quote\"d 'single' `back`",
        "Käse & Brötchen (größer) ~ 100 %.txt",
        "日本語.txt",
        "עברית",
        "🎒👩‍👩‍👧‍👦.png",
        "a+b=c;d,e!$*@#?[]{}|<>^:",
        "%2e%2e",
        "%2f",
        "%00",
        "-rf",
        "CON",
        "NUL.tar.gz",
        "<img src=x onerror=alert(1)>",
        "{{7*7}}",
        "=cmd()",
        "\"; filename=evil.html",
        "U+2215 \u{2215} is no slash",
        "no-break\u{a0}space",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("x".repeat(255));
    names.push("🎒".repeat(63) + "xyz");
    names
}

/// Names that are refused, as they are.
fn bad() -> Vec<String> {
    let mut names: Vec<String> = [
        "",
        ".",
        "..",
        "a/b",
        "/",
        "a\\b",
        "\\",
        "C:\\x",
        "..\\x",
        "\u{202e}x",
        "a\u{2066}b",
        "\u{200b}",
        "\u{200b}\u{200d}",
    ]
    .map(str::to_owned)
    .to_vec();
    names.extend((0..0x20_u32).chain(0x7f..0xa0).filter_map(char::from_u32).map(|c| format!("a{c}b")));
    names.push("x".repeat(256));
    names.push("ä".repeat(128));
    names.push("🎒".repeat(64));
    names
}

async fn names_in(alice: &Persona, folder: &str) -> Vec<String> {
    let mut names: Vec<String> =
        alice.children(folder, "limit=1000").await.into_iter().map(|node| node.name).collect();
    names.sort();
    names
}

both_shapes!(
    any_printable_name_is_kept,
    a_decomposed_name_is_composed,
    bad_names_are_refused_in_json,
    bad_names_are_refused_in_urls,
    a_lone_surrogate_is_not_a_name,
);

async fn any_printable_name_is_kept(server: &Server) {
    let alice = server.persona("alice").await;
    let by_path = alice.mkdir("root", "by path").await;
    let by_id = alice.mkdir("root", "by id").await;
    let folders = alice.mkdir("root", "folders").await;
    let mut expected = good();
    for name in &expected {
        let segment = encode_segment(name);
        let node: Node =
            alice.put(&format!("/fs/by%20path/{segment}")).body(name.clone()).send().await.expect(201).json();
        assert_eq!(node.name, *name);
        let path = format!("/folders/{}/files/{segment}", by_id.node_id);
        let node: Node = alice.put(&path).body(name.clone()).send().await.expect(201).json();
        assert_eq!(node.name, *name);
        alice.mkdir(&folders.node_id, name).await;
        let renamed = alice.mkdir("root", "before").await;
        let rename =
            alice.patch(&format!("/nodes/{}", renamed.node_id)).json(&json!({"name": name})).send().await;
        let renamed: Node = rename.expect(200).json();
        assert_eq!(renamed.name, *name);
        alice.trash(&renamed.node_id).await;
        assert_eq!(alice.download(&format!("by path/{name}")).await, name.as_bytes());
    }
    expected.sort();
    for folder in [by_path, by_id, folders] {
        assert_eq!(names_in(&alice, &folder.node_id).await, expected);
    }
}

async fn a_decomposed_name_is_composed(server: &Server) {
    let alice = server.persona("alice").await;
    for composed in ["Ärger über Öl.txt", "각한글", "Ελλάδα ώ", "éàñ"] {
        let decomposed: String = composed.nfd().collect();
        assert_ne!(composed, decomposed);
        let node: Node = alice
            .put(&format!("/fs/{}", encode_segment(&decomposed)))
            .body("1")
            .send()
            .await
            .expect(201)
            .json();
        assert_eq!(node.name, composed);
        // The same file under either spelling.
        let node: Node =
            alice.put(&format!("/fs/{}", encode_segment(composed))).body("2").send().await.expect(200).json();
        assert_eq!(node.name, composed);
        assert_eq!(alice.download(&decomposed).await, "2");
        let folder = json!({"name": decomposed});
        alice.post("/folders").json(&folder).send().await.problem(409, "name_conflict");
    }
    // 255 bytes are counted after it is composed.
    let long: String = "é".repeat(127).nfd().collect();
    assert!(long.len() > 255);
    alice.mkdir("root", &long).await;
}

async fn bad_names_are_refused_in_json(server: &Server) {
    let alice = server.persona("alice").await;
    let folder = alice.mkdir("root", "folder").await;
    let file = alice.upload("file", "x").await;
    for name in bad() {
        let make =
            alice.post("/folders").json(&json!({"parent_id": folder.node_id, "name": name})).send().await;
        make.problem(422, "invalid_name");
        let rename =
            alice.patch(&format!("/nodes/{}", file.node_id)).json(&json!({"name": name})).send().await;
        rename.problem(422, "invalid_name");
    }
    assert_eq!(alice.node(&file.node_id).await, file);
    assert!(alice.children(&folder.node_id, "limit=10").await.is_empty());
}

async fn bad_names_are_refused_in_urls(server: &Server) {
    let alice = server.persona("alice").await;
    alice.mkdir("root", "folder").await;
    alice.upload("secret", "x").await;
    let before = names_in(&alice, "root").await;
    for name in bad().into_iter().filter(|name| !name.is_empty()) {
        // No client library sends these as they are; a raw one does.
        let escaped: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for (line, code) in [
            (format!("PUT /api/v1/folders/root/files/{escaped}"), "invalid_name"),
            (format!("PUT /api/v1/fs/{escaped}"), "invalid_path"),
            (format!("PUT /api/v1/fs/folder/{escaped}"), "invalid_path"),
            (format!("POST /api/v1/fs/folder/{escaped}/below"), "invalid_path"),
            (format!("GET /api/v1/fs/folder/{escaped}"), "invalid_path"),
        ] {
            // An escaped slash in a path is part of a name, never a separator.
            let answer = raw::exchange(&alice, &line, &["content-length: 1"], b"x").await.expect("an answer");
            let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let codes = [code, "invalid_name", "invalid_path"];
            assert!(
                answer.status == 422 && codes.iter().any(|code| said["code"] == *code),
                "{line} answered {} {}",
                answer.status,
                answer.text()
            );
        }
    }
    for line in [
        "PUT /api/v1/fs/.",
        "PUT /api/v1/fs/..",
        "PUT /api/v1/fs/../secret",
        "PUT /api/v1/fs/folder/../secret",
        "PUT /api/v1/fs/folder//x",
        "PUT /api/v1/fs/folder/./x",
        "PUT /api/v1/fs/a\\b",
        "PUT /api/v1/folders/root/files/..",
        "PUT /api/v1/folders/root/files/.",
        "PUT /api/v1/fs/%c0%af",
        "PUT /api/v1/fs/%ff",
        "PUT /api/v1/fs/%ed%a0%80",
    ] {
        let answer = raw::exchange(&alice, line, &["content-length: 1"], b"x").await.expect("an answer");
        assert!(
            matches!(answer.status.as_u16(), 400 | 404 | 405 | 422),
            "{line} answered {} {}",
            answer.status,
            answer.text()
        );
        answer.reveals_nothing();
    }
    // Escapes are undone once only.
    alice.put("/fs/%252e%252e").body("x").send().await.expect(201);
    let mut after = names_in(&alice, "root").await;
    after.retain(|name| name != "%2e%2e");
    assert_eq!(after, before);
    assert_eq!(alice.download("secret").await, "x");
}

async fn a_lone_surrogate_is_not_a_name(server: &Server) {
    let alice = server.persona("alice").await;
    let body = r#"{"name": "a\ud800b"}"#;
    let answer = alice.post("/folders").header("content-type", "application/json").body(body).send().await;
    assert_eq!(answer.status, 400, "{}", answer.text());
}
