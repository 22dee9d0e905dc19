//! Content: uploads and downloads.

use bytes::Bytes;
use futures::Stream;
use holdall_proto::blob::v1::{ReadRequest, ReadResponse};
use holdall_proto::metadata::v1::upload_target::Target;
use holdall_proto::metadata::v1::{
    AbortUploadRequest, BeginUploadRequest, BeginUploadResponse, ChildName, CommitUploadRequest,
    CommitUploadResponse, Link, LinkOptions, Node, NodeRef, OpenContentRequest, OpenContentResponse,
    Precondition, UploadTarget, Version,
};
use tonic::Streaming;

use super::{Caller, incomplete};
use crate::error::{Error, Result};
use crate::upstreams::Upstreams;

mod offer;
mod outgoing;

pub use offer::Offer;

/// What is to be uploaded, but for its bytes.
pub struct Upload {
    /// Which file.
    pub target: UploadTarget,
    /// How many bytes will come, when that is known. Another number of them is an error.
    pub size: Option<u64>,
    /// The media type to store.
    pub media_type: String,
    /// Compared with the content's entity tag.
    pub precondition: Option<Precondition>,
    /// Empty for none.
    pub idempotency_key: String,
    /// A link to make to it in the same step.
    pub link: Option<LinkOptions>,
}

/// The file after an upload.
pub struct Uploaded {
    /// The file, with the version that is current now.
    pub node: Node,
    /// Whether the file is new.
    pub created: bool,
    /// The link that was asked for.
    pub link: Option<Link>,
}

/// Content to be read.
pub struct Opened {
    /// The name of the file.
    pub name: String,
    /// Which content.
    pub version: Version,
    /// Blob's permission to read it.
    pub grant: Bytes,
}

/// An upload to a file that exists.
pub fn to_node(node_id: String) -> UploadTarget {
    UploadTarget { target: Some(Target::NodeId(node_id)), keep_both: false }
}

/// An upload to a name in a folder.
pub fn to_child(parent_id: String, name: String) -> UploadTarget {
    UploadTarget { target: Some(Target::Child(ChildName { parent_id, name })), keep_both: false }
}

/// An upload to a path, which makes the folders that are missing.
pub fn to_path(path: String) -> UploadTarget {
    UploadTarget { target: Some(Target::Path(path)), keep_both: false }
}

/// The same, but for a name that is taken: then a new file is made under the next name that is free.
pub fn keeping_both(target: UploadTarget) -> UploadTarget {
    UploadTarget { keep_both: true, ..target }
}

/// Uploads `body`, in pieces of at most 256 KiB: reserves room, sends the bytes to blob, and commits the receipt.
///
/// Nothing is polled from `body` before room is reserved, so an upload that cannot succeed fails before its bytes
/// travel. Whatever fails, or when this future is dropped, nothing becomes visible and the reservation is given back,
/// if not at once then when it expires. Only a failed commit may have happened all the same; its error says so.
pub async fn upload<S>(upstreams: &Upstreams, caller: &Caller, upload: Upload, body: S) -> Result<Uploaded>
where
    S: Stream<Item = Result<Bytes>> + Send + 'static,
{
    let Upload { target, size, media_type, precondition, idempotency_key, link } = upload;
    let begin = BeginUploadRequest {
        target: Some(target.clone()),
        size,
        // A repeat of an upload that succeeded must reach the commit, which knows its key: by then the condition
        // need not hold any more.
        precondition: if idempotency_key.is_empty() { precondition.clone() } else { None },
    };
    let BeginUploadResponse { upload_id, write_grant, .. } =
        upstreams.content().begin_upload(caller.asks(begin)).await?.into_inner();
    let reservation = Reservation::new(upstreams, caller, upload_id);
    let commit = CommitUploadRequest {
        receipt: send(upstreams, write_grant, size, body).await?,
        target: Some(target),
        media_type,
        device: caller.session.device_name.clone(),
        precondition,
        idempotency_key,
        link,
    };
    // The bytes may have taken longer than an access token lives.
    let commit = caller.renewed(upstreams).await?.asks(commit);
    let CommitUploadResponse { node, created, link } =
        upstreams.content().commit_upload(commit).await?.into_inner();
    reservation.settled();
    Ok(Uploaded { node: node.ok_or_else(incomplete)?, created, link })
}

/// Sends `body` to blob under a grant, and gives blob's receipt.
pub(super) async fn send<S>(upstreams: &Upstreams, grant: Bytes, size: Option<u64>, body: S) -> Result<Bytes>
where
    S: Stream<Item = Result<Bytes>> + Send + 'static,
{
    let (messages, failure) = outgoing::messages(grant, size, body);
    let written = upstreams.blobs().write(messages).await;
    // What ended the body tells more than what blob made of its end.
    match failure.take() {
        Some(error) => Err(error),
        None => Ok(written?.into_inner().receipt),
    }
}

/// Room that was reserved for an upload; dropping it gives the room back.
pub(super) struct Reservation<'a> {
    upstreams: &'a Upstreams,
    caller: &'a Caller,
    /// `None` once the upload is committed.
    upload_id: Option<String>,
}

impl<'a> Reservation<'a> {
    pub(super) fn new(upstreams: &'a Upstreams, caller: &'a Caller, upload_id: String) -> Self {
        Self { upstreams, caller, upload_id: Some(upload_id) }
    }

    /// The commit has taken the room.
    pub(super) fn settled(mut self) {
        self.upload_id = None;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let Some(upload_id) = self.upload_id.take() else { return };
        let (upstreams, caller) = (self.upstreams.clone(), self.caller.clone());
        // Best effort: the reservation ends by itself if this fails.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let request = caller.renewed(&upstreams).await?.asks(AbortUploadRequest { upload_id });
                upstreams.content().abort_upload(request).await?;
                Ok::<_, Error>(())
            });
        }
    }
}

/// Opens the content of a file; with an empty version id, the current one.
pub async fn open(upstreams: &Upstreams, caller: &Caller, of: NodeRef, version_id: String) -> Result<Opened> {
    let request = caller.asks(OpenContentRequest { r#ref: Some(of), version_id });
    let opened = upstreams.open_content(&caller.account().account_id, request).await?;
    let OpenContentResponse { node: Some(node), version: Some(version), read_grant, .. } = &*opened else {
        return Err(incomplete());
    };
    Ok(Opened { name: node.name.clone(), version: version.clone(), grant: read_grant.clone() })
}

/// Reads `len` bytes, at least one, from `offset` on. Every chunk is verified before it arrives here.
pub async fn read(
    upstreams: &Upstreams,
    grant: Bytes,
    offset: u64,
    len: u64,
) -> Result<Streaming<ReadResponse>> {
    let request = ReadRequest { grant, offset, length: len };
    Ok(upstreams.blobs().read(request).await?.into_inner())
}
