//! Finding nodes by their name.

use super::*;

on_both!(
    what_is_live_is_found_with_its_path,
    nothing_of_somebody_else_is_found,
    a_page_goes_on_behind_what_is_in_the_trash,
);

/// The paths of what is found, in pages of `size`.
async fn paths(world: &World, name_: &str, size: u32, now: i64) -> Vec<String> {
    let (name, mut paths, mut after) = (name(name_), Vec::new(), None);
    loop {
        let page = world.store.named(&world.home, &name, after, size, now).await.unwrap();
        assert!(page.items.len() <= size as usize);
        after = page.items.last().map(|(id, _)| *id);
        for (id, named) in page.items {
            if let Some(named) = named {
                assert_eq!((named.node.id, named.node.name.as_str()), (id, name.as_str()));
                paths.push(named.path);
            }
        }
        if !page.has_more {
            paths.sort();
            return paths;
        }
    }
}

async fn what_is_live_is_found_with_its_path(world: &World) {
    world.put("x", "1").await.unwrap();
    world.put("a/x", "2").await.unwrap();
    world.put("a/b/x", "3").await.unwrap();
    world.mkdirs("a/x2/x").await.unwrap();
    for beside in ["X", "xx", "a/x.txt"] {
        world.put(beside, "4").await.unwrap();
    }
    for size in [1, 2, 100] {
        assert_eq!(paths(world, "x", size, NOW).await, ["a/b/x", "a/x", "a/x2/x", "x"]);
    }
    let b = world.get("a/b").await.unwrap();
    world.rename(b.id, "c").await.unwrap();
    world.trash("x").await.unwrap();
    assert_eq!(paths(world, "x", 100, NOW).await, ["a/c/x", "a/x", "a/x2/x"]);
    world.trash("a").await.unwrap();
    assert_eq!(paths(world, "x", 100, NOW).await, [""; 0]);
    let short_lived = Policy { time_to_live: Some(SECOND), ..Policy::NONE };
    world.policy("", short_lived).await;
    world.put("x", "5").await.unwrap();
    assert_eq!(paths(world, "x", 100, NOW).await, ["x"]);
    assert_eq!(paths(world, "x", 100, NOW + SECOND).await, [""; 0]);
    let deepest = vec!["ä"; 64].join("/");
    world.mkdirs(&deepest).await.unwrap();
    assert_eq!(paths(world, "a\u{308}", 10, NOW).await.last(), Some(&deepest));
}

async fn nothing_of_somebody_else_is_found(world: &World) {
    world.put("d/x", "1").await.unwrap();
    let stranger = world.stranger().await;
    assert_eq!(world.store.named(&stranger, &name("x"), None, 10, NOW).await.unwrap().items, []);
}

async fn a_page_goes_on_behind_what_is_in_the_trash(world: &World) {
    for folder in 0..10 {
        world.put(&format!("{folder}/x"), "1").await.unwrap();
    }
    for folder in 0..8 {
        world.trash(&folder.to_string()).await.unwrap();
    }
    for size in [1, 3, 10] {
        assert_eq!(paths(world, "x", size, NOW).await, ["8/x", "9/x"], "{size}");
    }
}
