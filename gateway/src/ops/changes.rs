//! The log of changes of the caller's space.

use holdall_proto::metadata::v1::{ListChangesRequest, ListChangesResponse};

use super::Caller;
use crate::error::Result;
use crate::upstreams::Upstreams;

/// The changes after a sequence number, in order.
pub async fn list(
    upstreams: &Upstreams,
    caller: &Caller,
    after_sequence: u64,
    page_size: i32,
) -> Result<ListChangesResponse> {
    let request = caller.asks(ListChangesRequest { after_sequence, page_size });
    Ok(upstreams.changes().list_changes(request).await?.into_inner())
}
