//! Start-up: what the packs hold and the index has not seen is added to it.
//!
//! Only the ends of the packs that were being written are read, unless the index is new: then all packs are.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use super::OpenError;
use super::index::{Index, PackRow, Rows};
use super::pack::{HEADER_LEN, PackDir, PackId, salt};
use super::scan::{Found, Scanner};

/// Rows that share a transaction.
const ROWS: usize = 4096;

/// Brings the index up to date. Returns the highest id that a pack has or had.
pub async fn recover(packs: &Arc<PackDir>, index: &Index) -> Result<PackId, OpenError> {
    let mut known: HashMap<PackId, PackRow> =
        index.packs().await?.into_iter().map(|pack| (pack.id, pack)).collect();
    let retired: HashSet<PackId> = index.retired_packs().await?.into_iter().map(|(id, _)| id).collect();
    let found = blocking({
        let packs = Arc::clone(packs);
        move || packs.list()
    })
    .await?;
    let all = known.keys().chain(&retired).chain(&found);
    let last = all.copied().max().unwrap_or(PackId(0));
    // First what is missing: the rest may hold copies that take its place.
    for id in known.keys().filter(|id| !found.contains(id)) {
        let chunks = index.damage_beyond(*id, 0).await?;
        tracing::error!(pack = %id, chunks, "a pack is missing: its chunks cannot be read");
    }
    for &id in &found {
        if !retired.contains(&id) {
            recover_pack(packs, index, id, known.remove(&id)).await?;
        }
    }
    for id in retired.into_iter().filter(|id| !found.contains(id)) {
        index.forget(id).await?;
    }
    Ok(last)
}

async fn recover_pack(
    packs: &Arc<PackDir>,
    index: &Index,
    id: PackId,
    known: Option<PackRow>,
) -> Result<(), OpenError> {
    let (file, salt, len) = blocking({
        let packs = Arc::clone(packs);
        move || {
            let file = packs.read(id)?;
            Ok((file.try_clone()?, salt(&file, id)?, file.metadata()?.len()))
        }
    })
    .await?;
    let (salt, from) = match (salt, known) {
        (Some(salt), Some(known)) if salt == known.salt => (salt, known.indexed_to),
        (Some(_), Some(_)) => return Err(OpenError::ForeignIndex(id)),
        (None, Some(known)) => {
            tracing::error!(pack = %id, "the header of a pack is damaged; its records are not");
            (known.salt, known.indexed_to)
        }
        (Some(salt), None) => (salt, HEADER_LEN),
        (None, None) => {
            // Left behind while it was being made, as a rule: then it is empty.
            tracing::error!(pack = %id, bytes = len, "a pack has no header and is left out");
            return Ok(());
        }
    };
    if len < from {
        let chunks = index.damage_beyond(id, len).await?;
        tracing::error!(pack = %id, bytes = len, expected = from, chunks, "a pack is too short");
    }
    if len <= from {
        return Ok(());
    }
    // What is read now may be in the system's memory alone, and is about to be relied on.
    let mut scanner = blocking(move || {
        file.sync_data()?;
        Ok(Scanner::new(file, id, salt, from, len))
    })
    .await?;
    let mut records = 0;
    loop {
        let (scanned, rows, is_done) = blocking(move || {
            let mut scanner = scanner;
            let mut rows = Rows::default();
            while rows.count() < ROWS {
                match scanner.next()? {
                    Some(Found::Chunk(chunk)) => rows.chunks.push(chunk),
                    Some(Found::Blob(blob)) => rows.blobs.push(blob),
                    Some(Found::Segment(segment)) => rows.segments.push(segment),
                    None => return Ok((scanner, rows, true)),
                }
            }
            Ok((scanner, rows, false))
        })
        .await?;
        scanner = scanned;
        records += rows.chunks.len() + rows.blobs.len() + rows.segments.len();
        let indexed_to = if is_done { len } else { scanner.position() };
        index.replay(&Rows { packs: vec![PackRow { id, salt, indexed_to }], ..rows }).await?;
        if is_done {
            tracing::info!(pack = %id, from, until = len, records, "the end of a pack was indexed");
            return Ok(());
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, OpenError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?;
    Ok(done?)
}
