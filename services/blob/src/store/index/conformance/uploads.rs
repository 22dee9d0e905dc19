//! Uploads that can be resumed.

use super::*;
use crate::domain::manifest::Chunk;
use crate::domain::segment::Segment;

fn part(size: u32) -> ChunkRow {
    ChunkRow { hash: blake3::hash(&size.to_le_bytes()), size, ..chunk(0, 7) }
}

fn segment(upload: BlobId, epoch: i64, start: u64, sizes: &[u32]) -> SegmentRow {
    let chunks = sizes.iter().map(|size| Chunk { hash: part(*size).hash, size: *size });
    let (space, chunks) = (Uuid::from_u128(5), chunks.collect());
    let location = Location { pack: PackId(1), position: 64, stored: 100 };
    SegmentRow { segment: Segment { upload, space, epoch, start, expires_at: 1000, chunks }, location }
}

async fn sizes(index: &Index, upload: BlobId) -> (Option<i64>, Vec<u32>) {
    let progress = index.progress(upload).await.unwrap();
    (progress.epoch, progress.chunks.iter().map(|chunk| chunk.size).collect())
}

#[tokio::test]
async fn segments_make_a_chain_of_which_the_latest_count() {
    for (database, index) in indexes().await {
        let engine = database.dialect();
        let (first, second) = (BlobId::new(1_000), BlobId::new(2_000));
        index.add(&chunks_only(&[1, 2, 5, 6, 7, 9].map(part))).await.unwrap();
        let add = async |segments| index.replay(&Rows { segments, ..Rows::default() }).await.unwrap();
        assert_eq!(sizes(&index, first).await, (None, vec![]), "{engine:?}");
        add(vec![segment(first, 2, 0, &[])]).await;
        assert_eq!(sizes(&index, first).await, (Some(2), vec![]));
        // All in one transaction, as when an index is made anew.
        add(vec![
            segment(first, 3, 0, &[5, 6]),
            segment(second, 1, 0, &[7]),
            segment(first, 3, 11, &[9, 9]),
            segment(first, 4, 11, &[1]),
            segment(first, 4, 12, &[2]),
        ])
        .await;
        assert_eq!(sizes(&index, first).await, (Some(4), vec![5, 6, 1, 2]), "{engine:?}");
        assert_eq!(sizes(&index, second).await, (Some(1), vec![7]));
        // Again, from older ones on: nothing changes in the end.
        add(vec![segment(first, 3, 11, &[9, 9])]).await;
        add(vec![segment(first, 4, 11, &[1]), segment(first, 4, 12, &[2])]).await;
        assert_eq!(sizes(&index, first).await, (Some(4), vec![5, 6, 1, 2]), "{engine:?}");

        let space = Uuid::from_u128(5);
        assert_eq!(index.count_uploads(space).await.unwrap(), 2);
        assert_eq!(index.count_uploads(Uuid::nil()).await.unwrap(), 0);
        assert_eq!(index.ended_uploads(999, None, 9).await.unwrap(), []);
        assert_eq!(index.ended_uploads(1000, None, 1).await.unwrap(), [first]);
        assert_eq!(index.ended_uploads(1000, Some(first), 9).await.unwrap(), [second]);
        assert!(index.add(&blobs_only(&[blob(first, part(1).hash)])).await.unwrap().is_empty());
        assert_eq!(index.ended_uploads(0, None, 9).await.unwrap(), [first]);
        add(vec![segment(second, i64::MAX, 7, &[])]).await;
        assert_eq!(index.count_uploads(space).await.unwrap(), 0, "finished and given up");
        index.forget_segments(second).await.unwrap();
        assert_eq!(sizes(&index, second).await, (Some(i64::MAX), vec![]));
        for upload in [first, second] {
            index.forget_upload(upload).await.unwrap();
            assert_eq!(sizes(&index, upload).await, (None, vec![]));
        }
    }
}

#[tokio::test]
async fn an_upload_needs_its_chunks_as_a_blob_does() {
    for (database, index) in indexes().await {
        let engine = database.dialect();
        let (unfinished, finished) = (BlobId::new(1), BlobId::new(2));
        index.add(&chunks_only(&[1, 2, 3].map(part))).await.unwrap();
        let incomplete = vec![segment(unfinished, 1, 0, &[1, 99])];
        let refused = index.add(&Rows { segments: incomplete, ..Rows::default() }).await.unwrap();
        assert_eq!(refused, [unfinished].into(), "{engine:?}");
        assert_eq!(sizes(&index, unfinished).await, (None, vec![]), "{engine:?}");

        let segments = vec![segment(unfinished, 1, 0, &[1]), segment(finished, 1, 0, &[2, 3])];
        assert!(index.add(&Rows { segments, ..Rows::default() }).await.unwrap().is_empty());
        let collect = async || {
            assert_eq!(index.condemn_chunks(None, 100, 5).await.unwrap(), None);
            index.delete_chunks(5, 100).await.unwrap().chunks
        };
        assert_eq!(collect().await, 0, "{engine:?}");
        assert!(!index.retire(PackId(1), 6).await.unwrap(), "a segment stands there");
        let whole = composed(finished, &[part(2), part(3)]);
        assert!(index.add(&blobs_only(&[whole])).await.unwrap().is_empty());
        for upload in [finished, unfinished] {
            index.forget_upload(upload).await.unwrap();
        }
        assert_eq!(collect().await, 1, "{engine:?}: that of the upload that was not finished");
        assert_eq!(index.known(&[1, 2, 3].map(|size| part(size).hash)).await.unwrap().len(), 2);
        assert!(index.blob(finished).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn of_two_who_add_the_same_one_is_refused() {
    for (database, index) in indexes().await {
        let engine = database.dialect();
        let upload = BlobId::new(1);
        index.add(&chunks_only(&[1, 2, 3].map(part))).await.unwrap();
        let is_added = async |segment| {
            let rows = Rows { segments: vec![segment], ..Rows::default() };
            index.add(&rows).await.unwrap().is_empty()
        };
        for (segment, expected) in [
            (segment(upload, 1, 0, &[1]), true),
            (segment(upload, 1, 0, &[2]), false),
            (segment(upload, 2, 1, &[]), true),
            (segment(upload, 2, 1, &[]), false),
            (segment(upload, 1, 1, &[2]), false),
            (segment(upload, 2, 1, &[2]), true),
            (segment(upload, i64::MAX, 3, &[]), true),
            (segment(upload, i64::MAX, 3, &[]), true),
            (segment(upload, 2, 3, &[3]), false),
        ] {
            assert_eq!(is_added(segment.clone()).await, expected, "{engine:?}: {segment:?}");
        }
        assert_eq!(sizes(&index, upload).await, (Some(i64::MAX), vec![1, 2]), "{engine:?}");
    }
}
