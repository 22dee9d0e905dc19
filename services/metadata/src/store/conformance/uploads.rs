//! Reserving, committing, giving up.

use holdall_sql::sql;

use super::*;
use crate::domain::error::Error::{
    IdempotencyMismatch, NotAFile, NotAFolder, NotFound, PreconditionFailed, QuotaExceeded,
};

on_both!(
    content_is_committed_and_read,
    versions_are_kept,
    equal_content_makes_no_version,
    a_receipt_works_once,
    a_key_gives_the_first_answer,
    the_same_bytes_of_another_type_are_a_new_version,
    missing_folders_are_made_at_the_commit,
    a_name_is_a_file_or_a_folder,
    preconditions_hold_at_both_ends,
    room_is_reserved_and_released,
    expired_uploads_give_back_their_room,
    the_quota_is_exact,
    a_lost_reservation_is_no_obstacle,
    what_is_trashed_meanwhile_takes_no_content,
);

async fn content_is_committed_and_read(world: &World) {
    let made = world.put("a.txt", "hello").await.unwrap();
    assert!(made.created);
    let (node, version) = world.store.content(&world.home, &at("a.txt"), None, NOW).await.unwrap();
    assert_eq!(node, made.node);
    assert_eq!(Some(&version), node.version.as_ref());
    assert_eq!(
        (version.size, version.media_type.as_str(), version.device.as_str()),
        (5, "text/plain", "laptop")
    );
    assert_eq!(version.digest.0, *blake3::hash(b"hello").as_bytes());
    assert_eq!(
        (version.author, version.created_at, version.sequence),
        (world.home.account, NOW, node.revision)
    );
    assert_eq!(world.usage().await, (5, 0));
    let child = Target::Child { parent: world.home.root, name: name("b.txt") };
    assert!(world.put_at(child, "", NOW).await.unwrap().created, "empty content");
    assert_eq!(world.ls("").await, ["a.txt", "b.txt"]);
    world.check_invariants().await;
}

async fn versions_are_kept(world: &World) {
    let later = NOW + SECOND;
    let first = world.put("f", "one").await.unwrap().node;
    let second = world.put_at(Target::Node(first.id), "three", later).await.unwrap();
    assert!(!second.created);
    assert_eq!((second.node.id, second.node.modified_at, second.node.created_at), (first.id, later, NOW));
    assert_ne!(second.node.etag(), first.etag());
    let old = first.version.unwrap();
    let new = second.node.version.unwrap();
    let versions = world.store.versions(&world.home, first.id, None, 10, NOW).await.unwrap();
    assert_eq!(versions.items, [new.clone(), old.clone()]);
    let (node, version) = world.store.content(&world.home, &at("f"), Some(old.id), NOW).await.unwrap();
    assert_eq!((node.version.as_ref(), &version), (Some(&new), &old));
    // A version of another file is none of this one.
    let other = world.put("g", "x").await.unwrap().node.version.unwrap().id;
    assert_eq!(refusal(world.store.content(&world.home, &at("f"), Some(other), NOW).await), NotFound);
    assert_eq!(world.usage().await, (9, 0));
    let one = world.store.versions(&world.home, first.id, None, 1, NOW).await.unwrap();
    assert!(one.has_more);
    let rest =
        world.store.versions(&world.home, first.id, Some(one.items[0].sequence), 1, NOW).await.unwrap();
    assert_eq!((rest.items, rest.has_more), (vec![old], false));
    world.check_invariants().await;
}

async fn equal_content_makes_no_version(world: &World) {
    let first = world.put("f", "same").await.unwrap().node;
    let again = world.put_at(Target::Path(path("f")), "same", NOW + SECOND).await.unwrap();
    assert_eq!((again.created, &again.node), (false, &first));
    assert_eq!(world.usage().await, (4, 0));
    assert_eq!(world.store.changes(&world.home, 0, 10).await.unwrap().items.len(), 1);
    // Only the current content counts.
    world.put("f", "other").await.unwrap();
    world.put("f", "same").await.unwrap();
    assert_eq!(world.store.versions(&world.home, first.id, None, 10, NOW).await.unwrap().items.len(), 3);
    world.check_invariants().await;
}

async fn a_receipt_works_once(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let first = commit(Target::Path(path("f")), "one");
    let made = store.commit_upload(home, &first, NOW).await.unwrap();
    world.put("f", "two").await.unwrap();
    assert_eq!(store.commit_upload(home, &first, NOW).await.unwrap(), made, "the first answer");
    assert_eq!(world.get("f").await.unwrap().version.unwrap().size, 3);
    let versions = store.versions(home, made.node.id, None, 10, NOW).await.unwrap().items;
    assert_eq!(versions.len(), 2, "and no new version: {versions:?}");
    let elsewhere = Commit { target: Target::Path(path("g")), ..first };
    assert_eq!(refusal(store.commit_upload(home, &elsewhere, NOW).await), IdempotencyMismatch);
    assert_eq!(world.ls("").await, ["f"]);
}

async fn a_key_gives_the_first_answer(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let with = |target: &str, content: &str| Commit {
        key: Some(key("k")),
        ..commit(Target::Path(path(target)), content)
    };
    let first = store.commit_upload(home, &with("f", "one"), NOW).await.unwrap();
    // The same content uploaded anew: another receipt.
    assert_eq!(store.commit_upload(home, &with("f", "one"), NOW + SECOND).await.unwrap(), first);
    assert_eq!(refusal(store.commit_upload(home, &with("f", "two"), NOW).await), IdempotencyMismatch);
    assert_eq!(refusal(store.commit_upload(home, &with("g", "one"), NOW).await), IdempotencyMismatch);
    let folder = NewFolder { parent: at(""), names: vec![name("f")], parents: false, policy: None };
    assert_eq!(refusal(store.create_folder(home, &folder, Some(&key("k")), NOW).await), IdempotencyMismatch);
    assert_eq!(world.usage().await, (3, 0));
    world.check_invariants().await;
}

async fn the_same_bytes_of_another_type_are_a_new_version(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let typed = |media_type: &str| Commit {
        media_type: MediaType::parse(media_type).unwrap(),
        ..commit(Target::Path(path("f")), "{}")
    };
    let first = store.commit_upload(home, &typed("text/plain"), NOW).await.unwrap().node;
    let again = store.commit_upload(home, &typed("text/plain"), NOW + SECOND).await.unwrap().node;
    assert_eq!(again, first);
    let other = store.commit_upload(home, &typed("application/json"), NOW + SECOND).await.unwrap().node;
    assert_ne!(other.content().unwrap().id, first.content().unwrap().id);
    assert_eq!(other.content().unwrap().media_type, "application/json");
    world.check_invariants().await;
}

async fn missing_folders_are_made_at_the_commit(world: &World) {
    let target = Target::Path(path("a/b/c.txt"));
    let begun = world
        .store
        .begin_upload(&world.home, &target, false, Some(1), &Precondition::None, NOW)
        .await
        .unwrap();
    assert_eq!(begun.max_size, 1);
    assert!(world.ls("").await.is_empty(), "nothing to be seen before the commit");
    let file = world.put_at(target, "x", NOW).await.unwrap().node;
    let folder = world.get("a/b").await.unwrap();
    assert_eq!(file.parent, Some(folder.id));
    let changes = world.store.changes(&world.home, 0, 10).await.unwrap().items;
    let nodes: Vec<NodeId> = changes.iter().map(|change| change.node).collect();
    assert_eq!(nodes, [world.get("a").await.unwrap().id, folder.id, file.id]);
    assert!(changes.iter().all(|change| change.device == "laptop"));
    world.check_invariants().await;
}

async fn a_name_is_a_file_or_a_folder(world: &World) {
    let folder = world.mkdir("", "d").await.unwrap();
    world.put("f", "x").await.unwrap();
    for (target, expected) in [
        (Target::Path(path("d")), NotAFile),
        (Target::Node(folder.id), NotAFile),
        (Target::Child { parent: world.home.root, name: name("d") }, NotAFile),
        (Target::Path(path("f/g")), NotAFolder),
        (Target::Path(path("f/g/h")), NotAFolder),
        (Target::Child { parent: world.get("f").await.unwrap().id, name: name("g") }, NotAFolder),
        (Target::Node(NodeId::new(NOW)), NotFound),
    ] {
        let begun =
            world.store.begin_upload(&world.home, &target, false, Some(1), &Precondition::None, NOW).await;
        assert_eq!(refusal(begun), expected, "{target:?}");
        assert_eq!(refusal(world.put_at(target.clone(), "y", NOW).await), expected, "{target:?}");
    }
    world.check_invariants().await;
}

async fn preconditions_hold_at_both_ends(world: &World) {
    let target = Target::Path(path("f"));
    let check = async |precondition: Precondition, content: &str| {
        let begun = world.store.begin_upload(&world.home, &target, false, Some(1), &precondition, NOW).await;
        let commit = Commit { precondition, ..commit(target.clone(), content) };
        let committed = world.store.commit_upload(&world.home, &commit, NOW).await;
        assert_eq!(begun.is_ok(), committed.is_ok());
        match committed {
            Ok(made) => Some(made.node.version.unwrap().content_etag()),
            Err(error) => {
                assert_eq!(refusal::<()>(Err(error)), PreconditionFailed);
                None
            }
        }
    };
    let unknown = Precondition::AnyOf(vec!["b3-00".to_owned()]);
    assert_eq!(check(Precondition::Present, "one").await, None);
    assert_eq!(check(unknown.clone(), "one").await, None);
    let one = check(Precondition::Absent, "one").await.unwrap();
    assert_eq!(check(Precondition::Absent, "two").await, None);
    assert_eq!(check(unknown, "two").await, None);
    let two = check(Precondition::AnyOf(vec![one.clone()]), "two").await.unwrap();
    assert_eq!(check(Precondition::AnyOf(vec![one.clone()]), "three").await, None, "a lost update");
    assert!(check(Precondition::AnyOf(vec![one, two]), "three").await.is_some());
    assert!(check(Precondition::Present, "four").await.is_some());
}

async fn room_is_reserved_and_released(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let target = Target::Path(path("f"));
    let begin = async |size| store.begin_upload(home, &target, false, size, &Precondition::None, NOW).await;
    let small = begin(Some(RESERVE_ABOVE)).await.unwrap();
    assert_eq!((small.max_size, world.usage().await), (RESERVE_ABOVE, (0, 0)), "small ones reserve nothing");
    let large = begin(Some(400_000)).await.unwrap();
    assert_eq!((large.max_size, large.expires_at), (400_000, NOW + 3600 * SECOND));
    assert_eq!(world.usage().await, (0, 400_000));
    let unknown = begin(None).await.unwrap();
    assert_eq!((unknown.max_size, world.usage().await), (600_000, (0, 400_000)), "what room there is");
    assert_eq!(refusal(begin(Some(600_001)).await), QuotaExceeded);
    assert_eq!(refusal(begin(Some(u64::MAX)).await), QuotaExceeded);
    store.abort_upload(home, large.id, NOW).await.unwrap();
    store.abort_upload(home, large.id, NOW).await.unwrap();
    store.abort_upload(home, small.id, NOW).await.unwrap();
    store.abort_upload(home, UploadId::new(NOW), NOW).await.unwrap();
    assert_eq!(world.usage().await, (0, 0));

    // A commit turns the reservation into use, however much came of it.
    let large = begin(Some(400_000)).await.unwrap();
    let mut committing = commit(target.clone(), "short");
    committing.stored.upload = large.id;
    store.commit_upload(home, &committing, NOW).await.unwrap();
    assert_eq!(world.usage().await, (5, 0));
    world.check_invariants().await;
}

async fn expired_uploads_give_back_their_room(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let target = Target::Path(path("f"));
    let begin = async |size, now| {
        store.begin_upload(home, &target, false, Some(size), &Precondition::None, now).await
    };
    begin(600_000, NOW).await.unwrap();
    begin(300_000, NOW + SECOND).await.unwrap();
    assert_eq!(refusal(begin(200_000, NOW + 3599 * SECOND).await), QuotaExceeded);
    // Room that is needed is looked for at once.
    begin(200_000, NOW + 3600 * SECOND).await.unwrap();
    assert_eq!(world.usage().await, (0, 500_000));
    store.sweep_uploads(NOW + 3601 * SECOND).await.unwrap();
    assert_eq!(world.usage().await, (0, 200_000));
    store.sweep_uploads(NOW + 7200 * SECOND).await.unwrap();
    assert_eq!(world.usage().await, (0, 0));
    world.check_invariants().await;
}

async fn the_quota_is_exact(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let sized = |target: &str, size: u64| {
        let mut commit = commit(Target::Path(path(target)), target);
        commit.stored.size = size;
        commit
    };
    store.commit_upload(home, &sized("a", QUOTA - 10), NOW).await.unwrap();
    assert_eq!(refusal(store.commit_upload(home, &sized("b", 11), NOW).await), QuotaExceeded);
    assert_eq!(
        refusal(
            store
                .begin_upload(home, &Target::Path(path("b")), false, Some(11), &Precondition::None, NOW)
                .await
        ),
        QuotaExceeded
    );
    store.commit_upload(home, &sized("b", 10), NOW).await.unwrap();
    assert_eq!(refusal(store.commit_upload(home, &sized("c", 1), NOW).await), QuotaExceeded);
    store.commit_upload(home, &sized("c", 0), NOW).await.unwrap();
    assert_eq!(refusal(store.commit_upload(home, &sized("d", u64::MAX), NOW).await), QuotaExceeded);
    // Content that is there already needs no room.
    assert!(!store.commit_upload(home, &sized("a", QUOTA - 10), NOW).await.unwrap().created);
    world.check_invariants().await;
}

async fn a_lost_reservation_is_no_obstacle(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let target = Target::Path(path("f"));
    let begun =
        store.begin_upload(home, &target, false, Some(900_000), &Precondition::None, NOW).await.unwrap();
    // As a loss of power would have it: reservation and counter are undone together.
    let db = world.db.database();
    let mut tx = db.begin().await.unwrap();
    sql("DELETE FROM uploads WHERE upload_id = $1")
        .bind(begun.id.to_string())
        .execute(&mut tx)
        .await
        .unwrap();
    sql("UPDATE spaces SET reserved_bytes = 0").execute(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    let mut committing = commit(target, "big");
    committing.stored.upload = begun.id;
    committing.stored.size = 900_000;
    store.commit_upload(home, &committing, NOW).await.unwrap();
    assert_eq!(world.usage().await, (900_000, 0));
    world.check_invariants().await;
}

async fn what_is_trashed_meanwhile_takes_no_content(world: &World) {
    let file = world.put("d/f", "one").await.unwrap().node;
    let folder = world.get("d").await.unwrap();
    let (by_id, by_name) = (Target::Node(file.id), Target::Child { parent: folder.id, name: name("g") });
    for target in [&by_id, &by_name] {
        world
            .store
            .begin_upload(&world.home, target, false, Some(1), &Precondition::None, NOW)
            .await
            .unwrap();
    }
    world.trash("d").await.unwrap();
    for target in [by_id, by_name] {
        assert_eq!(refusal(world.put_at(target, "two", NOW).await), NotFound);
    }
    assert!(world.ls("").await.is_empty());
    assert_eq!(world.usage().await, (3, 0));
    world.check_invariants().await;
}
