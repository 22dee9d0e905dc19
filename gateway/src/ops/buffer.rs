//! The buffer: text and files on their way from one device to another.

use bytes::Bytes;
use futures::Stream;
use holdall_proto::metadata::v1::{
    BeginEntryRequest, BeginEntryResponse, BufferEntry, ClearBufferRequest, CommitEntryRequest, EntryKind,
    GetEntryRequest, GetEntryResponse, ListEntriesRequest, ListEntriesResponse,
};
use prost_types::Duration;

use super::content::{Reservation, send};
use super::{Caller, Page, incomplete};
use crate::error::Result;
use crate::upstreams::Upstreams;

/// What is to be put in, but for its bytes.
pub struct NewEntry {
    /// Text or a file.
    pub kind: EntryKind,
    /// Of a file; empty for text.
    pub name: String,
    /// How many bytes will come, when that is known.
    pub size: Option<u64>,
    /// Empty for the usual one of the kind.
    pub media_type: String,
    /// How long it stays; `None` for the service's setting.
    pub time_to_live: Option<Duration>,
}

/// Puts `body` in as the latest entry. As with [`upload`](super::content::upload), nothing is visible before it is whole.
pub async fn put<S>(upstreams: &Upstreams, caller: &Caller, entry: NewEntry, body: S) -> Result<BufferEntry>
where
    S: Stream<Item = Result<Bytes>> + Send + 'static,
{
    let NewEntry { kind, name, size, media_type, time_to_live } = entry;
    let begin = caller.asks(BeginEntryRequest { size });
    let BeginEntryResponse { upload_id, write_grant, .. } =
        upstreams.buffer().begin_entry(begin).await?.into_inner();
    let reservation = Reservation::new(upstreams, caller, upload_id);
    let commit = CommitEntryRequest {
        receipt: send(upstreams, write_grant, size, body).await?,
        kind: kind.into(),
        name,
        media_type,
        device: caller.session().device_name.clone(),
        time_to_live,
    };
    let commit = caller.renewed(upstreams).await?.asks(commit);
    let committed = upstreams.buffer().commit_entry(commit).await?.into_inner();
    reservation.settled();
    committed.entry.ok_or_else(incomplete)
}

/// An entry and blob's permission to read it; with an empty id, the latest.
pub async fn get(upstreams: &Upstreams, caller: &Caller, entry_id: String) -> Result<(BufferEntry, Bytes)> {
    let request = caller.asks(GetEntryRequest { entry_id });
    let GetEntryResponse { entry, read_grant } = upstreams.buffer().get_entry(request).await?.into_inner();
    Ok((entry.ok_or_else(incomplete)?, read_grant))
}

/// What is in the buffer, the latest first.
pub async fn list(upstreams: &Upstreams, caller: &Caller, page: Page) -> Result<ListEntriesResponse> {
    let request = ListEntriesRequest { page_size: page.size, page_token: page.token };
    Ok(upstreams.buffer().list_entries(caller.asks(request)).await?.into_inner())
}

/// Deletes everything in the buffer.
pub async fn clear(upstreams: &Upstreams, caller: &Caller) -> Result<()> {
    upstreams.buffer().clear_buffer(caller.asks(ClearBufferRequest {})).await?;
    Ok(())
}
