//! Uploads in several goes: what a crash leaves of them, and what they take.

use super::crash::copy;
use super::*;
use crate::domain::record::MAGIC;
use crate::store::upload::resume::{FIRST_EPOCH, Terms};

fn terms(id: BlobId) -> Terms {
    Terms { id, space: Uuid::from_u128(1), limit: u64::MAX, expires_at: i64::MAX }
}

async fn go(
    store: &Store,
    terms: Terms,
    epoch: i64,
    offset: u64,
    content: &[u8],
) -> Result<u64, UploadError> {
    let mut writer = store.write_at(terms, epoch, offset).await?;
    for piece in content.chunks(256 << 10) {
        writer.push(Bytes::copy_from_slice(piece)).await?;
    }
    writer.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_all_is_there_that_was_acknowledged() {
    let home = Home::new();
    let store = home.open().await;
    let terms = terms(BlobId::new(1));
    let content = noise(1, 12 << 20);
    let mut at = 0;
    for len in [10, 3 << 20, 500_000, 5 << 20] {
        at = go(&store, terms, FIRST_EPOCH, at as u64, &content[at..at + len]).await.unwrap() as usize;
        for with_index in [true, false] {
            let crashed = copy(&home, with_index);
            let store = crashed.open().await;
            assert_eq!(store.upload_offset(&terms).await.unwrap(), (at as u64, false));
            // It goes on, and what was written before is read again for the digest.
            let more = &content[at..at + 1000];
            let end = go(&store, terms, FIRST_EPOCH, at as u64, more).await.unwrap();
            let digest = blake3::hash(&content[..end as usize]);
            let written = store.finish_upload(&terms, FIRST_EPOCH, end, Some(digest)).await.unwrap();
            assert_eq!((written.id, written.digest), (terms.id, digest));
            same(&read(&store, written.id).await.unwrap(), &content[..end as usize]);
            store.close().await;
        }
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_segment_was_never_there() {
    let home = Home::new();
    let store = home.open().await;
    let terms = terms(BlobId::new(1));
    go(&store, terms, FIRST_EPOCH, 0, b"first").await.unwrap();
    let pack = home.packs().remove(0);
    let kept = std::fs::metadata(&pack).unwrap().len() as usize;
    go(&store, terms, FIRST_EPOCH, 5, b" second").await.unwrap();
    store.close().await;
    let whole = std::fs::read(&pack).unwrap();
    // Behind it there is a filler.
    let segment_end = whole.windows(MAGIC.len()).rposition(|bytes| bytes == MAGIC).unwrap();
    for end in (kept..segment_end).step_by(24).chain([segment_end, whole.len()]) {
        let crashed = copy(&home, false);
        std::fs::write(crashed.packs().remove(0), &whole[..end]).unwrap();
        let store = crashed.open().await;
        let durable = if end >= segment_end { 12 } else { 5 };
        assert_eq!(store.upload_offset(&terms).await.unwrap(), (durable, false), "length {end}");
        let rest = &b" second"[durable as usize - 5..];
        go(&store, terms, FIRST_EPOCH, durable, rest).await.unwrap();
        let written = store.finish_upload(&terms, FIRST_EPOCH, 12, None).await.unwrap();
        assert_eq!(read(&store, written.id).await.unwrap(), b"first second");
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_before_there_is_a_receipt() {
    let home = Home::new();
    let store = home.open().await;
    let terms = terms(BlobId::new(1));
    go(&store, terms, FIRST_EPOCH, 0, &noise(1, 1 << 20)).await.unwrap();
    store.close().await;
    // The first record starts in the second block.
    flip(&home.packs()[0], 5000);
    let store = home.open().await;
    let refused = store.finish_upload(&terms, FIRST_EPOCH, 1 << 20, None).await;
    assert_eq!(refused, Err(UploadError::Read(ReadError::Corrupt)));
    assert!(store.reader().blob(terms.id).await.unwrap().is_none());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_while_a_segment_is_added_leaves_the_truth() {
    let home = Home::new();
    let store = Arc::new(home.open().await);
    let terms = terms(BlobId::new(1));
    let mut content = Vec::new();
    for seed in 0..20_u64 {
        let go_on = noise(seed, 10_000);
        let (epoch, offset) = store.take_over(&terms).await.unwrap();
        content.truncate(offset as usize);
        let writing = tokio::spawn({
            let (store, go_on) = (Arc::clone(&store), go_on.clone());
            async move { go(&store, terms, epoch, offset, &go_on).await }
        });
        if seed % 2 == 0 {
            tokio::task::yield_now().await;
            writing.abort();
        }
        let _ = writing.await;
        content.extend(go_on);
    }
    let (epoch, offset) = store.take_over(&terms).await.unwrap();
    content.truncate(offset as usize);
    let digest = blake3::hash(&content);
    assert!(offset >= 100_000, "{offset}");
    let written = store.finish_upload(&terms, epoch, offset, Some(digest)).await.unwrap();
    same(&read(&store, written.id).await.unwrap(), &content);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_in_mind_is_bounded() {
    let home = Home::new();
    let mut store = home.open().await;
    store.sessions = Sessions::new(store.index().clone(), 3);
    let uploads: Vec<_> = (0..5_i64).map(|at| terms(BlobId::new(at))).collect();
    for terms in &uploads {
        go(&store, *terms, FIRST_EPOCH, 0, b"123").await.unwrap();
        assert!(store.sessions.len() <= 3);
    }
    let writers =
        futures::future::join_all(uploads[..3].iter().map(|terms| store.write_at(*terms, FIRST_EPOCH, 3)))
            .await;
    assert!(writers.iter().all(Result::is_ok));
    assert_eq!(store.upload_offset(&uploads[3]).await, Err(UploadError::Overloaded));
    drop(writers);
    for terms in &uploads {
        assert_eq!(store.upload_offset(terms).await, Ok((3, false)));
    }
    store.forget_idle(Duration::ZERO);
    assert_eq!(store.sessions.len(), 0);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finish_that_waits_for_memory_reads_in_windows() {
    let mut home = Home::new();
    home.settings.reading.memory = 10 << 20;
    home.settings.bulk_memory = 2 << 20;
    let store = home.open().await;
    let terms = terms(BlobId::new(1));
    let content = noise(1, 40 << 20);
    go(&store, terms, FIRST_EPOCH, 0, &content).await.unwrap();
    store.close().await;
    let store = home.open().await;
    let size = content.len() as u64;
    let written = store.finish_upload(&terms, FIRST_EPOCH, size, Some(blake3::hash(&content))).await.unwrap();
    same(&read(&store, written.id).await.unwrap(), &content);
    store.close().await;
}
