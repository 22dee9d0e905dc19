//! Damaged packs: never a wrong byte, and whatever is sound stays readable.

use super::*;

/// The pack that a blob's first chunk or manifest stands in, and where.
pub(super) async fn place(home: &Home, store: &Store, id: BlobId) -> (PathBuf, u64, u64) {
    let (row, chunk) = store.reader().index().blob(id).await.unwrap().unwrap();
    let location = chunk.map_or(row.manifest, |chunk| chunk.location);
    let path = packs::disk::path(&home.folder(), location.pack);
    (path, location.position, u64::from(location.stored))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_small_blob_is_found() {
    let home = Home::new();
    let store = home.open().await;
    let content = noise(1, 5000);
    let id = write(&store, &content).await.id;
    let (path, position, stored) = place(&home, &store, id).await;
    store.close().await;
    for at in [0, stored / 2, stored - 1] {
        flip(&path, position + at);
        let store = home.open().await;
        assert_eq!(read(&store, id).await, Err(ReadError::Corrupt), "byte {at}");
        assert_eq!(read_range(&store, id, 10..11).await, Err(ReadError::Corrupt), "any range");
        store.close().await;
        flip(&path, position + at);
        let store = home.open().await;
        same(&read(&store, id).await.unwrap(), &content);
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_blob_is_read_up_to_the_damage() {
    let home = Home::new();
    let store = home.open().await;
    let content = noise(1, 12 << 20);
    let id = write(&store, &content).await.id;
    let pack = home.packs().remove(0);
    let middle = std::fs::metadata(&pack).unwrap().len() / 2;
    flip(&pack, middle);
    let blob = store.reader().blob(id).await.unwrap().unwrap();
    let Content::Pieces(mut pieces) = store.reader().content(id, &blob, 0..u64::MAX).await.unwrap() else {
        panic!("a large blob comes in pieces");
    };
    let mut read = Vec::new();
    let end = loop {
        match pieces.next().await {
            Some(Ok(piece)) => read.extend(piece),
            end => break end,
        }
    };
    assert_eq!(end, Some(Err(ReadError::Corrupt)));
    assert!(pieces.next().await.is_none());
    assert!(read.len() < content.len());
    same(&read, &content[..read.len()]);
    // What lies elsewhere is not affected.
    same(&read_range(&store, id, 0..1000).await.unwrap(), &content[..1000]);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_again_heals() {
    let home = Home::new();
    let store = home.open().await;
    let content = noise(1, 5000);
    let first = write(&store, &content).await.id;
    let (path, position, _) = place(&home, &store, first).await;
    flip(&path, position);
    assert_eq!(read(&store, first).await, Err(ReadError::Corrupt));
    holdall_runtime::testing::eventually(Duration::from_secs(10), async || {
        store.reader().index().known(&[blake3::hash(&content)]).await.unwrap().is_empty()
    })
    .await;
    let second = write(&store, &content).await.id;
    for id in [first, second] {
        same(&read(&store, id).await.unwrap(), &content);
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_of_a_large_blob_is_healed_by_the_same_content() {
    let home = Home::new();
    let store = home.open().await;
    let content = noise(1, 5 << 20);
    let first = write(&store, &content).await.id;
    let middle = std::fs::metadata(home.packs().remove(0)).unwrap().len() / 2;
    flip(&home.packs().remove(0), middle);
    assert_eq!(read(&store, first).await, Err(ReadError::Corrupt));
    assert_eq!(store.counters().damaged.load(Ordering::Relaxed), 1);
    let damaged = async || {
        let text = "SELECT COUNT(*) FROM chunks WHERE damaged = 1";
        let row = holdall_sql::sql(text).fetch_one(store.reader().index().database()).await.unwrap();
        row.get::<i64>(0).unwrap()
    };
    holdall_runtime::testing::eventually(Duration::from_secs(10), async || damaged().await == 1).await;
    let chunks = store.counters().chunks.load(Ordering::Relaxed);
    let second = write(&store, &content).await.id;
    assert_eq!(
        store.counters().chunks.load(Ordering::Relaxed),
        chunks + 1,
        "only what was damaged is stored anew"
    );
    assert_eq!(damaged().await, 0);
    for id in [first, second] {
        same(&read(&store, id).await.unwrap(), &content);
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_or_missing_pack_is_no_short_answer() {
    let home = Home::new();
    let store = home.open().await;
    let content = noise(1, 5000);
    let id = write(&store, &content).await.id;
    let (path, position, _) = place(&home, &store, id).await;
    store.close().await;
    let whole = std::fs::read(&path).unwrap();
    for len in [position + 100, position, HEADER_LEN, 10, 0] {
        std::fs::write(&path, &whole[..len as usize]).unwrap();
        let store = home.open().await;
        assert_eq!(read(&store, id).await, Err(ReadError::Corrupt), "length {len}");
        assert!(store.reader().index().known(&[blake3::hash(&content)]).await.unwrap().is_empty());
        store.close().await;
    }
    std::fs::remove_file(&path).unwrap();
    let store = home.open().await;
    assert_eq!(read(&store, id).await, Err(ReadError::Corrupt));
    // The number of a pack that is gone is not given to another.
    let other = write(&store, &content).await.id;
    assert_ne!(home.packs(), [path]);
    same(&read(&store, other).await.unwrap(), &content);
    same(&read(&store, id).await.unwrap(), &content);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuilding_leaves_out_what_is_damaged_and_nothing_else() {
    let home = Home::new();
    let store = home.open().await;
    let mut blobs = Vec::new();
    for seed in 0..20 {
        let content = noise(seed, 3000);
        let id = write(&store, &content).await.id;
        blobs.push((id, place(&home, &store, id).await, content));
    }
    store.close().await;
    let (_, (path, position, _), _) = &blobs[5];
    flip(path, *position); // a payload
    let (_, (path, position, _), _) = &blobs[11];
    flip(path, *position - 30); // a header
    home.lose_index();
    let store = home.open().await;
    for (at, (id, _, content)) in blobs.iter().enumerate() {
        match read(&store, *id).await {
            Ok(bytes) => same(&bytes, content),
            Err(error) => assert!(error == ReadError::Corrupt && (at == 5 || at == 11), "{at}: {error}"),
        }
    }
    assert_eq!(count(&store, "chunks").await, 18);
    assert_eq!(count(&store, "blobs").await, 20);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_other_packs_is_refused() {
    let (home, other) = (Home::new(), Home::new());
    for home in [&home, &other] {
        let store = home.open().await;
        write(&store, b"something").await;
        store.close().await;
    }
    std::fs::copy(other.packs().remove(0), home.packs().remove(0)).unwrap();
    let error = Store::open(&home.settings, home.index().await).await.map(drop).unwrap_err();
    assert!(matches!(error, OpenError::ForeignIndex(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn content_cannot_pass_for_records() {
    let home = Home::new();
    let store = home.open().await;
    let victim = write(&store, b"what the victim wrote").await.id;
    store.close().await;
    // Somebody uploads a copy of the pack, with the victim's manifest in it.
    let copy = std::fs::read(home.packs().remove(0)).unwrap();
    let store = home.open().await;
    let id = write(&store, &copy).await.id;
    let (path, position, _) = place(&home, &store, id).await;
    store.close().await;
    // Even when the header in front of it is lost, and the reader looks for the next record.
    flip(&path, position - 1);
    home.lose_index();
    let store = home.open().await;
    assert_eq!(count(&store, "blobs").await, 2);
    assert_eq!(count(&store, "chunks").await, 1);
    same(&read(&store, victim).await.unwrap(), b"what the victim wrote");
    store.close().await;
}
