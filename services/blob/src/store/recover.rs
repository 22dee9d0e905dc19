//! Start-up: what the packs hold and the index has not seen is added to it.
//!
//! Only the ends of the packs that were being written are read, unless the index is new: then all packs are.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::OpenError;
use super::index::{Index, PackRow, Rows};
use super::pack::{HEADER_LEN, PackId};
use super::packs::{Pack, PackStore};
use super::scan::{Found, Scanner};

/// Rows that share a transaction.
const ROWS: usize = 4096;

/// Brings the index up to date. Returns the highest id that a pack has or had.
pub async fn recover(packs: &Arc<dyn PackStore>, index: &Index) -> Result<PackId, OpenError> {
    let known = index.packs().await?;
    let newest = known.iter().map(|pack| pack.id).max().unwrap_or(PackId(0));
    let from = packs.recheck_from(newest);
    let mut known: HashMap<PackId, PackRow> =
        known.into_iter().filter(|pack| pack.id >= from).map(|pack| (pack.id, pack)).collect();
    let mut last = newest;
    for listed in Arc::clone(packs).list(from).await? {
        last = last.max(listed.id);
        let known = known.remove(&listed.id);
        let is_done = known.is_some_and(|known| listed.len == Some(known.indexed_to));
        if !is_done {
            recover_pack(packs, index, listed.id, known).await?;
        }
    }
    for id in known.into_keys() {
        let chunks = index.damage_beyond(id, 0).await?;
        tracing::error!(pack = %id, chunks, "a pack is missing: its chunks cannot be read");
    }
    Ok(last)
}

async fn recover_pack(
    packs: &Arc<dyn PackStore>,
    index: &Index,
    id: PackId,
    known: Option<PackRow>,
) -> Result<(), OpenError> {
    let Pack { salt, len, mut bytes } = match Arc::clone(packs).open(id).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Another process on the same bucket may have deleted it just now. If it is lost, the next start will say so.
            tracing::warn!(pack = %id, "a pack went away before it was looked at");
            return Ok(());
        }
        opened => opened?,
    };
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
        bytes.make_durable()?;
        Ok(Scanner::new(bytes, id, salt, from, len))
    })
    .await?;
    let mut records = 0;
    loop {
        let (scanned, rows, is_done) = blocking(move || {
            let mut scanner = scanner;
            let mut rows = Rows::default();
            while rows.chunks.len() + rows.blobs.len() < ROWS {
                match scanner.next()? {
                    Some(Found::Chunk(chunk)) => rows.chunks.push(chunk),
                    Some(Found::Blob(blob)) => rows.blobs.push(blob),
                    None => return Ok((scanner, rows, true)),
                }
            }
            Ok((scanner, rows, false))
        })
        .await?;
        scanner = scanned;
        records += rows.chunks.len() + rows.blobs.len();
        let indexed_to = if is_done { len } else { scanner.position() };
        index.add(&Rows { packs: vec![PackRow { id, salt, indexed_to }], ..rows }).await?;
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
