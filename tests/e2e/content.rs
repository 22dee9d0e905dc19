//! Bytes go in and come out, of any size, by every way there is.

use harness::{Content, Node, Server, both_shapes, chunks_of};
use http::Method;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Around every limit that content passes on its way: frames, messages, chunks.
const SIZES: [u64; 14] = [
    0,
    1,
    2,
    4 * KIB,
    16 * KIB + 1,
    256 * KIB - 1,
    256 * KIB,
    256 * KIB + 1,
    512 * KIB,
    MIB,
    4 * MIB - 1,
    4 * MIB + 1,
    5 * MIB,
    40 * MIB,
];

both_shapes!(
    every_size_comes_back_as_it_was,
    the_length_need_not_be_known,
    content_can_be_written_by_id,
    equal_content_makes_no_new_version,
    many_files_at_once,
    the_type_is_kept_or_guessed,
    content_is_inert,
    curl_can_do_it,
    an_upload_says_what_it_is,
);

async fn every_size_comes_back_as_it_was(server: &Server) {
    let alice = server.persona("alice").await;
    for size in SIZES {
        let content = Content::new(format!("size {size}"), size);
        let bytes = content.bytes();
        let path = format!("/fs/file%20{size}");
        let answer = alice.put(&path).body(bytes.clone()).send().await.expect(201);
        let node: Node = answer.json();
        assert_eq!(answer.header("location"), format!("/api/v1/nodes/{}", node.node_id));
        assert_eq!((node.kind.as_str(), node.size()), ("file", size));
        assert_eq!(node.digest(), content.digest(), "{size}");

        for path in [path, format!("/nodes/{}/content", node.node_id)] {
            let answer = alice.get(&path).send().await.expect(200);
            assert_eq!(answer.header("content-length"), size.to_string());
            assert_eq!(answer.header("accept-ranges"), "bytes");
            assert!(answer.body == bytes, "{size} bytes came back as {} others", answer.body.len());
            let head = alice.head(&path).send().await.expect(200);
            assert!(head.body.is_empty());
            for header in [
                "content-length",
                "content-type",
                "etag",
                "last-modified",
                "accept-ranges",
                "content-disposition",
            ] {
                assert_eq!(head.header(header), answer.header(header), "{header}");
            }
        }
    }
    let total: u64 = SIZES.iter().sum();
    assert_eq!(alice.space().await.used_bytes, total);
}

async fn the_length_need_not_be_known(server: &Server) {
    let alice = server.persona("alice").await;
    for (size, frame) in [(0, 1), (10, 1), (100_000, 777), (3 * MIB, 65_536)] {
        let content = Content::new(format!("chunked {size}"), size);
        let frames = chunks_of(&content.bytes(), frame).into_iter().map(Ok::<_, std::io::Error>);
        let body = reqwest::Body::wrap_stream(futures::stream::iter(frames));
        let node = alice.upload(&format!("chunked {size}"), body).await;
        assert_eq!((node.size(), node.digest()), (size, content.digest().as_str()));
        assert!(alice.download(&format!("chunked {size}")).await == content.bytes());
    }
    let space = alice.space().await;
    assert_eq!(space.reserved_bytes, 0);
}

async fn content_can_be_written_by_id(server: &Server) {
    let alice = server.persona("alice").await;
    let folder = alice.mkdir("root", "folder").await;
    let path = format!("/folders/{}/files/by%20id", folder.node_id);
    let node: Node = alice.put(&path).body("one").send().await.expect(201).json();
    assert_eq!(node.parent_id.as_deref(), Some(folder.node_id.as_str()));
    let again: Node = alice.put(&path).body("two").send().await.expect(200).json();
    assert_eq!(again.node_id, node.node_id);
    let content = format!("/nodes/{}/content", node.node_id);
    let third: Node = alice.put(&content).body("three").send().await.expect(200).json();
    assert_eq!(third.node_id, node.node_id);
    assert_eq!(alice.get(&content).send().await.expect(200).body, "three");
    assert_eq!(alice.download("folder/by id").await, "three");
    alice
        .put(&format!("/nodes/{}/content", folder.node_id))
        .body("x")
        .send()
        .await
        .problem(409, "not_a_file");
    alice.get(&format!("/nodes/{}/content", folder.node_id)).send().await.problem(409, "not_a_file");
}

async fn equal_content_makes_no_new_version(server: &Server) {
    let alice = server.persona("alice").await;
    let first = alice.upload("same", "the same bytes").await;
    let again: Node = alice.put("/fs/same").body("the same bytes").send().await.expect(200).json();
    assert_eq!(again.version, first.version);
    assert_eq!(alice.space().await.used_bytes, 14);
}

async fn many_files_at_once(server: &Server) {
    let alice = server.persona("alice").await;
    let alice = &alice;
    let uploads = (0..48_u64).map(|number| async move {
        let content = Content::new(format!("parallel {number}"), number * 9_973);
        alice.upload(&format!("parallel/{number}"), content.bytes()).await;
        assert!(alice.download(&format!("parallel/{number}")).await == content.bytes());
    });
    futures::future::join_all(uploads).await;
    let folder: Node = alice.post("/fs/parallel").send().await.expect(200).json();
    assert_eq!(alice.children(&folder.node_id, "limit=1000").await.len(), 48);
}

async fn the_type_is_kept_or_guessed(server: &Server) {
    let alice = server.persona("alice").await;
    for (name, sent, kept) in [
        ("a", Some("image/png"), "image/png"),
        ("b", Some("text/plain; charset=utf-8"), "text/plain; charset=utf-8"),
        ("c.png", None, "image/png"),
        ("d.unknown-ending", None, "application/octet-stream"),
        // What curl says of any data.
        ("e.pdf", Some("application/x-www-form-urlencoded"), "application/pdf"),
    ] {
        let mut call = alice.put(&format!("/fs/{name}")).body("x");
        if let Some(kind) = sent {
            call = call.header("content-type", kind);
        }
        let node: Node = call.send().await.expect(201).json();
        assert_eq!(node.media_type(), kept, "{name}");
    }
    for kind in ["no type", "text/", "/plain", "text/plain\t\u{1}"] {
        if http::HeaderValue::from_str(kind).is_err() {
            continue;
        }
        let node: Node = alice.put("/fs/odd.txt").header("content-type", kind).body("x").send().await.json();
        assert!(node.media_type().starts_with("text/plain"), "{kind}: {}", node.media_type());
    }
}

async fn content_is_inert(server: &Server) {
    let alice = server.persona("alice").await;
    for (name, kind, inline) in [
        ("evil.html", "text/html", false),
        ("evil.svg", "image/svg+xml", false),
        ("evil.xhtml", "application/xhtml+xml", false),
        ("evil.js", "text/javascript", false),
        ("evil.xml", "text/xml", false),
        ("fine.png", "image/png", true),
        ("fine.pdf", "application/pdf", true),
    ] {
        let node: Node = alice
            .put(&format!("/fs/{name}"))
            .header("content-type", kind)
            .body("<script>alert(1)</script>")
            .send()
            .await
            .expect(201)
            .json();
        let answer = alice.get(&format!("/nodes/{}/content", node.node_id)).send().await.expect(200);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("sandbox"), "{policy}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert!(answer.header("cache-control").contains("private"));
        let disposition = answer.header("content-disposition");
        assert_eq!(disposition.starts_with("inline"), inline, "{name}: {disposition}");
        assert_eq!(answer.header("content-type"), if inline { kind } else { "application/octet-stream" });
        let forced =
            alice.get(&format!("/nodes/{}/content?download=1", node.node_id)).send().await.expect(200);
        assert!(forced.header("content-disposition").starts_with("attachment"));
    }
}

async fn curl_can_do_it(server: &Server) {
    let alice = server.persona("alice").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("from curl.bin");
    let content = Content::new("curl", 300_000).bytes();
    std::fs::write(&file, &content).unwrap();
    let back = folder.path().join("back");
    let base = alice.url();
    let auth = format!("Authorization: Bearer {}", alice.bearer().unwrap());
    let curl = async |args: &[&str]| {
        let output = tokio::process::Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body", "--globoff", "-H", &auth])
            .args(args)
            .output()
            .await
            .expect("curl is installed");
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    };
    let file = file.to_str().unwrap();
    // To a file's path, to a folder's path (curl adds the name), from standard input, over HTTP/2.
    curl(&["-T", file, &format!("{base}/api/v1/fs/path/to/file")]).await;
    curl(&["-T", file, &format!("{base}/api/v1/fs/path/to/")]).await;
    curl(&["--http2-prior-knowledge", "-T", file, &format!("{base}/api/v1/fs/path/to/h2")]).await;
    curl(&["--data-binary", &format!("@{file}"), "-X", "PUT", &format!("{base}/api/v1/fs/path/to/data")])
        .await;
    for name in ["file", "from%20curl.bin", "h2", "data"] {
        curl(&["-o", back.to_str().unwrap(), &format!("{base}/api/v1/fs/path/to/{name}")]).await;
        assert!(std::fs::read(&back).unwrap() == content, "{name}");
    }
    curl(&["-I", &format!("{base}/api/v1/fs/path/to/file")]).await;
    // It goes on where it was.
    std::fs::write(&back, &content[..123_456]).unwrap();
    curl(&["-C", "-", "-o", back.to_str().unwrap(), &format!("{base}/api/v1/fs/path/to/file")]).await;
    assert!(std::fs::read(&back).unwrap() == content);
}

async fn an_upload_says_what_it_is(server: &Server) {
    let alice = server.persona("alice").await;
    let gzip = alice.put("/fs/x").header("content-encoding", "gzip").body("x").send().await;
    gzip.problem(415, "unsupported_media_type");
    alice.put("/fs/x").header("content-encoding", "identity").body("x").send().await.expect(201);
    let part = alice.put("/fs/x").header("content-range", "bytes 0-0/10").body("x").send().await;
    assert_eq!(part.status, 400, "{}", part.text());
    alice.call(Method::POST, "/nodes/root/content").body("x").send().await.problem(405, "method_not_allowed");
}
