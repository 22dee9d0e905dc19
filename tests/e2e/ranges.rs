//! Parts of content (RFC 9110 §14).

use harness::{Content, Server, both_shapes};

const LEN: u64 = 3 * 1024 * 1024 + 17;

both_shapes!(
    a_range_is_what_it_says,
    a_range_beyond_the_end_is_refused,
    what_is_no_range_is_not_looked_at,
    a_range_depends_on_the_version,
    a_head_of_a_range_has_no_body,
);

async fn a_range_is_what_it_says(server: &Server) {
    let alice = server.persona("alice").await;
    let content = Content::new("ranges", LEN);
    alice.upload("file", content.bytes()).await;
    let last = LEN - 1;
    for (range, start, end) in [
        ("bytes=0-0".to_owned(), 0, 0),
        ("bytes=0-99".to_owned(), 0, 99),
        ("bytes=262143-262144".to_owned(), 262_143, 262_144),
        ("bytes=1048575-2097153".to_owned(), 1_048_575, 2_097_153),
        (format!("bytes={last}-{last}"), last, last),
        (format!("bytes={last}-"), last, last),
        ("bytes=1000-".to_owned(), 1000, last),
        ("bytes=-1".to_owned(), last, last),
        ("bytes=-500000".to_owned(), LEN - 500_000, last),
        ("bytes=-99999999999".to_owned(), 0, last),
        ("bytes=100-99999999999".to_owned(), 100, last),
        ("bytes=5-18446744073709551615".to_owned(), 5, last),
        ("Bytes=7-9".to_owned(), 7, 9),
        ("bytes= 7-9".to_owned(), 7, 9),
    ] {
        let answer = alice.get("/fs/file").header("range", &range).send().await.expect(206);
        assert_eq!(answer.header("content-range"), format!("bytes {start}-{end}/{LEN}"), "{range}");
        assert_eq!(answer.header("content-length"), (end - start + 1).to_string());
        assert!(answer.body == content.range(start, end - start + 1), "{range}");
    }
}

async fn a_range_beyond_the_end_is_refused(server: &Server) {
    let alice = server.persona("alice").await;
    alice.upload("file", "0123456789").await;
    alice.upload("empty", "").await;
    for (name, range, len) in [
        ("file", "bytes=10-", 10),
        ("file", "bytes=10-20", 10),
        ("file", "bytes=99999999999999-", 10),
        ("file", "bytes=-0", 10),
        ("empty", "bytes=0-", 0),
        ("empty", "bytes=0-0", 0),
    ] {
        let answer = alice.get(&format!("/fs/{name}")).header("range", range).send().await;
        answer.problem(416, "range_not_satisfiable");
        assert_eq!(answer.header("content-range"), format!("bytes */{len}"), "{range}");
    }
}

async fn what_is_no_range_is_not_looked_at(server: &Server) {
    let alice = server.persona("alice").await;
    alice.upload("file", "0123456789").await;
    let many = format!("bytes={}", vec!["0-0"; 1000].join(","));
    for range in [
        "bytes",
        "bytes=",
        "bytes=a-b",
        "bytes=5-2",
        "bytes=1",
        "items=0-1",
        "bytes=--1",
        "bytes=0-1,3-4",
        "bytes=+1-2",
        &many,
    ] {
        let answer = alice.get("/fs/file").header("range", range).send().await;
        // Several ranges and nonsense alike: the whole file. Never more than the file.
        assert_eq!(answer.status, 200, "{range}: {}", answer.text());
        assert_eq!(answer.body, "0123456789", "{range}");
    }
    alice.put("/fs/ignored").header("range", "bytes=0-1").body("0123456789").send().await.expect(201);
    assert_eq!(alice.download("ignored").await, "0123456789");
}

async fn a_range_depends_on_the_version(server: &Server) {
    let alice = server.persona("alice").await;
    alice.upload("file", "0123456789").await;
    let answer = alice.get("/fs/file").send().await.expect(200);
    let (etag, date) = (answer.etag(), answer.header("last-modified").to_owned());
    let ask = async |condition: &str| {
        alice.get("/fs/file").header("range", "bytes=2-3").header("if-range", condition).send().await
    };
    assert_eq!(ask(&etag).await.expect(206).body, "23");
    assert_eq!(ask(&format!("W/{etag}")).await.expect(200).body, "0123456789");
    assert_eq!(ask("\"another\"").await.expect(200).body, "0123456789");
    // A date is a weak validator unless it is a second old (RFC 9110 §8.8.2.2); either answer is right here.
    assert!(matches!(ask(&date).await.status.as_u16(), 200 | 206));
    alice.upload("file", "abcdefghij").await;
    assert_eq!(ask(&etag).await.expect(200).body, "abcdefghij");
}

async fn a_head_of_a_range_has_no_body(server: &Server) {
    let alice = server.persona("alice").await;
    alice.upload("file", "0123456789").await;
    // RFC 9110 §14.2: Range is defined for GET only.
    let head = alice.head("/fs/file").header("range", "bytes=2-3").send().await;
    assert!(matches!(head.status.as_u16(), 200 | 206));
    assert!(head.body.is_empty());
}
