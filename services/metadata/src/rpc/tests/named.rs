//! Finding nodes by name.

use super::*;

fn named(name: &str, token: String) -> proto::FindByNameRequest {
    proto::FindByNameRequest { name: name.to_owned(), page_size: 2, page_token: token }
}

/// The paths of everything with that name, in order.
async fn paths(caller: &Caller<'_>, name: &str) -> Vec<String> {
    let (mut paths, mut token) = (Vec::new(), String::new());
    loop {
        let page = caller.find_by_name(named(name, token)).await.unwrap();
        assert!(page.found.len() <= 2);
        for found in page.found {
            assert_eq!(found.node.unwrap().name, name);
            paths.push(found.path);
        }
        token = page.next_page_token;
        if token.is_empty() {
            paths.sort();
            return paths;
        }
    }
}

#[tokio::test]
async fn a_name_is_found_wherever_it_is_and_as_it_is_now() {
    let world = World::new().await;
    let (caller, other) = (world.caller(), world.caller());
    caller.put("x2", b"content").await;
    for path in ["x", "d/x", "d/e/x", "d/f/x", "g/x"] {
        caller.put(path, b"content").await;
        // An answer that is given again must not be an old one.
        assert!(paths(&caller, "x").await.contains(&path.to_owned()), "{path}");
    }
    assert_eq!(paths(&caller, "x").await, ["d/e/x", "d/f/x", "d/x", "g/x", "x"]);
    assert_eq!(paths(&other, "x").await, [""; 0]);
    let trash = proto::TrashNodeRequest { r#ref: by_path("d/e"), precondition: None };
    caller.trash_node(trash).await.unwrap();
    assert_eq!(paths(&caller, "x").await, ["d/f/x", "d/x", "g/x", "x"]);
    assert_eq!(paths(&caller, "d").await, ["d"]);
    assert_eq!(paths(&caller, "y").await, [""; 0]);
}

#[tokio::test]
async fn pages_belong_to_their_name_and_caller() {
    let world = World::new().await;
    let (caller, other) = (world.caller(), world.caller());
    for folder in 0..3 {
        caller.put(&format!("{folder}/x"), b"1").await;
    }
    let token = caller.find_by_name(named("x", String::new())).await.unwrap().next_page_token;
    assert_eq!(reason(caller.find_by_name(named("y", token.clone())).await), "INVALID_PAGE_TOKEN");
    assert_eq!(reason(other.find_by_name(named("x", token)).await), "INVALID_PAGE_TOKEN");
    for bad in ["", ".", "..", "a/b", "a\\b"] {
        assert_eq!(reason(caller.find_by_name(named(bad, String::new())).await), "INVALID_NAME", "{bad}");
    }
    let negative = proto::FindByNameRequest { page_size: -1, ..named("x", String::new()) };
    assert_eq!(reason(caller.find_by_name(negative).await), "INVALID_FIELD");
}
