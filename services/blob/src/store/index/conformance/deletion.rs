//! Blobs and chunks that are not needed go, and no others.

use super::*;

async fn filled(index: &Index) -> ([ChunkRow; 4], [BlobId; 3]) {
    let chunks = [chunk(1, 1), chunk(2, 1), chunk(3, 1), chunk(4, 1)];
    let [own, shared, last, single] = chunks;
    let ids = [BlobId::new(1_000), BlobId::new(2_000), BlobId::new(3_000)];
    let blobs = vec![
        composed(ids[0], &[own, shared, own]),
        composed(ids[1], &[shared, last]),
        blob(ids[2], single.hash),
    ];
    let rows = Rows { chunks: chunks.to_vec(), blobs, ..Rows::default() };
    assert!(index.add(&rows).await.unwrap().is_empty());
    (chunks, ids)
}

async fn present(index: &Index, chunks: &[ChunkRow]) -> Vec<bool> {
    let hashes: Vec<_> = chunks.iter().map(|chunk| chunk.hash).collect();
    let found = index.locate(&hashes).await.unwrap();
    hashes.iter().map(|hash| found.contains_key(hash)).collect()
}

/// How many chunks are marked.
async fn condemned(index: &Index) -> i64 {
    let row = sql("SELECT COUNT(*) FROM chunks WHERE condemned_at IS NOT NULL").fetch_one(index.database());
    row.await.unwrap().get(0).unwrap()
}

#[tokio::test]
async fn blobs_are_met_in_the_order_of_their_ids() {
    for (_database, index) in indexes().await {
        let (_, ids) = filled(&index).await;
        let end = BlobId::new(1_000_000_000);
        assert_eq!(index.blobs_after(None, end, 2).await.unwrap(), ids[..2]);
        assert_eq!(index.blobs_after(Some(ids[1]), end, 2).await.unwrap(), ids[2..]);
        assert_eq!(index.blobs_after(None, ids[1], 2).await.unwrap(), ids[..1]);
        assert_eq!(index.condemn_blobs(&ids[..1], 7).await.unwrap(), 1);
        assert_eq!(index.blobs_after(None, end, 2).await.unwrap(), ids[1..]);
    }
}

#[tokio::test]
async fn a_blob_is_deleted_once_its_mark_is_old() {
    for (database, index) in indexes().await {
        let engine = database.dialect();
        let (chunks, ids) = filled(&index).await;
        assert_eq!(index.condemn_blobs(&ids[..1], 50).await.unwrap(), 1);
        assert_eq!(index.condemn_blobs(&ids[..1], 100).await.unwrap(), 1, "the last mark counts");
        assert!(index.condemned_blobs(99, 10).await.unwrap().is_empty());
        assert_eq!(index.condemned_blobs(100, 10).await.unwrap(), ids[..1]);
        for (id, cutoff) in [(ids[0], 99), (ids[1], 1_000)] {
            assert!(!index.delete_blob(id, cutoff, 300).await.unwrap(), "{engine:?}");
        }
        assert!(index.blob(ids[0]).await.unwrap().is_some());
        assert!(index.delete_blob(ids[0], 100, 300).await.unwrap());
        assert!(index.blob(ids[0]).await.unwrap().is_none());
        assert!(!index.delete_blob(ids[0], 100, 300).await.unwrap());

        // Of its chunks only that which nothing else needs is marked.
        assert_eq!(condemned(&index).await, 1, "{engine:?}");
        assert_eq!(index.delete_chunks(299, 10).await.unwrap(), Deleted::default());
        let stored = u64::from(chunks[0].location.stored);
        assert_eq!(
            index.delete_chunks(300, 10).await.unwrap(),
            Deleted { chunks: 1, stored, spared: 0 },
            "{engine:?}"
        );
        assert_eq!(present(&index, &chunks).await, [false, true, true, true], "{engine:?}");
    }
}

#[tokio::test]
async fn a_blob_that_is_used_again_stays() {
    for (_database, index) in indexes().await {
        let (_, ids) = filled(&index).await;
        index.condemn_blobs(&ids, 100).await.unwrap();
        index.spare_blobs(&ids[1..]).await.unwrap();
        assert_eq!(index.condemned_blobs(1_000, 10).await.unwrap(), ids[..1]);
        assert!(!index.delete_blob(ids[1], 1_000, 1_000).await.unwrap());
    }
}

#[tokio::test]
async fn the_last_blob_takes_a_single_chunk_along() {
    for (_database, index) in indexes().await {
        let (chunks, ids) = filled(&index).await;
        let again = BlobId::new(4_000);
        index.add(&blobs_only(&[blob(again, chunks[3].hash)])).await.unwrap();
        index.condemn_blobs(&[ids[2], again], 1).await.unwrap();
        assert!(index.delete_blob(ids[2], 1, 2).await.unwrap());
        assert_eq!(condemned(&index).await, 0);
        assert!(index.delete_blob(again, 1, 2).await.unwrap());
        assert_eq!(condemned(&index).await, 1);
        assert_eq!(index.delete_chunks(2, 10).await.unwrap().chunks, 1);
        assert_eq!(present(&index, &chunks).await, [true, true, true, false]);
    }
}

#[tokio::test]
async fn what_nothing_ever_needed_is_found() {
    for (database, index) in indexes().await {
        let engine = database.dialect();
        let (chunks, _) = filled(&index).await;
        let abandoned: Vec<_> = (10..30).map(|name| chunk(name, 1)).collect();
        index.add(&chunks_only(&abandoned)).await.unwrap();
        let mut at = None;
        let mut steps = 0;
        loop {
            at = index.condemn_chunks(at, 5, 10).await.unwrap();
            steps += 1;
            if at.is_none() {
                break;
            }
        }
        assert_eq!((steps, condemned(&index).await), (5, 20), "{engine:?}");
        let mut gone = 0;
        while let deleted @ 1.. = index.delete_chunks(10, 7).await.unwrap().chunks {
            assert!(deleted <= 7);
            gone += deleted;
        }
        assert_eq!(gone, 20, "{engine:?}");
        assert_eq!(present(&index, &chunks).await, [true; 4], "{engine:?}");
    }
}

#[tokio::test]
async fn a_condemned_chunk_that_is_wanted_again_stays() {
    for (database, index) in indexes().await {
        let engine = database.dialect();
        let chunks = [chunk(1, 1), chunk(2, 1), chunk(3, 1), chunk(4, 1)];
        let [asked_for, written_again, used, gone] = chunks;
        index.add(&chunks_only(&chunks)).await.unwrap();
        assert_eq!(index.condemn_chunks(None, 10, 5).await.unwrap(), None);
        assert_eq!(condemned(&index).await, 4, "{engine:?}");

        assert_eq!(index.known(&[asked_for.hash]).await.unwrap().len(), 1, "{engine:?}");
        assert_eq!(condemned(&index).await, 3, "{engine:?}");
        index.add(&chunks_only(&[written_again])).await.unwrap();
        assert_eq!(condemned(&index).await, 2, "{engine:?}");
        let id = BlobId::new(1);
        assert!(index.add(&blobs_only(&[blob(id, used.hash)])).await.unwrap().is_empty());

        let stored = u64::from(gone.location.stored);
        let deleted = index.delete_chunks(i64::MAX, 10).await.unwrap();
        assert_eq!(deleted, Deleted { chunks: 1, stored, spared: 1 }, "{engine:?}");
        assert_eq!(present(&index, &chunks).await, [true, true, true, false], "{engine:?}");
        assert_eq!(condemned(&index).await, 0, "{engine:?}");
        // And its upload, which had found it to be there, has to send it again.
        let late = blob(BlobId::new(1), gone.hash);
        assert_eq!(index.add(&blobs_only(std::slice::from_ref(&late))).await.unwrap(), [late.row.id].into());
    }
}
