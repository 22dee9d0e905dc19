//! `Read`.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use futures::stream::{BoxStream, StreamExt};
use holdall_proto::blob::v1::{ReadGrant, ReadRequest, ReadResponse};
use tonic::Status;

use super::Rpc;
use crate::domain::BlobId;
use crate::error::Error;
use crate::store::reader::{Content, ReadError};

pub(super) async fn read(rpc: &Rpc, request: &ReadRequest) -> Result<Answer, Error> {
    let grant: ReadGrant = rpc.keys.open(&request.grant, rpc.clock.now())?;
    let reader = rpc.store.reader();
    let id = BlobId::parse(&grant.blob_id).ok_or(Error::NotFound)?;
    let blob = reader.blob(id).await?.ok_or(Error::NotFound)?;
    if request.offset > blob.size() {
        return Err(Error::Range);
    }
    let end = match request.length {
        0 => u64::MAX,
        length => request.offset.saturating_add(length),
    };
    Ok(match reader.content(id, &blob, request.offset..end).await? {
        Content::Whole(bytes) => Answer::Whole(bytes),
        Content::Pieces(pieces) => Answer::Pieces(pieces),
    })
}

/// The messages of an answer. Small content is a single one, with nothing allocated for it.
pub enum Answer {
    /// What is left of a single message; empty for none.
    Whole(Bytes),
    /// Messages that come with time.
    Pieces(BoxStream<'static, Result<Bytes, ReadError>>),
}

impl Stream for Answer {
    type Item = Result<ReadResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = |data| Ok(ReadResponse { data });
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(message(std::mem::take(bytes)))),
            Self::Pieces(pieces) => pieces
                .poll_next_unpin(context)
                .map(|piece| Some(piece?.map_err(|error| Error::from(error).into()).and_then(message))),
        }
    }
}
