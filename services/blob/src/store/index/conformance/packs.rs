//! Packs are emptied, retired and forgotten; jobs have one holder.

use super::*;

fn at(name: u8, pack: i64, position: u64) -> ChunkRow {
    let location = Location { pack: PackId(pack), position, stored: 10 };
    ChunkRow { location, ..chunk(name, pack) }
}

#[tokio::test]
async fn rows_follow_what_was_copied() {
    for (database, index) in indexes().await {
        let engine = database.dialect();
        let (moved, elsewhere) = (at(1, 1, 100), at(2, 4, 100));
        let id = BlobId::new(1);
        let new = blob(id, moved.hash);
        let rows = Rows {
            packs: vec![pack(1, 900), pack(3, 900), pack(4, 900), pack(5, 400)],
            chunks: vec![moved, elsewhere],
            blobs: vec![new.clone()],
            ..Rows::default()
        };
        index.add(&rows).await.unwrap();
        index.damage(&moved).await.unwrap();
        let live = index.live_bytes().await.unwrap();
        assert_eq!((live[&PackId(1)], live[&PackId(3)]), (74, 172), "{engine:?}");

        let to = at(1, 5, 64);
        let manifest = Location { pack: PackId(5), position: 200, stored: 108 };
        let copies = [
            Moved::Chunk { from: moved.location, to },
            // It was written anew meanwhile.
            Moved::Chunk { from: at(2, 1, 200).location, to: at(2, 5, 138) },
            Moved::Blob { id, from: new.row.manifest, to: manifest },
            Moved::Blob { id: BlobId::new(1), from: new.row.manifest, to: manifest },
        ];
        assert!(!index.retire(PackId(1), 7).await.unwrap(), "it is in use: {engine:?}");
        index.follow(&copies).await.unwrap();
        let found = index.locate(&[moved.hash, elsewhere.hash]).await.unwrap();
        assert_eq!((found[&moved.hash], found[&elsewhere.hash]), (to, elsewhere), "{engine:?}");
        assert_eq!(index.known(&[moved.hash]).await.unwrap().len(), 1, "the copy is sound: {engine:?}");
        assert_eq!(index.locate_blobs(&[id, BlobId::new(1)]).await.unwrap(), [(id, manifest)].into());
        assert_eq!(
            (index.rows_in(PackId(5)).await.unwrap(), index.rows_in(PackId(1)).await.unwrap()),
            (2, 0)
        );

        assert!(index.retire(PackId(1), 7).await.unwrap(), "{engine:?}");
        assert!(!index.retire(PackId(1), 8).await.unwrap(), "once is enough: {engine:?}");
        assert!(!index.retire(PackId(4), 8).await.unwrap(), "{engine:?}");
        assert!(index.retire(PackId(3), 9).await.unwrap(), "{engine:?}");
        assert_eq!(index.retired_packs().await.unwrap(), [(PackId(1), 7), (PackId(3), 9)], "{engine:?}");
        assert_eq!(index.packs().await.unwrap(), [pack(4, 900), pack(5, 400)], "{engine:?}");
        index.forget(PackId(1)).await.unwrap();
        index.forget(PackId(4)).await.unwrap();
        assert_eq!(index.retired_packs().await.unwrap(), [(PackId(3), 9)], "{engine:?}");
        assert_eq!(index.packs().await.unwrap().len(), 2, "{engine:?}");
        index.add(&Rows { packs: vec![pack(6, 64)], ..Rows::default() }).await.unwrap();
        assert!(index.retire(PackId(6), 10).await.unwrap(), "{engine:?}");
        index.forget(PackId(6)).await.unwrap();
        assert_eq!(index.retired_packs().await.unwrap().len(), 2, "its id is not given again: {engine:?}");
    }
}

#[tokio::test]
async fn quarantine_is_noted() {
    for (_database, index) in indexes().await {
        index.add(&Rows { packs: vec![pack(1, 64), pack(2, 64)], ..Rows::default() }).await.unwrap();
        index.quarantine(PackId(2)).await.unwrap();
        assert_eq!(index.quarantined_packs().await.unwrap(), [PackId(2)]);
    }
}

#[tokio::test]
async fn a_job_has_one_holder_at_a_time() {
    for (database, index) in indexes().await {
        let engine = database.dialect();
        let mut first = index.lease("walk", 100, 200).await.unwrap().expect("it is free");
        assert_eq!(first.position, "");
        assert_eq!(index.lease("walk", 199, 300).await.unwrap(), None, "{engine:?}");
        assert!(index.lease("other", 199, 300).await.unwrap().is_some(), "{engine:?}");
        first.position = "half way".to_owned();
        assert!(index.renew(&first, 250).await.unwrap());
        assert_eq!(index.lease("walk", 249, 300).await.unwrap(), None, "{engine:?}");
        let second = index.lease("walk", 250, 300).await.unwrap().expect("it was not renewed in time");
        assert_eq!(second.position, "half way", "{engine:?}");
        first.position = "back".to_owned();
        assert!(!index.renew(&first, 400).await.unwrap(), "{engine:?}");
        assert!(index.renew(&second, 400).await.unwrap(), "{engine:?}");
    }
}

#[tokio::test]
async fn the_first_metadata_is_the_one() {
    for (database, index) in indexes().await {
        let engine = database.dialect();
        assert!(index.belongs_to("first").await.unwrap(), "{engine:?}");
        assert!(!index.belongs_to("second").await.unwrap(), "{engine:?}");
        assert!(index.belongs_to("first").await.unwrap(), "{engine:?}");
    }
}
