//! The service as its callers meet it: built as in a process, called through its routes.

mod access;
mod admin;
mod buffer;
mod calls;
mod links;
mod malformed;
mod named;
mod policies;
mod roots;
mod validators;

use std::time::Duration;

use holdall_proto::auth::v1::key_service_server::{KeyService, KeyServiceServer};
use holdall_proto::auth::v1::{ListKeysRequest, ListKeysResponse, VerifyingKey};
use holdall_proto::blob::v1::{Receipt, WriteGrant};
use holdall_proto::grant::KeyRing;
use holdall_proto::metadata::v1 as proto;
use holdall_proto::metadata::v1::admin_service_client::AdminServiceClient;
use holdall_proto::metadata::v1::buffer_service_client::BufferServiceClient;
use holdall_proto::metadata::v1::change_service_client::ChangeServiceClient;
use holdall_proto::metadata::v1::content_service_client::ContentServiceClient;
use holdall_proto::metadata::v1::link_service_client::LinkServiceClient;
use holdall_proto::metadata::v1::node_service_client::NodeServiceClient;
use holdall_proto::metadata::v1::space_service_client::SpaceServiceClient;
use holdall_runtime::shutdown::Shutdown;
use holdall_runtime::status::{field_violations, reason_of};
use holdall_runtime::testing::ManualClock;
use holdall_runtime::token::{Claims, Signer};
use holdall_runtime::upstream::{self, Upstream};
use tempfile::TempDir;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::store::Store;
use crate::{AUDIENCE, Config, Deps, ISSUER, build};

const NOW: i64 = 1_750_000_000_000_000;
const KEY: [u8; 32] = *b"0123456789abcdef0123456789abcdef";

/// A running service and what its neighbours hold.
struct World {
    upstream: Upstream,
    signer: Signer,
    keys: KeyRing,
    clock: ManualClock,
    shutdown: Shutdown,
    store: Store,
    _dir: TempDir,
}

/// Auth, as far as this service needs it.
struct Auth(VerifyingKey);

#[tonic::async_trait]
impl KeyService for Auth {
    async fn list_keys(&self, _: Request<ListKeysRequest>) -> Result<Response<ListKeysResponse>, Status> {
        Ok(Response::new(ListKeysResponse { keys: vec![self.0.clone()] }))
    }
}

impl World {
    async fn new() -> Self {
        Self::with(Config::default()).await
    }

    async fn with(mut config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key_file = dir.path().join("grants.key");
        let digits: String = KEY.iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(&key_file, digits).unwrap();
        config.grants.key_files = vec![key_file];

        let signer = Signer::from_pkcs8("k", &Signer::generate().unwrap()).unwrap();
        let public = signer.verifying_key().public.to_vec().into();
        let auth = Auth(VerifyingKey { key_id: "k".to_owned(), ed25519_public_key: public });
        let auth = upstream::in_process(Routes::new(KeyServiceServer::new(auth)), None);
        let clock = ManualClock::at(NOW);
        let shutdown = Shutdown::new(Duration::from_secs(5));
        let deps = Deps { auth, clock: clock.clock(), shutdown: shutdown.clone() };
        let service = build(&config, dir.path(), deps).await.unwrap();
        let (upstream, store) = (upstream::in_process(service.routes, None), service.store);
        Self { upstream, signer, keys: KeyRing::new(&KEY), clock, shutdown, store, _dir: dir }
    }

    /// A new account.
    fn caller(&self) -> Caller<'_> {
        self.caller_as("member")
    }

    fn caller_as(&self, role: &str) -> Caller<'_> {
        self.caller_of("api", role)
    }

    /// A new account with a role, acting through a session of that kind.
    fn caller_of(&self, kind: &str, role: &str) -> Caller<'_> {
        let seconds = NOW / 1_000_000;
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: Uuid::now_v7(),
            sid: Uuid::now_v7(),
            kind: kind.to_owned(),
            role: role.to_owned(),
            iat: seconds,
            exp: seconds + 1_000_000,
        };
        Caller { world: self, account: claims.sub, token: self.signer.sign(&claims).unwrap() }
    }

    /// Opens a short link, as anybody can.
    async fn open_link(&self, slug: &str) -> Result<proto::OpenLinkResponse, Status> {
        self.open(proto::OpenLinkRequest { slug: slug.to_owned(), ..Default::default() }).await
    }

    async fn open(&self, request: proto::OpenLinkRequest) -> Result<proto::OpenLinkResponse, Status> {
        let mut client = LinkServiceClient::new(self.upstream.clone());
        client.open_link(request).await.map(Response::into_inner)
    }

    /// Deletes by a link, as anybody can who has its key.
    async fn delete_by_link(&self, slug: &str, delete_key: &str) -> Result<(), Status> {
        let mut client = LinkServiceClient::new(self.upstream.clone());
        let request = proto::DeleteByLinkRequest {
            slug: slug.to_owned(),
            delete_key: delete_key.to_owned(),
            ..Default::default()
        };
        client.delete_by_link(request).await.map(drop)
    }

    /// Plays blob: takes the bytes and gives a receipt for them.
    fn store(&self, write_grant: &[u8], content: &[u8]) -> bytes::Bytes {
        let now = self.clock.clock().now();
        let grant: WriteGrant = self.keys.open(write_grant, now).unwrap();
        assert!(content.len() as u64 <= grant.max_size);
        self.keys.seal(&Receipt {
            blob_id: Uuid::now_v7().to_string(),
            size: content.len() as u64,
            digest: blake3::hash(content).as_bytes().to_vec().into(),
            space_id: grant.space_id,
            expires_at_us: grant.expires_at_us,
            upload_id: grant.upload_id,
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

/// One account with its token.
struct Caller<'a> {
    world: &'a World,
    account: Uuid,
    token: String,
}

macro_rules! calls {
    ($($method:ident($request:ident) -> $answer:ident by $client:ident;)*) => {$(
        async fn $method(&self, request: proto::$request) -> Result<proto::$answer, Status> {
            let mut client = $client::new(self.world.upstream.clone());
            Ok(client.$method(self.sign(request)).await?.into_inner())
        }
    )*};
}

impl Caller<'_> {
    fn sign<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        holdall_runtime::token::bearer(&mut request, &self.token).unwrap();
        request
    }

    calls! {
        get_space(GetSpaceRequest) -> GetSpaceResponse by SpaceServiceClient;
        empty_space(EmptySpaceRequest) -> EmptySpaceResponse by SpaceServiceClient;
        get_node(GetNodeRequest) -> GetNodeResponse by NodeServiceClient;
        list_children(ListChildrenRequest) -> ListChildrenResponse by NodeServiceClient;
        find_by_name(FindByNameRequest) -> FindByNameResponse by NodeServiceClient;
        list_ancestors(ListAncestorsRequest) -> ListAncestorsResponse by NodeServiceClient;
        list_versions(ListVersionsRequest) -> ListVersionsResponse by NodeServiceClient;
        create_folder(CreateFolderRequest) -> CreateFolderResponse by NodeServiceClient;
        update_node(UpdateNodeRequest) -> UpdateNodeResponse by NodeServiceClient;
        set_folder_policy(SetFolderPolicyRequest) -> SetFolderPolicyResponse by NodeServiceClient;
        trash_node(TrashNodeRequest) -> TrashNodeResponse by NodeServiceClient;
        restore_node(RestoreNodeRequest) -> RestoreNodeResponse by NodeServiceClient;
        list_trash(ListTrashRequest) -> ListTrashResponse by NodeServiceClient;
        purge_trash(PurgeTrashRequest) -> PurgeTrashResponse by NodeServiceClient;
        begin_upload(BeginUploadRequest) -> BeginUploadResponse by ContentServiceClient;
        commit_upload(CommitUploadRequest) -> CommitUploadResponse by ContentServiceClient;
        abort_upload(AbortUploadRequest) -> AbortUploadResponse by ContentServiceClient;
        open_content(OpenContentRequest) -> OpenContentResponse by ContentServiceClient;
        create_link(CreateLinkRequest) -> CreateLinkResponse by LinkServiceClient;
        get_link(GetLinkRequest) -> GetLinkResponse by LinkServiceClient;
        list_links(ListLinksRequest) -> ListLinksResponse by LinkServiceClient;
        update_link(UpdateLinkRequest) -> UpdateLinkResponse by LinkServiceClient;
        delete_link(DeleteLinkRequest) -> DeleteLinkResponse by LinkServiceClient;
        begin_entry(BeginEntryRequest) -> BeginEntryResponse by BufferServiceClient;
        commit_entry(CommitEntryRequest) -> CommitEntryResponse by BufferServiceClient;
        get_entry(GetEntryRequest) -> GetEntryResponse by BufferServiceClient;
        list_entries(ListEntriesRequest) -> ListEntriesResponse by BufferServiceClient;
        clear_buffer(ClearBufferRequest) -> ClearBufferResponse by BufferServiceClient;
        list_changes(ListChangesRequest) -> ListChangesResponse by ChangeServiceClient;
        create_admin_grant(CreateAdminGrantRequest) -> CreateAdminGrantResponse by AdminServiceClient;
    }

    /// Announces content and has it stored; the receipt for it.
    async fn upload(&self, target: proto::UploadTarget, content: &[u8]) -> bytes::Bytes {
        let begun = self
            .begin_upload(proto::BeginUploadRequest {
                target: Some(target),
                size: Some(content.len() as u64),
                precondition: None,
            })
            .await
            .unwrap();
        self.world.store(&begun.write_grant, content)
    }

    /// Puts text into the buffer.
    async fn buffer(&self, text: &[u8]) -> proto::BufferEntry {
        let begun =
            self.begin_entry(proto::BeginEntryRequest { size: Some(text.len() as u64) }).await.unwrap();
        let receipt = self.world.store(&begun.write_grant, text);
        let commit = proto::CommitEntryRequest { receipt, ..Default::default() };
        self.commit_entry(commit).await.unwrap().entry.unwrap()
    }

    /// Makes a link.
    async fn link(&self, node_id: &str, options: proto::LinkOptions) -> proto::Link {
        let request = proto::CreateLinkRequest {
            node_id: node_id.to_owned(),
            options: Some(options),
            ..Default::default()
        };
        self.create_link(request).await.unwrap().link.unwrap()
    }

    /// Puts content at a path.
    async fn put(&self, path: &str, content: &[u8]) -> proto::Node {
        let receipt = self.upload(to_path(path), content).await;
        let commit =
            proto::CommitUploadRequest { receipt, target: Some(to_path(path)), ..Default::default() };
        self.commit_upload(commit).await.unwrap().node.unwrap()
    }
}

fn target(target: proto::upload_target::Target) -> proto::UploadTarget {
    proto::UploadTarget { target: Some(target), keep_both: false }
}

fn link_by_id(id: &str) -> Option<proto::get_link_request::Link> {
    Some(proto::get_link_request::Link::LinkId(id.to_owned()))
}

fn link_by_slug(slug: &str) -> Option<proto::get_link_request::Link> {
    Some(proto::get_link_request::Link::Slug(slug.to_owned()))
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn to_path(path: &str) -> proto::UploadTarget {
    target(proto::upload_target::Target::Path(path.to_owned()))
}

fn to_node(id: &str) -> proto::UploadTarget {
    target(proto::upload_target::Target::NodeId(id.to_owned()))
}

fn to_child(parent: &str, name: &str) -> proto::UploadTarget {
    let child = proto::ChildName { parent_id: parent.to_owned(), name: name.to_owned() };
    target(proto::upload_target::Target::Child(child))
}

fn by_id(id: &str) -> Option<proto::NodeRef> {
    Some(proto::NodeRef { r#ref: Some(proto::node_ref::Ref::NodeId(id.to_owned())) })
}

fn by_path(path: &str) -> Option<proto::NodeRef> {
    Some(proto::NodeRef { r#ref: Some(proto::node_ref::Ref::Path(path.to_owned())) })
}

/// The reason of a refusal, and the field that it names.
fn why<T: std::fmt::Debug>(result: Result<T, Status>) -> (String, String) {
    let status = result.unwrap_err();
    let field = field_violations(&status).into_iter().next().map(|(field, _)| field).unwrap_or_default();
    (reason_of(&status).expect("every refusal has a reason"), field)
}

fn reason<T: std::fmt::Debug>(result: Result<T, Status>) -> String {
    why(result).0
}
