//! Several stores on one bucket, and starts that find more in it than the index knows.

use super::*;

/// Another process on the same bucket and database.
fn replica(home: &Home, prefix: &str) -> Home {
    Home::sharing(Arc::clone(home.bucket.as_ref().unwrap()), prefix)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_write_at_once_and_read_from_each_other() {
    let mut first = Home::with_bucket(Bucket::new()).with_postgres().await;
    let prefix = first.object().prefix.clone();
    let mut second = replica(&first, &prefix);
    second.database = first.database.take();
    // One database for both.
    let index = second.index().await;
    let stores =
        [Arc::new(Store::open(&first.settings, index).await.unwrap()), Arc::new(second.open().await)];
    let writes = (0..40_u64).map(|seed| {
        let store = Arc::clone(&stores[seed as usize % 2]);
        tokio::spawn(async move {
            // Some have the same content, and meet.
            let content = noise(seed / 4, if seed.is_multiple_of(5) { 700_000 } else { 4096 });
            (write(&store, &content).await.id, content)
        })
    });
    let writes: Vec<_> = writes.collect();
    let mut blobs = Vec::new();
    for write in writes {
        blobs.push(write.await.unwrap());
    }
    for store in &stores {
        for (id, content) in &blobs {
            same(&read(store, *id).await.unwrap(), content);
        }
    }
    for store in stores {
        store.close().await;
    }
    second.lose_index().await;
    let store = second.open().await;
    for (id, content) in &blobs {
        same(&read(&store, *id).await.unwrap(), content);
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_beside_the_index_is_found_at_the_next_start() {
    let home = Home::with_bucket(Bucket::new());
    let store = home.open().await;
    let early = write(&store, b"early").await.id;
    store.close().await;
    // With an index of its own: so the first one hears of none of this.
    let other = replica(&home, &home_prefix(&home));
    let store = other.open().await;
    assert_eq!(read(&store, early).await.unwrap(), b"early", "all of the bucket is found");
    let late = write(&store, b"late").await.id;
    let large = noise(1, 9 << 20);
    let third = write(&store, &large).await.id;
    store.close().await;
    let store = home.open().await;
    assert_eq!(read(&store, late).await.unwrap(), b"late");
    same(&read(&store, third).await.unwrap(), &large);
    store.close().await;
}

fn home_prefix(home: &Home) -> String {
    match &home.settings.packs {
        packs::Settings::Object(object) => object.prefix.clone(),
        packs::Settings::Disk(_) => panic!("the packs are elsewhere"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_first_has_the_id() {
    let home = Home::with_bucket(Bucket::new());
    let packs::Settings::Object(settings) = &home.settings.packs else { panic!("the packs are elsewhere") };
    let packs = Arc::new(packs::object::ObjectPacks::new(settings).unwrap());
    let id = PackId(0x1234);
    let put = async |salt: u8, len: usize| {
        let records = [Bytes::from(noise(u64::from(salt), len))];
        packs.put(id, &[salt; 32], &records, HEADER_LEN + len as u64).await.unwrap()
    };
    assert_eq!(put(1, 1000).await, id);
    assert_eq!(put(1, 1000).await, id, "one try more of the same is the same");
    let others = [put(2, 1000).await, put(3, 20 << 20).await];
    for (other, salt) in others.into_iter().zip([2, 3]) {
        assert_ne!(other, id);
        let pack = PackStore::open(Arc::clone(&packs), other).await.unwrap();
        assert_eq!(pack.salt, Some([salt; 32]));
    }
    let pack = PackStore::open(packs, id).await.unwrap();
    assert_eq!((pack.salt, pack.len), (Some([1; 32]), HEADER_LEN + 1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_does_not_read_what_the_index_knows() {
    let bucket = Bucket::local();
    let home = Home::with_bucket(bucket);
    let bucket = Arc::clone(home.bucket.as_ref().unwrap());
    let store = home.open().await;
    for seed in 0..10 {
        write(&store, &noise(seed, 1000)).await;
    }
    store.close().await;
    bucket.fail(bucket::GET, bucket::Fault::Count, usize::MAX);
    let store = home.open().await;
    assert_eq!(bucket.heal(), [0]);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_is_gone_is_a_loss_and_writing_again_heals() {
    let home = Home::with_bucket(Bucket::new());
    let store = home.open().await;
    let content = noise(1, 5000);
    let kept = write(&store, b"kept").await.id;
    let id = write(&store, &content).await.id;
    let packs = home.pack_store();
    let (row, _) = store.reader().index().blob(id).await.unwrap().unwrap();
    for _ in 0..2 {
        Arc::clone(&packs).delete(row.manifest.pack).await.unwrap();
    }
    assert_eq!(read(&store, id).await, Err(ReadError::Corrupt));
    store.close().await;
    let store = home.open().await;
    assert_eq!(read(&store, id).await, Err(ReadError::Corrupt));
    assert_eq!(read(&store, kept).await.unwrap(), b"kept");
    let again = write(&store, &content).await.id;
    for id in [id, again] {
        same(&read(&store, id).await.unwrap(), &content);
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_or_short_object_is_never_handed_out() {
    use object_store::{ObjectStore, ObjectStoreExt};

    holdall_runtime::tls::install_provider();
    let home = Home::with_bucket(Bucket::new());
    let bucket = home.bucket.as_ref().unwrap();
    let client = object_store::aws::AmazonS3Builder::new()
        .with_endpoint(&bucket.endpoint)
        .with_region(&bucket.region)
        .with_bucket_name(&bucket.name)
        .with_access_key_id(&bucket.access_key)
        .with_secret_access_key(&bucket.secret_key)
        .with_allow_http(true)
        .build()
        .unwrap();
    let store = home.open().await;
    let id = write(&store, &noise(1, 5000)).await.id;
    let objects: Vec<_> = client.list(Some(&home_prefix(&home).into())).collect().await;
    let [Ok(object)] = &objects[..] else { panic!("one object: {objects:?}") };
    let whole = client.get(&object.location).await.unwrap().bytes().await.unwrap();
    assert_eq!(whole.len() as u64, HEADER_LEN + 64 + 5000 + 64 + u64::from(manifest_len(&store, id).await));
    store.close().await;
    let mut changed = whole.to_vec();
    changed[1000] ^= 1;
    for bytes in [changed, whole[..4000].to_vec(), whole[..64].to_vec(), Vec::new()] {
        let len = bytes.len();
        client.put(&object.location, bytes.into()).await.unwrap();
        let store = home.open().await;
        assert_eq!(read(&store, id).await, Err(ReadError::Corrupt), "{len} bytes");
        store.close().await;
    }
    client.put(&object.location, whole.into()).await.unwrap();
    let store = home.open().await;
    same(&read(&store, id).await.unwrap(), &noise(1, 5000));
    store.close().await;
}

async fn manifest_len(store: &Store, id: BlobId) -> u32 {
    store.reader().index().blob(id).await.unwrap().unwrap().0.manifest.stored
}
