//! `holdall.auth.v1.DelegationService`.

use std::sync::Arc;

use holdall_proto::auth::v1::delegation_service_server::DelegationService;
use holdall_proto::auth::v1::{ActForRequest, ActForResponse};
use holdall_proto::span;
use tonic::{Request, Response, Status};

use crate::authority::Authority;
use crate::convert;

/// The service.
pub struct Delegation(pub Arc<Authority>);

#[tonic::async_trait]
impl DelegationService for Delegation {
    async fn act_for(&self, request: Request<ActForRequest>) -> Result<Response<ActForResponse>, Status> {
        let request = request.into_inner();
        self.0.check_delegation(&request.delegation)?;
        let acting = self.0.act_for(convert::act_for(request.account)?).await?;
        Ok(Response::new(ActForResponse {
            reusable_for: span(self.0.acting_reusable_for(&acting)),
            access_token: Some(convert::access_token(&acting.token)),
            account: Some(convert::account(&acting.account)),
        }))
    }
}
