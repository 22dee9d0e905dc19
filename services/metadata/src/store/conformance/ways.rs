//! Paths that are followed together.

use super::super::stride::{Way, stride, strides};
use super::*;

on_both!(together_paths_lead_where_they_lead_alone, paths_that_come_together_are_followed_together);

fn ways(world: &World) -> Vec<Way> {
    let root = world.home.root;
    let mut ways: Vec<Way> = ["", "a", "a/b", "a/b/f", "a/b/g", "a/x/y", "f", "z/z/z/z"]
        .into_iter()
        .cycle()
        .take(100)
        .map(|text| (root, path(text).names().to_vec()))
        .collect();
    ways.push((NodeId::new(NOW), Vec::new()));
    ways.push((NodeId::new(NOW), path("a").names().to_vec()));
    ways
}

async fn together_paths_lead_where_they_lead_alone(world: &World) {
    world.put("a/b/f", "one").await.unwrap();
    world.put("f", "two").await.unwrap();
    world.put("a/b/g", "three").await.unwrap();
    world.trash("a/b/g").await.unwrap();
    world.policy("a/b", Policy { max_files: 7, ..Policy::NONE }).await;
    let db = world.db.database();
    let ways = ways(world);
    let ends = strides(db, &ways).await.unwrap();
    assert_eq!(ends.len(), ways.len());
    for (end, (from, names)) in ends.into_iter().zip(&ways) {
        match (end, stride(db.into(), *from, names).await) {
            (Some(end), Ok(alone)) => {
                assert_eq!((&end.node, end.depth, end.room), (&alone.node, alone.depth, alone.room));
                assert_eq!((end.folder, end.expired), (alone.folder, alone.expired));
            }
            (None, alone) => {
                assert_ne!(*from, world.home.root);
                assert_eq!(refusal(alone.map(drop)), domain::error::Error::NotFound);
            }
            (Some(_), Err(error)) => panic!("{error}"),
        }
    }
}

async fn paths_that_come_together_are_followed_together(world: &World) {
    let stranger = world.stranger().await;
    for name in 0..20 {
        world.put(&format!("a/b/{name}"), &name.to_string()).await.unwrap();
    }
    let looks = (0..200).map(|index| async move {
        let (name, home) = (index % 25, if index % 7 == 0 { &stranger } else { &world.home });
        let found = world.store.node(home, &at(&format!("a/b/{name}")), NOW).await;
        match name < 20 && index % 7 != 0 {
            true => assert_eq!(found.unwrap().name, name.to_string()),
            false => assert_eq!(refusal(found), domain::error::Error::NotFound),
        }
    });
    futures::future::join_all(looks).await;
}
