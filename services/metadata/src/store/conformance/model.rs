//! The store against a model: random operations, done to both, must have the same outcome.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::domain::error::Error as Refusal;
use crate::domain::node::Kind;
use crate::domain::path::MAX_DEPTH;
use crate::store::Purge;

on_both!(random_operations_agree_with_the_model);

/// A tree in memory that does everything the plain way.
#[derive(Default)]
struct Model {
    nodes: BTreeMap<NodeId, Entry>,
    used: u64,
    changes: u64,
    now: i64,
}

#[derive(Clone)]
struct Entry {
    parent: Option<NodeId>,
    name: String,
    kind: Kind,
    trashed: bool,
    /// The content of each version, the latest last.
    versions: Vec<String>,
    modified: i64,
    expires: Option<i64>,
    policy: Policy,
}

impl Entry {
    fn new(parent: Option<NodeId>, name: &str, kind: Kind, modified: i64) -> Self {
        let (name, versions) = (name.to_owned(), Vec::new());
        Self { parent, name, kind, trashed: false, versions, modified, expires: None, policy: Policy::NONE }
    }
}

type Outcome = std::result::Result<(), Refusal>;

impl Model {
    fn way_up(&self, id: NodeId) -> impl Iterator<Item = (NodeId, &Entry)> {
        std::iter::successors(Some(id), |id| self.nodes[id].parent).map(|id| (id, &self.nodes[&id]))
    }

    /// A node whose time is not over.
    fn there(&self, id: NodeId) -> std::result::Result<&Entry, Refusal> {
        self.nodes
            .get(&id)
            .filter(|entry| entry.expires.is_none_or(|at| at > self.now))
            .ok_or(Refusal::NotFound)
    }

    fn live(&self, id: NodeId) -> std::result::Result<&Entry, Refusal> {
        let entry = self.there(id)?;
        if self.way_up(id).any(|(_, entry)| entry.trashed) { Err(Refusal::NotFound) } else { Ok(entry) }
    }

    fn folder(&self, id: NodeId) -> Outcome {
        if self.live(id)?.kind == Kind::Folder { Ok(()) } else { Err(Refusal::NotAFolder) }
    }

    /// Who has a name, even when its time is over.
    fn holder(&self, parent: NodeId, name: &str) -> Option<NodeId> {
        let here = |entry: &Entry| entry.parent == Some(parent) && entry.name == name && !entry.trashed;
        self.nodes.iter().find(|(_, entry)| here(entry)).map(|(&id, _)| id)
    }

    fn child(&self, parent: NodeId, name: &str) -> Option<NodeId> {
        self.holder(parent, name).filter(|&id| self.there(id).is_ok())
    }

    /// The name that a node can have, freed from what is expired.
    fn name_for(
        &mut self,
        node: Option<NodeId>,
        parent: NodeId,
        name: &str,
        keep_both: bool,
    ) -> std::result::Result<String, Refusal> {
        let is_free = |name: &str| self.child(parent, name).is_none_or(|other| Some(other) == node);
        let name = if is_free(name) {
            name.to_owned()
        } else if keep_both {
            (1..).map(|number| format!("{name}({number})")).find(|name| is_free(name)).unwrap()
        } else {
            return Err(Refusal::NameConflict);
        };
        if let Some(expired) = self.holder(parent, &name).filter(|&other| Some(other) != node) {
            self.remove(expired);
        }
        Ok(name)
    }

    fn depth(&self, id: NodeId) -> usize {
        self.way_up(id).count() - 1
    }

    fn below(&self, id: NodeId) -> Vec<NodeId> {
        let under = |node: &NodeId| self.way_up(*node).any(|(above, _)| above == id);
        self.nodes.keys().copied().filter(under).collect()
    }

    /// Deletes a node with all below it, as one change.
    fn remove(&mut self, id: NodeId) -> u64 {
        let doomed = self.below(id);
        for id in &doomed {
            let entry = self.nodes.remove(id).unwrap();
            self.used -= entry.versions.iter().map(|content| content.len() as u64).sum::<u64>();
        }
        self.changes += 1;
        doomed.len() as u64
    }

    fn fits(&self, parent: NodeId) -> Outcome {
        self.folder(parent)?;
        if self.depth(parent) + 1 > MAX_DEPTH {
            return Err(Refusal::InvalidPath("must not be deeper than 64 names"));
        }
        Ok(())
    }

    fn mkdir(&mut self, parent: NodeId, name: &str) -> Outcome {
        self.fits(parent)?;
        self.name_for(None, parent, name, false).map(drop)
    }

    /// What a put of something new is called.
    fn put(
        &mut self,
        parent: NodeId,
        name: &str,
        keep_both: bool,
        size: u64,
    ) -> std::result::Result<String, Refusal> {
        self.fits(parent)?;
        let name = self.name_for(None, parent, name, keep_both)?;
        self.charge(size)?;
        Ok(name)
    }

    fn add_folder(&mut self, id: NodeId, parent: NodeId, name: &str) {
        self.changes += 1;
        self.nodes.insert(id, Entry::new(Some(parent), name, Kind::Folder, self.now));
    }

    fn add_file(&mut self, id: NodeId, parent: NodeId, name: &str, content: &str) {
        self.changes += 1;
        let mut entry = Entry::new(Some(parent), name, Kind::File, self.now);
        entry.versions.push(content.to_owned());
        self.nodes.insert(id, entry);
        self.arrive(id);
    }

    /// Has a folder's policy for what came into it.
    fn arrive(&mut self, id: NodeId) {
        let entry = &self.nodes[&id];
        if entry.kind == Kind::Folder {
            return;
        }
        let parent = entry.parent.unwrap();
        let policy = self.nodes[&parent].policy;
        self.nodes.get_mut(&id).unwrap().expires = policy.expiry(self.now);
        if policy.max_files == 0 {
            return;
        }
        let mut others: Vec<_> = self
            .nodes
            .iter()
            .filter(|&(&other, entry)| {
                other != id && entry.parent == Some(parent) && entry.kind == Kind::File && !entry.trashed
            })
            .map(|(&other, entry)| (entry.expires.unwrap_or(i64::MAX), entry.modified, other))
            .collect();
        others.sort_unstable();
        others.truncate((others.len() + 1).saturating_sub(policy.max_files as usize));
        for (.., other) in others {
            self.remove(other);
        }
    }

    fn move_(&mut self, id: NodeId, name: Option<&str>, parent: Option<NodeId>, keep_both: bool) -> Outcome {
        let entry = self.live(id)?.clone();
        let Some(from) = entry.parent else { return Err(Refusal::RootImmutable) };
        let (name, to) = (name.unwrap_or(&entry.name), parent.unwrap_or(from));
        if to != from {
            self.folder(to)?;
            if self.below(id).contains(&to) {
                return Err(Refusal::WouldCycle);
            }
        } else if entry.name == name {
            return Ok(());
        }
        let name = self.name_for(Some(id), to, name, keep_both)?;
        if to == from && name == entry.name {
            return Ok(());
        }
        self.changes += 1;
        let now = self.now;
        let entry = self.nodes.get_mut(&id).unwrap();
        (entry.parent, entry.name, entry.modified) = (Some(to), name, now);
        if to != from {
            self.arrive(id);
        }
        Ok(())
    }

    fn write(&mut self, id: NodeId, content: &str) -> Outcome {
        let entry = self.live(id)?;
        if entry.kind != Kind::File {
            return Err(Refusal::NotAFile);
        }
        let policy = self.nodes[&entry.parent.unwrap()].policy;
        let now = self.now;
        if entry.versions.last().is_some_and(|current| current == content) {
            self.nodes.get_mut(&id).unwrap().expires = policy.expiry(now);
            return Ok(());
        }
        self.charge(content.len() as u64)?;
        self.changes += 1;
        let entry = self.nodes.get_mut(&id).unwrap();
        entry.versions.push(content.to_owned());
        (entry.modified, entry.expires) = (now, policy.expiry(now));
        if policy.max_versions > 0 {
            let excess = entry.versions.len().saturating_sub(policy.max_versions as usize);
            self.used -= entry.versions.drain(..excess).map(|content| content.len() as u64).sum::<u64>();
        }
        Ok(())
    }

    fn charge(&mut self, size: u64) -> Outcome {
        if self.used + size > QUOTA {
            return Err(Refusal::QuotaExceeded);
        }
        self.used += size;
        Ok(())
    }

    fn set_policy(&mut self, id: NodeId, policy: Policy) -> Outcome {
        self.folder(id)?;
        let entry = self.nodes.get_mut(&id).unwrap();
        if entry.policy != policy {
            entry.policy = policy;
            self.changes += 1;
        }
        Ok(())
    }

    fn trash(&mut self, id: NodeId) -> Outcome {
        let Some(parent) = self.live(id)?.parent else { return Err(Refusal::RootImmutable) };
        if self.nodes[&parent].policy.skip_trash {
            self.remove(id);
        } else {
            self.changes += 1;
            self.nodes.get_mut(&id).unwrap().trashed = true;
        }
        Ok(())
    }

    fn restore(&mut self, id: NodeId) -> Outcome {
        let entry = self.there(id)?.clone();
        if !entry.trashed {
            return Err(Refusal::NotTrashed);
        }
        let parent = entry.parent.unwrap();
        self.folder(parent)?;
        self.name_for(Some(id), parent, &entry.name, false)?;
        self.changes += 1;
        self.nodes.get_mut(&id).unwrap().trashed = false;
        self.arrive(id);
        Ok(())
    }

    fn purge(&mut self, id: NodeId) -> std::result::Result<u64, Refusal> {
        if !self.there(id)?.trashed {
            return Err(Refusal::NotTrashed);
        }
        Ok(self.remove(id))
    }

    fn sweep(&mut self) {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            if self.there(id).is_err() {
                self.remove(id);
            }
        }
    }
}

fn outcome<T>(result: Result<T>) -> Outcome {
    match result {
        Ok(_) => Ok(()),
        Err(Error::Refused(refusal)) => Err(refusal),
        Err(error) => panic!("{error:?}"),
    }
}

/// A policy as they come; more often than not nothing special.
fn some_policy(rng: &mut SmallRng) -> Policy {
    Policy {
        time_to_live: rng.random_ratio(1, 3).then(|| rng.random_range(1..40)),
        max_files: if rng.random_ratio(1, 3) { rng.random_range(1..4) } else { 0 },
        max_versions: if rng.random_ratio(1, 3) { rng.random_range(1..3) } else { 0 },
        skip_trash: rng.random_ratio(1, 4),
    }
}

async fn random_operations_agree_with_the_model(world: &World) {
    let seed: u64 =
        std::env::var("MODEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("MODEL_SEED={seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let (store, home) = (&world.store, &world.home);
    let mut model = Model { now: NOW, ..Model::default() };
    model.nodes.insert(home.root, Entry::new(None, "", Kind::Folder, NOW));
    // Ids that once were stay in play.
    let mut ids = vec![home.root];

    for step in 0..500 {
        model.now += rng.random_range(0..3);
        let now = model.now;
        let mut pick = || ids[rng.random_range(0..ids.len())];
        let (one, other) = (pick(), pick());
        let label = ["a", "b", "c", "d", "e"][rng.random_range(0..5)];
        let keep_both = rng.random_ratio(1, 3);
        // Now and then too much for the quota.
        let content = label.repeat(if rng.random_ratio(1, 10) { 300_000 } else { rng.random_range(0..4) });
        let size = content.len() as u64;
        let none = &Precondition::None;
        let update = |name, parent| NodeUpdate { name, parent, keep_both };
        let (what, did, should) = match rng.random_range(0..11) {
            0 => {
                let should = model.mkdir(one, label);
                let new = NewFolder {
                    parent: NodeRef::Id(one),
                    names: vec![name(label)],
                    parents: false,
                    policy: None,
                };
                let made = store.create_folder(home, &new, None, now).await;
                if let Ok(made) = &made {
                    model.add_folder(made.node.id, one, label);
                    ids.push(made.node.id);
                }
                ("mkdir", outcome(made), should)
            }
            1..=3 => {
                let target = Target::Child { parent: one, name: name(label) };
                let put = Commit { keep_both, ..commit(target, &content) };
                let made = store.commit_upload(home, &put, now).await;
                let there = model.folder(one).map(|()| model.child(one, label).filter(|_| !keep_both));
                let should = match there {
                    Err(refusal) => Err(refusal),
                    Ok(Some(there)) => model.write(there, &content),
                    Ok(None) => model.put(one, label, keep_both, size).map(|name| {
                        if let Ok(Committed { node, created: true, .. }) = &made {
                            assert_eq!(node.name, name, "seed {seed}, step {step}");
                            model.add_file(node.id, one, &name, &content);
                            ids.push(node.id);
                        }
                    }),
                };
                ("put", outcome(made), should)
            }
            4 => {
                let did = world.put_at(Target::Node(one), &content, now).await;
                ("write", outcome(did), model.write(one, &content))
            }
            5 => {
                let did = store.update_node(home, one, &update(None, Some(other)), none, now).await;
                ("move", outcome(did), model.move_(one, None, Some(other), keep_both))
            }
            6 => {
                let did = store.update_node(home, one, &update(Some(name(label)), None), none, now).await;
                ("rename", outcome(did), model.move_(one, Some(label), None, keep_both))
            }
            7 => {
                let did = store.trash_by(home, &NodeRef::Id(one), none, now, 1000).await;
                ("trash", outcome(did), model.trash(one))
            }
            8 => {
                ("restore", outcome(store.restore_node(home, one, None, None, now).await), model.restore(one))
            }
            9 => {
                let policy = some_policy(&mut rng);
                let did = store.set_folder_policy(home, &NodeRef::Id(one), policy, none, now).await;
                ("policy", outcome(did), model.set_policy(one, policy))
            }
            // Rarely, or nothing would ever be left.
            _ if rng.random_ratio(1, 2) => {
                let did = store.purge_by(home, Purge::Node(one), now, 2).await;
                let should = model.purge(one);
                if let (Ok(did), Ok(should)) = (&did, &should) {
                    assert_eq!(did, should, "nodes purged, seed {seed}, step {step}");
                }
                ("purge", outcome(did), should.map(drop))
            }
            _ => {
                model.sweep();
                ("sweep", outcome(store.sweep_expired(now).await), Ok(()))
            }
        };
        assert_eq!(did, should, "{what} of {one} ({other}, {label}), seed {seed}, step {step}");
        let space = store.space(home).await.unwrap();
        let counters = (space.used, space.change_sequence);
        assert_eq!(counters, (model.used, model.changes), "{what} of {one}, seed {seed}, step {step}");
    }

    // Everything looks alike from outside.
    let now = model.now;
    for &id in &ids {
        let expected = model.live(id);
        match (store.node(home, &NodeRef::Id(id), now).await, expected) {
            (Ok(node), Ok(entry)) => {
                assert_eq!((&node.name, node.parent, node.kind), (&entry.name, entry.parent, entry.kind));
                assert_eq!((node.expires_at, node.policy), (entry.expires, entry.policy), "seed {seed}");
                if node.kind == Kind::File {
                    let versions = store.versions(home, id, None, 1000, now).await.unwrap().items;
                    let sizes: Vec<u64> = versions.iter().rev().map(|version| version.size).collect();
                    let expected: Vec<u64> =
                        entry.versions.iter().map(|content| content.len() as u64).collect();
                    assert_eq!(sizes, expected, "seed {seed}");
                } else {
                    let page = store.children(home, id, sorted(Order::Name), None, 1000, now).await;
                    let children: Vec<NodeId> = page.unwrap().items.iter().map(|node| node.id).collect();
                    let mut expected: Vec<(&str, NodeId)> = model
                        .nodes
                        .iter()
                        .filter(|&(&child, entry)| {
                            entry.parent == Some(id) && !entry.trashed && model.there(child).is_ok()
                        })
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
    world.check_invariants().await;
}
