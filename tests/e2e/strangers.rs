//! What belongs to another answers exactly like what does not exist.

use harness::{Persona, Server, both_shapes};
use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

/// Every call of the API that names something by id, as `{}`.
fn calls() -> Vec<(Method, &'static str, Option<Value>)> {
    let node = |method: Method, path| (method, path, None);
    vec![
        node(Method::GET, "/nodes/{}"),
        node(Method::DELETE, "/nodes/{}"),
        node(Method::GET, "/nodes/{}/children"),
        node(Method::GET, "/nodes/{}/ancestors"),
        node(Method::GET, "/nodes/{}/versions"),
        node(Method::GET, "/nodes/{}/content"),
        node(Method::PUT, "/nodes/{}/content"),
        node(Method::PUT, "/folders/{}/files/name"),
        node(Method::DELETE, "/trash/{}"),
        node(Method::POST, "/nodes/{}/restore"),
        node(Method::GET, "/links/{}"),
        node(Method::DELETE, "/links/{}"),
        node(Method::DELETE, "/sessions/{}"),
        node(Method::GET, "/nodes/MINE/content?version={}"),
        node(Method::GET, "/links?node_id={}"),
        (Method::PATCH, "/nodes/{}", Some(json!({"name": "new"}))),
        (Method::PATCH, "/nodes/MINE", Some(json!({"parent_id": "{}"}))),
        (Method::POST, "/nodes/MINE-TRASHED/restore", Some(json!({"parent_id": "{}"}))),
        (Method::POST, "/folders", Some(json!({"parent_id": "{}", "name": "new"}))),
        (Method::POST, "/links", Some(json!({"node_id": "{}"}))),
        (Method::PATCH, "/links/{}", Some(json!({"expires_in": 60}))),
    ]
}

async fn call(
    who: &Persona,
    mine: [&str; 2],
    call: &(Method, &str, Option<Value>),
    id: &str,
) -> (u16, Value, Vec<String>) {
    let (method, path, body) = call;
    let path = path.replace("MINE-TRASHED", mine[1]).replace("MINE", mine[0]).replace("{}", id);
    let mut request = who.call(method.clone(), &path);
    request = match body {
        Some(body) => request.json(&serde_json::from_str(&body.to_string().replace("{}", id)).unwrap()),
        None if *method == Method::PUT => request.body("content"),
        None => request,
    };
    request.send().await.seen()
}

both_shapes!(foreign_is_the_same_as_nonexistent, paths_are_ones_own,);

async fn foreign_is_the_same_as_nonexistent(server: &Server) {
    let alice = server.persona("alice").await;
    let bob = server.persona("bob").await;
    let file = alice.upload("folder/file", "secret").await;
    let trashed = alice.upload("trashed", "secret").await;
    alice.trash(&trashed.node_id).await;
    let link = alice.link(&file.node_id).await;
    let mine = bob.upload("mine", "bob's").await.node_id;
    let mine_trashed = bob.mkdir("root", "trashed").await.node_id;
    bob.trash(&mine_trashed).await;
    let mine = [mine.as_str(), mine_trashed.as_str()];
    let before = bob.space().await.change_sequence;

    let nobody = Uuid::now_v7().to_string();
    let foreign = [
        file.node_id.clone(),
        file.parent_id.clone().unwrap(),
        alice.space().await.root_node_id,
        alice.space().await.space_id,
        trashed.node_id.clone(),
        file.version.clone().unwrap().version_id,
        link.link_id.clone(),
        alice.session_id.clone(),
        alice.account_id.clone(),
    ];
    for one in calls() {
        let unknown = call(&bob, mine, &one, &nobody).await;
        for id in &foreign {
            let known = call(&bob, mine, &one, id).await;
            assert_eq!(known, unknown, "{} {} {:?}", one.0, one.1, one.2);
        }
        // What is no id at all says no more either.
        let odd = call(&bob, mine, &one, "no-id").await;
        assert!(odd == unknown || matches!(odd.0, 400 | 422), "{} {}: {odd:?}", one.0, one.1);
        assert!(unknown.0 == 404 || one.1.starts_with("/links?"), "{} {}: {unknown:?}", one.0, one.1);
    }

    // And nothing happened to either of them.
    assert_eq!(alice.node(&file.node_id).await, file);
    assert_eq!(alice.download("folder/file").await, "secret");
    assert_eq!(alice.space().await.reserved_bytes, 0);
    alice.get(&format!("/links/{}", link.link_id)).send().await.expect(200);
    assert_eq!(bob.space().await.change_sequence, before);
    assert_eq!(bob.space().await.reserved_bytes, 0);
}

async fn paths_are_ones_own(server: &Server) {
    let alice = server.persona("alice").await;
    let bob = server.persona("bob").await;
    alice.upload("shared name/file", "alice's").await;
    bob.get("/fs/shared%20name/file").send().await.problem(404, "not_found");
    bob.upload("shared name/file", "bob's").await;
    assert_eq!(alice.download("shared name/file").await, "alice's");
    bob.delete("/fs/shared%20name").send().await.expect(204);
    assert_eq!(alice.download("shared name/file").await, "alice's");
}
