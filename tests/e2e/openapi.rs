//! The API describes itself.

use std::collections::BTreeSet;

use harness::{Server, both_shapes};
use http::Method;
use serde_json::Value;

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                found.insert(reference);
            }
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

both_shapes!(the_document_is_whole, every_operation_is_there_and_guarded, it_can_be_browsed,);

async fn the_document_is_whole(server: &Server) {
    let api = server.api();
    let document: Value = api.get("/openapi.json").send().await.expect(200).json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/accounts",
        "/account",
        "/account/password",
        "/account/email",
        "/sessions",
        "/sessions/refresh",
        "/space",
        "/folders",
        "/trash",
        "/links",
        "/changes",
        "/nodes/{id}",
        "/nodes/{id}/children",
        "/nodes/{id}/content",
        "/nodes/{id}/versions",
        "/nodes/{id}/ancestors",
        "/nodes/{id}/restore",
    ] {
        assert!(
            paths.keys().any(|known| known.replace("{node_id}", "{id}").ends_with(path)),
            "{path}: {:?}",
            paths.keys()
        );
    }
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("references stay in the document");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let mut ids = BTreeSet::new();
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            let Ok(_) = method.to_uppercase().parse::<Method>() else { continue };
            if !["get", "put", "post", "delete", "patch", "head"].contains(&method.as_str()) {
                continue;
            }
            let name = format!("{method} {path}");
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap_or_else(|| panic!("{name}")).to_owned()),
                "{name}"
            );
            assert!(operation["summary"].is_string() || operation["description"].is_string(), "{name}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{name}");
            assert!(
                responses.keys().any(|status| status.starts_with('4')) || path.ends_with(".json"),
                "{name}"
            );
        }
    }
}

async fn every_operation_is_there_and_guarded(server: &Server) {
    let api = server.api();
    let document: Value = api.get("/openapi.json").send().await.expect(200).json();
    let base = document["servers"][0]["url"].as_str().unwrap_or_default().trim_end_matches('/').to_owned();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let Some(responses) = operation["responses"].as_object() else { continue };
            // Whoever says that it needs credentials does.
            if !responses.contains_key("401") || path.ends_with("/sessions") && method == "post" {
                continue;
            }
            let filled: String = path
                .split('/')
                .map(|part| if part.starts_with('{') { "x" } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let answer =
                api.call_at(method.to_uppercase().parse().unwrap(), &format!("{base}{filled}")).send().await;
            assert_eq!(answer.status, 401, "{method} {path}: {}", answer.text());
        }
    }
}

async fn it_can_be_browsed(server: &Server) {
    let api = server.api();
    let mut answer = api.get("/docs").send().await;
    if answer.status.is_redirection() {
        let to = answer.header("location").to_owned();
        let to = if to.starts_with('/') { to } else { format!("/api/v1/{to}") };
        answer = api.call_at(Method::GET, &to).send().await;
    }
    let page = answer.expect(200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.text().contains("swagger"));
    assert!(page.headers.contains_key("content-security-policy"));
}
