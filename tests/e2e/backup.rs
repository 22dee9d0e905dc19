//! Backups: made while people write, restored elsewhere, looked at, broken off. Of the one-process shape by its commands, of
//! PostgreSQL and a bucket as `deploy/BACKUP.md` says.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use harness::{
    Change, Command, Content, Options, Page, Persona, Seed, Server, Service, Shape, eventually, within,
};

const DAMAGED: Option<i32> = Some(1);
const FAILED: Option<i32> = Some(70);
const REFUSED: Option<i32> = Some(78);

fn options() -> Options {
    Options::new().set(Service::Blob, "packs.max_size", r#""16MiB""#).set(
        Service::Blob,
        "compaction.delay",
        r#""0s""#,
    )
}

/// `holdall-gateway backup` and so on, with the configuration of a server.
fn command(server: &Server, what: &str, folder: &Path) -> Command {
    Command::new("holdall-gateway")
        .arg(what)
        .path(folder)
        .arg("--config")
        .path(&server.folder().join("gateway.toml"))
        .arg("--data-dir")
        .path(&server.data_dir())
}

/// Runs it to its end; returns its exit code and what it says.
async fn run(server: &Server, what: &str, folder: &Path) -> (Option<i32>, String) {
    let (status, said) = command(server, what, folder).run().await;
    (status.code(), said)
}

async fn succeeds(server: &Server, what: &str, folder: &Path) -> String {
    let (code, said) = run(server, what, folder).await;
    assert_eq!(code, Some(0), "{what}: {said}");
    said
}

/// A server like another one, on the data of a backup.
async fn restored(options: Options, backup: &Path) -> Server {
    let mut server = Server::start_with(Shape::OneProcess, options).await;
    server.stop().await;
    fs::remove_dir_all(server.data_dir()).unwrap();
    succeeds(&server, "restore", backup).await;
    server.restart().await;
    server
}

/// Somebody at a restored server, which does not know the session of before.
async fn back(alice: &Persona, other: &Server) -> Persona {
    let alice = alice.at(other);
    alice.get("/space").send().await.problem(401, "unauthenticated");
    alice.signed_in_anew().await
}

/// Downloads everything, and checks it against what the lists say. Returns what is there by its path.
async fn read_all(alice: &Persona) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![("root".to_owned(), String::new())];
    while let Some((folder, path)) = folders.pop() {
        for node in alice.children(&folder, "limit=1000").await {
            let path = format!("{path}{}", node.name);
            if node.kind == "folder" {
                folders.push((node.node_id, path + "/"));
                continue;
            }
            let body = alice.get(&format!("/nodes/{}/content", node.node_id)).send().await.expect(200).body;
            assert_eq!(blake3::hash(&body).to_hex().as_str(), node.version.unwrap().digest, "{path}");
            found.insert(path, body.to_vec());
        }
    }
    found
}

/// What may be under a path.
#[derive(Default)]
struct History {
    /// The contents that were sent, one after the other, with the moment of their acknowledgement; `None` for deleting.
    sent: Vec<(Option<Content>, Option<Instant>)>,
    /// The node, while there is one.
    node: Option<String>,
}

impl History {
    /// Checks what a backup has that was begun at that moment.
    fn check(&self, path: &str, found: Option<&Vec<u8>>, begun: Instant) {
        let before = |acknowledged: &Option<Instant>| acknowledged.is_some_and(|at| at < begun);
        let oldest = self.sent.iter().rposition(|(_, acknowledged)| before(acknowledged));
        let mut possible =
            self.sent[oldest.unwrap_or(0)..].iter().map(|(content, _)| content).collect::<Vec<_>>();
        if oldest.is_none() {
            possible.push(&None);
        }
        let is_right = possible.iter().any(|content| match (content, found) {
            (Some(content), Some(found)) => content.bytes() == found[..],
            (None, None) => true,
            _ => false,
        });
        assert!(is_right, "{path}: {:?} bytes are none of {possible:?}", found.map(Vec::len));
    }
}

/// Uploads, overwrites and deletes until it is told to stop.
async fn write(
    alice: &Persona,
    writer: usize,
    mut seed: Seed,
    is_over: &AtomicBool,
    writes: &AtomicU64,
) -> BTreeMap<String, History> {
    let mut known = BTreeMap::<String, History>::new();
    while !is_over.load(Ordering::Relaxed) {
        let path = format!("busy/{writer}/{}", seed.below(12));
        let history = known.entry(path.clone()).or_default();
        if seed.below(4) == 0
            && let Some(node) = history.node.take()
        {
            history.sent.push((None, None));
            alice.trash(&node).await;
            alice.delete(&format!("/trash/{node}")).send().await.expect(200);
        } else {
            let size = if seed.below(8) == 0 { 2_000_000 } else { seed.below(60_000) };
            let content = Content::new(format!("{path} {}", history.sent.len()), size);
            history.sent.push((Some(content.clone()), None));
            history.node = Some(alice.upload(&path, content.bytes()).await.node_id);
        }
        history.sent.last_mut().unwrap().1 = Some(Instant::now());
        writes.fetch_add(1, Ordering::Relaxed);
    }
    known
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_made_while_people_write_has_all_that_was_acknowledged_before() {
    let mut seed = Seed::new("backup");
    let mut server = Server::start_with(Shape::OneProcess, options()).await;
    let alice = server.persona("alice").await;
    let mut kept = BTreeMap::new();
    for number in 0..30 {
        let content = Content::new(format!("kept {number}"), [100, 70_000, 2_500_000][number % 3]);
        let path = format!("kept/{number}");
        alice.upload(&path, content.bytes()).await;
        kept.insert(path, content);
    }
    // All packs of before are compacted, since they are not encrypted.
    let key = server.folder().join("content.key");
    fs::write(&key, "5e".repeat(31) + "01\n").unwrap();
    let key_files = format!("[{:?}]", key.to_str().unwrap());
    server.set(Service::Blob, "encryption.key_files", &key_files);
    server.restart().await;

    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    let (is_over, writes) = (AtomicBool::new(false), AtomicU64::new(0));
    let writers = (0..2).map(|writer| write(&alice, writer, seed.fork(), &is_over, &writes));
    let writers = futures::future::join_all(writers.collect::<Vec<_>>());
    let compacted = || server.log().matches("a pack was compacted").count();
    let started = Instant::now();
    let backups = async {
        let (mut number, mut last) = (0, Instant::now());
        // The first look for something to compact is a minute after the start; the last backup is made when it is over.
        let mut is_last = false;
        while !is_last {
            is_last = compacted() >= 3 && number >= 3;
            last = Instant::now();
            let said = succeeds(&server, "backup", &backup).await;
            assert!(said.contains("content.key"), "a key that is elsewhere is named: {said}");
            number += 1;
            assert!(started.elapsed() < Duration::from_secs(240), "nothing was compacted:\n{}", server.log());
        }
        is_over.store(true, Ordering::Relaxed);
        (number, last)
    };
    let (histories, (number, begun)) = tokio::join!(writers, backups);
    let writes = writes.load(Ordering::Relaxed);
    println!("{number} backups beside {writes} writes, {} packs compacted", compacted());
    assert!(writes > 20);
    let feed: Page<Change> = alice.get("/changes").send().await.expect(200).json();
    let cursor = feed.next_cursor.unwrap();
    // What becomes of the first server after it means nothing.
    alice.upload("kept/0", "changed afterwards").await;

    let verified = succeeds(&server, "verify", &backup).await;
    assert!(verified.contains(" 0 problems"), "{verified}");
    let other = restored(options().set(Service::Blob, "encryption.key_files", &key_files), &backup).await;
    let _log = other.log_on_failure();
    let alice = back(&alice, &other).await;
    let mut found = read_all(&alice).await;
    for (path, content) in &kept {
        assert!(found.remove(path).is_some_and(|found| content.bytes() == found[..]), "{path}");
    }
    for (path, history) in histories.iter().flatten() {
        history.check(path, found.remove(path).as_ref(), begun);
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), Vec::<&String>::new());
    // Whoever has followed the first one has to begin anew: it may have seen what is not in the backup.
    alice.get(&format!("/changes?cursor={cursor}")).send().await.problem(410, "cursor_expired");
    let feed: Page<Change> = alice.get("/changes").send().await.expect(200).json();
    let cursor = feed.next_cursor.unwrap();
    alice.get(&format!("/changes?cursor={cursor}")).send().await.expect(200);
    // It is a server like any other.
    alice.upload("new", "new").await;
    assert_eq!(alice.download("new").await, "new");
    alice.sign_in().await.expect(201);
}

/// A server that does not run, with some files, and its backup.
async fn backed_up(folder: &Path) -> (Server, Persona, PathBuf) {
    let mut server = Server::start_with(Shape::OneProcess, options()).await;
    let alice = server.persona("alice").await;
    for number in 0..4 {
        alice.upload(&format!("file {number}"), Content::new(format!("{number}"), 3_000_000).bytes()).await;
    }
    alice.upload("small", "a few bytes").await;
    server.stop().await;
    let backup = folder.join("backup");
    succeeds(&server, "backup", &backup).await;
    (server, alice, backup)
}

/// The packs in a folder, the largest last.
fn packs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut packs: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "pack")).collect();
    packs.sort_by_key(|path| fs::metadata(path).unwrap().len());
    packs
}

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// All files below a folder but locks, with what is in them.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("LOCK") {
                found.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    found
}

#[tokio::test]
async fn damage_is_found_named_and_not_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _, backup) = backed_up(folder.path()).await;
    let data = server.data_dir();
    for sound in [&backup, &data] {
        let before = contents(sound);
        let said = succeeds(&server, "verify", sound).await;
        assert!(said.contains("5 versions and buffer entries") && said.contains(" 0 problems"), "{said}");
        assert!(contents(sound) == before, "nothing is changed");
    }
    let pack = packs(&backup.join("packs")).pop().unwrap();
    let id = pack.file_stem().unwrap().to_str().unwrap().to_owned();
    let database = fs::read_dir(&backup)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("metadata.db"))
        .find(|path| path.is_file())
        .unwrap();

    let bytes = fs::read(&pack).unwrap();
    let ways: [(&str, &dyn Fn()); 3] = [
        ("is not what was backed up", &|| flip(&pack, 2_000_000)),
        ("is not what was backed up", &|| fs::write(&pack, &bytes[..bytes.len() / 2]).unwrap()),
        ("is missing", &|| fs::remove_file(&pack).unwrap()),
    ];
    for (problem, damage) in ways {
        damage();
        let (code, said) = run(&server, "verify", &backup).await;
        assert_eq!(code, DAMAGED, "{said}");
        assert!(said.contains(&format!("pack {id}: {problem}")), "{said}");
        let named = said.lines().find(|line| line.contains(": its content, blob "));
        let named = named.unwrap_or_else(|| panic!("the version is named: {said}"));
        assert!(named.contains("version ") && named.ends_with("cannot be read whole"), "{named}");
        let other = folder.path().join("other");
        let restore =
            Command::new("holdall-gateway").arg("restore").path(&backup).arg("--data-dir").path(&other);
        let (status, said) = restore.run().await;
        assert_eq!(status.code(), FAILED, "{said}");
        let start =
            Command::new("holdall-gateway").arg("--listen").arg("127.0.0.1:0").arg("--data-dir").path(&other);
        let (status, said) = start.run().await;
        assert_eq!(status.code(), REFUSED, "{said}");
        assert!(said.contains("is not complete"), "{said}");
        fs::remove_dir_all(&other).unwrap();
        fs::write(&pack, &bytes).unwrap();
    }
    flip(&database, 5_000);
    let (code, said) = run(&server, "verify", &backup).await;
    assert_eq!(code, DAMAGED, "{said}");
    assert!(said.contains("metadata.db: is not what was backed up"), "{said}");
    flip(&database, 5_000);

    // A backup of what is damaged does not take the place of a good one, unless that is wanted.
    let before = contents(&backup);
    let original =
        packs(&data.join("blob/packs")).into_iter().find(|path| path.file_name() == pack.file_name());
    fs::remove_file(original.unwrap()).unwrap();
    let (code, said) = run(&server, "verify", &data).await;
    assert_eq!(code, DAMAGED, "{said}");
    let elsewhere = folder.path().join("elsewhere");
    let (code, said) = run(&server, "backup", &elsewhere).await;
    assert_eq!(code, FAILED, "{said}");
    assert!(said.contains(&format!("pack {id}: is missing")), "{said}");
    succeeds(&server, "verify", &backup).await;
    assert!(contents(&backup) == before);
    let (status, said) = command(&server, "backup", &elsewhere).arg("--accept-damage").run().await;
    assert_eq!(status.code(), DAMAGED, "{said}");
}

#[tokio::test]
async fn nothing_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _, backup) = backed_up(folder.path()).await;
    let refused = async |what, folder: &Path, why: &str| {
        let (code, said) = run(&server, what, folder).await;
        assert_eq!(code, REFUSED, "{what} {}: {said}", folder.display());
        assert!(said.contains(why), "{said}");
    };
    let before = contents(&server.data_dir());
    refused("restore", &backup, "is not empty").await;
    refused("backup", &server.data_dir(), "is in the data directory").await;
    refused("backup", &server.data_dir().join("backup"), "is in the data directory").await;
    refused("backup", server.folder(), "or holds it").await;
    assert!(contents(&server.data_dir()) == before);
    let photos = folder.path().join("photos");
    fs::create_dir(&photos).unwrap();
    fs::write(photos.join("beach.jpg"), "a photo").unwrap();
    refused("backup", &photos, "holds no backup").await;
    assert_eq!(contents(&photos).len(), 1);
    let (code, said) = run(&server, "verify", &photos).await;
    assert_eq!(code, FAILED, "{said}");

    // A backup of somebody else.
    let other = Server::start_with(Shape::OneProcess, options()).await;
    other.persona("bob").await.upload("file", "bob's").await;
    let before = contents(&backup);
    let (code, said) = run(&other, "backup", &backup).await;
    assert_eq!(code, REFUSED, "{said}");
    assert!(said.contains("holds a backup of other data"), "{said}");
    succeeds(&server, "verify", &backup).await;
    assert!(before.iter().all(|(path, bytes)| fs::read(path).is_ok_and(|now| now == *bytes)));
}

#[tokio::test]
async fn one_that_is_killed_is_none_and_the_next_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(Shape::OneProcess, options()).await;
    let alice = server.persona("alice").await;
    let large = Content::new("large", 160 << 20);
    alice.upload("large", reqwest::Body::wrap_stream(large.stream())).await;
    let backup = folder.path().join("backup");
    // What is noted in it need not be copied again.
    let is_noted = || fs::metadata(backup.join("unfinished.manifest")).is_ok_and(|file| file.len() > 600);
    let mut is_broken = false;
    // It may be whole before the signal comes.
    for _ in 0..20 {
        let process = command(&server, "backup", &backup).start();
        within(Duration::from_secs(60), "the first packs", async {
            while !is_noted() && process.try_exit().is_none() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        process.kill9().await;
        if !backup.join("backup.manifest").exists() {
            is_broken = true;
            break;
        }
        fs::remove_dir_all(&backup).unwrap();
    }
    assert!(is_broken, "no backup was killed before it was whole");
    for what in ["restore", "verify"] {
        let other = folder.path().join("other");
        let (status, said) = Command::new("holdall-gateway")
            .arg(what)
            .path(&backup)
            .arg("--data-dir")
            .path(&other)
            .run()
            .await;
        assert_eq!(status.code(), FAILED, "{said}");
        assert!(!other.exists() && said.contains("no") && said.contains("whole backup"), "{said}");
    }
    let copied = |said: &str| {
        let (_, rest) = said.split_once("packs and databases, ").expect("a summary");
        rest.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let said = succeeds(&server, "backup", &backup).await;
    assert!((64 << 20..128 << 20).contains(&copied(&said)), "{said}");
    // The second takes what is new, and little else.
    alice.upload("small", "a few bytes").await;
    let second = succeeds(&server, "backup", &backup).await;
    assert!(copied(&second) < 2 << 20, "{second}");
    // One that breaks off now leaves that as it is.
    alice.upload("more", Content::new("more", 40 << 20).bytes()).await;
    let process = command(&server, "backup", &backup).start();
    eventually("something is written", async || {
        (backup.join("unfinished.manifest").exists() || process.try_exit().is_some()).then_some(())
    })
    .await;
    process.kill9().await;
    succeeds(&server, "verify", &backup).await;

    let other = restored(options(), &backup).await;
    let alice = back(&alice, &other).await;
    assert_eq!(alice.download("small").await, "a few bytes");
    assert!(alice.download("large").await == large.bytes());
}

#[tokio::test]
async fn what_a_loss_of_power_left_out_of_the_index_is_backed_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_with(Shape::OneProcess, options()).await;
    let alice = server.persona("alice").await;
    alice.upload("one", "one").await;
    server.stop().await;
    // The index is not flushed, so an older one may be what is left of it.
    let index = server.data_dir().join("blob/index.db");
    let older = fs::read(&index).unwrap();
    server.restart().await;
    alice.upload("two", "two").await;
    server.stop().await;
    fs::write(&index, older).unwrap();
    let backup = folder.path().join("backup");
    succeeds(&server, "backup", &backup).await;
    let other = restored(options(), &backup).await;
    let alice = back(&alice, &other).await;
    assert_eq!((alice.download("one").await, alice.download("two").await), ("one".into(), "two".into()));
}

/// Runs a program of PostgreSQL.
async fn postgres(program: &'static str, args: &[&str]) {
    let command = Command::installed(program).unwrap_or_else(|| panic!("{program} is not installed"));
    let (status, said) = args.iter().fold(command, |command, arg| command.arg(*arg)).run().await;
    assert!(status.success(), "{program}: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_and_a_bucket_are_backed_up_one_after_the_other() {
    const DATABASES: [Service; 2] = [Service::Metadata, Service::Auth];
    let mut seed = Seed::new("postgres");
    let server = Server::start(Shape::EightProcesses).await;
    let alice = server.persona("alice").await;
    let mut kept = BTreeMap::new();
    for number in 0..12 {
        let content = Content::new(format!("kept {number}"), [100, 70_000, 2_500_000][number % 3]);
        alice.upload(&format!("kept/{number}"), content.bytes()).await;
        kept.insert(format!("kept/{number}"), content);
    }
    let feed: Page<Change> = alice.get("/changes").send().await.expect(200).json();
    let cursor = feed.next_cursor.unwrap();
    let (is_over, writes) = (AtomicBool::new(false), AtomicU64::new(0));
    let folder = tempfile::tempdir().unwrap();
    let dump = |service: Service| {
        folder.path().join(format!("{}.dump", service.name())).to_str().unwrap().to_owned()
    };
    let other = async {
        let many = async |count| {
            eventually("people write", async || (writes.load(Ordering::Relaxed) >= count).then_some(()))
                .await;
        };
        many(10).await;
        let begun = Instant::now();
        for service in DATABASES {
            let file = format!("--file={}", dump(service));
            postgres("pg_dump", &["--format=custom", &file, server.database(service)]).await;
            many(writes.load(Ordering::Relaxed) + 5).await;
        }
        let mut other = Server::start(Shape::EightProcesses).await;
        other.stop().await;
        other.bucket().copy_from(server.bucket());
        is_over.store(true, Ordering::Relaxed);
        (other, begun)
    };
    let (history, (mut other, begun)) = tokio::join!(write(&alice, 0, seed.fork(), &is_over, &writes), other);
    for service in DATABASES {
        let database = format!("--dbname={}", other.database(service));
        // It has made its tables already.
        let args = ["--no-owner", "--exit-on-error", "--clean", "--if-exists", &database, &dump(service)];
        postgres("pg_restore", &args).await;
    }
    let epoch = "UPDATE instance SET feed_epoch = substr(md5(random()::text), 1, 16)";
    postgres("psql", &[other.database(Service::Metadata), "-c", epoch]).await;
    postgres("psql", &[other.database(Service::Auth), "-c", "DELETE FROM sessions"]).await;
    let keys = ["delegation.key".to_owned()].into_iter().chain(
        fs::read_dir(server.folder().join("signing"))
            .unwrap()
            .map(|key| format!("signing/{}", key.unwrap().file_name().to_str().unwrap())),
    );
    fs::remove_dir_all(other.folder().join("signing")).unwrap();
    fs::create_dir(other.folder().join("signing")).unwrap();
    for key in keys {
        fs::copy(server.folder().join(&key), other.folder().join(&key)).unwrap();
    }
    other.restart().await;

    let _log = other.log_on_failure();
    let alice = back(&alice, &other).await;
    let mut found = read_all(&alice).await;
    for (path, content) in &kept {
        assert!(found.remove(path).is_some_and(|found| content.bytes() == found[..]), "{path}");
    }
    for (path, history) in &history {
        history.check(path, found.remove(path).as_ref(), begun);
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), Vec::<&String>::new());
    alice.get(&format!("/changes?cursor={cursor}")).send().await.problem(410, "cursor_expired");
    alice.upload("new", "new").await;
    assert_eq!(alice.download("new").await, "new");
    let data = folder.path().join("fsck");
    fs::create_dir(&data).unwrap();
    let config = other.folder().join("blob.toml");
    let fsck =
        Command::new("holdall-blob").arg("fsck").arg("--config").path(&config).arg("--data-dir").path(&data);
    let (status, said) = fsck.run().await;
    assert!(status.success() && said.contains(" 0 problems"), "{said}");
}
