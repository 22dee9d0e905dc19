//! Making, finding, renaming and moving.

use super::*;
use crate::domain::error::Error::{
    InvalidField, InvalidPath, NameConflict, NotAFile, NotAFolder, NotFound, PreconditionFailed,
    RootImmutable, WouldCycle,
};

on_both!(
    folders_are_made_and_found,
    missing_folders_are_made_on_the_way,
    names_are_unique_and_exact,
    a_folder_is_made_once_for_a_key,
    nodes_are_renamed_and_moved,
    a_folder_is_never_inside_itself,
    the_root_stays_as_it_is,
    nothing_goes_too_deep,
    changes_need_their_precondition,
    ancestors_lead_to_the_root,
);

async fn folders_are_made_and_found(world: &World) {
    let a = world.mkdir("", "a").await.unwrap();
    let b = world.mkdir("a", "b").await.unwrap();
    assert_eq!(world.get("/a/b/").await.unwrap(), b);
    assert_eq!(world.by_id(b.id).await.unwrap(), b);
    assert_eq!((b.parent, b.revision, b.created_at), (Some(a.id), 2, NOW));
    assert_eq!(refusal(world.get("a/c").await), NotFound);
    assert_eq!(refusal(world.get("b").await), NotFound);
    assert_eq!(refusal(world.mkdir("c", "d").await), NotFound);
    world.put("f", "x").await.unwrap();
    assert_eq!(refusal(world.mkdir("f", "d").await), NotAFolder);
    assert_eq!(refusal(world.get("f/x").await), NotFound);
    assert_eq!(refusal(world.store.folder(&world.home, &at("f"), NOW).await), NotAFolder);
    assert_eq!(refusal(world.store.content(&world.home, &at("a"), None, NOW).await), NotAFile);
}

async fn missing_folders_are_made_on_the_way(world: &World) {
    let made = world.mkdirs("a/b/c").await.unwrap();
    assert!(made.created);
    assert_eq!(world.get("a/b/c").await.unwrap(), made.node);
    let again = world.mkdirs("a/b/c").await.unwrap();
    assert_eq!((again.created, &again.node), (false, &made.node));
    assert!(world.mkdirs("a/b/d/e").await.unwrap().created);
    assert_eq!(world.ls("a/b").await, ["c", "d"]);
    world.put("a/f", "x").await.unwrap();
    assert_eq!(refusal(world.mkdirs("a/f").await), NameConflict);
    assert_eq!(refusal(world.mkdirs("a/f/g").await), NotAFolder);
    let changes = world.store.changes(&world.home, 0, 100).await.unwrap().items;
    assert_eq!(changes.len(), 6, "one for each node: {changes:?}");
    world.check_invariants().await;
}

async fn names_are_unique_and_exact(world: &World) {
    let names = ["A", "a", "Übung", "ubung", "ß", "ss", "日本", "🙂 \"x\"", "a ", "a."];
    for name in names {
        world.mkdir("", name).await.unwrap();
    }
    for name in names {
        assert_eq!(refusal(world.mkdir("", name).await), NameConflict, "{name}");
        assert_eq!(world.get(name).await.unwrap().name, name);
    }
    assert_eq!(refusal(world.mkdir("", "U\u{308}bung").await), NameConflict, "decomposed");
    assert_eq!(world.get("U\u{308}bung").await.unwrap().name, "Übung");
    let mut sorted = names.map(str::to_owned);
    sorted.sort();
    assert_eq!(world.ls("").await, sorted, "by bytes");
    // Only case differs: another name.
    let a = world.get("a").await.unwrap();
    assert_eq!(refusal(world.rename(a.id, "A").await), NameConflict);
    world.check_invariants().await;
}

async fn a_folder_is_made_once_for_a_key(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let folder =
        |text: &str| NewFolder { parent: at(""), names: vec![name(text)], parents: false, policy: None };
    let key = key("k1");
    let first = store.create_folder(home, &folder("a"), Some(&key), NOW).await.unwrap();
    world.rename(first.node.id, "b").await.unwrap();
    let again = store.create_folder(home, &folder("a"), Some(&key), NOW + SECOND).await.unwrap();
    assert_eq!(again, first, "the first answer, whatever happened since");
    assert_eq!(world.ls("").await, ["b"]);
    let other = store.create_folder(home, &folder("c"), Some(&key), NOW).await;
    assert_eq!(refusal(other), domain::error::Error::IdempotencyMismatch);
    // Another account's keys are its own.
    let stranger = world.stranger().await;
    assert!(store.create_folder(&stranger, &folder("c"), Some(&key), NOW).await.unwrap().created);
    // A refused request leaves no answer behind.
    let retry = super::key("k2");
    assert_eq!(refusal(store.create_folder(home, &folder("b"), Some(&retry), NOW).await), NameConflict);
    world.rename(first.node.id, "d").await.unwrap();
    assert!(store.create_folder(home, &folder("b"), Some(&retry), NOW).await.unwrap().created);
    // Answers are forgotten in time.
    store.sweep_answers(NOW + 1).await.unwrap();
    assert!(store.create_folder(home, &folder("a"), Some(&key), NOW).await.unwrap().created);
    world.check_invariants().await;
}

async fn nodes_are_renamed_and_moved(world: &World) {
    let later = NOW + SECOND;
    let a = world.mkdir("", "a").await.unwrap();
    let b = world.mkdir("", "b").await.unwrap();
    let file = world.put("a/f", "x").await.unwrap().node;
    let both = world
        .store
        .update_node(
            &world.home,
            file.id,
            &NodeUpdate { parent: Some(b.id), ..renamed("g") },
            &Precondition::None,
            later,
        )
        .await
        .unwrap();
    assert_eq!((both.id, both.parent, both.name.as_str()), (file.id, Some(b.id), "g"));
    assert_eq!((both.modified_at, both.created_at), (later, NOW));
    assert_ne!(both.etag(), file.etag());
    assert_eq!(both.version, file.version);
    assert_eq!(world.get("b/g").await.unwrap(), both);
    assert_eq!(refusal(world.get("a/f").await), NotFound);

    // A folder takes along what is in it, and its parent stays as it was.
    world.move_to(b.id, a.id).await.unwrap();
    assert_eq!(world.get("a/b/g").await.unwrap(), both);
    assert_eq!(world.get("a").await.unwrap(), a);

    // To where it is already: no change.
    let sequence = world.store.space(&world.home).await.unwrap().change_sequence;
    assert_eq!(world.rename(file.id, "g").await.unwrap(), both);
    assert_eq!(world.move_to(file.id, b.id).await.unwrap(), both);
    assert_eq!(world.store.space(&world.home).await.unwrap().change_sequence, sequence);

    world.mkdir("", "b").await.unwrap();
    assert_eq!(refusal(world.move_to(b.id, world.home.root).await), NameConflict);
    assert_eq!(refusal(world.move_to(a.id, file.id).await), NotAFolder);
    assert_eq!(refusal(world.move_to(a.id, NodeId::new(NOW)).await), NotFound);
    world.check_invariants().await;
}

async fn a_folder_is_never_inside_itself(world: &World) {
    world.mkdirs("a/b/c").await.unwrap();
    let [a, b, c] = [
        world.get("a").await.unwrap().id,
        world.get("a/b").await.unwrap().id,
        world.get("a/b/c").await.unwrap().id,
    ];
    for target in [a, b, c] {
        assert_eq!(refusal(world.move_to(a, target).await), WouldCycle);
    }
    world.move_to(c, a).await.unwrap();
    world.move_to(b, c).await.unwrap();
    assert_eq!(world.get("a/c/b").await.unwrap().id, b);
    world.check_invariants().await;
}

async fn the_root_stays_as_it_is(world: &World) {
    let folder = world.mkdir("", "a").await.unwrap();
    let root = world.home.root;
    assert_eq!(refusal(world.rename(root, "x").await), RootImmutable);
    assert_eq!(refusal(world.move_to(root, folder.id).await), RootImmutable);
    assert_eq!(refusal(world.trash("").await), RootImmutable);
    assert_eq!(refusal(world.put("", "x").await), NotAFile);
    assert_eq!(
        refusal(world.store.restore_node(&world.home, root, None, None, NOW).await),
        domain::error::Error::NotTrashed
    );
}

async fn nothing_goes_too_deep(world: &World) {
    let deep = vec!["d"; 64].join("/");
    world.mkdirs(&deep).await.unwrap();
    let bottom = world.get(&deep).await.unwrap();
    let into =
        NewFolder { parent: NodeRef::Id(bottom.id), names: vec![name("x")], parents: false, policy: None };
    let result = world.store.create_folder(&world.home, &into, None, NOW).await;
    assert!(matches!(refusal(result), InvalidPath(_)));
    let child = Target::Child { parent: bottom.id, name: name("x") };
    assert!(matches!(refusal(world.put_at(child, "x", NOW).await), InvalidPath(_)));

    // A chain of 3 fits below 61 and not below 62, a file below 63.
    world.mkdirs("x/y/z").await.unwrap();
    let x = world.get("x").await.unwrap().id;
    let file = world.put("f", "x").await.unwrap().node.id;
    let at_depth = |depth: usize| world.get(&deep[..2 * depth - 1]);
    let depth_62 = at_depth(62).await.unwrap().id;
    assert!(matches!(refusal(world.move_to(x, depth_62).await), InvalidField { field: "parent_id", .. }));
    assert!(matches!(refusal(world.move_to(file, bottom.id).await), InvalidField { field: "parent_id", .. }));
    world.move_to(x, at_depth(61).await.unwrap().id).await.unwrap();
    world.move_to(file, at_depth(63).await.unwrap().id).await.unwrap();

    // What is in the trash does not count until it comes back.
    let top = world.get("d").await.unwrap().id;
    world.mkdirs("p").await.unwrap();
    let p = world.get("p").await.unwrap().id;
    assert!(matches!(refusal(world.move_to(top, p).await), InvalidField { .. }));
    let second = at_depth(2).await.unwrap().id;
    world.store.trash_node(&world.home, &NodeRef::Id(second), &Precondition::None, NOW).await.unwrap();
    world.move_to(top, p).await.unwrap();
    let back = world.store.restore_node(&world.home, second, None, None, NOW).await;
    assert!(matches!(refusal(back), InvalidField { .. }));
    world.store.restore_node(&world.home, second, Some(world.home.root), None, NOW).await.unwrap();
    world.check_invariants().await;
}

async fn changes_need_their_precondition(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let node = world.mkdir("", "a").await.unwrap();
    let stale = Precondition::AnyOf(vec!["0-0".to_owned()]);
    let fresh = Precondition::AnyOf(vec!["0-0".to_owned(), node.etag()]);
    let to = renamed("b");
    for wrong in [&stale, &Precondition::Absent] {
        let update = store.update_node(home, node.id, &to, wrong, NOW).await;
        assert_eq!(refusal(update), PreconditionFailed);
        assert_eq!(refusal(store.trash_node(home, &at("a"), wrong, NOW).await), PreconditionFailed);
    }
    let renamed = store.update_node(home, node.id, &to, &fresh, NOW).await.unwrap();
    assert_eq!(refusal(store.trash_node(home, &at("b"), &fresh, NOW).await), PreconditionFailed);
    let fresh = Precondition::AnyOf(vec![renamed.etag()]);
    store.trash_node(home, &at("b"), &fresh, NOW).await.unwrap();
    // A new node under an old name does not inherit its tag.
    world.mkdir("", "b").await.unwrap();
    assert_eq!(refusal(store.trash_node(home, &at("b"), &fresh, NOW).await), PreconditionFailed);
    store.trash_node(home, &at("b"), &Precondition::Present, NOW).await.unwrap();
}

async fn ancestors_lead_to_the_root(world: &World) {
    world.mkdirs("a/b").await.unwrap();
    let file = world.put("a/b/f", "x").await.unwrap().node;
    let ancestors = world.store.ancestors(&world.home, file.id, NOW).await.unwrap();
    let expected =
        [world.get("").await.unwrap(), world.get("a").await.unwrap(), world.get("a/b").await.unwrap()];
    assert_eq!(ancestors, expected);
    assert!(world.store.ancestors(&world.home, world.home.root, NOW).await.unwrap().is_empty());
    world.trash("a").await.unwrap();
    assert_eq!(refusal(world.store.ancestors(&world.home, file.id, NOW).await), NotFound);
}
