//! Short links: whoever has one reads one file, and nothing else.

use harness::{Answer, Api, Content, Link, Page, Server, both_shapes, eventually, read_qr};
use http::Method;
use serde_json::json;
use uuid::Uuid;

async fn public(api: &Api, path: &str) -> Answer {
    api.anonymous().call_at(Method::GET, path).send().await
}

/// What HTML shows for text with references to characters.
fn unescape(html: &str) -> String {
    let named =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\"")];
    let text = named.iter().fold(html.to_owned(), |text, (reference, c)| text.replace(reference, c));
    text.replace("&#39;", "'").replace("&#38;", "&").replace("&amp;", "&")
}

/// The values of an attribute wherever it stands.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    html.split(&format!(" {name}=\"")).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

both_shapes!(
    a_link_opens_one_file_for_everybody,
    a_phone_reads_the_address_from_the_picture,
    a_link_follows_its_file,
    what_is_no_link_is_not_told_apart,
    links_are_kept_in_order,
    an_expiry_can_be_changed,
    a_deleted_link_stops_at_once,
    only_files_are_shared,
    the_page_has_a_face,
);

async fn a_link_opens_one_file_for_everybody(server: &Server) {
    let alice = server.persona("alice").await;
    let content = Content::new("shared", 700_000);
    let file = alice.upload("folder/Über <b>uns<b> & \"mehr\".bin", content.bytes()).await;
    let answer = alice.post("/links").json(&json!({"node_id": file.node_id})).send().await.expect(201);
    let link: Link = answer.json();
    assert_eq!(answer.header("location"), format!("/api/v1/links/{}", link.link_id));
    assert_eq!(link.slug.len(), 12);
    assert!(link.slug.chars().all(|c| c.is_ascii_alphanumeric()));
    assert_eq!(link.url, format!("{}/s/{}", alice.url(), link.slug));
    assert_eq!((link.node_id.as_str(), link.expires_at.as_deref()), (file.node_id.as_str(), None));

    let page = public(&alice, &format!("/s/{}", link.slug)).await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"));
    let html = page.text();
    assert!(unescape(&html).contains(&file.name) && !html.contains("<b>"), "{html}");
    assert!(html.contains(&format!("/s/{}/download", link.slug)));
    assert!(html.contains("<svg") || html.contains(&format!("/s/{}/qr.svg", link.slug)));
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(!html.contains("<script") && !html.contains(" style=") && !html.contains("<style"), "{html}");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert!(page.header("x-robots-tag").contains("noindex"));
    assert!(page.header("cache-control").contains("no-store"));
    // It tells nothing about where the file is or whose it is.
    for private in ["folder", alice.username.as_str(), alice.account_id.as_str(), file.node_id.as_str()] {
        assert!(!html.contains(private), "{private}");
    }

    let download = format!("/s/{}/download", link.slug);
    let answer = public(&alice, &download).await.expect(200);
    assert!(answer.body == content.bytes());
    assert!(answer.header("content-disposition").starts_with("attachment"));
    let head = alice.anonymous().call_at(Method::HEAD, &download).send().await.expect(200);
    assert_eq!(head.header("content-length"), "700000");
    let part = alice.anonymous().call_at(Method::GET, &download).header("range", "bytes=300000-300009");
    assert!(part.send().await.expect(206).body == content.range(300_000, 10));
    let cached = alice.anonymous().call_at(Method::GET, &download).header("if-none-match", &answer.etag());
    cached.send().await.expect(304);
}

async fn a_phone_reads_the_address_from_the_picture(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("file", "x").await;
    let link = alice.link(&file.node_id).await;
    let answer = public(&alice, &format!("/s/{}/qr.svg", link.slug)).await.expect(200);
    assert!(answer.header("content-type").starts_with("image/svg+xml"));
    assert_eq!(read_qr(&answer.text()), link.url);
}

async fn a_link_follows_its_file(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("file", "one").await;
    let link = alice.link(&file.node_id).await;
    let download = format!("/s/{}/download", link.slug);
    alice.upload("file", "two").await;
    let folder = alice.mkdir("root", "folder").await;
    let body = json!({"name": "renamed.txt", "parent_id": folder.node_id});
    alice.patch(&format!("/nodes/{}", file.node_id)).json(&body).send().await.expect(200);
    // Another file under its old name is another file.
    alice.upload("file", "three").await;
    let answer = public(&alice, &download).await.expect(200);
    assert_eq!(answer.body, "two");
    assert!(answer.header("content-disposition").contains("renamed.txt"));
}

async fn what_is_no_link_is_not_told_apart(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("file", "x").await;
    let trashed = alice.upload("folder/below", "x").await;
    let purged = alice.upload("purged", "x").await;
    let never = "AAAAAAAAAAAA".to_owned();
    let deleted = alice.link(&file.node_id).await;
    alice.delete(&format!("/links/{}", deleted.link_id)).send().await.expect(204);
    let in_trash = alice.link(&trashed.node_id).await;
    public(&alice, &format!("/s/{}", in_trash.slug)).await.expect(200);
    alice.delete("/fs/folder").send().await.expect(204);
    let of_purged = alice.link(&purged.node_id).await;
    alice.trash(&purged.node_id).await;
    assert!(alice.delete(&format!("/trash/{}", purged.node_id)).send().await.status.is_success());
    let body = json!({"node_id": file.node_id, "expires_in": 1});
    let expiring: Link = alice.post("/links").json(&body).send().await.expect(201).json();
    eventually("the link expires", async || {
        (public(&alice, &format!("/s/{}", expiring.slug)).await.status == 404).then_some(())
    })
    .await;

    for ending in ["", "/download", "/qr.svg"] {
        let unknown = public(&alice, &format!("/s/{never}{ending}")).await;
        assert_eq!(unknown.status, 404);
        assert!(unknown.header("cache-control").contains("no-store"));
        for slug in [
            deleted.slug.as_str(),
            in_trash.slug.as_str(),
            of_purged.slug.as_str(),
            expiring.slug.as_str(),
            "short",
            "waytoolongtobeaslug",
            "%00",
            "..",
            "ÄÄÄÄÄÄÄÄÄÄÄÄ",
            &deleted.slug.to_lowercase(),
        ] {
            let answer = public(&alice, &format!("/s/{}{ending}", slug)).await;
            if slug == ".." {
                // The client itself resolves this one.
                continue;
            }
            assert_eq!(answer.seen(), unknown.seen(), "{slug}{ending}");
        }
    }
    // Back from the trash, back in the world.
    let folder: Page<harness::Node> = alice.get("/trash").send().await.json();
    let folder = folder.items.iter().find(|node| node.name == "folder").unwrap();
    alice.post(&format!("/nodes/{}/restore", folder.node_id)).send().await.expect(200);
    public(&alice, &format!("/s/{}", in_trash.slug)).await.expect(200);
}

async fn links_are_kept_in_order(server: &Server) {
    let alice = server.persona("alice").await;
    let one = alice.upload("one", "1").await;
    let two = alice.upload("two", "2").await;
    let mut links = Vec::new();
    for node in [&one, &two, &one, &two, &one] {
        links.push(alice.link(&node.node_id).await);
    }
    links.reverse();
    assert_eq!(alice.all::<Link>("/links?limit=2").await, links);
    let of_one: Vec<Link> = links.iter().filter(|link| link.node_id == one.node_id).cloned().collect();
    assert_eq!(alice.all::<Link>(&format!("/links?limit=2&node_id={}", one.node_id)).await, of_one);
    let path = format!("/links/{}", links[0].link_id);
    let answer = alice.get(&path).send().await.expect(200);
    assert_eq!(answer.json::<Link>(), links[0]);
    alice.delete(&path).send().await.expect(204);
    alice.get(&path).send().await.problem(404, "not_found");
    alice.delete(&path).send().await.problem(404, "not_found");
}

async fn an_expiry_can_be_changed(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("file", "x").await;
    let link = alice.link(&file.node_id).await;
    let path = format!("/links/{}", link.link_id);
    let etag = alice.get(&path).send().await.expect(200).etag();
    let set = async |condition: &str, body: serde_json::Value| {
        alice.patch(&path).header("if-match", condition).json(&body).send().await
    };
    set("\"other\"", json!({"expires_in": 3600})).await.problem(412, "precondition_failed");
    let changed: Link =
        set(&etag, json!({"expires_at": "2099-12-31T23:59:59.123456Z"})).await.expect(200).json();
    assert_eq!(changed.expires_at.as_deref(), Some("2099-12-31T23:59:59.123456Z"));
    set(&etag, json!({"expires_in": 3600})).await.problem(412, "precondition_failed");
    for past in [
        json!({"node_id": file.node_id, "expires_at": "2020-01-01T00:00:00Z"}),
        json!({"node_id": file.node_id, "expires_in": 0}),
        json!({"node_id": file.node_id, "expires_in": -5}),
        json!({"node_id": file.node_id, "expires_at": "yesterday"}),
    ] {
        let answer = alice.post("/links").json(&past).send().await;
        assert!(matches!(answer.status.as_u16(), 400 | 422), "{past}: {} {}", answer.status, answer.text());
        answer.reveals_nothing();
    }
}

async fn a_deleted_link_stops_at_once(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("file", "x").await;
    for _ in 0..5 {
        let link = alice.link(&file.node_id).await;
        let path = format!("/s/{}/download", link.slug);
        public(&alice, &path).await.expect(200);
        alice.delete(&format!("/links/{}", link.link_id)).send().await.expect(204);
        public(&alice, &path).await.expect(404);
    }
}

async fn only_files_are_shared(server: &Server) {
    let alice = server.persona("alice").await;
    let folder = alice.mkdir("root", "folder").await;
    let share = async |id: &str| alice.post("/links").json(&json!({"node_id": id})).send().await;
    share(&folder.node_id).await.problem(409, "not_a_file");
    share(&Uuid::now_v7().to_string()).await.problem(404, "not_found");
    share("x").await.problem(404, "not_found");
}

async fn the_page_has_a_face(server: &Server) {
    let alice = server.persona("alice").await;
    let file = alice.upload("file.txt", "x".repeat(1536)).await;
    let link = alice.link(&file.node_id).await;
    let page = public(&alice, &format!("/s/{}", link.slug)).await.expect(200).text();
    assert!(page.contains("1.5 K"), "the size as people read it: {page}");
    // Whatever the page asks for is there, and from here.
    let addresses = attributes(&page, "href").into_iter().chain(attributes(&page, "src"));
    for address in addresses {
        assert!(address.starts_with('/'), "{address}");
        let answer = public(&alice, address).await;
        assert_eq!(answer.status, 200, "{address}");
    }
}
