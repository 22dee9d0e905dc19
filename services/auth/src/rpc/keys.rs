//! `holdall.auth.v1.KeyService`.

use std::sync::Arc;

use holdall_proto::auth::v1::key_service_server::KeyService;
use holdall_proto::auth::v1::{ListKeysRequest, ListKeysResponse};
use holdall_runtime::clock::Clock;
use tonic::{Request, Response, Status};

use crate::convert;
use crate::keys::Keyring;

/// The service.
pub struct Keys {
    /// What it publishes.
    pub keys: Arc<Keyring>,
    /// Which of them signs now depends on the time.
    pub clock: Clock,
}

#[tonic::async_trait]
impl KeyService for Keys {
    async fn list_keys(&self, _: Request<ListKeysRequest>) -> Result<Response<ListKeysResponse>, Status> {
        let keys = self.keys.published(self.clock.now_seconds());
        Ok(Response::new(ListKeysResponse { keys: keys.iter().map(convert::verifying_key).collect() }))
    }
}
