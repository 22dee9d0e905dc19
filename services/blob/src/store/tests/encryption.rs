//! Content that is compressed and encrypted, by the bytes that stand on the disk.

use std::collections::HashSet;

use super::damage::place;
use super::*;
use crate::domain::manifest::Manifest;

const KEY: [u8; 32] = *b"the first key, which encrypts it";
const NEW_KEY: [u8; 32] = *b"a key that has come after it all";

fn encoding(keys: &[[u8; 32]]) -> Arc<Encoding> {
    Arc::new(Encoding::new(Some(Compression::new(1)), Keys::new(keys)))
}

fn home(keys: &[[u8; 32]]) -> Home {
    let mut home = Home::new();
    home.settings.encoding = encoding(keys);
    home
}

fn text(seed: u64, len: usize) -> Vec<u8> {
    (0_u64..).flat_map(|line| format!("{seed}: secret {line}\n").into_bytes()).take(len).collect()
}

fn disk(home: &Home) -> Vec<u8> {
    home.packs().iter().flat_map(|pack| std::fs::read(pack).unwrap()).collect()
}

/// How often `part`, which is 16 bytes, stands in `bytes`.
fn times(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(16).filter(|window| *window == part).count()
}

/// The names of a large blob's chunks.
async fn chunks(home: &Home, store: &Store, id: BlobId) -> Vec<blake3::Hash> {
    let record = store.reader().index().blob(id).await.unwrap().unwrap().0.manifest.record();
    let path = packs::disk::path(&home.folder(), record.pack);
    let mut bytes = vec![0; record.stored as usize];
    File::open(path).unwrap().read_exact_at(&mut bytes, record.position).unwrap();
    let (_, manifest) = home.settings.encoding.decode_record(bytes.into()).unwrap();
    Manifest::decode(&manifest).unwrap().chunks().iter().map(|chunk| chunk.hash).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_what_was_written_is_on_the_disk() {
    let contents = [text(1, 4000), noise(2, 4000), noise(3, 3 << 20)];
    for is_encrypted in [false, true] {
        let home = home(if is_encrypted { &[KEY] } else { &[] });
        let store = home.open().await;
        let mut ids = Vec::new();
        for content in &contents {
            let id = write(&store, content).await.id;
            same(&read(&store, id).await.unwrap(), content);
            ids.push(id);
        }
        let names = chunks(&home, &store, ids[2]).await;
        assert!(names.len() > 1);
        store.close().await;

        let disk = disk(&home);
        let parts: HashSet<&[u8]> = contents.iter().flat_map(|content| content.chunks_exact(16)).collect();
        let is_there = disk.windows(16).any(|window| parts.contains(window));
        assert_eq!(is_there, !is_encrypted);
        for id in ids {
            assert_eq!(times(&disk, id.as_bytes()), usize::from(!is_encrypted));
        }
        // In the header of each chunk's record, and in the manifest when that can be read.
        for name in names {
            assert_eq!(times(&disk, &name.as_bytes()[..16]), 1 + usize::from(!is_encrypted));
        }
        assert_eq!(times(&disk, &KEY[..16]), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_key_is_neither_damage_nor_the_end() {
    let mut home = home(&[KEY]);
    let store = home.open().await;
    let contents = [text(1, 4000), noise(2, 3 << 20)];
    let mut ids = Vec::new();
    for content in &contents {
        ids.push(write(&store, content).await.id);
    }
    store.close().await;

    for keys in [&[][..], &[NEW_KEY]] {
        home.settings.encoding = encoding(keys);
        let store = home.open().await;
        for id in &ids {
            let failed = match store.reader().blob(*id).await {
                Err(error) => error,
                Ok(_) => read(&store, *id).await.unwrap_err(),
            };
            assert_eq!(failed, ReadError::Failed);
        }
        assert_eq!(store.counters().damaged.load(Ordering::Relaxed), 0);
        assert_eq!(store.counters().keys_missing.load(Ordering::Relaxed), 2);
        // Nothing was marked: the same content is still known.
        let known = store.reader().index().known(&[blake3::hash(&contents[0])]).await.unwrap();
        assert_eq!(known.len(), 1);
        store.close().await;
    }
    // An index without what cannot be read would look complete.
    home.lose_index().await;
    let refused = Store::open(&home.settings, home.index().await).await.map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::KeyMissing(..)), "{refused}");

    home.settings.encoding = encoding(&[NEW_KEY, KEY]);
    let store = home.open().await;
    for (id, content) in ids.iter().zip(&contents) {
        same(&read(&store, *id).await.unwrap(), content);
    }
    // What comes now is encrypted with the new one alone.
    let late = write(&store, &text(5, 4000)).await.id;
    store.close().await;
    home.settings.encoding = encoding(&[NEW_KEY]);
    let store = home.open().await;
    same(&read(&store, late).await.unwrap(), &text(5, 4000));
    assert_eq!(read(&store, ids[0]).await, Err(ReadError::Failed));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_however_it_is_encoded() {
    for keys in [&[][..], &[KEY]] {
        let home = home(keys);
        let store = home.open().await;
        let content = text(1, 6000);
        let id = write(&store, &content).await.id;
        let large = write(&store, &noise(1, 3 << 20)).await.id;
        let (path, position, stored) = place(&home, &store, id).await;
        let (manifest_path, manifest, manifest_len) = place(&home, &store, large).await;
        store.close().await;
        assert!(stored < 3000, "it is compressed");
        let header = crate::domain::record::HEADER_LEN as u64;
        let places = [(&path, position, stored, id), (&manifest_path, manifest, manifest_len, large)];
        for (path, position, stored, id) in places {
            let manifest_header = (id == large).then_some([position - header + 6, position - header + 20]);
            let payload = [position, position + stored / 2, position + stored - 1];
            for at in payload.into_iter().chain(manifest_header.into_iter().flatten()) {
                flip(path, at);
                let store = home.open().await;
                let found = match store.reader().blob(id).await {
                    Err(error) => Err(error),
                    Ok(_) => read(&store, id).await,
                };
                assert_eq!(found.map(drop), Err(ReadError::Corrupt), "byte {at}");
                store.close().await;
                flip(path, at);
            }
        }
        let store = home.open().await;
        same(&read(&store, id).await.unwrap(), &content);
        same(&read(&store, large).await.unwrap(), &noise(1, 3 << 20));
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_cannot_change_places() {
    let home = home(&[KEY]);
    let store = home.open().await;
    let [first, second] = [write(&store, &noise(1, 4000)).await.id, write(&store, &noise(2, 4000)).await.id];
    let (path, one, stored) = place(&home, &store, first).await;
    let (_, other, _) = place(&home, &store, second).await;
    store.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    let (one, other, stored) = (one as usize, other as usize, stored as usize);
    let moved = bytes[one..one + stored].to_vec();
    bytes.copy_within(other..other + stored, one);
    bytes[other..other + stored].copy_from_slice(&moved);
    std::fs::write(&path, bytes).unwrap();
    let store = home.open().await;
    for id in [first, second] {
        assert_eq!(read(&store, id).await, Err(ReadError::Corrupt));
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_compressed_takes_less_room() {
    let home = home(&[]);
    let store = home.open().await;
    let mut blobs = Vec::new();
    for (seed, len) in [(1, 5000), (2, 200_000), (3, 5 << 20)] {
        blobs.push((write(&store, &text(seed, len)).await.id, text(seed, len)));
    }
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let counters = store.counters();
    let (whole, stored) = (count(&counters.chunk_bytes), count(&counters.stored_bytes));
    assert_eq!(whole, 5000 + 200_000 + (5 << 20));
    assert!(stored < whole / 2, "{stored} of {whole}");
    assert_eq!((count(&counters.small_bytes), count(&counters.bulk_bytes)), (205_000, 5 << 20));
    assert!((disk(&home).len() as u64) < whole / 2);
    // Whoever reads needs not write like this.
    store.close().await;
    let mut plain = home;
    plain.lose_index().await;
    plain.settings.encoding = Arc::default();
    let store = plain.open().await;
    for (id, content) in &blobs {
        same(&read(&store, *id).await.unwrap(), content);
        let middle = content.len() as u64 / 2;
        same(&read_range(&store, *id, middle..middle + 9).await.unwrap(), &content[middle as usize..][..9]);
    }
    // The same content is known, and counted.
    write(&store, &blobs[1].1).await;
    assert_eq!(count(&store.counters().deduplicated_bytes), 200_000);
    store.close().await;
}
