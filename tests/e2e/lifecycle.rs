//! Starting, stopping, and what stands in the way of it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use harness::{Answer, Call, Content, Options, Persona, Server, Service, Shape, eventually, raw, within};
use http::Method;
use serde_json::Value;
use tokio_stream::StreamExt;

/// A started server must be ready sooner than this. Unoptimised programs get some grace.
const READY_WITHIN: Duration = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn an_empty_data_directory_is_ready_at_once() {
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let process = harness::Command::new("holdall-gateway")
            .arg("--listen")
            .arg("127.0.0.1:0")
            .arg("--data-dir")
            .path(&folder.path().join("data"))
            .start();
        let address = process.address().await;
        eventually("it is ready", async || {
            let answer = reqwest::get(format!("{address}/readyz")).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        fastest = fastest.min(start.elapsed());
        process.sigterm();
        assert_eq!(process.exit().await.code(), Some(0), "{}", process.log());
    }
    println!("start to ready on an empty data directory: {fastest:?}");
    assert!(fastest < READY_WITHIN, "it took {fastest:?}");
}

#[tokio::test]
async fn it_listens_on_more_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let process = harness::Command::new("holdall-gateway")
        .arg("--listen")
        .arg("127.0.0.1:0")
        .arg("--data-dir")
        .path(&folder.path().join("data"))
        .env("HOLDALL_PUBLIC__ALSO_LISTEN", r#"["127.0.0.1:0", "127.0.0.1:0"]"#)
        .start();
    let addresses = eventually("it listens on three addresses", async || {
        let log = process.log();
        let addresses = log.lines().filter_map(|line| line.split_once(" listening on http://"));
        let addresses: Vec<String> = addresses.map(|(_, address)| address.trim().to_owned()).collect();
        (addresses.len() == 3).then_some(addresses)
    })
    .await;
    let account = serde_json::json!({ "username": "alice", "password": "a long password" });
    let http = reqwest::Client::new();
    let made = http.post(format!("http://{}/api/v1/accounts", addresses[0])).json(&account).send().await;
    assert_eq!(made.unwrap().status(), 201);
    for address in &addresses {
        let signed_in =
            http.post(format!("http://{address}/api/v1/sessions")).json(&account).send().await.unwrap();
        assert_eq!(signed_in.status(), 201, "{address}");
    }
    drop(http);
    process.sigterm();
    assert_eq!(process.exit().await.code(), Some(0), "{}", process.log());
}

#[tokio::test]
async fn a_data_directory_has_one_owner() {
    let mut server = Server::start(Shape::OneProcess).await;
    let alice = server.persona("alice").await;
    let (status, log) = server.command(Service::Gateway, "127.0.0.1:0").run().await;
    assert_eq!(status.code(), Some(78), "{log}");
    assert!(log.contains("in use") && log.contains(server.data_dir().to_str().unwrap()), "{log}");
    // The first one does not mind.
    alice.upload("file", "x").await;
    // A lock whose owner was killed does not stay.
    server.kill9().await;
    server.restart().await;
    assert_eq!(alice.download("file").await, "x");
}

#[tokio::test]
async fn a_service_has_its_data_directory_for_itself() {
    let server = Server::start(Shape::FourProcesses).await;
    let (status, log) = server.command(Service::Blob, "127.0.0.1:0").run().await;
    assert_eq!(status.code(), Some(78), "{log}");
    assert!(log.contains("in use"), "{log}");
}

#[tokio::test]
async fn a_port_has_one_owner() {
    let server = Server::start(Shape::OneProcess).await;
    let other = Server::start(Shape::OneProcess).await;
    let taken = other.url().strip_prefix("http://").unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let (status, log) = harness::Command::new("holdall-gateway")
        .arg("--listen")
        .arg(&taken)
        .arg("--data-dir")
        .path(folder.path())
        .run()
        .await;
    assert_eq!(status.code(), Some(70), "{log}");
    assert!(log.contains(&taken), "{log}");
    drop(server);
}

async fn everything_is_there_after_a_restart(shape: Shape) {
    let mut server = Server::start(shape).await;
    let alice = server.persona("alice").await;
    let content = Content::new("kept", 6_000_000);
    let file = alice.upload("folder/file", content.bytes()).await;
    let link = alice.link(&file.node_id).await;
    let space = alice.space().await;
    for _ in 0..2 {
        server.restart().await;
        assert!(alice.download("folder/file").await == content.bytes());
        assert_eq!(alice.node(&file.node_id).await, file);
        assert_eq!(alice.space().await.change_sequence, space.change_sequence);
        assert_eq!(alice.space().await.used_bytes, space.used_bytes);
        let path = format!("/s/{}/download", link.slug);
        let shared = alice.anonymous().call_at(Method::GET, &path).send().await.expect(200);
        assert!(shared.body == content.bytes());
    }
    alice.sign_in().await.expect(201);
}

#[tokio::test]
async fn everything_is_there_after_a_restart_in_one_process() {
    everything_is_there_after_a_restart(Shape::OneProcess).await;
}

#[tokio::test]
async fn everything_is_there_after_a_restart_in_four_processes() {
    everything_is_there_after_a_restart(Shape::FourProcesses).await;
}

/// What is inside one process is not reachable from outside of it.
#[tokio::test]
async fn one_process_listens_on_one_port() {
    let server = Server::start(Shape::OneProcess).await;
    let alice = server.persona("alice").await;
    alice.upload("file", "x").await;
    let Ok(sockets) = fs::read_dir(format!("/proc/{}/fd", server.process(Service::Gateway).pid())) else {
        // Only Linux tells.
        return;
    };
    let open: Vec<String> = sockets
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()?.into_os_string().into_string().ok())
        .filter_map(|name| Some(name.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let listening: usize = ["/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/udp6"]
        .iter()
        .map(|table| {
            let table_text = fs::read_to_string(table).unwrap_or_default();
            let ours = |line: &&str| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let idle = fields.get(3).is_some_and(|state| *state == "0A" || table.contains("udp"));
                idle && fields.get(9).is_some_and(|inode| open.iter().any(|known| known == inode))
            };
            table_text.lines().skip(1).filter(ours).count()
        })
        .sum();
    assert_eq!(listening, 1);
}

#[tokio::test]
async fn whoever_stalls_is_cut_off() {
    let options = Options::new()
        .set(Service::Gateway, "body.idle_timeout", "\"1s\"")
        .set(Service::Gateway, "server.limits.first_byte_timeout", "\"1s\"")
        .set(Service::Gateway, "server.limits.header_timeout", "\"1s\"")
        .set(Service::Gateway, "server.limits.idle_timeout", "\"2s\"");
    let server = Server::start_with(Shape::OneProcess, options).await;
    let alice = server.persona("alice").await;
    let silent = async {
        raw::Connection::open(&alice).await.closed().await;
    };
    let half_a_head = async {
        let mut connection = raw::Connection::open(&alice).await;
        connection.send(b"GET / HTTP/1.1\r\nhost: x\r\n").await;
        connection.closed().await;
    };
    let idle = async {
        let mut connection = raw::Connection::open(&alice).await;
        connection.send(raw::head(&alice, "GET /healthz", &[]).as_bytes()).await;
        connection.answer(true).await.expect("an answer").expect(200);
        connection.closed().await;
    };
    let half_a_body = async {
        let mut connection = raw::Connection::open(&alice).await;
        let head = raw::head(&alice, "PUT /api/v1/fs/stalled", &["content-length: 2000000"]);
        connection.send(head.as_bytes()).await;
        connection.send(&[7; 1000]).await;
        connection.answer(true).await.expect("an answer").problem(408, "timeout");
        connection.closed().await;
    };
    let limit = Duration::from_secs(15);
    tokio::join!(
        within(limit, "cutting off whoever says nothing", silent),
        within(limit, "cutting off half a head", half_a_head),
        within(limit, "cutting off an idle connection", idle),
        within(limit, "cutting off half a body", half_a_body),
    );
    // On new connections: the server is about to close the idle ones that the client still has.
    let alice = alice.reconnected();
    alice.get("/fs/stalled").send().await.problem(404, "not_found");
    eventually("no reservation is left", async || {
        let space: Value = alice.get("/space").send().await.expect(200).json();
        (space["reserved_bytes"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn guessing_passwords_is_slowed_down() {
    let options = Options::new().set(Service::Auth, "rate_limits.enabled", "true");
    let server = Server::start_with(Shape::OneProcess, options).await;
    let alice = server.persona("alice").await;
    let bob = server.persona("bob").await;
    let sign_in = async |name: &str, password: &str| {
        let credentials = serde_json::json!({"username": name, "password": password});
        alice.anonymous().post("/sessions").json(&credentials).send().await
    };
    let mut refused = 0;
    for n in 0..12 {
        let answer = sign_in(&alice.username, &format!("guess number {n}")).await;
        if answer.status == 429 {
            let problem = answer.problem(429, "rate_limited");
            assert_eq!(problem["retryable"], true);
            assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
            refused += 1;
        } else {
            answer.problem(401, "wrong_credentials");
        }
    }
    assert!((1..12).contains(&refused), "{refused} of 12 guesses were refused");
    // Not even the right one gets through, and others are not bothered.
    sign_in(&alice.username, &alice.password).await.problem(429, "rate_limited");
    sign_in(&bob.username, &bob.password).await.expect(201);
    alice.get("/space").send().await.expect(200);
}

#[tokio::test]
async fn sigterm_lets_transfers_finish() {
    let mut server = Server::start(Shape::OneProcess).await;
    let alice = server.persona("alice").await;
    let content = Content::new("drained", 48 * 1024 * 1024);
    alice.upload("large", content.bytes()).await;
    // A connection that is open and does nothing is no reason to stay.
    let idle = raw::Connection::open(&alice).await;

    let mut download = alice.reconnected().get("/fs/large").open().await;
    let mut read = download.chunk().await.unwrap().unwrap().to_vec();
    let mut upload = raw::Connection::open(&alice).await;
    let late = Content::new("late", 3_000_000).bytes();
    upload.send(raw::head(&alice, "PUT /api/v1/fs/late", &["content-length: 3000000"]).as_bytes()).await;
    upload.send(&late[..1_000_000]).await;
    // The upload is under way once room is reserved for it.
    eventually("the upload begins", async || (alice.space().await.reserved_bytes > 0).then_some(())).await;

    let process = server.process(Service::Gateway);
    process.sigterm();
    eventually("nobody new is let in", async || {
        alice.reconnected().call_at(Method::GET, "/healthz").try_send().await.err().map(drop)
    })
    .await;
    assert!(process.try_exit().is_none(), "it waits:\n{}", process.log());
    upload.send(&late[1_000_000..]).await;
    upload.answer(true).await.expect("an answer").expect(201);
    while let Some(chunk) = download.chunk().await.expect("the download goes on") {
        read.extend_from_slice(&chunk);
    }
    assert!(content.bytes() == read);
    let status = process.exit().await;
    assert_eq!(status.code(), Some(0), "{}", process.log());
    drop(idle);
    server.kill9().await;
    server.restart().await;
    assert!(alice.download("late").await == late);
}

#[tokio::test]
async fn sigterm_does_not_wait_for_ever() {
    let options = Options::new().env("HOLDALL_SHUTDOWN__TIMEOUT", "1s");
    let mut server = Server::start_with(Shape::OneProcess, options).await;
    let alice = server.persona("alice").await;
    let mut upload = raw::Connection::open(&alice).await;
    upload.send(raw::head(&alice, "PUT /api/v1/fs/stuck", &["content-length: 3000000"]).as_bytes()).await;
    upload.send(b"the beginning").await;
    eventually("the upload begins", async || (alice.space().await.reserved_bytes > 0).then_some(())).await;
    let process = server.process(Service::Gateway);
    process.sigterm();
    let status = within(Duration::from_secs(10), "ending", process.exit()).await;
    assert_ne!(status.code(), Some(0), "something was cut off:\n{}", process.log());
    assert!(status.code().is_some(), "it ends by itself:\n{}", process.log());
    server.kill9().await;
    server.restart().await;
    alice.get("/fs/stuck").send().await.problem(404, "not_found");
}

#[tokio::test]
async fn secrets_are_in_neither_logs_nor_files() {
    let options = Options::new().env("HOLDALL_TELEMETRY__LOG", "trace");
    let server = Server::start_with(Shape::OneProcess, options).await;
    let alice = server.persona("alice").await;
    let file = alice.upload("confidential name", "confidential content").await;
    let link = alice.link(&file.node_id).await;
    let access_token = alice.access_token().await;
    let anonymous = alice.anonymous();
    for ending in ["", "/download", "/qr.svg"] {
        anonymous.call_at(Method::GET, &format!("/s/{}{ending}", link.slug)).send().await.expect(200);
    }
    let wrong = serde_json::json!({"username": alice.username, "password": "canary of a wrong password"});
    anonymous.post("/sessions").json(&wrong).send().await.expect(401);
    let guess = anonymous.with_bearer("canary-of-a-guessed-handle");
    guess.get("/space").send().await.expect(401);
    let body =
        serde_json::json!({"current_password": alice.password, "new_password": "canary of a new password"});
    alice.put("/account/password").json(&body).send().await.expect(204);

    let handle = alice.bearer().unwrap();
    let key = fs::read_to_string(server.data_dir().join("keys/grant.key")).unwrap_or_default();
    let log = server.log();
    assert!(log.lines().count() > 10, "there is a log:\n{log}");
    for (what, secret) in [
        ("a session handle", handle),
        ("a password", alice.password.as_str()),
        ("a wrong password", "canary of a wrong password"),
        ("a new password", "canary of a new password"),
        ("a guessed handle", "canary-of-a-guessed-handle"),
        ("an access token", access_token.as_str()),
        ("a slug", link.slug.as_str()),
    ] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "the log shows {what}");
    }
    if !key.trim().is_empty() {
        assert!(!log.contains(key.trim()), "the log shows the grant key");
    }

    let data = server.data_dir();
    for path in files(&data).into_iter().chain([data.clone()]) {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let allowed = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode & !allowed, 0, "{} has mode {mode:o}", path.display());
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            for secret in [handle, &alice.password, "canary of a new password", &access_token] {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{} holds a secret in the clear", path.display());
            }
            let found = bytes.windows(17).any(|window| window == b"confidential name");
            assert!(!found || path.to_string_lossy().contains("metadata"), "{}", path.display());
        }
    }
}

/// No byte that was not verified is ever passed on.
#[tokio::test]
async fn damaged_content_is_never_passed_off_as_good() {
    let mut server = Server::start(Shape::OneProcess).await;
    let alice = server.persona("alice").await;
    let (small, large) = (Content::new("small", 1_000), Content::new("large", 9_000_000));
    alice.upload("small", small.bytes()).await;
    alice.upload("large", large.bytes()).await;
    server.stop().await;
    let mut damaged = 0;
    for content in [&small, &large] {
        // Wherever the middle of the content lies on disk, one bit of it turns.
        let needle = content.range(content.len() / 2, 64);
        for path in files(&server.data_dir()).into_iter().filter(|path| path.is_file()) {
            let mut bytes = fs::read(&path).unwrap();
            if let Some(at) = bytes.windows(64).position(|window| window == needle) {
                bytes[at] ^= 1;
                fs::write(&path, &bytes).unwrap();
                damaged += 1;
            }
        }
    }
    assert_eq!(damaged, 2, "content is on disk as it is, once");
    server.restart().await;
    for (name, content) in [("small", &small), ("large", &large)] {
        let middle = content.len() / 2;
        for range in [None, Some(format!("bytes={middle}-{middle}"))] {
            let mut call = alice.get(&format!("/fs/{name}"));
            if let Some(range) = &range {
                call = call.header("range", range);
            }
            // An error, or a body that breaks off: never a whole one.
            match call.try_send().await {
                Ok(answer) => {
                    assert!(answer.status.is_server_error(), "{name} {range:?}: {}", answer.status);
                    answer.reveals_nothing();
                }
                Err(error) => assert!(!error.is_connect(), "{error:?}"),
            }
        }
    }
    // What is whole is served as ever.
    assert!(
        alice.get("/fs/large").header("range", "bytes=0-99").send().await.expect(206).body
            == large.range(0, 100)
    );
    alice.upload("other", "fine").await;
    assert_eq!(alice.download("other").await, "fine");
}

#[tokio::test]
async fn a_part_that_is_away_is_missed_and_welcomed_back() {
    let server = Server::start(Shape::FourProcesses).await;
    let _log = server.log_on_failure();
    let alice = server.persona("alice").await;
    // More than a gateway remembers.
    let content = "content".repeat(20_000);
    let file = alice.upload("file", content.clone()).await;
    let mut successors = Vec::new();
    for service in [Service::Blob, Service::Metadata, Service::Auth] {
        let address = server.address(service).strip_prefix("http://").unwrap().to_owned();
        server.process(service).kill9().await;
        let ready = alice.call_at(Method::GET, "/readyz").send().await;
        ready.problem(503, "unavailable");
        alice.call_at(Method::GET, "/healthz").send().await.expect(200);
        let calls: [fn(&Persona) -> Call; 3] = [
            |alice| alice.get("/fs/file"),
            |alice| alice.put("/fs/other").body("x"),
            |alice| alice.get("/space"),
        ];
        for call in calls {
            // Who has just been there is remembered for a moment.
            let is_remembered = |answer: &Answer| service == Service::Auth && answer.status.is_success();
            let answer = eventually("it is missed", async || {
                let answer = within(Duration::from_secs(6), "an answer", call(&alice).send()).await;
                (!is_remembered(&answer)).then_some(answer)
            })
            .await;
            // Listing needs no blob.
            if answer.status == 200 && service == Service::Blob && answer.request.contains("space") {
                continue;
            }
            let problem = answer.problem(503, "unavailable");
            assert_eq!(problem["retryable"], true);
            assert!(answer.headers.contains_key("retry-after"));
        }
        let again = server.command(service, &address).start();
        again.address().await;
        eventually("all is well again", async || {
            let answer = alice.get("/fs/file").try_send().await.ok()?;
            (answer.status == 200 && answer.body == content).then_some(())
        })
        .await;
        eventually("it is ready again", async || {
            (alice.call_at(Method::GET, "/readyz").send().await.status == 200).then_some(())
        })
        .await;
        assert_eq!(alice.node(&file.node_id).await, file);
        successors.push(again);
    }
}

#[tokio::test]
async fn a_session_ends_by_itself() {
    let options = Options::new().set(Service::Auth, "sessions.api", "{ idle = \"2s\", absolute = \"1h\" }");
    let server = Server::start_with(Shape::OneProcess, options).await;
    let alice = server.persona("alice").await;
    alice.get("/space").send().await.expect(200);
    eventually("the session ends", async || {
        let answer = alice.get("/space").send().await;
        (answer.status == 401).then(|| answer.problem(401, "unauthenticated"))
    })
    .await;
    alice.post("/sessions/refresh").send().await.problem(401, "unauthenticated");
    let session: Value = alice.sign_in().await.expect(201).json();
    let again = alice.with_bearer(session["token"].as_str().unwrap());
    // Refreshing in time keeps it alive beyond its first end.
    let first_end = session["expires_at"].as_str().unwrap().to_owned();
    let beats = tokio::time::interval(Duration::from_millis(300));
    let mut beats = tokio_stream::wrappers::IntervalStream::new(beats).take(12);
    let mut last_end = first_end.clone();
    while beats.next().await.is_some() {
        let session: Value = again.post("/sessions/refresh").send().await.expect(200).json();
        last_end = session["expires_at"].as_str().unwrap().to_owned();
    }
    assert!(last_end > first_end);
    again.get("/space").send().await.expect(200);
}
