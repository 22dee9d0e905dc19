//! Start-up: what the packs hold and the index has not seen is added to it.
//!
//! Only the ends of the packs that were being written are read, unless the index is new: then all packs are. Several may be
//! read at once, but their rows go into the index in the order of the packs.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::OpenError;
use super::index::{Index, PackRow, Rows};
use super::pack::{HEADER_LEN, PackId};
use super::packs::{Pack, PackStore};
use super::scan::{Found, Scanner};
use crate::domain::payload::Encoding;
use crate::domain::seal::KeyId;

/// Rows that share a transaction.
const ROWS: usize = 4096;

/// Brings the index up to date. Returns the highest id that a pack has or had.
pub async fn recover(
    packs: &Arc<dyn PackStore>,
    index: &Index,
    encoding: &Arc<Encoding>,
) -> Result<PackId, OpenError> {
    let retired: HashSet<PackId> = index.retired_packs().await?.into_iter().map(|(id, _)| id).collect();
    let known = index.packs().await?;
    let newest = known.iter().map(|pack| pack.id).chain(retired.iter().copied()).max().unwrap_or(PackId(0));
    // What is on its way out is looked for, however old it is.
    let from = retired.iter().copied().fold(packs.recheck_from(newest), PackId::min);
    let mut known: HashMap<PackId, PackRow> =
        known.into_iter().filter(|pack| pack.id >= from).map(|pack| (pack.id, pack)).collect();
    let found = Arc::clone(packs).list(from).await?;
    let found_ids: HashSet<PackId> = found.iter().map(|listed| listed.id).collect();
    // First what is missing: the rest may hold copies that take its place.
    for id in known.keys().filter(|id| !found_ids.contains(id)) {
        let chunks = index.damage_beyond(*id, 0).await?;
        tracing::error!(pack = %id, chunks, "a pack is missing: its chunks cannot be read");
    }
    let last = found.iter().map(|listed| listed.id).fold(newest, PackId::max);
    let mut unread = found.into_iter().filter_map(|listed| {
        let known = known.remove(&listed.id);
        let is_done = known.is_some_and(|known| listed.len == Some(known.indexed_to));
        (!is_done && !retired.contains(&listed.id)).then_some((listed.id, known))
    });
    let mut looks = VecDeque::new();
    loop {
        let room = packs.scans().saturating_sub(looks.len());
        looks.extend(unread.by_ref().take(room).map(|(id, known)| Look::begin(packs, encoding, id, known)));
        let Some(look) = looks.pop_front() else { break };
        look.end(index).await?;
    }
    // Its file was deleted, and then the process ended.
    for id in retired.into_iter().filter(|id| !found_ids.contains(id)) {
        index.forget(id).await?;
    }
    Ok(last)
}

/// A pack that is being looked through.
struct Look {
    id: PackId,
    findings: mpsc::Receiver<Finding>,
    task: AbortOnDropHandle<Result<(), OpenError>>,
}

/// What the index has to know of a pack.
enum Finding {
    /// It has so few bytes only.
    TooShort(u64),
    /// What stands there.
    Rows(Rows),
}

impl Look {
    /// Begins to look. What is found waits for [`Look::end`].
    fn begin(
        packs: &Arc<dyn PackStore>,
        encoding: &Arc<Encoding>,
        id: PackId,
        known: Option<PackRow>,
    ) -> Self {
        let (found, findings) = mpsc::channel(1);
        let look = look(Arc::clone(packs), Arc::clone(encoding), id, known, found);
        Self { id, findings, task: AbortOnDropHandle::new(tokio::spawn(look)) }
    }

    /// Looks at all of it, and tells the index.
    async fn end(mut self, index: &Index) -> Result<(), OpenError> {
        while let Some(finding) = self.findings.recv().await {
            match finding {
                Finding::TooShort(len) => {
                    let chunks = index.damage_beyond(self.id, len).await?;
                    tracing::error!(pack = %self.id, bytes = len, chunks, "chunks of a pack that is too short are lost");
                }
                Finding::Rows(rows) => index.replay(&rows).await?,
            }
        }
        self.task.await.map_err(io::Error::other)?
    }
}

async fn look(
    packs: Arc<dyn PackStore>,
    encoding: Arc<Encoding>,
    id: PackId,
    known: Option<PackRow>,
    found: mpsc::Sender<Finding>,
) -> Result<(), OpenError> {
    let Pack { salt, len, mut bytes } = match packs.open(id).await {
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
        tracing::error!(pack = %id, bytes = len, expected = from, "a pack is too short");
        let _ = found.send(Finding::TooShort(len)).await;
    }
    if len <= from {
        return Ok(());
    }
    // What is read now may be in the system's memory alone, and is about to be relied on.
    let mut scanner = blocking(move || {
        bytes.make_durable()?;
        Ok(Scanner::new(bytes, id, salt, from, len, encoding))
    })
    .await?;
    let mut records = 0;
    loop {
        let (scanned, rows, end) = blocking(move || {
            let mut scanner = scanner;
            let mut rows = Rows::default();
            while rows.count() < ROWS {
                match scanner.next()? {
                    Some(Found::Chunk(chunk)) => rows.chunks.push(chunk),
                    Some(Found::Blob(blob)) => rows.blobs.push(blob),
                    Some(Found::Segment(segment)) => rows.segments.push(segment),
                    Some(Found::Locked(key)) => return Ok((scanner, rows, End::Locked(key))),
                    None => return Ok((scanner, rows, End::Done)),
                }
            }
            Ok((scanner, rows, End::NotYet))
        })
        .await?;
        if let End::Locked(key) = end {
            // To leave it out would be to lose what it holds.
            return Err(OpenError::KeyMissing(id, key));
        }
        let is_done = matches!(end, End::Done);
        scanner = scanned;
        records += rows.chunks.len() + rows.blobs.len() + rows.segments.len();
        let indexed_to = if is_done { len } else { scanner.position() };
        let rows = Rows { packs: vec![PackRow { id, salt, indexed_to }], ..rows };
        if found.send(Finding::Rows(rows)).await.is_err() {
            // The index failed, and that is told by whoever asked it.
            return Ok(());
        }
        if is_done {
            tracing::info!(pack = %id, from, until = len, records, "the end of a pack was read");
            return Ok(());
        }
    }
}

/// Whether a pack has been read to its end.
enum End {
    Done,
    NotYet,
    Locked(KeyId),
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, OpenError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?;
    Ok(done?)
}
