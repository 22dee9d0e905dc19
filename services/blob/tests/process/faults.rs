//! The system refuses: writers are told, readers do not notice, and all is well again when the system is.

use std::process::Command;
use std::time::Duration;

use holdall_runtime::status::reason_of;
use tonic::{Code, Status};

use crate::calls;
use crate::content::Content;
use crate::home::{Home, Server};
use crate::ledger::Ledger;
use crate::mount::Mount;
use crate::strace::Strace;

/// After a fault has passed, writes go on within this time.
const RECOVERY: Duration = Duration::from_secs(15);
/// One for each way into the packs.
const SIZES: [usize; 2] = [5000, 3 << 20];

const FULL: (Code, &str) = (Code::ResourceExhausted, "STORAGE_FULL");
const UNAVAILABLE: (Code, &str) = (Code::Unavailable, "UNAVAILABLE");

/// A server that has content.
struct Rig {
    home: Home,
    server: Server,
    ledger: Ledger,
    seed: u64,
}

impl Rig {
    async fn new(home: Home) -> Self {
        let server = home.start();
        let mut rig = Self { home, server, ledger: Ledger::default(), seed: 0 };
        for len in SIZES {
            rig.write(len).await.unwrap();
        }
        rig
    }

    async fn write(&mut self, len: usize) -> Result<String, Status> {
        self.seed += 1;
        let content = Content { seed: self.seed, len };
        self.ledger.write(&self.home, &mut self.server.client(), content).await
    }

    /// Writes until one is refused, which has to come after at most so many, for one of these reasons.
    async fn write_until_refused(&mut self, len: usize, limit: usize, reasons: &[(Code, &str)]) {
        for _ in 0..limit {
            if let Err(status) = self.write(len).await {
                let reason = reason_of(&status).unwrap_or_default();
                assert!(reasons.contains(&(status.code(), &reason)), "{status:?}");
                return;
            }
        }
        panic!("{limit} writes of {len} bytes were not refused");
    }

    /// Reads what there is.
    async fn reads(&self) {
        self.ledger.check_acknowledged(&self.home, &self.server).await;
    }

    /// Writes of all sizes are taken again, and nothing is lost, then and after a crash.
    async fn recovers(mut self) {
        for len in SIZES {
            let mut last = Ok(String::new());
            let start = std::time::Instant::now();
            while start.elapsed() < RECOVERY {
                last = self.write(len).await;
                if last.is_ok() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            last.expect("it takes nothing any more");
        }
        self.reads().await;
        self.server.kill();
        self.server = self.home.start();
        self.ledger.check(&self.home, &self.server).await;
        self.server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_that_fails_once() {
    let mut rig = Rig::new(Home::new()).await;
    // The first of each thread: one for small blobs, one for large ones.
    let strace = Strace::inject("fdatasync", "error=EIO:when=1");
    let attached = strace.attach(rig.server.pid());
    for len in SIZES {
        rig.write_until_refused(len, 1, &[UNAVAILABLE]).await;
        rig.reads().await;
    }
    rig.recovers().await;
    drop(attached);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_slow_at_the_start() {
    let mut rig = Rig::new(Home::new()).await;
    rig.server.kill();
    // What only the first connection to the index does after a crash takes longer than connections are waited for later.
    let strace = Strace::inject("ftruncate", "delay_enter=7000000:when=1");
    rig.server = rig.home.start_under(&strace).expect("it gives up");
    rig.reads().await;
    rig.server.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_for_a_while() {
    // Packs, and where the index keeps its log.
    for calls in ["pwritev", "pwrite64", "pwritev,pwrite64"] {
        let mut rig = Rig::new(Home::new()).await;
        let attached = Strace::inject(calls, "error=ENOSPC").attach(rig.server.pid());
        for len in SIZES {
            rig.write_until_refused(len, 1, &[FULL]).await;
        }
        rig.reads().await;
        drop(attached);
        rig.recovers().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_files_may_be_opened_for_a_while() {
    let mut rig = Rig::new(Home::new()).await;
    let attached = Strace::inject("openat", "error=EMFILE").attach(rig.server.pid());
    // Sooner or later another pack is needed.
    for len in [260_000, 3 << 20] {
        rig.write_until_refused(len, 80, &[UNAVAILABLE]).await;
    }
    for (id, content) in rig.ledger.acknowledged() {
        match calls::read(&rig.home.keys, &mut rig.server.client(), &id).await {
            Ok(bytes) => assert!(bytes == content.bytes()),
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
    }
    drop(attached);
    rig.recovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_connections_can_be_had_for_a_while() {
    let mut rig = Rig::new(Home::new()).await;
    let mut early = rig.server.client();
    let (id, content) = rig.ledger.acknowledged().remove(0);
    assert!(calls::read(&rig.home.keys, &mut early, &id).await.unwrap() == content.bytes());
    let pid = rig.server.pid();
    let limit = |files: &str| {
        let args = [format!("--pid={pid}"), format!("--nofile={files}:")];
        assert!(Command::new("prlimit").args(args).status().unwrap().success());
    };
    // Less than are open: nothing more can be.
    limit("3");
    let refused = tokio::time::timeout(Duration::from_secs(1), rig.write(5000)).await;
    assert!(!matches!(refused, Ok(Ok(_))), "a connection was made");
    // Who is there is served.
    for _ in 0..20 {
        assert!(calls::read(&rig.home.keys, &mut early, &id).await.unwrap() == content.bytes());
    }
    limit("1024");
    rig.recovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full() {
    // Full to the last byte, and full but for what is left to others.
    for reserve in ["0", "8MiB"] {
        let Some(mount) = Mount::memory(64, 1000) else { return };
        let ballast = mount.path().join("ballast");
        std::fs::write(&ballast, vec![1; 24 << 20]).unwrap();
        let mut rig = Rig::new(Home::on(&mount.path()).set("PACKS__RESERVE", reserve)).await;
        for len in [3 << 20, 260_000, 5000] {
            rig.write_until_refused(len, 6000, &[FULL]).await;
        }
        rig.reads().await;
        if reserve != "0" {
            // That is for the index: with it, a server starts on a full disk too.
            rig.server.kill();
            rig.server = rig.home.start();
            rig.reads().await;
        }
        std::fs::remove_file(&ballast).unwrap();
        rig.recovers().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_without_room_for_files() {
    // The folders, the lock, the index with its log, and a pack for each way, but not many more.
    let Some(mount) = Mount::memory(200, 12) else { return };
    let mut rig = Rig::new(Home::on(&mount.path())).await;
    rig.write_until_refused(3 << 20, 60, &[FULL]).await;
    rig.reads().await;
    mount.remount("nr_inodes=1000");
    rig.recovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_that_may_only_be_read() {
    let Some(mount) = Mount::ext4(96) else { return };
    let mut rig = Rig::new(Home::on(&mount.path())).await;
    mount.fail();
    for len in SIZES {
        rig.write_until_refused(len, 1, &[UNAVAILABLE]).await;
    }
    rig.reads().await;
    rig.server.kill();
    mount.repair();
    rig.server = rig.home.start();
    rig.recovers().await;
}
