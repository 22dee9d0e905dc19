//! `Content-Disposition` says the file's name, whatever it is (RFC 6266, RFC 8187).

use harness::{Node, Server, both_shapes, encode_segment};
use percent_encoding::percent_decode_str;

/// The type and the parameters, by the grammar of RFC 6266 §4.1 and RFC 9110 §5.6.4.
fn parse(header: &str) -> (String, Vec<(String, String)>) {
    let mut parameters = Vec::new();
    let (kind, mut rest) = header.split_once(';').unwrap_or((header, ""));
    while !rest.trim().is_empty() {
        let (name, after) = rest.split_once('=').expect("a parameter has a value");
        let after = after.trim_start();
        let (value, left) = if let Some(quoted) = after.strip_prefix('"') {
            let mut value = String::new();
            let mut chars = quoted.char_indices();
            let end = loop {
                match chars.next().expect("a quoted string ends") {
                    (at, '"') => break at,
                    (_, '\\') => value.push(chars.next().expect("an escape is of something").1),
                    (_, c) => value.push(c),
                }
            };
            (value, quoted[end + 1..].trim_start())
        } else {
            let end = after.find(';').unwrap_or(after.len());
            let token = after[..end].trim();
            assert!(
                token.chars().all(|c| c.is_ascii_graphic() && !"\"(),/:;<=>?@[\\]{}".contains(c)),
                "{token}"
            );
            (token.to_owned(), &after[end..])
        };
        parameters.push((name.trim().to_ascii_lowercase(), value));
        rest = left.strip_prefix(';').unwrap_or(left);
    }
    (kind.trim().to_owned(), parameters)
}

/// The name as a browser saves it.
fn name_of(header: &str) -> String {
    let (_, parameters) = parse(header);
    let find =
        |name: &str| parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    match find("filename*") {
        Some(extended) => {
            let encoded = extended.strip_prefix("UTF-8''").expect("UTF-8 without a language");
            percent_decode_str(encoded).decode_utf8().expect("it is UTF-8").into_owned()
        }
        None => find("filename").expect("a name"),
    }
}

#[test]
fn the_parser_knows_the_grammar() {
    let header = r#"attachment; filename="a\"b;c.txt"; filename*=UTF-8''a%22b%3Bc%E2%82%AC.txt"#;
    assert_eq!(parse(header).0, "attachment");
    assert_eq!(parse(header).1[0].1, r#"a"b;c.txt"#);
    assert_eq!(name_of(header), r#"a"b;c€.txt"#);
    assert_eq!(name_of("inline; filename=plain.txt"), "plain.txt");
}

both_shapes!(every_name_survives_the_header,);

async fn every_name_survives_the_header(server: &Server) {
    let alice = server.persona("alice").await;
    let long = "€".repeat(85);
    for name in [
        "plain.txt",
        "with space.txt",
        "\"; filename=evil.html",
        "a\"b'c.txt",
        "per%cent%41.txt",
        "100%",
        "Käse größer.txt",
        "€ uro.txt",
        "日本語 ファイル.pdf",
        "🎒.zip",
        "semi;colon,comma=equals.txt",
        "(parens) [brackets] {braces}.txt",
        " leading and trailing ",
        "UTF-8''fake%20name",
        "tab-less name\u{a0}nbsp",
        "שלום.txt",
        "'single'",
        "*star*",
        "~tilde~!#$&+^`|.txt",
        &"\"".repeat(200),
        &long,
    ] {
        let node: Node =
            alice.put(&format!("/fs/{}", encode_segment(name))).body("x").send().await.expect(201).json();
        let link = alice.link(&node.node_id).await;
        for answer in [
            alice.get(&format!("/nodes/{}/content?download=1", node.node_id)).send().await,
            alice.anonymous().call_at(http::Method::GET, &format!("/s/{}/download", link.slug)).send().await,
        ] {
            let header = answer.expect(200).header("content-disposition").to_owned();
            assert!(header.is_ascii(), "{header}");
            assert_eq!(parse(&header).0, "attachment", "{header}");
            assert_eq!(name_of(&header), name, "{header}");
            // Old clients read this one; some undo escapes in it, quoted or percent.
            let (_, parameters) = parse(&header);
            let fallback = &parameters.iter().find(|(name, _)| name == "filename").expect("a fallback").1;
            assert!(!fallback.contains(['"', '\\', '%', '/']), "{header}");
        }
    }
}
