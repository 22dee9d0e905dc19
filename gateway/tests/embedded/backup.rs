//! Backups beside the collection of garbage and compaction.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use holdall_gateway::backup;
use holdall_proto::blob::v1::JobKind;

use super::collection::{Jobs, NOW, noise};
use super::*;

fn small_packs(config: &mut Config) {
    let blob = &mut config.blob.embedded;
    blob.packs.max_size = "4MiB".parse().unwrap();
    blob.packs.reserve = Some("0".parse().unwrap());
    blob.compaction.delay = "0s".parse().unwrap();
}

/// Verifies a backup; returns how many versions it has, all of which can be read.
async fn versions(config: &Config, folder: &Path) -> u64 {
    let mut said = Vec::new();
    let found = backup::verify(config, folder, &mut |line| said.push(line)).await.unwrap();
    assert_eq!((found.problems, said), (0, vec![]));
    found.uses
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_and_moved_meanwhile_is_in_the_backup() {
    let clock = ManualClock::at(NOW);
    let bench = Bench::at(clock.clock(), small_packs).await;
    let mut config = Config::default();
    config.data.dir = bench.dir.path().join("data");
    small_packs(&mut config);
    let folder = bench.dir.path().join("backup");
    let put = async |name: &str, seed| {
        let put = bench.put(&format!("/fs/{name}"), &[], noise(seed)).await;
        assert_eq!(put.status, StatusCode::CREATED);
    };
    for seed in 1..=4 {
        put(&format!("kept{seed}"), seed).await;
    }
    let mut jobs = Jobs::of(&bench, &clock);
    let (mut made, mut broken) = (0, 0);
    for round in 0..6 {
        for number in 0..2 {
            put(&format!("gone{number}"), 100 + 10 * round + number).await;
        }
        for number in 0..2 {
            let path = format!("/fs/gone{number}");
            let deleted = bench.send(Method::DELETE, &path, &[], Body::empty()).await;
            assert_eq!(deleted.status, StatusCode::NO_CONTENT);
        }
        assert!(bench.send(Method::DELETE, "/trash", &[], Body::empty()).await.status.is_success());
        let collect = async {
            // Blobs of the round before go after a grace, their chunks after another, and then what is left moves.
            for _ in 0..3 {
                jobs.run(JobKind::Collect).await;
                clock.advance(Duration::from_secs(49 * 3600));
            }
            jobs.run(JobKind::Compact).await;
            jobs.run(JobKind::Compact).await;
        };
        // Graces may end while it runs, as where a clock jumps: then it fails and the one before stays, or it is whole.
        let backups = async {
            match backup::make(&config, &folder, false).await {
                Ok(_) => made += 1,
                Err(error) => {
                    broken += 1;
                    println!("{error}");
                }
            }
        };
        tokio::join!(collect, backups);
        if made > 0 {
            assert!(versions(&config, &folder).await >= 4);
        }
    }
    println!("{made} backups, {broken} broke off");
    let last = backup::make(&config, &folder, false).await.unwrap();
    assert_eq!(versions(&config, &folder).await, 4);
    assert!(last.size < 20 << 20, "what was deleted is still there: {last:?}");
    let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("databases-")).collect();
    assert_eq!(left.len(), 1, "the backups before are gone: {left:?}");

    // And it can be restored.
    config.data.dir = bench.dir.path().join("restored");
    backup::restore(&config, &folder).await.unwrap();
    assert_eq!(versions(&config, &config.data.dir).await, 4);
    assert!(backup::restore(&config, &folder).await.is_err(), "nothing is written over");
}

/// A backup by another process that was stopped while it copied packs, and can go on.
struct Halted(Option<Child>);

impl Halted {
    /// Begins one, and halts it when it has copied a pack; `None` when it came too late for the pack `awaited`.
    async fn begin(data: &Path, folder: &Path, awaited: &Path) -> Option<Self> {
        let _ = std::fs::remove_dir_all(folder);
        let child = Command::new(env!("CARGO_BIN_EXE_holdall-gateway"))
            .arg("backup")
            .arg(folder)
            .arg("--data-dir")
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let halted = Self(Some(child));
        eventually(Duration::from_secs(60), async || !packs_in(&folder.join("packs")).is_empty()).await;
        halted.signal("-STOP");
        let is_copied = folder.join("packs").join(awaited.file_name().unwrap()).exists();
        (!is_copied).then_some(halted)
    }

    fn signal(&self, signal: &str) {
        let pid = self.0.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    async fn go_on(mut self) -> Output {
        self.signal("-CONT");
        let child = self.0.take().unwrap();
        tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap().unwrap()
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn packs_in(folder: &Path) -> Vec<PathBuf> {
    let mut packs: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "pack"))
        .collect();
    packs.sort();
    packs
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_that_go_before_their_turn_are_made_up_for_and_lost_blobs_are_noticed() {
    let clock = ManualClock::at(NOW);
    let bench = Bench::at(clock.clock(), small_packs).await;
    let mut config = Config::default();
    config.data.dir = bench.dir.path().join("data");
    small_packs(&mut config);
    let folder = bench.dir.path().join("backup");
    let mut jobs = Jobs::of(&bench, &clock);
    let put = async |name: &str, seed| {
        let put = bench.put(&format!("/fs/{name}"), &[], noise(seed)).await;
        assert_eq!(put.status, StatusCode::CREATED);
    };
    let delete = async |name: &str| {
        let path = format!("/fs/{name}");
        let deleted = bench.send(Method::DELETE, &path, &[], Body::empty()).await;
        assert_eq!(deleted.status, StatusCode::NO_CONTENT);
        assert!(bench.send(Method::DELETE, "/trash", &[], Body::empty()).await.status.is_success());
    };
    for seed in 1..=12 {
        put(&format!("kept{seed}"), seed).await;
    }
    for is_deleted_in_time in [true, false] {
        let mut attempt = 0;
        let output = loop {
            attempt += 1;
            assert!(attempt < 20, "every backup came to its end before it was halted");
            let seed = 1000 + attempt * 2 + u64::from(is_deleted_in_time);
            put("gone", seed).await;
            let awaited = packs_in(&config.data.dir.join("blob/packs")).pop().unwrap();
            put("after", seed + 100).await;
            let collect = async |jobs: &mut Jobs| {
                for _ in 0..3 {
                    jobs.run(JobKind::Collect).await;
                    clock.advance(Duration::from_secs(49 * 3600));
                }
            };
            if is_deleted_in_time {
                delete("gone").await;
                collect(&mut jobs).await;
            }
            let halted = Halted::begin(&config.data.dir, &folder, &awaited).await;
            if !is_deleted_in_time {
                delete("gone").await;
                collect(&mut jobs).await;
            }
            jobs.run(JobKind::Compact).await;
            jobs.run(JobKind::Compact).await;
            delete("after").await;
            if let Some(halted) = halted
                && !awaited.exists()
            {
                break halted.go_on().await;
            }
        };
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        if is_deleted_in_time {
            assert_eq!(output.status.code(), Some(0), "{said}");
            assert!(versions(&config, &folder).await >= 12);
        } else {
            // It took longer than a grace: what it was to hold is not there any more.
            assert_eq!(output.status.code(), Some(70), "{said}");
            assert!(said.contains("its content, blob ") && said.contains("is missing"), "{said}");
            assert!(!folder.join("backup.manifest").exists());
        }
    }
}
