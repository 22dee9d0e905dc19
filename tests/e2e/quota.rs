//! A space holds so much and no more.

use harness::{Content, Options, Server, Service, Shape, raw};

const QUOTA: u64 = 1_000_000;

async fn small(shape: Shape) -> Server {
    Server::start_with(
        shape,
        Options::new().set(Service::Metadata, "spaces.default_quota", &QUOTA.to_string()),
    )
    .await
}

async fn a_full_space_takes_nothing_more(shape: Shape) {
    let server = small(shape).await;
    let _log = server.log_on_failure();
    let alice = server.persona("alice").await;
    assert_eq!(alice.space().await.quota_bytes, QUOTA);
    let put = async |name: &str, size: u64| {
        alice.put(&format!("/fs/{name}")).body(Content::new(name, size).bytes()).send().await
    };
    put("too large", QUOTA + 1).await.problem(507, "quota_exceeded");
    put("most", QUOTA - 100).await.expect(201);
    put("one too many", 101).await.problem(507, "quota_exceeded");
    // Of unknown length it is found out on the way.
    let frames = [vec![7; 50], vec![8; 50], vec![9; 50]].map(Ok::<_, std::io::Error>);
    let unknown =
        alice.put("/fs/unknown").body(reqwest::Body::wrap_stream(futures::stream::iter(frames))).send().await;
    assert!(matches!(unknown.status.as_u16(), 413 | 507), "{} {}", unknown.status, unknown.text());
    put("rest", 100).await.expect(201);
    put("a single byte", 1).await.problem(507, "quota_exceeded");
    put("nothing", 0).await.expect(201);
    let space = alice.space().await;
    assert_eq!((space.used_bytes, space.reserved_bytes), (QUOTA, 0));
    let names: Vec<String> = alice.children("root", "").await.into_iter().map(|node| node.name).collect();
    assert_eq!(names, ["most", "nothing", "rest"]);
    // A hopeless upload is refused before its bytes are asked for.
    let head = ["content-length: 500000", "expect: 100-continue"];
    let answer = raw::exchange(&alice, "PUT /api/v1/fs/hopeless", &head, b"").await.expect("an answer");
    answer.problem(507, "quota_exceeded");
    // Room that is given back can be used.
    let most = alice.children("root", "").await.swap_remove(0);
    alice.trash(&most.node_id).await;
    put("still full", 1).await.problem(507, "quota_exceeded");
    assert!(alice.delete("/trash").send().await.status.is_success());
    put("room again", QUOTA - 100).await.expect(201);
}

async fn racing_uploads_share_what_there_is(shape: Shape) {
    let server = small(shape).await;
    let _log = server.log_on_failure();
    let alice = server.persona("alice").await;
    let uploads = (0..40).map(|n| {
        let content = Content::new(format!("race {n}"), QUOTA / 10);
        let (size, stream) = (content.len().to_string(), reqwest::Body::wrap_stream(content.stream()));
        alice.put(&format!("/fs/{n}")).header("content-length", &size).body(stream).send()
    });
    let answers = futures::future::join_all(uploads).await;
    let stored = answers.iter().filter(|answer| answer.status == 201).count();
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        answer.problem(507, "quota_exceeded");
    }
    let space = alice.space().await;
    assert_eq!((stored, space.used_bytes, space.reserved_bytes), (10, QUOTA, 0));
    assert_eq!(alice.children("root", "").await.len(), 10);
}

#[tokio::test]
async fn a_full_space_takes_nothing_more_in_one_process() {
    a_full_space_takes_nothing_more(Shape::OneProcess).await;
}

#[tokio::test]
async fn a_full_space_takes_nothing_more_in_four_processes() {
    a_full_space_takes_nothing_more(Shape::FourProcesses).await;
}

#[tokio::test]
async fn racing_uploads_share_what_there_is_in_one_process() {
    racing_uploads_share_what_there_is(Shape::OneProcess).await;
}

#[tokio::test]
async fn racing_uploads_share_what_there_is_in_four_processes() {
    racing_uploads_share_what_there_is(Shape::FourProcesses).await;
}
