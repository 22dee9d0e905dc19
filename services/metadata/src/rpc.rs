//! The gRPC services: decode, call the store, encode. One file for each service of the contract.

mod admin;
mod buffer;
mod cache;
mod change;
mod content;
mod convert;
mod error;
mod link;
mod node;
mod roots;
mod space;
mod validator;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use holdall_proto::blob::v1::{ReadGrant, WriteGrant};
use holdall_proto::grant::KeyRing;
use holdall_proto::metadata::v1::admin_service_server::AdminServiceServer;
use holdall_proto::metadata::v1::buffer_service_server::BufferServiceServer;
use holdall_proto::metadata::v1::change_service_server::ChangeServiceServer;
use holdall_proto::metadata::v1::content_service_server::ContentServiceServer;
use holdall_proto::metadata::v1::freshness_service_server::FreshnessServiceServer;
use holdall_proto::metadata::v1::link_service_server::LinkServiceServer;
use holdall_proto::metadata::v1::node_service_server::NodeServiceServer;
use holdall_proto::metadata::v1::roots_service_server::RootsServiceServer;
use holdall_proto::metadata::v1::space_service_server::SpaceServiceServer;
use holdall_proto::metadata::v1::{BufferEntry, FindByNameResponse, ListChildrenResponse, Node, Version};
use holdall_proto::unix_us;
use holdall_runtime::clock::Clock;
use holdall_runtime::layers::{HEALTH, REFLECTION};
use holdall_runtime::token;
use holdall_sql::pages::{self, Pager};
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::service::Routes;
use tonic::{Request, Status};

use self::cache::{Answers, Keep, Openings};
use crate::domain::error::Error;
use crate::domain::id::{AccountId, BlobId};
use crate::domain::space::{Home, Owner};
use crate::domain::upload::Begun;
use crate::store::Store;

/// Methods that need no access token: those where something else is the proof.
pub const PUBLIC: &[&str] = &[
    "/holdall.metadata.v1.LinkService/OpenLink",
    "/holdall.metadata.v1.LinkService/DeleteByLink",
    "/holdall.metadata.v1.RootsService/",
    "/holdall.metadata.v1.FreshnessService/",
    HEALTH,
    REFLECTION,
];

/// The role of accounts of the installation itself, as access tokens name it.
const SYSTEM_ROLE: &str = "system";

const DEFAULT_PAGE: u32 = 100;
const MAX_PAGE: u32 = 1000;

/// What all methods share. Clones are the same.
#[derive(Clone)]
pub struct Rpc(Arc<Shared>);

struct Shared {
    store: Store,
    clock: Clock,
    keys: KeyRing,
    pager: Pager,
    /// Microseconds.
    read_grant_lifetime: i64,
    children: Answers<ListChildrenResponse>,
    named: Answers<FindByNameResponse>,
    contents: Answers<Content>,
    entries: Answers<KeptEntry>,
    openings: Openings,
}

/// A file that can be read, before the leave to read it.
struct Content {
    blob: BlobId,
    node: Node,
    version: Version,
}

impl Keep for Content {
    fn weight(&self) -> usize {
        // In memory a message takes about twice what it takes on the wire.
        2 * (self.node.encoded_len() + self.version.encoded_len())
    }

    fn end(&self) -> i64 {
        end(&self.node)
    }
}

/// An entry of the buffer, before the leave to read it.
struct KeptEntry {
    blob: BlobId,
    entry: BufferEntry,
    /// When it is gone; Unix microseconds.
    end: i64,
}

impl Keep for KeptEntry {
    fn weight(&self) -> usize {
        2 * self.entry.encoded_len()
    }

    fn end(&self) -> i64 {
        self.end
    }
}

impl Keep for ListChildrenResponse {
    fn weight(&self) -> usize {
        2 * self.encoded_len()
    }

    fn end(&self) -> i64 {
        self.children.iter().map(end).min().unwrap_or(i64::MAX)
    }
}

impl Keep for FindByNameResponse {
    fn weight(&self) -> usize {
        2 * self.encoded_len()
    }

    fn end(&self) -> i64 {
        self.found.iter().filter_map(|found| found.node.as_ref()).map(end).min().unwrap_or(i64::MAX)
    }
}

/// When a node is gone.
fn end(node: &Node) -> i64 {
    node.expires_at.as_ref().and_then(unix_us).unwrap_or(i64::MAX)
}

/// Memory for kept lists of children, in bytes, about.
const KEPT_CHILDREN: u64 = 16 << 20;
/// Memory for kept answers about names, in bytes, about.
const KEPT_NAMED: u64 = 4 << 20;
/// Memory for kept files, in bytes, about.
const KEPT_CONTENTS: u64 = 8 << 20;
/// Memory for kept entries of buffers, in bytes, about.
const KEPT_ENTRIES: u64 = 2 << 20;
/// Memory for kept opened links, in bytes, about.
const KEPT_OPENINGS: u64 = 8 << 20;

impl Rpc {
    /// `keys` are shared with blob; `read_grant_lifetime` is in microseconds.
    #[must_use]
    pub fn new(store: Store, clock: Clock, keys: KeyRing, pager: Pager, read_grant_lifetime: i64) -> Self {
        let shared = Shared {
            store,
            clock,
            keys,
            pager,
            read_grant_lifetime,
            children: Answers::new(KEPT_CHILDREN),
            named: Answers::new(KEPT_NAMED),
            contents: Answers::new(KEPT_CONTENTS),
            entries: Answers::new(KEPT_ENTRIES),
            openings: Openings::new(KEPT_OPENINGS),
        };
        Self(Arc::new(shared))
    }

    /// Every service of this crate, without what goes around them.
    #[must_use]
    pub fn routes(&self) -> Routes {
        Routes::new(NodeServiceServer::new(self.clone()))
            .add_service(SpaceServiceServer::new(self.clone()))
            .add_service(ContentServiceServer::new(self.clone()))
            .add_service(LinkServiceServer::new(self.clone()))
            .add_service(BufferServiceServer::new(self.clone()))
            .add_service(ChangeServiceServer::new(self.clone()))
            .add_service(RootsServiceServer::new(self.clone()))
            .add_service(FreshnessServiceServer::new(self.clone()))
            .add_service(AdminServiceServer::new(self.clone()))
    }

    fn store(&self) -> &Store {
        &self.0.store
    }

    /// The caller's space, and the time of the call.
    async fn home<T>(&self, request: &Request<T>) -> Result<(Home, i64), Status> {
        let caller = token::caller(request)?;
        let owner = if caller.role == SYSTEM_ROLE { Owner::System } else { Owner::Person };
        let now = self.0.clock.now();
        Ok((self.store().home(AccountId::from(caller.account_id), owner, now).await?, now))
    }

    /// Leave to write what an upload brings.
    fn write_grant(&self, home: &Home, upload: &Begun) -> bytes::Bytes {
        self.0.keys.seal(&WriteGrant {
            space_id: home.space.to_string(),
            max_size: upload.max_size,
            expires_at_us: upload.expires_at,
            upload_id: upload.id.to_string(),
        })
    }

    /// Leave to read a blob, for a short time.
    fn read_grant(&self, blob: BlobId, now: i64) -> bytes::Bytes {
        self.0.keys.seal(&ReadGrant {
            blob_id: blob.to_string(),
            expires_at_us: now.saturating_add(self.0.read_grant_lifetime),
        })
    }

    /// Where a page starts: `None` for the first.
    fn position<T: DeserializeOwned>(&self, scope: &str, token: &str) -> Result<Option<T>, Error> {
        if token.is_empty() {
            return Ok(None);
        }
        self.0.pager.decode(scope, token).map(Some).map_err(|_| Error::InvalidPageToken)
    }

    /// The token for the page after `last`; empty when that was the last page.
    fn next_page(&self, scope: &str, last: Option<impl Serialize>) -> Result<String, Status> {
        match last {
            None => Ok(String::new()),
            Some(position) => self.0.pager.encode(scope, &position).map_err(|error| {
                tracing::error!(%error, "cannot write a page token");
                error::internal()
            }),
        }
    }
}

fn page_size(requested: i32) -> Result<u32, Error> {
    pages::page_size(requested, DEFAULT_PAGE, MAX_PAGE)
        .map_err(|_| Error::field("page_size", "must not be negative"))
}
