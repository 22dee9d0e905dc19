//! Ends without a goodbye: what was acknowledged is there, and nothing is there in part.

use super::*;
use crate::store::scan::{Found, Scanner};

/// A copy of a store's folder as it is at this moment, with the index as old as `index`.
pub(super) fn copy(home: &Home, with_index: bool) -> Home {
    let mut copy = Home::new();
    copy.settings = Settings { packs: copy.settings.packs, ..home.settings.clone() };
    std::fs::create_dir(copy.folder()).unwrap();
    for path in home.packs() {
        std::fs::copy(&path, copy.folder().join(path.file_name().unwrap())).unwrap();
    }
    for name in ["index.db", "index.db-wal"] {
        let from = home.dir.path().join(name);
        if with_index && from.exists() {
            std::fs::copy(from, copy.dir.path().join(name)).unwrap();
        }
    }
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_is_rebuilt() {
    let home = Home::new();
    let store = home.open().await;
    let mut blobs = Vec::new();
    for (seed, size) in [0, 10, 5000, 300_000, 6 << 20].into_iter().enumerate() {
        let content = noise(seed as u64, size);
        blobs.push((write(&store, &content).await.id, content));
    }
    store.close().await;
    home.lose_index();
    let store = home.open().await;
    for (id, content) in &blobs {
        same(&read(&store, *id).await.unwrap(), content);
    }
    let chunks = count(&store, "chunks").await;
    write(&store, &blobs[4].1).await;
    assert_eq!(count(&store, "chunks").await, chunks, "deduplication knows what was rebuilt");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_lags_behind_catches_up() {
    let home = Home::new();
    let store = home.open().await;
    let early = write(&store, &noise(1, 5000)).await.id;
    store.close().await;
    let old = copy(&home, true);
    let store = home.open().await;
    let late = write(&store, &noise(2, 5000)).await.id;
    let large = write(&store, &noise(3, 3 << 20)).await.id;
    store.close().await;
    for path in home.packs() {
        std::fs::copy(&path, old.folder().join(path.file_name().unwrap())).unwrap();
    }
    let store = old.open().await;
    for (id, content) in [(early, noise(1, 5000)), (late, noise(2, 5000)), (large, noise(3, 3 << 20))] {
        same(&read(&store, id).await.unwrap(), &content);
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_end_harms_nothing_before_it() {
    let home = Home::new();
    let store = home.open().await;
    let first = write(&store, b"acknowledged").await.id;
    let pack = home.packs().remove(0);
    let kept = std::fs::metadata(&pack).unwrap().len() as usize;
    let last = write(&store, b"torn").await.id;
    store.close().await;
    let whole = std::fs::read(&pack).unwrap();
    let check = async |bytes: &[u8], is_whole: bool| {
        let home = copy(&home, false);
        std::fs::write(home.packs().remove(0), bytes).unwrap();
        let store = home.open().await;
        assert_eq!(read(&store, first).await.unwrap(), b"acknowledged");
        match store.reader().blob(last).await.unwrap() {
            // The manifest may have outlived its chunk. Nobody was told of this blob.
            Some(_) => assert!(is_whole || read(&store, last).await == Err(ReadError::Corrupt)),
            None => assert!(!is_whole),
        }
        // Life goes on, and the next start finds everything again.
        let next = write(&store, b"next").await.id;
        store.close().await;
        let store = home.open().await;
        assert_eq!(read(&store, first).await.unwrap(), b"acknowledged");
        assert_eq!(read(&store, next).await.unwrap(), b"next");
        store.close().await;
    };
    let mut ends = vec![whole.clone()];
    for at in (kept..whole.len()).step_by(16) {
        let (mut after, mut before) = (whole.clone(), whole.clone());
        after[at..].fill(0);
        before[kept..=at].fill(0);
        ends.extend([after, before, whole[..at].to_vec()]);
    }
    futures::stream::iter(&ends).for_each_concurrent(8, |end| check(end, *end == whole)).await;

    // Every length, without a store around it.
    let path = home.dir.path().join("torn");
    for len in kept..=whole.len() {
        std::fs::write(&path, &whole[..len]).unwrap();
        let file = || File::open(&path).unwrap();
        let salt = pack::salt(&mut file(), PackId(1)).unwrap().unwrap();
        let mut scanner =
            Scanner::new(Box::new(file()), PackId(1), salt, HEADER_LEN, len as u64, Arc::default());
        let mut found = Vec::new();
        while let Some(record) = scanner.next().unwrap() {
            found.push(record);
        }
        let is_last = |record: &Found| matches!(record, Found::Blob(blob) if blob.row.id == last);
        assert_eq!(found.iter().any(is_last), len == whole.len(), "length {len}");
        assert!(found.len() >= 2, "length {len}");
        assert!(matches!(&found[..2], [Found::Chunk(_), Found::Blob(blob)] if blob.row.id == first));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_was_never_begun_is_left_alone() {
    let home = Home::new();
    let store = home.open().await;
    let id = write(&store, b"here").await.id;
    store.close().await;
    let stub = packs::disk::path(&home.folder(), PackId(40));
    std::fs::write(&stub, [0; 10]).unwrap();
    let store = home.open().await;
    assert_eq!(read(&store, id).await.unwrap(), b"here");
    write(&store, b"more").await;
    assert!(packs::disk::path(&home.folder(), PackId(41)).exists());
    assert_eq!(std::fs::read(stub).unwrap(), [0; 10]);
    store.close().await;
}
