//! Pages of children.

use std::collections::HashSet;

use super::*;
use crate::domain::node::ChildPosition;

on_both!(every_order_shows_every_child_once, a_list_that_changes_repeats_nothing);

async fn pages(world: &World, folder: NodeId, order: Order, descending: bool, size: u32) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut after = None;
    loop {
        let page = world
            .store
            .children(&world.home, folder, Sort { by: order, descending }, after.as_ref(), size, NOW)
            .await
            .unwrap();
        assert!(page.items.len() <= size as usize);
        assert!(!page.has_more || page.items.len() == size as usize);
        after = page.items.last().map(|node| ChildPosition::of(node, order));
        nodes.extend(page.items);
        if !page.has_more {
            return nodes;
        }
    }
}

async fn every_order_shows_every_child_once(world: &World) {
    let folder = world.mkdir("", "d").await.unwrap();
    // Beside it, and gone: what must not be listed.
    world.mkdirs("e/x").await.unwrap();
    world.put("d/gone", "x").await.unwrap();
    world.trash("d/gone").await.unwrap();
    let make = async |index: i64| {
        // Times tie in groups, and run against the names.
        let now = NOW - SECOND * (index / 7);
        let start = ["a", "B", "ä", "_", "日"][usize::try_from(index % 5).unwrap()];
        let name = name(&format!("{start}-{index}"));
        if index % 10 == 0 {
            let new =
                NewFolder { parent: NodeRef::Id(folder.id), names: vec![name], parents: false, policy: None };
            world.store.create_folder(&world.home, &new, None, now).await.unwrap().node
        } else {
            world
                .put_at(Target::Child { parent: folder.id, name }, &index.to_string(), now)
                .await
                .unwrap()
                .node
        }
    };
    let mut expected = futures::future::join_all((0..1203).map(make)).await;
    for size in [1000, 100, 7] {
        for descending in [false, true] {
            expected.sort_by(|a, b| a.name.cmp(&b.name));
            if descending {
                expected.reverse();
            }
            assert!(
                pages(world, folder.id, Order::Name, descending, size).await == expected,
                "name {descending} {size}"
            );
            expected.sort_by_key(|node| (node.modified_at, node.id));
            if descending {
                expected.reverse();
            }
            assert!(
                pages(world, folder.id, Order::Modified, descending, size).await == expected,
                "modified {descending} {size}"
            );
        }
    }
    assert_eq!(pages(world, folder.id, Order::Name, false, 1203).await.len(), 1203, "no empty last page");
}

async fn a_list_that_changes_repeats_nothing(world: &World) {
    for index in 0..20 {
        world.mkdir("", &format!("{index:02}")).await.unwrap();
    }
    let root = world.home.root;
    let first =
        world.store.children(&world.home, root, sorted(Order::Name), None, 10, NOW).await.unwrap().items;
    world.trash("09").await.unwrap();
    world.trash("15").await.unwrap();
    world.mkdir("", "05a").await.unwrap();
    world.mkdir("", "15a").await.unwrap();
    let after = ChildPosition::of(first.last().unwrap(), Order::Name);
    let second = world
        .store
        .children(&world.home, root, sorted(Order::Name), Some(&after), 100, NOW)
        .await
        .unwrap()
        .items;
    let names: Vec<&str> = second.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["10", "11", "12", "13", "14", "15a", "16", "17", "18", "19"]);
    let ids: HashSet<NodeId> = first.iter().chain(&second).map(|node| node.id).collect();
    assert_eq!(ids.len(), first.len() + second.len());
    // A position of another order is none of this one.
    let result =
        world.store.children(&world.home, root, sorted(Order::Modified), Some(&after), 10, NOW).await;
    assert_eq!(refusal(result), domain::error::Error::InvalidPageToken);
}
