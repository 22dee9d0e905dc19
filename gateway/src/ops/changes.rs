//! The log of changes of the caller's space.

use holdall_proto::metadata::v1::{ListChangesRequest, ListChangesResponse};

use super::Caller;
use crate::error::Result;
use crate::upstreams::Upstreams;

/// The changes after a sequence number of an epoch, in order. The epoch is empty at the start.
pub async fn list(
    upstreams: &Upstreams,
    caller: &Caller,
    after_sequence: u64,
    epoch: String,
    page_size: i32,
) -> Result<ListChangesResponse> {
    let request = caller.asks(ListChangesRequest { after_sequence, page_size, epoch });
    Ok(upstreams.changes().list_changes(request).await?.into_inner())
}
