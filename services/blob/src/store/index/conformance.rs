//! What the index promises, on every engine.

use holdall_sql::testing;
use uuid::Uuid;

use super::*;
use crate::domain::manifest::Chunk;
use crate::domain::segment::Segment;

fn chunk(name: u8, pack: i64) -> ChunkRow {
    let location = Location { pack: PackId(pack), position: 1 << 40, stored: u32::MAX };
    ChunkRow { hash: blake3::hash(&[name]), size: u32::MAX, location, codec: Codec::Raw }
}

fn blob(id: BlobId, digest: Hash) -> BlobRow {
    let manifest = Location { pack: PackId(3), position: 64, stored: 108 };
    BlobRow { id, size: 1 << 50, digest, manifest }
}

fn pack(id: i64, indexed_to: u64) -> PackRow {
    PackRow { id: PackId(id), salt: [0xfe; 32], indexed_to }
}

async fn indexes() -> Vec<(testing::TestDatabase, Index)> {
    let databases = testing::databases(&MIGRATIONS).await;
    databases
        .into_iter()
        .map(|database| {
            let index = Index::new(database.database().clone());
            (database, index)
        })
        .collect()
}

#[tokio::test]
async fn what_was_added_is_found() {
    for (database, index) in indexes().await {
        let engine = database.dialect();
        let (single, multi) = (BlobId::new(1), BlobId::new(2));
        let (first, second) = (chunk(1, 1), chunk(2, 1));
        let other = blake3::hash(b"nothing has this name");
        let rows = Rows {
            packs: vec![pack(1, 100), pack(2, 1 << 41)],
            chunks: vec![first, second],
            blobs: vec![blob(single, first.hash), blob(multi, other)],
            ..Rows::default()
        };
        index.add(&rows).await.unwrap();

        assert_eq!(index.blob(single).await.unwrap(), Some((rows.blobs[0], Some(first))), "{engine:?}");
        assert_eq!(index.blob(multi).await.unwrap(), Some((rows.blobs[1], None)), "{engine:?}");
        assert_eq!(index.blob(BlobId::new(1)).await.unwrap(), None);
        assert_eq!(index.packs().await.unwrap(), rows.packs);
        assert_eq!(index.known(&[first.hash, other, second.hash]).await.unwrap().len(), 2);
        let found = index.locate(&[other, second.hash]).await.unwrap();
        assert_eq!(found.into_values().collect::<Vec<_>>(), [second]);
        assert!(index.known(&[]).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn adding_again_changes_nothing_but_how_far_a_pack_is_indexed() {
    for (_database, index) in indexes().await {
        let id = BlobId::new(1);
        let rows = Rows {
            packs: vec![pack(1, 100)],
            chunks: vec![chunk(1, 1)],
            blobs: vec![blob(id, chunk(1, 1).hash)],
            ..Rows::default()
        };
        index.add(&rows).await.unwrap();
        let again = Rows {
            packs: vec![pack(1, 200)],
            // Twice in one transaction, too.
            chunks: vec![chunk(1, 2), chunk(1, 4)],
            blobs: vec![blob(id, chunk(2, 1).hash), blob(id, chunk(3, 1).hash)],
            ..Rows::default()
        };
        index.add(&again).await.unwrap();
        assert_eq!(index.packs().await.unwrap(), again.packs);
        assert_eq!(index.blob(id).await.unwrap(), Some((rows.blobs[0], Some(rows.chunks[0]))));
    }
}

#[tokio::test]
async fn a_damaged_chunk_is_not_known_and_is_replaced() {
    for (_database, index) in indexes().await {
        let (old, new) = (chunk(1, 1), chunk(1, 2));
        let add = async |row| index.add(&Rows { chunks: vec![row], ..Rows::default() }).await.unwrap();
        let at = async || index.locate(&[old.hash]).await.unwrap().remove(&old.hash);
        add(old).await;
        index.damage(&new).await.unwrap();
        assert_eq!(index.known(&[old.hash]).await.unwrap().len(), 1, "it stands elsewhere");
        index.damage(&old).await.unwrap();
        assert!(index.known(&[old.hash]).await.unwrap().is_empty());
        assert_eq!(at().await, Some(old), "it can still be looked for");
        add(new).await;
        assert_eq!(at().await, Some(new));
        assert_eq!(index.known(&[old.hash]).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn the_end_of_a_pack_can_be_given_up() {
    for (_database, index) in indexes().await {
        let at = |name, pack, position| {
            let location = Location { pack: PackId(pack), position, stored: 10 };
            ChunkRow { location, ..chunk(name, pack) }
        };
        let chunks = vec![at(1, 1, 64), at(2, 1, 90), at(3, 1, 91), at(4, 2, 500)];
        let hashes: Vec<_> = chunks.iter().map(|chunk| chunk.hash).collect();
        index.add(&Rows { chunks, ..Rows::default() }).await.unwrap();
        assert_eq!(index.damage_beyond(PackId(1), 100).await.unwrap(), 1);
        let known = index.known(&hashes).await.unwrap();
        assert_eq!(
            hashes.iter().map(|hash| known.contains(hash)).collect::<Vec<_>>(),
            [true, true, false, true]
        );
    }
}

#[tokio::test]
async fn many_rows_at_once() {
    for (_database, index) in indexes().await {
        let chunks: Vec<_> = (0..1_000_u32)
            .map(|name| ChunkRow { hash: blake3::hash(&name.to_le_bytes()), ..chunk(0, 1) })
            .collect();
        let hashes: Vec<_> = chunks.iter().map(|chunk| chunk.hash).collect();
        index.add(&Rows { chunks, ..Rows::default() }).await.unwrap();
        assert_eq!(index.known(&hashes).await.unwrap().len(), 1_000);
        assert_eq!(index.locate(&hashes).await.unwrap().len(), 1_000);
    }
}

fn segment(upload: BlobId, epoch: i64, start: u64, sizes: &[u32]) -> SegmentRow {
    let chunks = sizes.iter().map(|size| Chunk { hash: blake3::hash(&size.to_le_bytes()), size: *size });
    let (space, chunks) = (Uuid::from_u128(5), chunks.collect());
    let location = Location { pack: PackId(1), position: 64, stored: 100 };
    SegmentRow { segment: Segment { upload, space, epoch, start, expires_at: 1000, chunks }, location }
}

#[tokio::test]
async fn segments_make_a_chain_of_which_the_latest_count() {
    for (database, index) in indexes().await {
        let engine = database.dialect();
        let (first, second) = (BlobId::new(1), BlobId::new(2));
        let add = async |segments| index.add(&Rows { segments, ..Rows::default() }).await.unwrap();
        let sizes = async |upload| {
            let progress = index.progress(upload).await.unwrap();
            (progress.epoch, progress.chunks.iter().map(|chunk| chunk.size).collect::<Vec<_>>())
        };
        assert_eq!(sizes(first).await, (None, vec![]), "{engine:?}");
        add(vec![segment(first, 2, 0, &[])]).await;
        assert_eq!(sizes(first).await, (Some(2), vec![]));
        // All in one transaction, as when an index is made anew.
        add(vec![
            segment(first, 3, 0, &[5, 6]),
            segment(second, 1, 0, &[7]),
            segment(first, 3, 11, &[9, 9]),
            segment(first, 4, 11, &[1]),
            segment(first, 4, 12, &[2]),
        ])
        .await;
        assert_eq!(sizes(first).await, (Some(4), vec![5, 6, 1, 2]), "{engine:?}");
        assert_eq!(sizes(second).await, (Some(1), vec![7]));
        // Again, from older ones on: nothing changes in the end.
        add(vec![segment(first, 3, 11, &[9, 9])]).await;
        add(vec![segment(first, 4, 11, &[1]), segment(first, 4, 12, &[2])]).await;
        assert_eq!(sizes(first).await, (Some(4), vec![5, 6, 1, 2]), "{engine:?}");

        let space = Uuid::from_u128(5);
        assert_eq!(index.count_uploads(space).await.unwrap(), 2);
        assert_eq!(index.count_uploads(Uuid::nil()).await.unwrap(), 0);
        assert_eq!(index.ended_uploads(999, None, 9).await.unwrap(), []);
        assert_eq!(index.ended_uploads(1000, None, 1).await.unwrap(), [first]);
        assert_eq!(index.ended_uploads(1000, Some(first), 9).await.unwrap(), [second]);
        index.add(&Rows { blobs: vec![blob(first, chunk(1, 1).hash)], ..Rows::default() }).await.unwrap();
        assert_eq!(index.ended_uploads(0, None, 9).await.unwrap(), [first]);
        add(vec![segment(second, i64::MAX, 7, &[])]).await;
        assert_eq!(index.count_uploads(space).await.unwrap(), 0, "finished and given up");
        index.forget_segments(second).await.unwrap();
        assert_eq!(sizes(second).await, (Some(i64::MAX), vec![]));
        for upload in [first, second] {
            index.forget_upload(upload).await.unwrap();
            assert_eq!(sizes(upload).await, (None, vec![]));
        }
    }
}
