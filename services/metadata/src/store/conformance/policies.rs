//! What folders do with the files in them.

use super::*;
use crate::domain::change::ChangeKind;
use crate::domain::error::Error::{NotAFolder, NotFound, PreconditionFailed};

on_both!(
    a_policy_is_set_once,
    folders_are_made_with_a_policy,
    files_live_as_long_as_their_folder_says,
    what_moves_follows_its_new_folder,
    the_files_that_end_first_make_room,
    many_new_files_at_once_leave_the_newest,
    what_moves_in_makes_room_for_itself,
    the_oldest_versions_make_room,
    deleting_skips_the_trash,
    a_large_folder_skips_the_trash_too,
);

fn lasting(time_to_live: i64) -> Policy {
    Policy { time_to_live: Some(time_to_live), ..Policy::NONE }
}

async fn kinds(world: &World) -> Vec<ChangeKind> {
    let changes = world.store.changes(&world.home, 0, 1000).await.unwrap().items;
    changes.into_iter().map(|change| change.kind).collect()
}

async fn a_policy_is_set_once(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let folder = world.mkdir("", "d").await.unwrap();
    let policy = Policy { time_to_live: Some(5), max_files: 6, max_versions: 7, skip_trash: true };
    let set = async |policy, precondition: &Precondition| {
        store.set_folder_policy(home, &at("d"), policy, precondition, NOW + SECOND).await
    };
    let changed = set(policy, &Precondition::AnyOf(vec![folder.etag()])).await.unwrap();
    assert_eq!((changed.policy, changed.modified_at), (policy, NOW));
    assert_ne!(changed.etag(), folder.etag());
    assert_eq!(world.get("d").await.unwrap(), changed);
    assert_eq!(world.by_id(folder.id).await.unwrap(), changed);
    assert_eq!(set(policy, &Precondition::None).await.unwrap(), changed, "it has it already");
    let stale = Precondition::AnyOf(vec![folder.etag()]);
    assert_eq!(refusal(set(Policy::NONE, &stale).await), PreconditionFailed);
    assert_eq!(set(Policy::NONE, &Precondition::None).await.unwrap().policy, Policy::NONE);
    assert_eq!(kinds(world).await, [ChangeKind::Created, ChangeKind::Policy, ChangeKind::Policy]);
    assert_eq!(world.policy("", policy).await.id, home.root, "the root may have one");

    world.put("f", "x").await.unwrap();
    let none = &Precondition::None;
    assert_eq!(refusal(store.set_folder_policy(home, &at("f"), policy, none, NOW).await), NotAFolder);
    assert_eq!(refusal(store.set_folder_policy(home, &at("x"), policy, none, NOW).await), NotFound);
    let stranger = &world.stranger().await;
    let foreign = NodeRef::Id(folder.id);
    assert_eq!(refusal(store.set_folder_policy(stranger, &foreign, policy, none, NOW).await), NotFound);
    world.check_invariants().await;
}

async fn folders_are_made_with_a_policy(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let new =
        |policy, parents| NewFolder { parent: at(""), names: path("a/b").names().to_vec(), parents, policy };
    let made = store.create_folder(home, &new(Some(lasting(5)), true), Some(&key("k")), NOW).await.unwrap();
    assert_eq!((made.created, made.node.policy), (true, lasting(5)));
    assert_eq!(world.get("a").await.unwrap().policy, Policy::NONE, "the last one only");
    let again = store.create_folder(home, &new(Some(lasting(5)), true), Some(&key("k")), NOW).await.unwrap();
    assert_eq!(again, made);
    let other = store.create_folder(home, &new(Some(lasting(6)), true), Some(&key("k")), NOW).await;
    assert_eq!(refusal(other), domain::error::Error::IdempotencyMismatch);
    let before = kinds(world).await;
    for policy in [None, Some(lasting(5))] {
        let same = store.create_folder(home, &new(policy, true), None, NOW).await.unwrap();
        assert_eq!((same.created, same.node), (false, made.node.clone()));
    }
    assert_eq!(kinds(world).await, before, "nothing was written");
    let changed = store.create_folder(home, &new(Some(lasting(6)), true), None, NOW).await.unwrap();
    assert_eq!((changed.created, changed.node.policy), (false, lasting(6)));
    assert_eq!(world.get("a/b").await.unwrap(), changed.node);
    world.check_invariants().await;
}

async fn files_live_as_long_as_their_folder_says(world: &World) {
    let folder = world.mkdir("", "d").await.unwrap().id;
    let before = world.put("d/before", "x").await.unwrap().node;
    world.policy("d", lasting(10)).await;
    let child = |text: &str| Target::Child { parent: folder, name: name(text) };
    let put =
        async |text: &str, content: &str, now| world.put_at(child(text), content, now).await.unwrap().node;
    assert_eq!(world.get("d/before").await.unwrap().expires_at, None, "what is there stays as it is");
    let file = put("f", "one", NOW).await;
    assert_eq!(file.expires_at, Some(NOW + 10));
    assert_eq!(put("f", "two", NOW + 5).await.expires_at, Some(NOW + 15), "written anew");
    let again = put("f", "two", NOW + 7).await;
    assert_eq!(again.expires_at, Some(NOW + 17), "written anew, with nothing new");
    assert_eq!(world.by_id(file.id).await.unwrap(), again);
    let by_id = world.put_at(Target::Node(before.id), "y", NOW + 8).await.unwrap().node;
    assert_eq!(by_id.expires_at, Some(NOW + 18));
    // Only directly in it.
    assert_eq!(world.put("d/e/f", "x").await.unwrap().node.expires_at, None);
    let renamed = world.rename(file.id, "g").await.unwrap();
    assert_eq!(renamed.expires_at, Some(NOW + 17), "another name is no content");
    world.policy("d", Policy::NONE).await;
    assert_eq!(world.by_id(file.id).await.unwrap().expires_at, Some(NOW + 17));
    assert_eq!(put("g", "three", NOW + 9).await.expires_at, None);
    world.check_invariants().await;
}

async fn what_moves_follows_its_new_folder(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let folder = world.mkdir("", "d").await.unwrap().id;
    let inner = world.mkdir("", "e").await.unwrap();
    world.policy("d", lasting(10)).await;
    let file = world.put("f", "x").await.unwrap().node;
    let none = &Precondition::None;
    let go = async |node, to, now| store.update_node(home, node, &moved(to), none, now).await.unwrap();
    assert_eq!(go(file.id, folder, NOW + 5).await.expires_at, Some(NOW + 15));
    assert_eq!(go(file.id, home.root, NOW + 6).await.expires_at, None);
    assert_eq!(go(file.id, folder, NOW + 7).await.expires_at, Some(NOW + 17));
    assert_eq!(go(inner.id, folder, NOW).await.expires_at, None, "folders stay");
    assert_eq!(world.by_id(inner.id).await.unwrap().expires_at, None);
    // Out of the trash, too.
    let trash = async || store.trash_node(home, &NodeRef::Id(file.id), none, NOW + 8).await.unwrap();
    trash().await;
    let back = store.restore_node(home, file.id, None, None, NOW + 9).await.unwrap();
    assert_eq!(back.expires_at, Some(NOW + 19));
    assert_eq!(world.by_id(file.id).await.unwrap(), back);
    trash().await;
    let back = store.restore_node(home, file.id, Some(home.root), None, NOW + 9).await.unwrap();
    assert_eq!(back.expires_at, None);
    world.check_invariants().await;
}

async fn the_files_that_end_first_make_room(world: &World) {
    world.mkdir("", "d").await.unwrap();
    let put = async |text: &str, now| {
        world.put_at(Target::Path(path(&format!("d/{text}"))), text, now).await.unwrap()
    };
    for (index, text) in ["one", "two", "three"].into_iter().enumerate() {
        put(text, NOW + i64::try_from(index).unwrap()).await;
    }
    world.mkdir("d", "folder").await.unwrap();
    let keep_two = Policy { max_files: 2, ..lasting(100) };
    world.policy("d", keep_two).await;
    assert_eq!(world.ls("d").await.len(), 4, "nothing happens until there is a new one");
    let link = world.link(world.get("d/one").await.unwrap().id).await;
    put("four", NOW + 10).await;
    assert_eq!(world.ls("d").await, ["folder", "four", "three"], "the oldest go");
    assert_eq!(world.released().await, 2);
    assert_eq!(refusal(world.open(&link, NOW).await), NotFound);
    put("five", NOW + 11).await;
    assert_eq!(world.ls("d").await, ["five", "folder", "three"], "those first that end");
    assert!(!put("three", NOW + 11).await.created);
    put("five", NOW + 12).await;
    assert_eq!(world.ls("d").await, ["five", "folder", "three"], "a new version is no new file");
    // With the shortest time of all, but the new one.
    world.policy("d", Policy { max_files: 1, ..lasting(1) }).await;
    put("six", NOW + 13).await;
    assert_eq!(world.ls_at("d", NOW + 13).await, ["folder", "six"]);
    assert_eq!(world.usage().await, ("six".len() as u64, 0));
    let purged = kinds(world).await.into_iter().filter(|kind| *kind == ChangeKind::Purged).count();
    assert_eq!(purged, 5);
    world.check_invariants().await;
}

async fn many_new_files_at_once_leave_the_newest(world: &World) {
    world.mkdir("", "d").await.unwrap();
    world.policy("d", Policy { max_files: 5, ..Policy::NONE }).await;
    let with_link = |index| Commit {
        link: Some(NewLink::default()),
        ..commit(Target::Path(path(&format!("d/{index:02}"))), &format!("content {index}"))
    };
    let commits: Vec<Commit> = (0..60).map(with_link).collect();
    let made = futures::future::join_all(
        commits.iter().zip(NOW..).map(|(commit, now)| world.store.commit_upload(&world.home, commit, now)),
    )
    .await;
    let made: Vec<Committed> = made.into_iter().map(std::result::Result::unwrap).collect();
    assert!(made.iter().all(|made| made.created));
    assert_eq!(world.ls("d").await, ["55", "56", "57", "58", "59"]);
    assert_eq!((world.usage().await, world.released().await), ((5 * 10, 0), 55));
    let links: Vec<Link> = made.into_iter().map(|made| made.link.unwrap()).collect();
    assert_eq!(refusal(world.open(&links[0], NOW + 60).await), NotFound);
    assert_eq!(refusal(world.open(&links[54], NOW + 60).await), NotFound);
    world.open(&links[55], NOW + 60).await.unwrap();
    let kinds = kinds(world).await;
    let count = |kind| kinds.iter().filter(|found| **found == kind).count();
    assert_eq!((count(ChangeKind::Created), count(ChangeKind::Purged)), (1 + 60, 55));
    world.check_invariants().await;
}

async fn what_moves_in_makes_room_for_itself(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let folder = world.mkdir("", "d").await.unwrap().id;
    world.policy("d", Policy { max_files: 1, ..Policy::NONE }).await;
    let old = world.put("old", "x").await.unwrap().node.id;
    world.put("d/a", "x").await.unwrap();
    world.move_to(old, folder).await.unwrap();
    assert_eq!(world.ls("d").await, ["old"]);
    world.trash("d/old").await.unwrap();
    world.put("d/b", "x").await.unwrap();
    store.restore_node(home, old, None, None, NOW).await.unwrap();
    assert_eq!(world.ls("d").await, ["old"]);
    world.rename(old, "new").await.unwrap();
    assert_eq!(world.ls("d").await, ["new"]);
    world.check_invariants().await;
}

async fn the_oldest_versions_make_room(world: &World) {
    world.mkdir("", "d").await.unwrap();
    let file = world.put("d/f", "0").await.unwrap().node.id;
    for content in ["1", "22", "333"] {
        world.put("d/f", content).await.unwrap();
    }
    let sizes = async || {
        let versions = world.store.versions(&world.home, file, None, 100, NOW).await.unwrap().items;
        versions.into_iter().map(|version| version.size).collect::<Vec<_>>()
    };
    world.policy("d", Policy { max_versions: 2, ..Policy::NONE }).await;
    assert_eq!(sizes().await, [3, 2, 1, 1]);
    world.put("d/f", "4444").await.unwrap();
    assert_eq!(sizes().await, [4, 3]);
    assert_eq!((world.usage().await, world.released().await), ((7, 0), 3));
    world.policy("d", Policy { max_versions: 1, ..Policy::NONE }).await;
    world.put("d/f", "4444").await.unwrap();
    assert_eq!(sizes().await, [4, 3], "equal content is no new version");
    // Many at once.
    let commits: Vec<Commit> =
        (0..30).map(|index| commit(Target::Node(file), &"x".repeat(index + 5))).collect();
    futures::future::join_all(
        commits.iter().map(|commit| world.store.commit_upload(&world.home, commit, NOW)),
    )
    .await
    .into_iter()
    .for_each(|made| assert!(!made.unwrap().created));
    assert_eq!(sizes().await, [34]);
    assert_eq!(world.usage().await, (34, 0));
    world.check_invariants().await;
}

async fn deleting_skips_the_trash(world: &World) {
    world.put("d/f", "x").await.unwrap();
    let deep = world.put("d/a/b/f", "y").await.unwrap().node;
    let beside = world.put("e/f", "z").await.unwrap().node;
    let folder = world.policy("d", Policy { skip_trash: true, ..Policy::NONE }).await;
    let file = world.get("d/f").await.unwrap();
    let stale = Precondition::AnyOf(vec!["0-0".to_owned()]);
    let refused = world.store.trash_node(&world.home, &at("d/f"), &stale, NOW).await;
    assert_eq!(refusal(refused), PreconditionFailed);
    let gone = world.trash("d/f").await.unwrap();
    assert_eq!((gone.id, gone.trashed_at), (file.id, Some(NOW)));
    world.trash("d/a").await.unwrap();
    assert!(world.ls("d").await.is_empty());
    assert_eq!((world.usage().await, world.released().await), ((1, 0), 2));
    assert_eq!(refusal(world.by_id(deep.id).await), NotFound);
    let trash = async || world.store.trash(&world.home, None, 10, NOW).await.unwrap().items;
    assert!(trash().await.is_empty());
    let last = &kinds(world).await[7..];
    assert_eq!(last, [ChangeKind::Policy, ChangeKind::Purged, ChangeKind::Purged]);
    // What is not directly in it, and the folder itself, can be taken back.
    world.put("d/a/f", "x").await.unwrap();
    world.trash("d/a/f").await.unwrap();
    world.trash("e/f").await.unwrap();
    world.store.trash_node(&world.home, &NodeRef::Id(folder.id), &Precondition::None, NOW).await.unwrap();
    assert_eq!(trash().await.len(), 3);
    assert!(trash().await.iter().any(|node| node.id == beside.id));
    // By id as by path.
    world.store.restore_node(&world.home, folder.id, None, None, NOW).await.unwrap();
    let by_id = world.put("d/g", "x").await.unwrap().node.id;
    world.store.trash_node(&world.home, &NodeRef::Id(by_id), &Precondition::None, NOW).await.unwrap();
    assert_eq!(trash().await.len(), 2);
    world.check_invariants().await;
}

async fn a_large_folder_skips_the_trash_too(world: &World) {
    world.mkdir("", "d").await.unwrap();
    world.policy("d", Policy { skip_trash: true, ..Policy::NONE }).await;
    for index in 0..7 {
        world.put(&format!("d/a/{index}/f"), "x").await.unwrap();
    }
    let none = &Precondition::None;
    world.store.trash_by(&world.home, &at("d/a"), none, NOW, 3).await.unwrap();
    assert!(world.ls("d").await.is_empty());
    assert!(world.store.trash(&world.home, None, 10, NOW).await.unwrap().items.is_empty());
    assert_eq!(world.usage().await, (0, 0));
    let kinds = kinds(world).await;
    assert_eq!(kinds[kinds.len() - 2..], [ChangeKind::Trashed, ChangeKind::Purged]);
    world.check_invariants().await;
}
