//! What the index promises, on every engine.

mod deletion;
mod packs;
mod races;
mod uploads;

use std::collections::HashSet;

use holdall_sql::{sql, testing};

use super::*;

fn chunk(name: u8, pack: i64) -> ChunkRow {
    let location = Location { pack: PackId(pack), position: 1 << 40, stored: u32::MAX };
    ChunkRow { hash: blake3::hash(&[name]), size: u32::MAX, location, codec: Codec::Raw }
}

/// A blob of a single chunk, that of its digest.
fn blob(id: BlobId, digest: Hash) -> NewBlob {
    let manifest = Location { pack: PackId(3), position: 64, stored: 108 };
    let row = BlobRow { id, size: 1 << 50, digest, manifest };
    NewBlob { row, space: Uuid::nil(), chunks: vec![digest] }
}

/// A blob of several chunks.
fn composed(id: BlobId, chunks: &[ChunkRow]) -> NewBlob {
    let chunks = chunks.iter().map(|chunk| chunk.hash).collect();
    NewBlob { chunks, ..blob(id, blake3::hash(id.as_bytes())) }
}

fn pack(id: i64, indexed_to: u64) -> PackRow {
    PackRow { id: PackId(id), salt: [0xfe; 32], indexed_to }
}

fn chunks_only(chunks: &[ChunkRow]) -> Rows {
    Rows { chunks: chunks.to_vec(), ..Rows::default() }
}

fn blobs_only(blobs: &[NewBlob]) -> Rows {
    Rows { blobs: blobs.to_vec(), ..Rows::default() }
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
            blobs: vec![blob(single, first.hash), composed(multi, &[first, second, first])],
            ..Rows::default()
        };
        assert!(index.add(&rows).await.unwrap().is_empty());

        assert_eq!(index.blob(single).await.unwrap(), Some((rows.blobs[0].row, Some(first))), "{engine:?}");
        assert_eq!(index.blob(multi).await.unwrap(), Some((rows.blobs[1].row, None)), "{engine:?}");
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
            blobs: vec![blob(id, chunk(1, 1).hash), blob(id, chunk(1, 2).hash)],
            ..Rows::default()
        };
        index.add(&again).await.unwrap();
        assert_eq!(index.packs().await.unwrap(), again.packs);
        assert_eq!(index.blob(id).await.unwrap(), Some((rows.blobs[0].row, Some(rows.chunks[0]))));
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

#[tokio::test]
async fn a_blob_is_added_only_with_all_its_chunks() {
    for (database, index) in indexes().await {
        let engine = database.dialect();
        let (sound, damaged, new) = (chunk(1, 1), chunk(2, 1), chunk(3, 1));
        let missing = chunk(4, 1);
        index.add(&chunks_only(&[sound, damaged])).await.unwrap();
        index.damage(&damaged).await.unwrap();
        let mut blobs = Vec::new();
        let mut refused = HashSet::new();
        let mut give = |blob: fn(BlobId, &[ChunkRow]) -> NewBlob, chunks: &[ChunkRow], is_added: bool| {
            let id = BlobId::new(1);
            blobs.push(blob(id, chunks));
            if !is_added {
                refused.insert(id);
            }
        };
        let single = |id, chunks: &[ChunkRow]| blob(id, chunks[0].hash);
        give(single, &[sound], true);
        give(single, &[new], true);
        give(single, &[damaged], false);
        give(single, &[missing], false);
        // One by one they take another way than together with such as have several chunks.
        let rows = Rows { chunks: vec![new], blobs: blobs.clone(), ..Rows::default() };
        assert_eq!(index.add(&rows).await.unwrap(), refused, "{engine:?}");
        let mut give = |chunks: &[ChunkRow], is_added: bool| {
            let id = BlobId::new(1);
            blobs.push(composed(id, chunks));
            if !is_added {
                refused.insert(id);
            }
        };
        give(&[sound, new], true);
        give(&[new, sound, new], true);
        give(&[sound, damaged], false);
        give(&[missing, sound], false);
        let empty = BlobId::new(1);
        let mut nothing = blob(empty, blake3::hash(b""));
        nothing.row.size = 0;
        nothing.chunks.clear();
        blobs.push(nothing);
        let rows = Rows { chunks: vec![new], blobs: blobs.clone(), ..Rows::default() };
        assert_eq!(index.add(&rows).await.unwrap(), refused, "{engine:?}");
        for blob in &blobs {
            let is_there = index.blob(blob.row.id).await.unwrap().is_some();
            assert_eq!(is_there, !refused.contains(&blob.row.id), "{engine:?}");
        }
        // What comes from packs is taken as it is.
        index.replay(&blobs_only(&blobs)).await.unwrap();
        for blob in &blobs {
            assert!(index.blob(blob.row.id).await.unwrap().is_some(), "{engine:?}");
        }
    }
}

#[tokio::test]
async fn a_space_holds_the_chunks_of_its_blobs() {
    for (database, index) in indexes().await {
        let engine = database.dialect();
        let rows = [chunk(1, 1), chunk(2, 1), chunk(3, 1), chunk(4, 1), chunk(5, 1)];
        let [one, first, second, alien, damaged] = rows;
        let (mine, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let blobs = vec![
            NewBlob { space: mine, ..blob(BlobId::new(1), one.hash) },
            NewBlob { space: mine, ..composed(BlobId::new(1), &[first, second, damaged]) },
            NewBlob { space: other, ..composed(BlobId::new(1), &[alien, second]) },
        ];
        let ids: Vec<_> = blobs.iter().map(|blob| blob.row.id).collect();
        index.add(&Rows { chunks: rows.to_vec(), blobs, ..Rows::default() }).await.unwrap();
        index.damage(&damaged).await.unwrap();
        let all: Vec<_> = rows.iter().map(|row| row.hash).chain([blake3::hash(b"nothing")]).collect();
        let held = async |space| index.held(space, &all).await.unwrap();
        assert_eq!(held(mine).await, [one.hash, first.hash, second.hash].into(), "{engine:?}");
        assert_eq!(held(other).await, [alien.hash, second.hash].into(), "{engine:?}");
        assert!(held(Uuid::nil()).await.is_empty(), "{engine:?}");
        index.condemn_blobs(&ids[1..2], 5).await.unwrap();
        assert_eq!(held(mine).await, [one.hash].into(), "{engine:?}");
    }
}
