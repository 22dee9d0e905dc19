//! Bytes on the disk that have changed: never a wrong byte, never an answer that is short and looks whole.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use tonic::Code;

use crate::calls;
use crate::content::Content;
use crate::home::{Client, Home};

const BLOCK: usize = 4096;

/// Nothing is kept in memory: each read comes from the disk.
fn home() -> Home {
    Home::new().set("DOWNLOADS__CONTENT_CACHE", "0").set("DOWNLOADS__MANIFEST_CACHE", "0")
}

/// The ways in which a disk garbles a pack.
#[derive(Clone, Copy, Debug)]
enum Damage {
    FlippedBit,
    ZeroedBlock,
    /// The block stands where the one before it should, and that one in its place.
    SwappedBlocks,
    Truncation,
}

impl Damage {
    const ALL: [Self; 4] = [Self::FlippedBit, Self::ZeroedBlock, Self::SwappedBlocks, Self::Truncation];

    fn apply(self, path: &Path, at: usize) {
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let block = at / BLOCK * BLOCK;
        let len = usize::try_from(file.metadata().unwrap().len()).unwrap();
        let read = |start: usize, end: usize| {
            let mut bytes = vec![0; end.min(len) - start];
            file.read_exact_at(&mut bytes, start as u64).unwrap();
            bytes
        };
        let write = |bytes: &[u8], start: usize| file.write_all_at(bytes, start as u64).unwrap();
        match self {
            Self::FlippedBit => {
                write(&read(at, at + 1).iter().map(|byte| byte ^ 0x10).collect::<Vec<_>>(), at);
            }
            Self::ZeroedBlock => write(&vec![0; (len - block).min(BLOCK)], block),
            Self::SwappedBlocks => {
                // The last block may be a short one: what is moved is whole blocks.
                let first = block.min((len / BLOCK).saturating_sub(2) * BLOCK);
                let both = read(first, first + 2 * BLOCK);
                let (one, other) = both.split_at(both.len() / 2);
                write(&[other, one].concat(), first);
            }
            Self::Truncation => file.set_len(at as u64).unwrap(),
        }
    }

    /// How many blobs lie within reach of it at most, when each takes more than a block and is a chunk of its own; all,
    /// behind an end.
    fn reach(self, all: usize) -> usize {
        match self {
            Self::FlippedBit => 1,
            Self::ZeroedBlock => 2,
            Self::SwappedBlocks => 3,
            Self::Truncation => all,
        }
    }
}

/// Reads each blob, whole and from its middle on; returns how many are damaged. The rest is whole.
async fn read_all(home: &Home, client: &mut Client, blobs: &[(String, Content)], what: &str) -> usize {
    let mut damaged = 0;
    for (id, content) in blobs {
        let bytes = content.bytes();
        let mut is_damaged = false;
        for offset in [0, content.len / 2] {
            let (read, end) = calls::read_until(&home.keys, client, id, offset as u64).await;
            let wanted = bytes.slice(offset..);
            match end {
                Ok(()) => assert!(read == wanted, "{what}: {content:?} is wrong or short"),
                Err(status) => {
                    assert_eq!(status.code(), Code::DataLoss, "{what}: {status:?}");
                    assert!(
                        wanted.starts_with(&read) && read.len() < wanted.len(),
                        "{what}: wrong before the end"
                    );
                    is_damaged = true;
                }
            }
        }
        damaged += usize::from(is_damaged);
    }
    damaged
}

async fn fill(home: &Home) -> Vec<(String, Content)> {
    let server = home.start();
    let mut client = server.client();
    let mut blobs = Vec::new();
    for (seed, len) in (0..).zip([5000, 300_000, 70_000, 3 << 20, 9000, 250_000, 6000, 2 << 20]) {
        let content = Content { seed, len };
        let id = calls::write(&home.keys, &mut client, content.bytes()).await.unwrap();
        blobs.push((id, content));
    }
    server.stop().await;
    blobs
}

/// The first byte of a pack, the last, and some between.
fn places(path: &Path) -> [usize; 6] {
    let len = usize::try_from(File::open(path).unwrap().metadata().unwrap().len()).unwrap();
    [0, len / 5, len / 2, len * 4 / 5, len - 500, len - 1]
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_while_the_server_runs() {
    let home = home();
    let blobs = fill(&home).await;
    let server = home.start();
    let mut client = server.client();
    let mut found = 0;
    for pack in home.packs() {
        let sound = std::fs::read(&pack).unwrap();
        for damage in Damage::ALL {
            for at in places(&pack) {
                damage.apply(&pack, at);
                let what = format!("{damage:?} at {at} of {}", sound.len());
                let damaged = read_all(&home, &mut client, &blobs, &what).await;
                assert!(damaged <= damage.reach(blobs.len()), "{what}: {damaged} cannot be read");
                found += damaged;
                OpenOptions::new().write(true).open(&pack).unwrap().write_all_at(&sound, 0).unwrap();
            }
        }
    }
    assert!(found > 40, "{found}");
    // Nothing was held against the sound bytes that are back.
    assert_eq!(read_all(&home, &mut client, &blobs, "sound").await, 0);
    // And what is written anew can be relied on.
    for (_, content) in &blobs {
        let id = calls::write(&home.keys, &mut client, content.bytes()).await.unwrap();
        assert_eq!(read_all(&home, &mut client, &[(id, *content)], "anew").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_after_a_start() {
    for is_index_lost in [false, true] {
        let home = home();
        let blobs = fill(&home).await;
        for pack in home.packs() {
            let sound = std::fs::read(&pack).unwrap();
            for damage in Damage::ALL {
                // Without an index, a pack without a header is a riddle.
                let skipped = usize::from(is_index_lost);
                for at in places(&pack).into_iter().step_by(2).chain([sound.len() - 1]).skip(skipped) {
                    damage.apply(&pack, at);
                    if is_index_lost {
                        home.lose_index();
                    }
                    let server = home.start();
                    let what = format!("{damage:?} at {at} of {}, index lost: {is_index_lost}", sound.len());
                    let damaged = after_start(&home, &mut server.client(), &blobs, &what).await;
                    assert!(damaged <= damage.reach(blobs.len()), "{what}: {damaged} cannot be read");
                    server.kill();
                    std::fs::write(&pack, &sound).unwrap();
                }
            }
        }
    }
}

/// As [`read_all`], where a blob whose record is gone may not be known any more.
async fn after_start(home: &Home, client: &mut Client, blobs: &[(String, Content)], what: &str) -> usize {
    let mut damaged = 0;
    for (id, content) in blobs {
        let (read, end) = calls::read_until(&home.keys, client, id, 0).await;
        let bytes = content.bytes();
        match end {
            Ok(()) => assert!(read == bytes, "{what}: {content:?} is wrong or short"),
            Err(status) => {
                assert!(matches!(status.code(), Code::DataLoss | Code::NotFound), "{what}: {status:?}");
                assert!(bytes.starts_with(&read) && read.len() < bytes.len(), "{what}: wrong before the end");
                damaged += 1;
            }
        }
    }
    damaged
}
