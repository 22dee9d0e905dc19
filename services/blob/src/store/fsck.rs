//! Everything that rows point at, read and compared with them.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use super::index::{Error, Index};
use super::packs::PackStore;
use super::verify::{Problem, unknown_packs, verify};
use crate::domain::BlobId;
use crate::domain::payload::Encoding;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Packs that the index knows.
    pub packs: u64,
    /// Records that were looked at.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many things are wrong.
    pub problems: u64,
    /// Blobs that cannot be read whole.
    pub lost: BTreeSet<BlobId>,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The packs cannot be read now.
    #[error("the packs cannot be read")]
    Packs(#[from] io::Error),
    /// The index failed.
    #[error("the index cannot be read")]
    Index(#[from] Error),
}

/// Reads everything that the index points at, and says of each thing that is wrong what it is. Changes nothing.
pub async fn check(
    packs: &Arc<dyn PackStore>,
    index: &Index,
    encoding: &Arc<Encoding>,
    say: &mut (dyn FnMut(String) + Send),
) -> Result<Checked, CheckError> {
    let known = index.packs().await?;
    let mut checked = Checked { packs: known.len() as u64, ..Checked::default() };
    for pack in &known {
        let mut next = Some(0);
        while let Some(from) = next {
            let found = verify(packs, index, encoding, pack, from).await?;
            checked.records += found.records;
            checked.bytes += found.bytes;
            checked.problems += found.problems.len() as u64;
            next = found.next;
            for problem in found.problems {
                let what = match problem {
                    Problem::MissingPack => {
                        checked.lost.append(&mut index.blobs_with_pack(pack.id).await?);
                        "is missing".to_owned()
                    }
                    Problem::PackHeader => "has a damaged header".to_owned(),
                    Problem::Chunk(row) => {
                        checked.lost.append(&mut index.blobs_with_chunk(&row.hash).await?);
                        format!("chunk {} at {} is damaged", row.hash, row.location.position)
                    }
                    Problem::Manifest(id, location) => {
                        checked.lost.insert(id);
                        format!("manifest of blob {id} at {} is damaged", location.position)
                    }
                };
                say(format!("pack {}: {what}", pack.id));
            }
        }
    }
    for id in incomplete(index).await? {
        say(format!("blob {id}: a chunk of it is in no pack"));
        checked.problems += 1;
        checked.lost.insert(id);
    }
    let retired = index.retired_packs().await?;
    for pack in unknown_packs(packs, &known).await? {
        if retired.iter().all(|(id, _)| *id != pack) {
            // No damage: the next start reads it.
            say(format!("pack {pack}: is not in the index"));
        }
    }
    Ok(checked)
}

/// Blobs that lack a row of a chunk, a few at most.
pub async fn incomplete(index: &Index) -> Result<BTreeSet<BlobId>, Error> {
    let mut found: BTreeSet<BlobId> = index.incomplete_blobs().await?.into_iter().collect();
    found.extend(index.lone_incomplete_blobs().await?);
    Ok(found)
}
