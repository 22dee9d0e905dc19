//! An operator looks at the background jobs of a service that runs.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Output, Stdio};

use holdall_proto::blob::v1::admin_service_client::AdminServiceClient;
use holdall_proto::blob::v1::{AdminGrant, JobKind, ListJobsRequest, RootsGrant, StopJobRequest};
use holdall_proto::grant::KeyRing;
use holdall_runtime::clock::Clock;
use holdall_runtime::status::reason_of;
use tonic::Code;

use crate::home::Home;

const MINUTE: i64 = 60_000_000;

/// `holdall-blob jobs` with the settings of the service.
fn command(home: &Home, arguments: &[&str]) -> Command {
    let server = home.command();
    let settings = server.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdall-blob"));
    command.arg("jobs").args(arguments).envs(settings).stdin(Stdio::null());
    command
}

fn jobs(home: &Home, arguments: &[&str]) -> Output {
    command(home, arguments).output().unwrap()
}

/// What it says when it does what it was asked to.
fn said(home: &Home, arguments: &[&str]) -> String {
    let output = jobs(home, arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Fails unless it refuses, and says that once.
fn refuses(output: &Output, word: &str) {
    assert_eq!(output.status.code(), Some(70), "{output:?}");
    let said = std::str::from_utf8(&output.stderr).unwrap();
    assert!(said.matches(word).count() == 1 && output.stdout.is_empty(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_seen_stopped_and_started() {
    let home = Home::new();
    let server = home.start();
    let url = server.url().to_owned();
    let list = said(&home, &["list", "--url", &url]);
    let words: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    assert_eq!(words, [["collect", "disabled"], ["compact", "waiting"], ["scrub", "waiting"]]);
    assert!(said(&home, &["stop", "scrub", "--url", &url]).starts_with("scrub    stopped"));
    assert!(said(&home, &["list", "--url", &url]).contains("scrub    stopped"));
    assert!(!said(&home, &["start", "scrub", "--url", &url]).contains("stopped"));

    refuses(&jobs(&home, &["start", "collect", "--url", &url]), "switched off");
    refuses(&jobs(&home, &["list"]), "--url");
    server.stop().await;
    refuses(&jobs(&home, &["list", "--url", &url]), &url);
}

/// Kills the command when the test fails.
struct Watch(Child);

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_sees_changes_until_the_service_stops() {
    let home = Home::new();
    let server = home.start();
    let url = server.url().to_owned();
    let mut watch = Watch(command(&home, &["watch", "--url", &url]).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(watch.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("compact  waiting")));
    said(&home, &["stop", "compact", "--url", &url]);
    assert!(lines.any(|line| line.starts_with("compact  stopped")));
    said(&home, &["start", "compact", "--url", &url]);
    // It works, and comes to an end: there is nothing to be rewritten.
    assert!(lines.any(|line| line == "compact  waiting  0 of 0 bytes, all encrypted as configured"));
    server.stop().await;
    assert_eq!(lines.filter(|line| line.contains("compact  stopped")).count(), 0);
    assert_eq!(watch.0.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_see_and_stop_nothing() {
    let home = Home::new();
    let server = home.start();
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("key");
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&other).unwrap();
    write!(&file, "{}", blake3::hash(b"another key").to_hex()).unwrap();
    for arguments in [&["list"][..], &["stop", "scrub"], &["start", "scrub"], &["watch"]] {
        let mut command = command(&home, &[arguments, &["--url", server.url()]].concat());
        command.env("HOLDALL_BLOB__GRANTS__KEY_FILES", format!("[{other:?}]"));
        refuses(&command.output().unwrap(), "grant");
    }

    let now = Clock::System.now();
    let refused_grants = [
        home.keys.seal(&AdminGrant { expires_at_us: now - 1, ..AdminGrant::default() }),
        home.keys.seal(&AdminGrant { expires_at_us: now + 24 * 60 * MINUTE, ..AdminGrant::default() }),
        home.keys.seal(&RootsGrant { expires_at_us: now + MINUTE }),
        KeyRing::new(&[7; 32]).seal(&AdminGrant { expires_at_us: now + MINUTE, ..AdminGrant::default() }),
        bytes::Bytes::new(),
    ];
    let mut client = AdminServiceClient::new(server.connect());
    for grant in refused_grants {
        let stop = StopJobRequest { grant: grant.clone(), kind: JobKind::Scrub.into() };
        for status in [
            client.stop_job(stop).await.unwrap_err(),
            client.list_jobs(ListJobsRequest { grant }).await.unwrap_err(),
        ] {
            assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
            assert_eq!(reason_of(&status).as_deref(), Some("GRANT_INVALID"));
        }
    }
    assert!(!said(&home, &["list", "--url", server.url()]).contains("stopped"));
    server.stop().await;
}
