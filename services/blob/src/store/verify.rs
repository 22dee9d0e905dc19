//! Whether what rows point at is there and sound.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::index::{ChunkRow, Index, PackRow};
use super::pack::{Location, PackId};
use super::packs::{self, PackStore, is_loss};
use crate::domain::BlobId;
use crate::domain::manifest::Manifest;
use crate::domain::payload::{DecodeError, Encoding};
use crate::domain::record::{self, Header, Kind, Salt};

/// Something wrong with a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is not there.
    MissingPack,
    /// It has no sound header.
    PackHeader,
    /// A chunk's record is not what it was.
    Chunk(ChunkRow),
    /// The record of a blob's manifest is not what it was.
    Manifest(BlobId, Location),
}

/// What was found in a part of a pack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Records that were looked at.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Where the next part begins; `None` at the end.
    pub next: Option<u64>,
}

/// Records that are looked at together.
const RECORDS: u32 = 256;

/// Looks at the next records of a pack from the offset `from` on that rows point at: header and payload. Errors mean that
/// this cannot be known now.
pub async fn verify(
    packs: &Arc<dyn PackStore>,
    index: &Index,
    encoding: &Arc<Encoding>,
    pack: &PackRow,
    from: u64,
) -> io::Result<Verified> {
    let mut found = Verified::default();
    if from == 0 {
        match Arc::clone(packs).open(pack.id).await {
            Ok(opened) if opened.salt == Some(pack.salt) => {}
            Ok(_) => found.problems.push(Problem::PackHeader),
            Err(error) if is_loss(&error) => {
                found.problems.push(Problem::MissingPack);
                return Ok(found);
            }
            Err(error) => return Err(error),
        }
    }
    let chunks = index.chunks_in(pack.id, from, RECORDS).await.map_err(io::Error::other)?;
    let blobs = index.blobs_in(pack.id, from, RECORDS).await.map_err(io::Error::other)?;
    // Each list may have been cut: what lies beyond the end of either is for the next time.
    let limit = RECORDS as usize;
    let chunks_end = chunks.last().filter(|_| chunks.len() == limit).map(|row| row.location.position);
    let blobs_end = blobs.last().filter(|_| blobs.len() == limit).map(|(_, location)| location.position);
    let end = chunks_end.into_iter().chain(blobs_end).min();
    let is_in_part = |location: &Location| end.is_none_or(|end| location.position <= end);
    found.next = end.map(|end| end + 1);
    for row in chunks.into_iter().filter(|row| is_in_part(&row.location)) {
        found.records += 1;
        found.bytes += record::HEADER_LEN as u64 + u64::from(row.location.stored);
        if !is_chunk_sound(packs, encoding, &pack.salt, &row).await? {
            found.problems.push(Problem::Chunk(row));
        }
    }
    for (id, location) in blobs.into_iter().filter(|(_, location)| is_in_part(location)) {
        found.records += 1;
        found.bytes += record::HEADER_LEN as u64 + u64::from(location.stored);
        if !is_manifest_sound(packs, encoding, &pack.salt, id, location).await? {
            found.problems.push(Problem::Manifest(id, location));
        }
    }
    Ok(found)
}

async fn is_chunk_sound(
    packs: &Arc<dyn PackStore>,
    encoding: &Arc<Encoding>,
    salt: &Salt,
    row: &ChunkRow,
) -> io::Result<bool> {
    let Some(header) = header(packs, salt, &row.location).await? else { return Ok(false) };
    let fits =
        (header.kind, header.hash, header.size, header.codec) == (Kind::Chunk, row.hash, row.size, row.codec);
    Ok(fits && payload(packs, encoding, header, row.location).await?.is_some())
}

async fn is_manifest_sound(
    packs: &Arc<dyn PackStore>,
    encoding: &Arc<Encoding>,
    salt: &Salt,
    id: BlobId,
    location: Location,
) -> io::Result<bool> {
    let Some(header) = header(packs, salt, &location).await? else { return Ok(false) };
    let payload = payload(packs, encoding, header, location).await?;
    let manifest =
        payload.filter(|_| header.kind == Kind::Manifest).and_then(|bytes| Manifest::decode(&bytes));
    Ok(manifest.is_some_and(|manifest| manifest.id() == id))
}

/// What a record holds, verified against its header; `None` when it is lost.
async fn payload(
    packs: &Arc<dyn PackStore>,
    encoding: &Arc<Encoding>,
    header: Header,
    location: Location,
) -> io::Result<Option<Bytes>> {
    let encoding = Arc::clone(encoding);
    let then = move |stored: io::Result<Bytes>| match encoding.decode(&header, stored?) {
        Ok(payload) => Ok(Some(payload)),
        Err(DecodeError::Damaged) => Ok(None),
        Err(DecodeError::KeyMissing(key)) => Err(io::Error::other(format!("the key {key} is missing"))),
    };
    Ok(read(packs, location, then).await?.flatten())
}

/// The header of the record whose payload stands at `location`.
async fn header(packs: &Arc<dyn PackStore>, salt: &Salt, location: &Location) -> io::Result<Option<Header>> {
    let len = record::HEADER_LEN as u64;
    let Some(offset) = location.position.checked_sub(len) else { return Ok(None) };
    let place = Location { position: offset, stored: u32::try_from(len).unwrap_or(u32::MAX), ..*location };
    let bytes = read(packs, place, |bytes| bytes).await?;
    let header = bytes.as_deref().and_then(|bytes| Header::decode(bytes.first_chunk()?, salt, offset));
    Ok(header.filter(|header| header.stored == location.stored))
}

/// What `then` makes of the bytes that stand there; `None` when they are lost.
async fn read<T: Send + 'static>(
    packs: &Arc<dyn PackStore>,
    location: Location,
    then: impl FnOnce(io::Result<Bytes>) -> io::Result<T> + Send + 'static,
) -> io::Result<Option<T>> {
    match packs::read(packs, location, then).await.map_err(io::Error::other)? {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_loss(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The packs that are there and that the index does not know.
pub async fn unknown_packs(packs: &Arc<dyn PackStore>, known: &[PackRow]) -> io::Result<Vec<PackId>> {
    let listed = Arc::clone(packs).list(PackId(0)).await?;
    let is_unknown = |id: &PackId| known.iter().all(|pack| pack.id != *id);
    Ok(listed.into_iter().map(|listed| listed.id).filter(is_unknown).collect())
}
