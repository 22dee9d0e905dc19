//! Names beside names that are taken.

use std::collections::HashSet;

use super::*;
use crate::domain::error::Error::{IdempotencyMismatch, NotAFile, PreconditionFailed};

on_both!(
    a_taken_name_gets_a_neighbour,
    commits_of_a_batch_get_different_names,
    a_kept_name_is_given_once,
    renames_take_the_next_name,
    long_names_find_their_place,
    expired_neighbours_are_not_there,
);

fn beside(target: Target, content: &str) -> Commit {
    Commit { keep_both: true, ..commit(target, content) }
}

async fn put(world: &World, path_: &str, content: &str) -> String {
    let commit = beside(Target::Path(path(path_)), content);
    let made = world.store.commit_upload(&world.home, &commit, NOW).await.unwrap();
    assert!(made.created);
    assert_eq!(world.by_id(made.node.id).await.unwrap(), made.node);
    made.node.name
}

async fn a_taken_name_gets_a_neighbour(world: &World) {
    let (store, home) = (&world.store, &world.home);
    assert_eq!(put(world, "a.txt", "x").await, "a.txt", "free");
    assert_eq!(put(world, "a.txt", "x").await, "a(1).txt", "equal content makes a new file, too");
    assert_eq!(put(world, "a.txt", "y").await, "a(2).txt");
    world.trash("a(1).txt").await.unwrap();
    assert_eq!(put(world, "a.txt", "z").await, "a(1).txt", "the smallest that is free");
    assert_eq!(put(world, "a(1).txt", "z").await, "a(1)(1).txt");
    world.mkdir("", "d.x").await.unwrap();
    assert_eq!(put(world, "d.x", "x").await, "d(1).x", "beside a folder");
    assert_eq!(put(world, "new/e/f", "x").await, "f", "with folders on the way");
    assert_eq!(put(world, "new/e/f", "x").await, "f(1)");
    assert_eq!(put(world, ".h", "x").await, ".h");
    assert_eq!(put(world, ".h", "x").await, ".h(1)");
    let child = Target::Child { parent: home.root, name: name("a.txt") };
    let made = store.commit_upload(home, &beside(child.clone(), "x"), NOW).await.unwrap();
    assert_eq!(made.node.name, "a(3).txt");
    // The beginning is no more particular.
    for target in [child, Target::Path(path("d.x")), Target::Path(path("nowhere/x"))] {
        let begun = store.begin_upload(home, &target, true, Some(1), &Precondition::None, NOW).await;
        assert!(begun.is_ok(), "{target:?}");
        let begun = store.begin_upload(home, &target, true, Some(1), &Precondition::Present, NOW).await;
        assert_eq!(refusal(begun), PreconditionFailed);
    }
    let root = store.begin_upload(home, &Target::Path(path("")), true, None, &Precondition::None, NOW).await;
    assert_eq!(refusal(root), NotAFile);
    let versions = store.versions(home, world.get("a.txt").await.unwrap().id, None, 10, NOW).await.unwrap();
    assert_eq!(versions.items.len(), 1, "what was there is as it was");
    // Through ten and on.
    for index in 1..=12 {
        world.mkdir("new", &format!("n({index})")).await.unwrap();
    }
    world.mkdir("new", "n").await.unwrap();
    assert_eq!(put(world, "new/n", "x").await, "n(13)");
    world.check_invariants().await;
}

async fn commits_of_a_batch_get_different_names(world: &World) {
    world.mkdir("", "d").await.unwrap();
    let commits: Vec<Commit> = (0..50)
        .map(|index| match index % 3 {
            // Plain ones in between, under names that the others could get.
            0 => commit(Target::Path(path(&format!("d/a({index}).txt"))), &format!("{index}")),
            _ => beside(Target::Path(path("d/a.txt")), "same"),
        })
        .collect();
    let made = futures::future::join_all(
        commits.iter().map(|commit| world.store.commit_upload(&world.home, commit, NOW)),
    )
    .await;
    let mut ids = HashSet::new();
    for (made, commit) in made.into_iter().zip(&commits) {
        let made = made.unwrap();
        if commit.keep_both {
            assert!(made.created);
            assert!(ids.insert(made.node.id));
        }
    }
    let names: HashSet<String> = world.ls("d").await.into_iter().collect();
    assert!(names.contains("a.txt") && names.contains("a(1).txt"));
    assert!(names.len() >= ids.len());
    world.check_invariants().await;
}

async fn a_kept_name_is_given_once(world: &World) {
    let (store, home) = (&world.store, &world.home);
    world.put("f", "x").await.unwrap();
    let first = Commit { key: Some(key("k")), ..beside(Target::Path(path("f")), "x") };
    let made = store.commit_upload(home, &first, NOW).await.unwrap();
    assert_eq!(made.node.name, "f(1)");
    assert_eq!(store.commit_upload(home, &first, NOW).await.unwrap(), made, "by receipt");
    let anew = Commit { stored: stored("x"), ..first.clone() };
    assert_eq!(store.commit_upload(home, &anew, NOW).await.unwrap(), made, "by key");
    let plain = Commit { keep_both: false, ..anew };
    assert_eq!(refusal(store.commit_upload(home, &plain, NOW).await), IdempotencyMismatch);
    assert_eq!(world.ls("").await, ["f", "f(1)"]);
    let absent = Commit { precondition: Precondition::Absent, ..beside(Target::Path(path("f")), "x") };
    assert_eq!(store.commit_upload(home, &absent, NOW).await.unwrap().node.name, "f(2)");
    let present = Commit { precondition: Precondition::Present, ..beside(Target::Path(path("f")), "x") };
    assert_eq!(refusal(store.commit_upload(home, &present, NOW).await), PreconditionFailed);
    world.check_invariants().await;
}

async fn renames_take_the_next_name(world: &World) {
    let (store, home) = (&world.store, &world.home);
    let folder = world.mkdir("", "d").await.unwrap().id;
    world.put("a.txt", "x").await.unwrap();
    world.put("d/a.txt", "x").await.unwrap();
    let file = world.put("b", "x").await.unwrap().node.id;
    let none = &Precondition::None;
    let update = async |parent, to: &str| {
        let update = NodeUpdate { parent, keep_both: true, ..renamed(to) };
        store.update_node(home, file, &update, none, NOW).await.unwrap().name
    };
    assert_eq!(update(None, "c").await, "c", "free");
    assert_eq!(update(None, "a.txt").await, "a(1).txt");
    let sequence = store.space(home).await.unwrap().change_sequence;
    assert_eq!(update(None, "a.txt").await, "a(1).txt", "what it has is free for it");
    assert_eq!(store.space(home).await.unwrap().change_sequence, sequence, "nothing was changed");
    assert_eq!(update(Some(folder), "a.txt").await, "a(1).txt");
    world.put("a(1).txt", "x").await.unwrap();
    assert_eq!(update(Some(home.root), "a(1).txt").await, "a(1)(1).txt");
    // With the name that it has, into a folder where that is taken.
    let other = world.put("d/c", "x").await.unwrap().node.id;
    world.put("c", "x").await.unwrap();
    let go = NodeUpdate { keep_both: true, ..moved(home.root) };
    assert_eq!(store.update_node(home, other, &go, none, NOW).await.unwrap().name, "c(1)");
    world.check_invariants().await;
}

async fn long_names_find_their_place(world: &World) {
    let long = format!("{}.txt", "ü".repeat(125));
    assert_eq!(put(world, &long, "x").await, long);
    let mut names = HashSet::from([long.clone()]);
    for _ in 0..12 {
        let name = put(world, &long, "x").await;
        assert!(name.len() <= 255 && name.ends_with(").txt"), "{name}");
        assert!(names.insert(name));
    }
    assert!(names.contains(&format!("{}(9).txt", "ü".repeat(124))));
    assert!(names.contains(&format!("{}(12).txt", "ü".repeat(123))));
    world.check_invariants().await;
}

async fn expired_neighbours_are_not_there(world: &World) {
    let (store, home) = (&world.store, &world.home);
    world.put("f", "x").await.unwrap();
    world.policy("", Policy { time_to_live: Some(10), ..Policy::NONE }).await;
    let old = world.put("f(1)", "x").await.unwrap().node.id;
    world.policy("", Policy::NONE).await;
    let put = async |now| {
        let made = store.commit_upload(home, &beside(Target::Path(path("f")), "x"), now).await;
        made.unwrap().node
    };
    assert_eq!(put(NOW + 9).await.name, "f(2)");
    let new = put(NOW + 10).await;
    assert_eq!(new.name, "f(1)");
    assert_ne!(new.id, old);
    assert_eq!(world.ls_at("", NOW + 10).await, ["f", "f(1)", "f(2)"]);
    assert_eq!(world.usage().await, (3, 0));
    world.check_invariants().await;
}
