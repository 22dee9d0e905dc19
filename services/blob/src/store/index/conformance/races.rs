//! Adding and deleting at the same time, on PostgreSQL, where they run side by side.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

async fn postgres() -> (testing::TestDatabase, Index) {
    let database = testing::postgres(&MIGRATIONS).await;
    let index = Index::new(database.database().clone());
    (database, index)
}

/// Returns once a statement of this database waits for a lock.
async fn someone_waits(index: &Index) {
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while sql(waiting).fetch_one(index.database()).await.unwrap().get::<i64>(0).unwrap() == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_deletes_first_has_the_blob_refused() {
    for several in [false, true] {
        let (_database, index) = postgres().await;
        let (kept, doomed) = (chunk(1, 1), chunk(2, 1));
        index.add(&chunks_only(&[kept, doomed])).await.unwrap();
        let mut deleter = index.database().begin().await.unwrap();
        sql("SELECT hash FROM chunks WHERE hash = $1 FOR UPDATE")
            .bind(bytes(&doomed.hash))
            .fetch_all(&mut deleter)
            .await
            .unwrap();
        let id = BlobId::new(1);
        let new = if several { composed(id, &[kept, doomed]) } else { blob(id, doomed.hash) };
        let adding = tokio::spawn({
            let index = index.clone();
            async move { index.add(&blobs_only(&[new])).await.unwrap() }
        });
        someone_waits(&index).await;
        sql("DELETE FROM chunks WHERE hash = $1")
            .bind(bytes(&doomed.hash))
            .execute(&mut deleter)
            .await
            .unwrap();
        deleter.commit().await.unwrap();
        assert_eq!(adding.await.unwrap(), [id].into());
        assert!(index.blob(id).await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_adds_first_keeps_the_chunk() {
    let (_database, index) = postgres().await;
    let row = chunk(1, 1);
    index.add(&chunks_only(&[row])).await.unwrap();
    index.condemn_chunks(None, 10, 1).await.unwrap();
    // As an addition does that has not committed yet.
    let mut adder = index.database().begin().await.unwrap();
    let id = BlobId::new(1);
    let statement = index.insert_single(&[&blob(id, row.hash)]).unwrap();
    assert_eq!(statement.execute(&mut adder).await.unwrap(), 1);
    assert_eq!(index.delete_chunks(i64::MAX, 10).await.unwrap(), Deleted::default(), "passed over");
    adder.commit().await.unwrap();
    assert_eq!(index.delete_chunks(i64::MAX, 10).await.unwrap().spared, 1);
    assert_eq!(index.blob(id).await.unwrap().unwrap().1, Some(row));
}

/// A blob that is in the index without its chunks, if there is one.
async fn broken(index: &Index) -> Option<String> {
    let text = "SELECT b.id FROM blobs b WHERE NOT EXISTS (SELECT 1 FROM refs r WHERE r.blob = b.id) \
         AND NOT EXISTS (SELECT 1 FROM chunks c WHERE c.hash = b.digest) \
         UNION ALL SELECT r.blob FROM refs r WHERE NOT EXISTS (SELECT 1 FROM chunks c WHERE c.hash = r.hash)";
    let row = sql(text).fetch_optional(index.database()).await.unwrap();
    row.map(|row| row.get(0).unwrap())
}

/// Writers that rely on chunks which others delete under them, with no grace at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_blob_ever_lacks_a_chunk() {
    /// As many as it takes, but no more than this.
    const ROUNDS: u64 = 5_000;
    let (_database, index) = postgres().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let (deleted, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let deleters = (0..2).map(|_| {
        let (index, is_over, deleted) = (index.clone(), Arc::clone(&is_over), Arc::clone(&deleted));
        tokio::spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                holdall_sql::retry(async || index.condemn_chunks(None, 100, 1).await).await.unwrap();
                let gone = holdall_sql::retry(async || index.delete_chunks(1, 4).await).await.unwrap();
                deleted.fetch_add(gone.chunks, Ordering::Relaxed);
            }
        })
    });
    let deleters: Vec<_> = deleters.collect();
    let writers = (0..3_u64).map(|writer| {
        let (index, deleted, refused) = (index.clone(), Arc::clone(&deleted), Arc::clone(&refused));
        tokio::spawn(async move {
            let have_met = || deleted.load(Ordering::Relaxed) > 20 && refused.load(Ordering::Relaxed) > 5;
            for round in (0..ROUNDS).take_while(|round| *round < 50 || !have_met()) {
                let pick = |n: u64| chunk(u8::try_from((writer * 7 + round * 3 + n) % 12).unwrap(), 1);
                let chunks = [pick(0), pick(1)];
                let hashes = chunks.map(|chunk| chunk.hash);
                let known = index.known(&hashes).await.unwrap();
                let missing: Vec<_> =
                    chunks.into_iter().filter(|chunk| !known.contains(&chunk.hash)).collect();
                let blobs = vec![blob(BlobId::new(1), hashes[0]), composed(BlobId::new(1), &chunks)];
                let ids: Vec<_> = blobs.iter().map(|blob| blob.row.id).collect();
                // Alone it takes the way without a transaction.
                for blobs in [blobs[..1].to_vec(), blobs] {
                    let rows = Rows { chunks: missing.clone(), blobs, ..Rows::default() };
                    let lost = holdall_sql::retry(async || index.add(&rows).await).await.unwrap();
                    refused.fetch_add(lost.len() as u64, Ordering::Relaxed);
                }
                assert_eq!(broken(&index).await, None);
                index.condemn_blobs(&ids, 1).await.unwrap();
                for id in ids {
                    holdall_sql::retry(async || index.delete_blob(id, 1, 1).await).await.unwrap();
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    for deleter in deleters {
        deleter.await.unwrap();
    }
    assert_eq!(broken(&index).await, None);
    let (deleted, refused) = (deleted.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    assert!(deleted > 0 && refused > 0, "the two never met: {deleted} deleted, {refused} refused");
}
