//! The machine loses its power: what the disk has not been made to keep is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdall_runtime::testing::eventually;

use crate::content::Content;
use crate::home::{Home, Server};
use crate::ledger::{Found, Ledger};
use crate::mount::Mount;
use crate::strace::Strace;

/// Sizes of what writers write, one writer each.
const SIZES: [usize; 8] = [4096, 70_000, 700_000, 3 << 20, 100, 4096, 20_000, 262_145];
/// The file system gives way to a new one after so many losses.
const PER_DISK: u64 = 10;
const DISK_MIB: u64 = 768;

/// A disk, and what was written to it.
struct Machine {
    mount: Mount,
    home: Arc<Home>,
    ledger: Arc<Ledger>,
    seeds: Arc<AtomicU64>,
}

impl Machine {
    fn new() -> Option<Self> {
        let mount = Mount::ext4(DISK_MIB)?;
        let home = Arc::new(Home::on(&mount.path()));
        Some(Self { mount, home, ledger: Arc::default(), seeds: Arc::default() })
    }

    /// Loses its power while all are writing, after they had some more receipts.
    async fn lose_power(&self, round: u64, server: Server) {
        let writers = SIZES.map(|len| {
            let (home, ledger, seeds) =
                (Arc::clone(&self.home), Arc::clone(&self.ledger), Arc::clone(&self.seeds));
            let mut client = server.client();
            tokio::spawn(async move {
                loop {
                    let number = seeds.fetch_add(1, Ordering::Relaxed);
                    // Every fifth is there already.
                    let content = Content { seed: number - u64::from(number % 5 == 4), len };
                    if ledger.write(&home, &mut client, content).await.is_err() {
                        return;
                    }
                }
            })
        });
        let [count, millis, ..] = *blake3::hash(&round.to_le_bytes()).as_bytes();
        let enough = self.ledger.acknowledged().len() + 16 + usize::from(count % 64);
        eventually(Duration::from_secs(60), async || self.ledger.acknowledged().len() >= enough).await;
        // Not right behind an answer.
        tokio::time::sleep(Duration::from_millis(u64::from(millis % 32))).await;
        // The process may live on for a while, with a disk that takes nothing more, and must not be fooled by that.
        if round.is_multiple_of(2) {
            self.mount.lose_power();
            eventually(Duration::from_secs(60), async || writers.iter().all(|writer| writer.is_finished()))
                .await;
            server.kill();
        } else {
            server.kill();
            self.mount.lose_power();
        }
        for writer in writers {
            writer.await.unwrap();
        }
        self.mount.restart();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_loss_of_power_loses_nothing_that_was_acknowledged() {
    let rounds = crate::number("HOLDALL_BLOB_POWER_LOSSES", 4);
    let mut found = Found::default();
    let Some(mut machine) = Machine::new() else { return };
    for round in 0..rounds {
        if round > 0 && round.is_multiple_of(PER_DISK) {
            machine = Machine::new().expect("it was possible before");
        }
        machine.lose_power(round, machine.home.start()).await;
        if round % 4 == 3 {
            machine.home.lose_index();
        }
        let server = machine.home.start();
        found += machine.ledger.check(&machine.home, &server).await;
        server.stop().await;
    }
    report(rounds, &found);
}

/// The same with a server whose flushes do nothing: had it any effect on the test above, that would see it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_flushes_a_loss_of_power_would_be_seen() {
    let Some(machine) = Machine::new() else { return };
    let strace = Strace::inject("fsync,fdatasync", "retval=0");
    let server = machine.home.start_under(&strace).expect("it does not start");
    machine.lose_power(0, server).await;
    // Of a store that was never flushed there need not even be a folder.
    let server = machine.home.start();
    let mut client = server.client();
    let mut lost = 0;
    for (id, _) in machine.ledger.acknowledged() {
        let read = crate::calls::read(&machine.home.keys, &mut client, &id).await;
        lost += usize::from(read.is_err());
    }
    assert!(lost > 0, "the loss of power has no effect: the other test proves nothing");
    server.kill();
}

#[expect(clippy::print_stderr, reason = "figures for people")]
fn report(rounds: u64, found: &Found) {
    eprintln!("{rounds} losses of power; {found}");
}
