//! A change of keys: compaction rewrites what is there.

use std::sync::atomic::Ordering;

use super::*;
use crate::jobs::compact::Compactor;

const TEXT: &[u8] = b"between you and me ";

/// Some of each size, with text in all that is small.
fn contents() -> Vec<Vec<u8>> {
    let text = |len| TEXT.iter().copied().cycle().take(len).collect::<Vec<u8>>();
    vec![TEXT.to_vec(), text(3000), noise(1, 3 << 20), [noise(2, 2 << 20), text(100)].concat()]
}

struct Rotation {
    home: Home,
    ids: Vec<String>,
}

impl Rotation {
    /// With contents that were written with these keys.
    async fn new(keys: &[u8]) -> Self {
        let mut home = Home::new();
        home.config.packs.compression = false;
        for byte in [1, 2] {
            key_file(&home.dir, &byte.to_string(), &std::array::from_fn(|at| byte + at as u8));
        }
        let mut rotation = Self { home, ids: Vec::new() };
        rotation.set(keys);
        let service = rotation.home.start().await;
        for content in contents() {
            let response = write(&service, rotation.home.write_grant(1 << 30), &content).await.unwrap();
            rotation.ids.push(rotation.home.receipt(&response).blob_id);
        }
        service.close().await;
        rotation
    }

    fn set(&mut self, keys: &[u8]) {
        let files = keys.iter().map(|key| self.home.dir.path().join(key.to_string()));
        self.home.config.encryption.key_files = files.collect();
    }

    fn packs(&self) -> Vec<PathBuf> {
        let folder = self.home.dir.path().join("blob/packs");
        let mut packs: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        packs.sort();
        packs
    }

    fn is_plain(&self) -> bool {
        let holds = |bytes: &[u8]| bytes.windows(TEXT.len()).any(|window| window == TEXT);
        self.packs().iter().any(|pack| holds(&std::fs::read(pack).unwrap()))
    }

    /// Starts, compacts until everything is encrypted as configured, and returns how many packs were rewritten.
    async fn compact(&self) -> u64 {
        let (compacted, is_encrypted) = self.compact_what_can_be().await;
        assert!(is_encrypted);
        compacted
    }

    /// Starts, compacts until nothing is left to do, and returns how many packs were rewritten and whether everything is said
    /// to be encrypted as configured.
    async fn compact_what_can_be(&self) -> (u64, bool) {
        let service = self.home.start().await;
        let config = CompactionConfig { delay: HumanDuration::from_secs(0), ..CompactionConfig::default() };
        let compactor = Compactor::new(Arc::clone(&service.store), &config);
        let control = service.board.control(jobs::control::Kind::Compact);
        for _ in 0..2 {
            jobs::compact(&service.store, &compactor, &control, &self.home.clock.clock()).await.unwrap();
        }
        assert!(compactor.candidates().await.unwrap().is_empty());
        let compacted = service.counters().compacted_packs.load(Ordering::Relaxed);
        let is_encrypted = service.board.status(jobs::control::Kind::Compact).progress.is_encrypted;
        service.close().await;
        (compacted, is_encrypted)
    }

    /// Everything can be read, by an index that was made from the packs, too.
    async fn check(&self) {
        for _ in 0..2 {
            let service = self.home.start().await;
            for (id, content) in self.ids.iter().zip(contents()) {
                assert!(read(&service, self.home.read_grant(id), 0, 0).await.unwrap() == content);
            }
            assert_eq!(service.counters().damaged.load(Ordering::Relaxed), 0);
            service.close().await;
            for name in ["index.db", "index.db-wal", "index.db-shm"] {
                let _ = std::fs::remove_file(self.home.dir.path().join("blob").join(name));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_before_there_was_a_key_is_encrypted() {
    let mut rotation = Rotation::new(&[]).await;
    assert_eq!(rotation.compact().await, 0);
    assert!(rotation.is_plain());
    rotation.set(&[1]);
    assert!(rotation.compact().await >= 2);
    assert!(!rotation.is_plain());
    assert_eq!(rotation.compact().await, 0, "once is enough");
    rotation.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_key_is_not_needed_any_more_after_its_change() {
    let mut rotation = Rotation::new(&[1]).await;
    assert_eq!(rotation.compact().await, 0);
    rotation.set(&[2, 1]);
    assert!(rotation.compact().await >= 2);
    rotation.set(&[2]);
    assert_eq!(rotation.compact().await, 0);
    assert!(!rotation.is_plain());
    rotation.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn encryption_can_end() {
    let mut rotation = Rotation::new(&[1]).await;
    rotation.home.config.encryption.enabled = false;
    assert!(rotation.compact().await >= 2);
    rotation.set(&[]);
    assert_eq!(rotation.compact().await, 0);
    assert!(rotation.is_plain());
    rotation.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_missing_key_is_needed_for_stays_as_it_is() {
    let mut rotation = Rotation::new(&[1]).await;
    let packs = rotation.packs();
    for keys in [&[2][..], &[]] {
        rotation.set(keys);
        assert_eq!(rotation.compact_what_can_be().await, (0, false));
        assert!(packs.iter().all(|pack| pack.exists()));
    }
    rotation.set(&[2, 1]);
    assert!(rotation.compact().await >= 2, "nothing was marked");
    rotation.set(&[2]);
    rotation.check().await;
}
