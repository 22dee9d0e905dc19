//! Which blobs are in use.

use super::*;
use crate::domain::buffer::NewEntry;
use crate::store::Purge;

on_both!(
    a_blob_is_live_as_long_as_anything_has_it,
    what_is_released_is_listed_until_acknowledged,
    it_has_a_name,
);

/// The blob of a file's current version.
async fn blob_of(world: &World, path: &str) -> BlobId {
    let reference = at(path);
    world.store.content(&world.home, &reference, None, NOW).await.unwrap().1.blob
}

async fn is_live(world: &World, blob: BlobId) -> bool {
    let unknown = BlobId::from(uuid::Uuid::from_u128(7));
    let live = world.store.live(&[unknown, blob]).await.unwrap();
    assert!(!live.contains(&unknown));
    live == [blob]
}

async fn a_blob_is_live_as_long_as_anything_has_it(world: &World) {
    let (store, home) = (&world.store, &world.home);
    assert!(store.live(&[]).await.unwrap().is_empty());
    world.put("a", "one").await.unwrap();
    let first = blob_of(world, "a").await;
    assert!(is_live(world, first).await);
    // As an earlier version, and in the trash.
    world.put("a", "two").await.unwrap();
    assert!(is_live(world, first).await);
    world.trash("a").await.unwrap();
    assert!(is_live(world, first).await);
    store.purge(home, Purge::All, NOW).await.unwrap();
    assert!(is_live(world, first).await, "until it was taken note of");
    store.acknowledge_released(&[first]).await.unwrap();
    assert!(!is_live(world, first).await);

    let new = NewEntry {
        stored: stored("three"),
        name: None,
        media_type: MediaType::parse("text/plain").unwrap(),
        device: String::new(),
        time_to_live: None,
    };
    let buffered = new.stored.blob;
    store.commit_entry(home, &new, NOW).await.unwrap();
    assert!(is_live(world, buffered).await);
    store.clear_buffer(home, NOW).await.unwrap();
    store.acknowledge_released(&[buffered]).await.unwrap();
    assert!(!is_live(world, buffered).await);

    // What another still has.
    world.put("b", "four").await.unwrap();
    let shared = blob_of(world, "b").await;
    let other = store.home(AccountId::from(uuid::Uuid::from_u128(99)), Owner::Person, NOW).await.unwrap();
    holdall_sql::sql(
        "INSERT INTO versions SELECT $1, n.node_id, 1000, v.blob_id, v.size, v.digest, v.media_type, v.author_id, \
         v.device, v.created_at FROM versions v, nodes n WHERE v.blob_id = $2 AND n.node_id = $3",
    )
    .bind(uuid::Uuid::from_u128(5).to_string())
    .bind(shared.to_string())
    .bind(other.root.to_string())
    .execute(world.db.database())
    .await
    .unwrap();
    world.trash("b").await.unwrap();
    store.purge(home, Purge::All, NOW).await.unwrap();
    assert!(store.released(10).await.unwrap().contains(&shared), "a hint, no more");
    store.acknowledge_released(&[shared]).await.unwrap();
    assert!(is_live(world, shared).await);
}

async fn what_is_released_is_listed_until_acknowledged(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let mut blobs = Vec::new();
    for (number, now) in [(1, NOW), (2, NOW + 1), (3, NOW + 2)] {
        world.put(&format!("f{number}"), "content").await.unwrap();
        blobs.push(blob_of(world, &format!("f{number}")).await);
        world.trash(&format!("f{number}")).await.unwrap();
        store.purge(home, Purge::All, now).await.unwrap();
    }
    assert_eq!(store.released(2).await.unwrap(), blobs[..2]);
    store.acknowledge_released(&blobs[..1]).await.unwrap();
    store.acknowledge_released(&blobs[..1]).await.unwrap();
    store.acknowledge_released(&[]).await.unwrap();
    assert_eq!(store.released(10).await.unwrap(), blobs[1..]);
}

async fn it_has_a_name(world: &World) {
    let name = world.store.instance().await.unwrap();
    assert_eq!(name.len(), 32);
    assert_eq!(world.store.instance().await.unwrap(), name);
    assert_ne!(World::sqlite().await.store.instance().await.unwrap(), name);
}
