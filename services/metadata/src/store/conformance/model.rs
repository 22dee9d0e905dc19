//! The store against a model: random operations, done to both, must have the same outcome.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::domain::error::Error as Refusal;
use crate::domain::node::{Kind, Order};
use crate::domain::path::MAX_DEPTH;
use crate::store::Purge;

on_both!(random_operations_agree_with_the_model);

/// A tree in memory that does everything the plain way.
#[derive(Default)]
struct Model {
    nodes: BTreeMap<NodeId, Entry>,
    used: u64,
    changes: u64,
}

#[derive(Clone)]
struct Entry {
    parent: Option<NodeId>,
    name: String,
    kind: Kind,
    trashed: bool,
    /// The content of each version, the latest last.
    versions: Vec<String>,
}

type Outcome = std::result::Result<(), Refusal>;

impl Model {
    fn way_up(&self, id: NodeId) -> impl Iterator<Item = (NodeId, &Entry)> {
        std::iter::successors(Some(id), |id| self.nodes[id].parent).map(|id| (id, &self.nodes[&id]))
    }

    fn live(&self, id: NodeId) -> std::result::Result<&Entry, Refusal> {
        if !self.nodes.contains_key(&id) || self.way_up(id).any(|(_, entry)| entry.trashed) {
            return Err(Refusal::NotFound);
        }
        Ok(&self.nodes[&id])
    }

    fn folder(&self, id: NodeId) -> Outcome {
        if self.live(id)?.kind == Kind::Folder { Ok(()) } else { Err(Refusal::NotAFolder) }
    }

    fn child(&self, parent: NodeId, name: &str) -> Option<NodeId> {
        let here = |entry: &Entry| entry.parent == Some(parent) && entry.name == name && !entry.trashed;
        self.nodes.iter().find(|(_, entry)| here(entry)).map(|(&id, _)| id)
    }

    fn depth(&self, id: NodeId) -> usize {
        self.way_up(id).count() - 1
    }

    fn below(&self, id: NodeId) -> Vec<NodeId> {
        let under = |node: &NodeId| self.way_up(*node).any(|(above, _)| above == id);
        self.nodes.keys().copied().filter(under).collect()
    }

    fn add(&mut self, id: NodeId, parent: NodeId, name: &str, kind: Kind, versions: Vec<String>) {
        self.changes += 1;
        self.nodes.insert(
            id,
            Entry { parent: Some(parent), name: name.to_owned(), kind, trashed: false, versions },
        );
    }

    fn can_make(&self, parent: NodeId, name: &str) -> Outcome {
        self.folder(parent)?;
        if self.depth(parent) + 1 > MAX_DEPTH {
            return Err(Refusal::InvalidPath("must not be deeper than 64 names"));
        }
        if self.child(parent, name).is_some() { Err(Refusal::NameConflict) } else { Ok(()) }
    }

    fn move_(&mut self, id: NodeId, name: &str, parent: NodeId) -> Outcome {
        let entry = self.live(id)?.clone();
        if entry.parent.is_none() {
            return Err(Refusal::RootImmutable);
        }
        if entry.parent != Some(parent) {
            self.folder(parent)?;
            if self.below(id).contains(&parent) {
                return Err(Refusal::WouldCycle);
            }
        } else if entry.name == name {
            return Ok(());
        }
        if self.child(parent, name).is_some_and(|other| other != id) {
            return Err(Refusal::NameConflict);
        }
        self.changes += 1;
        let entry = self.nodes.get_mut(&id).unwrap();
        (entry.parent, entry.name) = (Some(parent), name.to_owned());
        Ok(())
    }

    fn write(&mut self, id: NodeId, content: &str) -> Outcome {
        if self.live(id)?.kind != Kind::File {
            return Err(Refusal::NotAFile);
        }
        let size = content.len() as u64;
        if self.nodes[&id].versions.last().is_some_and(|current| current == content) {
            return Ok(());
        }
        self.charge(size)?;
        self.changes += 1;
        self.nodes.get_mut(&id).unwrap().versions.push(content.to_owned());
        Ok(())
    }

    fn charge(&mut self, size: u64) -> Outcome {
        if self.used + size > QUOTA {
            return Err(Refusal::QuotaExceeded);
        }
        self.used += size;
        Ok(())
    }

    fn trash(&mut self, id: NodeId) -> Outcome {
        if self.live(id)?.parent.is_none() {
            return Err(Refusal::RootImmutable);
        }
        self.changes += 1;
        self.nodes.get_mut(&id).unwrap().trashed = true;
        Ok(())
    }

    fn restore(&mut self, id: NodeId) -> Outcome {
        let entry = self.nodes.get(&id).ok_or(Refusal::NotFound)?.clone();
        if !entry.trashed {
            return Err(Refusal::NotTrashed);
        }
        let parent = entry.parent.unwrap();
        self.folder(parent)?;
        if self.child(parent, &entry.name).is_some() {
            return Err(Refusal::NameConflict);
        }
        self.changes += 1;
        self.nodes.get_mut(&id).unwrap().trashed = false;
        Ok(())
    }

    fn purge(&mut self, id: NodeId) -> std::result::Result<u64, Refusal> {
        if !self.nodes.get(&id).ok_or(Refusal::NotFound)?.trashed {
            return Err(Refusal::NotTrashed);
        }
        let doomed = self.below(id);
        for id in &doomed {
            let entry = self.nodes.remove(id).unwrap();
            self.used -= entry.versions.iter().map(|content| content.len() as u64).sum::<u64>();
        }
        self.changes += 1;
        Ok(doomed.len() as u64)
    }
}

fn outcome<T>(result: Result<T>) -> Outcome {
    match result {
        Ok(_) => Ok(()),
        Err(Error::Refused(refusal)) => Err(refusal),
        Err(error) => panic!("{error:?}"),
    }
}

async fn random_operations_agree_with_the_model(world: &World) {
    let seed: u64 =
        std::env::var("MODEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("MODEL_SEED={seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let (store, home) = (&world.store, &world.home);
    let mut model = Model::default();
    let root =
        Entry { parent: None, name: String::new(), kind: Kind::Folder, trashed: false, versions: vec![] };
    model.nodes.insert(home.root, root);
    // Ids that once were stay in play.
    let mut ids = vec![home.root];

    for step in 0..400 {
        let mut pick = || ids[rng.random_range(0..ids.len())];
        let (one, other) = (pick(), pick());
        let label = ["a", "b", "c", "d", "e"][rng.random_range(0..5)];
        // Now and then too much for the quota.
        let content = label.repeat(if rng.random_ratio(1, 10) { 300_000 } else { rng.random_range(0..4) });
        let none = &Precondition::None;
        let (what, did, should) = match rng.random_range(0..9) {
            0 => {
                let should = model.can_make(one, label);
                let new = NewFolder { parent: NodeRef::Id(one), names: vec![name(label)], parents: false };
                let made = store.create_folder(home, &new, None, NOW).await;
                if let Ok(made) = &made {
                    model.add(made.node.id, one, label, Kind::Folder, vec![]);
                    ids.push(made.node.id);
                }
                ("mkdir", outcome(made), should)
            }
            1 | 2 => {
                let target = Target::Child { parent: one, name: name(label) };
                let made = world.put_at(target, &content, NOW).await;
                let should = match model.folder(one) {
                    Err(refusal) => Err(refusal),
                    Ok(()) => match model.child(one, label) {
                        Some(there) => model.write(there, &content),
                        None => model.can_make(one, label).and_then(|()| model.charge(content.len() as u64)),
                    },
                };
                if let Ok(Made { node, created: true }) = &made {
                    model.add(node.id, one, label, Kind::File, vec![content.clone()]);
                    ids.push(node.id);
                }
                ("put", outcome(made), should)
            }
            3 => (
                "write",
                outcome(world.put_at(Target::Node(one), &content, NOW).await),
                model.write(one, &content),
            ),
            4 => ("move", outcome(world.move_to(one, other).await), {
                let label = model.nodes.get(&one).map(|entry| entry.name.clone()).unwrap_or_default();
                model.move_(one, &label, other)
            }),
            5 => ("rename", outcome(world.rename(one, label).await), {
                let parent = model.nodes.get(&one).and_then(|entry| entry.parent).unwrap_or(home.root);
                model.move_(one, label, parent)
            }),
            6 => (
                "trash",
                outcome(store.trash_node(home, &NodeRef::Id(one), none, NOW).await),
                model.trash(one),
            ),
            7 => {
                ("restore", outcome(store.restore_node(home, one, None, None, NOW).await), model.restore(one))
            }
            // Rarely, or nothing would ever be left.
            _ if rng.random_ratio(1, 2) => {
                let did = store.purge_by(home, Purge::Node(one), NOW, 2).await;
                let should = model.purge(one);
                if let (Ok(did), Ok(should)) = (&did, &should) {
                    assert_eq!(did, should, "nodes purged, seed {seed}, step {step}");
                }
                ("purge", outcome(did), should.map(drop))
            }
            _ => ("nothing", Ok(()), Ok(())),
        };
        assert_eq!(did, should, "{what} of {one} ({other}, {label}), seed {seed}, step {step}");
    }

    // Everything looks alike from outside.
    for &id in &ids {
        let expected = model.live(id);
        match (world.by_id(id).await, expected) {
            (Ok(node), Ok(entry)) => {
                assert_eq!((&node.name, node.parent, node.kind), (&entry.name, entry.parent, entry.kind));
                if node.kind == Kind::File {
                    let versions = store.versions(home, id, None, 1000).await.unwrap().items;
                    let sizes: Vec<u64> = versions.iter().rev().map(|version| version.size).collect();
                    let expected: Vec<u64> =
                        entry.versions.iter().map(|content| content.len() as u64).collect();
                    assert_eq!(sizes, expected, "seed {seed}");
                } else {
                    let page = store.children(home, id, Order::Name, false, None, 1000).await;
                    let children: Vec<NodeId> = page.unwrap().items.iter().map(|node| node.id).collect();
                    let mut expected: Vec<(&str, NodeId)> = model
                        .nodes
                        .iter()
                        .filter(|(_, entry)| entry.parent == Some(id) && !entry.trashed)
                        .map(|(&id, entry)| (entry.name.as_str(), id))
                        .collect();
                    expected.sort_unstable();
                    assert_eq!(
                        children,
                        expected.iter().map(|(_, id)| *id).collect::<Vec<_>>(),
                        "seed {seed}"
                    );
                }
            }
            (Err(error), Err(expected)) => assert_eq!(refusal::<()>(Err(error)), expected, "seed {seed}"),
            (node, expected) => panic!("{id}: {node:?} where {} was expected, seed {seed}", expected.is_ok()),
        }
    }
    let space = store.space(home).await.unwrap();
    assert_eq!((space.used, space.change_sequence), (model.used, model.changes), "seed {seed}");
    world.check_invariants().await;
}
