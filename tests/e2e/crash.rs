//! `kill -9` at random moments: what was acknowledged is there, what was not is there whole or not at all.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use harness::{Api, Content, Node, Seed, Server, Shape, Version};

const KILLS: usize = 110;
const WRITERS: usize = 4;
const FILES: usize = 4;
/// A kill comes at the latest so long after the writers have begun.
const LATEST_KILL: Duration = Duration::from_millis(120);

/// What may be found under a path.
#[derive(Default)]
struct Expected {
    /// What was acknowledged last.
    acknowledged: Option<Content>,
    /// What was sent since, without an answer.
    unknown: Vec<Content>,
    /// The versions that must be there, and those that may.
    versions: (usize, usize),
}

/// Writes one file after another until the server is gone.
async fn write(alice: &Api, writer: usize, round: usize, sizes: Vec<u64>, known: &mut [Expected]) {
    for (number, size) in sizes.into_iter().enumerate() {
        let (file, expected) = (number % FILES, &mut known[number % FILES]);
        let content = Content::new(format!("{writer} {round} {number}"), size);
        let path = format!("/fs/writer%20{writer}/file%20{file}");
        // Bytes that the file has already, such as none twice in a row, make no new version.
        let again = expected
            .acknowledged
            .iter()
            .chain(&expected.unknown)
            .any(|known| known.digest() == content.digest());
        match alice.put(&path).body(content.bytes()).try_send().await {
            Ok(answer) => {
                let created = expected.acknowledged.is_none() && expected.unknown.is_empty();
                let found = answer.status.as_u16();
                assert!(
                    found == if created { 201 } else { 200 }
                        || found == 201 && expected.acknowledged.is_none(),
                    "{}",
                    answer.text()
                );
                expected.acknowledged = Some(content);
                expected.unknown.clear();
                expected.versions.0 += usize::from(!again);
                expected.versions.1 += 1;
            }
            Err(_) => {
                expected.unknown.push(content);
                expected.versions.1 += 1;
                return;
            }
        }
    }
}

/// Checks what is under a path, and takes it as acknowledged: whoever has seen it may rely on it.
async fn check(alice: &Api, writer: usize, file: usize, expected: &mut Expected) {
    let answer = alice.get(&format!("/fs/writer%20{writer}/file%20{file}")).send().await;
    if answer.status == 404 {
        assert!(expected.acknowledged.is_none(), "writer {writer}, file {file}: acknowledged and gone");
    } else {
        let answer = answer.expect(200);
        let mut candidates = expected.acknowledged.iter().chain(&expected.unknown);
        let found = candidates.find(|content| answer.body == content.bytes());
        let found = found.unwrap_or_else(|| {
            panic!("writer {writer}, file {file}: {} bytes that nobody wrote", answer.body.len())
        });
        expected.acknowledged = Some(found.clone());
    }
    expected.unknown.clear();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_at_any_moment_of_an_upload() {
    let mut seed = Seed::new("kill_9_at_any_moment_of_an_upload");
    let mut server = Server::start(Shape::OneProcess).await;
    let alice = server.persona("alice").await;
    let client = alice.unpooled();
    let mut known: Vec<Vec<Expected>> =
        (0..WRITERS).map(|_| (0..FILES).map(|_| Expected::default()).collect()).collect();
    let start = Instant::now();
    let mut acknowledged = 0;
    for round in 0..KILLS {
        let sizes = |seed: &mut Seed| match seed.below(10) {
            0 => 0,
            1..=5 => seed.below(20_000),
            6..=8 => seed.below(1_500_000),
            _ => seed.below(12_000_000),
        };
        let before: usize = known.iter().flatten().map(|expected| expected.versions.0).sum();
        {
            let writers = known.iter_mut().enumerate().map(|(writer, known)| {
                let sizes: Vec<u64> = (0..200).map(|_| sizes(&mut seed)).collect();
                write(&client, writer, round, sizes, known)
            });
            let writers = futures::future::join_all(writers.collect::<Vec<_>>());
            let moment = Duration::from_micros(seed.below(u64::try_from(LATEST_KILL.as_micros()).unwrap()));
            let killer = async {
                tokio::time::sleep(moment).await;
                server.kill9().await;
            };
            tokio::join!(writers, killer);
        }
        let after: usize = known.iter().flatten().map(|expected| expected.versions.0).sum();
        acknowledged += after - before;

        server.restart().await;
        for (writer, files) in known.iter_mut().enumerate() {
            for (file, expected) in files.iter_mut().enumerate() {
                check(&client, writer, file, expected).await;
            }
        }
    }
    println!("{KILLS} kills, {acknowledged} uploads acknowledged, {:?}", start.elapsed());
    assert!(acknowledged > KILLS, "the kills left no time for uploads");

    // The books are right: what is used is the sum of all versions, and each of them can be read.
    let mut used = 0;
    for (writer, files) in known.iter().enumerate() {
        let folder = alice.post(&format!("/fs/writer%20{writer}")).send().await;
        let folder: Node = folder.json();
        let nodes: BTreeMap<String, Node> = alice
            .children(&folder.node_id, "")
            .await
            .into_iter()
            .map(|node| (node.name.clone(), node))
            .collect();
        for (file, expected) in files.iter().enumerate() {
            let Some(node) = nodes.get(&format!("file {file}")) else {
                assert!(expected.acknowledged.is_none());
                continue;
            };
            let versions: Vec<Version> =
                alice.all(&format!("/nodes/{}/versions?limit=1000", node.node_id)).await;
            let (least, most) = expected.versions;
            assert!(
                (least..=most).contains(&versions.len()),
                "{} versions, not {least} to {most}",
                versions.len()
            );
            for version in versions {
                used += version.size;
                let path = format!("/nodes/{}/content?version={}", node.node_id, version.version_id);
                let body = alice.get(&path).send().await.expect(200).body;
                assert_eq!(blake3::hash(&body).to_hex().as_str(), version.digest);
            }
        }
    }
    assert_eq!(alice.space().await.used_bytes, used);
}
