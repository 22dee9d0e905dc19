//! Readers that take their time.

use futures::stream::BoxStream;

use super::*;

everywhere! {
    who_does_not_read_is_in_nobodys_way
    who_goes_away_leaves_no_memory_behind
}

type Pieces = BoxStream<'static, Result<Bytes, ReadError>>;

async fn pieces(store: &Store, id: BlobId) -> Pieces {
    let blob = store.reader().blob(id).await.unwrap().unwrap();
    match store.reader().content(id, &blob, 0..u64::MAX).await.unwrap() {
        Content::Pieces(pieces) => pieces,
        Content::Whole(_) => panic!("a large blob comes in pieces"),
    }
}

async fn who_does_not_read_is_in_nobodys_way(mut home: Home) {
    home.settings.reading.memory = 16 << 20;
    let store = home.open().await;
    let content = noise(1, 8 << 20);
    let id = write(&store, &content).await.id;
    let mut stalled = Vec::new();
    for _ in 0..40 {
        let mut pieces = pieces(&store, id).await;
        let first = pieces.next().await.unwrap().unwrap();
        stalled.push((pieces, first.to_vec()));
    }
    same(&read(&store, id).await.unwrap(), &content);
    assert!(store.reader().held_bytes() <= 8 << 20, "{}", store.reader().held_bytes());
    // They get the rest when they come for it.
    for (mut pieces, mut received) in stalled {
        while let Some(piece) = pieces.next().await {
            received.extend(piece.unwrap());
        }
        same(&received, &content);
    }
    assert_eq!(store.reader().held_bytes(), 0);
    store.close().await;
}

async fn who_goes_away_leaves_no_memory_behind(home: Home) {
    let store = home.open().await;
    let id = write(&store, &noise(1, 8 << 20)).await.id;
    for _ in 0..10 {
        let mut pieces = pieces(&store, id).await;
        pieces.next().await.unwrap().unwrap();
    }
    holdall_runtime::testing::eventually(Duration::from_secs(10), async || store.reader().held_bytes() == 0)
        .await;
    store.close().await;
}
