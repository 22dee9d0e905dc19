//! Compacting, by steps: as the compactor does, on packs of this world.

use super::*;

impl World {
    /// Whether nothing more will be written to a pack, or told of it.
    fn is_sealed(state: &State, pack: PackId) -> bool {
        let is_pending = |writer: &Writer| writer.pending.packs.iter().any(|row| row.id == pack);
        !state.current.contains(&Some(pack)) && !state.writers.iter().any(is_pending)
    }

    pub(super) async fn compact(&self) {
        let Some(mut compaction) = self.with(|state| state.compaction.take()) else {
            if self.roll(3) == 0 {
                self.sweep().await;
            } else {
                self.begin_compaction().await;
            }
            return;
        };
        if !compaction.is_scanned {
            compaction.is_scanned = true;
            self.copy(&mut compaction).await;
        } else if !compaction.has_followed {
            compaction.has_followed = true;
            if let Some(to) = compaction.to {
                self.packs.flush(to);
            }
            self.index.follow(&compaction.copies).await.unwrap();
            self.check("follow").await;
        } else {
            if self.index.retire(compaction.pack.id, self.now()).await.unwrap() {
                // It is flushed: no crash goes back beyond it.
                self.remember().await;
                self.count("pack compacted", 1);
            }
            return;
        }
        self.with(|state| state.compaction = Some(compaction));
    }

    async fn begin_compaction(&self) {
        let packs = self.index.packs().await.unwrap();
        self.with(|state| {
            let sealed: Vec<_> = packs.into_iter().filter(|pack| Self::is_sealed(state, pack.id)).collect();
            state.compaction = state.dice.pick(&sealed).map(|pack| Compaction {
                pack,
                copies: Vec::new(),
                to: None,
                is_scanned: false,
                has_followed: false,
            });
        });
    }

    async fn copy(&self, compaction: &mut Compaction) {
        let id = compaction.pack.id;
        let opened = Arc::clone(&self.packs).open(id).await.unwrap();
        let mut scanner =
            Scanner::new(opened.bytes, id, compaction.pack.salt, HEADER_LEN, opened.len, Arc::default());
        while let Some(found) = scanner.next().unwrap() {
            let payload = scanner.take_payload();
            match found {
                Found::Chunk(row) => {
                    let there = self.index.locate(&[row.hash]).await.unwrap();
                    if there.get(&row.hash).is_some_and(|there| there.location == row.location) {
                        let chunk = Chunk { hash: row.hash, size: row.size };
                        let new = NewChunk { chunk, codec: row.codec, pieces: vec![payload] };
                        let copy = self.append(1, Some(new), None, Some(row.location)).await;
                        let to = copy.chunks[0];
                        compaction.to = Some(to.location.pack);
                        self.packs.flush(to.location.pack);
                        compaction.copies.push(Moved::Chunk { from: row.location, to });
                    }
                }
                Found::Blob(NewBlob { row, .. }) => {
                    let there = self.index.locate_blobs(&[row.id]).await.unwrap();
                    if there.get(&row.id) == Some(&row.manifest) {
                        let manifest = Manifest::decode(&payload);
                        let copy = self.append(1, None, manifest, Some(row.manifest)).await;
                        let to = copy.blobs[0].row.manifest;
                        compaction.to = Some(to.pack);
                        self.packs.flush(to.pack);
                        compaction.copies.push(Moved::Blob { id: row.id, from: row.manifest, to });
                    }
                }
                Found::Segment(_) | Found::Locked(_) => panic!("nobody wrote that"),
            }
        }
    }

    async fn sweep(&self) {
        for (pack, _) in self.index.retired_packs().await.unwrap() {
            Arc::clone(&self.packs).delete(pack).await.unwrap();
            self.count("pack deleted", 1);
            if self.roll(4) > 0 {
                self.index.forget(pack).await.unwrap();
            }
        }
        self.check("sweep").await;
    }
}
