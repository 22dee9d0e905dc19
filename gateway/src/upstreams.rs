//! The three services behind the gateway, as generated clients. Whether a service runs in this process or elsewhere
//! shows nowhere but in how its [`Upstream`] was made, and in what is [remembered](Remembered) of it.

mod answers;
mod contents;
mod exchanges;

use std::sync::Arc;

use holdall_proto::auth::v1::account_service_client::AccountServiceClient;
use holdall_proto::auth::v1::delegation_service_client::DelegationServiceClient;
use holdall_proto::auth::v1::session_service_client::SessionServiceClient;
use holdall_proto::auth::v1::{
    ActForRequest, ActForResponse, ExchangeSessionRequest, ExchangeSessionResponse,
};
use holdall_proto::blob::v1::blob_service_client::BlobServiceClient;
use holdall_proto::metadata::v1::buffer_service_client::BufferServiceClient;
use holdall_proto::metadata::v1::change_service_client::ChangeServiceClient;
use holdall_proto::metadata::v1::content_service_client::ContentServiceClient;
use holdall_proto::metadata::v1::link_service_client::LinkServiceClient;
use holdall_proto::metadata::v1::node_service_client::NodeServiceClient;
use holdall_proto::metadata::v1::space_service_client::SpaceServiceClient;
use holdall_proto::metadata::v1::{
    ListChildrenRequest, ListChildrenResponse, OpenContentRequest, OpenContentResponse,
};
use holdall_runtime::upstream::Upstream;
use tonic::{Request, Status};

pub use answers::Answers;
pub use contents::Contents;
pub use exchanges::Exchanges;

/// A page of 1,000 nodes with long names comes to about 1 MiB; nothing legitimate comes near this.
const MAX_MESSAGE: usize = 8 << 20;

/// How to reach each service.
#[derive(Clone)]
pub struct Connections {
    /// Accounts and sessions.
    pub auth: Upstream,
    /// Folders, files, links, changes.
    pub metadata: Upstream,
    /// Bytes: calls that stream content, without a deadline, and apart from all others, since content that nobody reads
    /// holds up what shares its connection.
    pub blob: Upstream,
    /// Bytes: short calls.
    pub blob_control: Upstream,
}

/// What is remembered of services that run elsewhere, so that not every request has to go there. Those in this process are
/// asked each time.
#[derive(Clone, Default)]
pub struct Remembered {
    /// Of auth's.
    pub exchanges: Option<Exchanges>,
    /// Of metadata's.
    pub answers: Option<Answers>,
    /// Of blob's.
    pub contents: Option<Contents>,
}

/// Clients of every service. A clone costs no more than a few reference counts; generated clients need one per call.
#[derive(Clone)]
pub struct Upstreams {
    connections: Connections,
    remembered: Remembered,
}

impl Upstreams {
    /// Clients over these connections.
    pub fn new(connections: Connections, remembered: Remembered) -> Self {
        Self { connections, remembered }
    }

    /// What a handle stands for, as auth says it, or has said it a moment ago.
    pub async fn exchange(&self, request: ExchangeSessionRequest) -> Result<ExchangeSessionResponse, Status> {
        match &self.remembered.exchanges {
            Some(exchanges) => exchanges.exchange(request).await,
            None => Ok(self.sessions().exchange_session(request).await?.into_inner()),
        }
    }

    /// Leave to act for an account, as auth gives it, or has given it a moment ago.
    pub async fn act_for(&self, request: ActForRequest) -> Result<ActForResponse, Status> {
        match &self.remembered.exchanges {
            Some(exchanges) => exchanges.act_for(request).await,
            None => Ok(self.delegation().act_for(request).await?.into_inner()),
        }
    }

    /// A page of a folder. `account` is the one in whose name the request is made.
    pub async fn children(
        &self,
        account: &str,
        request: Request<ListChildrenRequest>,
    ) -> Result<Arc<ListChildrenResponse>, Status> {
        match &self.remembered.answers {
            Some(answers) => answers.children(account, request).await,
            None => Ok(Arc::new(self.nodes().list_children(request).await?.into_inner())),
        }
    }

    /// Content to read. `account` is the one in whose name the request is made.
    pub async fn open_content(
        &self,
        account: &str,
        request: Request<OpenContentRequest>,
    ) -> Result<Arc<OpenContentResponse>, Status> {
        match &self.remembered.answers {
            Some(answers) => answers.content(account, request).await,
            None => Ok(Arc::new(self.content().open_content(request).await?.into_inner())),
        }
    }

    /// Small contents that are in memory, where any are.
    pub fn contents(&self) -> Option<&Contents> {
        self.remembered.contents.as_ref()
    }

    /// How each service is reached.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// The services one by one, for health checks.
    pub fn each(&self) -> [Upstream; 3] {
        let Connections { auth, metadata, blob_control, .. } = &self.connections;
        [auth.clone(), metadata.clone(), blob_control.clone()]
    }

    /// Accounts.
    pub fn accounts(&self) -> AccountServiceClient<Upstream> {
        AccountServiceClient::new(self.connections.auth.clone())
    }

    /// Sessions.
    pub fn sessions(&self) -> SessionServiceClient<Upstream> {
        SessionServiceClient::new(self.connections.auth.clone())
    }

    /// Acting for accounts.
    pub fn delegation(&self) -> DelegationServiceClient<Upstream> {
        DelegationServiceClient::new(self.connections.auth.clone())
    }

    /// Spaces.
    pub fn spaces(&self) -> SpaceServiceClient<Upstream> {
        SpaceServiceClient::new(self.connections.metadata.clone())
    }

    /// Folders and files.
    pub fn nodes(&self) -> NodeServiceClient<Upstream> {
        NodeServiceClient::new(self.connections.metadata.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Content, as far as metadata knows it.
    pub fn content(&self) -> ContentServiceClient<Upstream> {
        ContentServiceClient::new(self.connections.metadata.clone())
    }

    /// Links. A page of 1,000 of them with their files is larger than other answers.
    pub fn links(&self) -> LinkServiceClient<Upstream> {
        LinkServiceClient::new(self.connections.metadata.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// The buffer.
    pub fn buffer(&self) -> BufferServiceClient<Upstream> {
        BufferServiceClient::new(self.connections.metadata.clone())
    }

    /// Changes.
    pub fn changes(&self) -> ChangeServiceClient<Upstream> {
        ChangeServiceClient::new(self.connections.metadata.clone())
    }

    /// Bytes.
    pub fn blobs(&self) -> BlobServiceClient<Upstream> {
        BlobServiceClient::new(self.connections.blob.clone())
    }
}
