//! Scrubbing: every record that is wanted is read once in a while, so that damage is found while another copy may still exist
//! elsewhere.
//!
//! Nothing is deleted or changed. A damaged chunk is marked in the index, so that no new blob relies on it and the same
//! content, uploaded again, takes its place. What is left of its pack stays as readable as it is.

use std::io;
use std::sync::Arc;

use crate::store::Store;
use crate::store::counters::Counters;
use crate::store::index::{self, PackRow};
use crate::store::pack::PackId;
use crate::store::verify::{Problem, Verified, verify};

/// Why scrubbing stops for now.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    /// A pack cannot be read now.
    #[error("a pack cannot be read now")]
    Packs(#[from] io::Error),
    /// The index failed.
    #[error("the index failed")]
    Index(#[from] index::Error),
}

/// How far a cycle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a pack, or the next one when it is gone, from an offset on.
    At(PackId, u64),
    /// All is read, since a time in Unix microseconds.
    Done(i64),
}

impl Place {
    /// Where a cycle begins.
    pub const START: Self = Self::At(PackId(0), 0);

    /// As text, for the index.
    pub fn to_text(self) -> String {
        match self {
            Self::At(pack, offset) => format!("{pack} {offset}"),
            Self::Done(at) => format!("done {at}"),
        }
    }

    /// Bytes that are behind it of these packs.
    pub fn behind(self, packs: &[PackRow]) -> u64 {
        let behind = |pack: &PackRow| match self {
            Self::At(id, offset) if pack.id == id => offset.min(pack.indexed_to),
            Self::At(id, _) if pack.id > id => 0,
            Self::At(..) | Self::Done(_) => pack.indexed_to,
        };
        packs.iter().map(behind).sum()
    }

    /// From its text; the start when it makes no sense.
    pub fn parse(text: &str) -> Self {
        let parsed = match text.split_once(' ') {
            Some(("done", at)) => at.parse().ok().map(Self::Done),
            Some((pack, offset)) => {
                PackId::parse(pack).zip(offset.parse().ok()).map(|(pack, offset)| Self::At(pack, offset))
            }
            None => None,
        };
        parsed.unwrap_or(Self::START)
    }
}

/// Reads on from `place`, and says how many bytes.
pub async fn step(store: &Arc<Store>, place: &mut Place, now: i64) -> Result<u64, ScrubError> {
    let Place::At(id, offset) = *place else { return Ok(0) };
    let index = store.reader().index();
    let packs = index.packs().await?;
    let Some(pack) = packs.into_iter().find(|pack| pack.id >= id) else {
        *place = Place::Done(now);
        return Ok(0);
    };
    let from = if pack.id == id { offset } else { 0 };
    let Verified { records, bytes, problems, next } =
        verify(store.packs(), index, store.encoding(), &pack, from).await?;
    for problem in problems {
        report(store, pack.id, problem).await?;
    }
    Counters::add(&store.counters().scrubbed_records, records);
    Counters::add(&store.counters().scrubbed_bytes, bytes);
    *place = next.map_or(Place::At(PackId(pack.id.0 + 1), 0), |next| Place::At(pack.id, next));
    Ok(bytes)
}

async fn report(store: &Store, pack: PackId, problem: Problem) -> Result<(), ScrubError> {
    let index = store.reader().index();
    match problem {
        Problem::MissingPack => {
            let chunks = index.damage_beyond(pack, 0).await?;
            tracing::error!(%pack, chunks, "a pack is missing: what is in it cannot be read");
        }
        Problem::PackHeader => {
            tracing::error!(%pack, "the header of a pack is damaged; its records need not be");
        }
        Problem::Chunk(row) => {
            tracing::error!(chunk = %row.hash, %pack, position = row.location.position, "a chunk is damaged");
            index.damage(&row).await?;
        }
        Problem::Manifest(blob, location) => {
            tracing::error!(%blob, %pack, position = location.position, "a manifest is damaged");
        }
    }
    Counters::add(&store.counters().damaged, 1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is_can_be_written_down() {
        for place in [Place::START, Place::At(PackId(0xab), 77), Place::Done(5)] {
            assert_eq!(Place::parse(&place.to_text()), place);
        }
        for text in ["", "x", "x y", "done x", "ab 7"] {
            assert_eq!(Place::parse(text), Place::START, "{text}");
        }
    }
}
