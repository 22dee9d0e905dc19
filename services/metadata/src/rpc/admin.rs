//! `AdminService`.

use holdall_proto::blob::v1::AdminGrant;
use holdall_proto::metadata::v1::admin_service_server::AdminService;
use holdall_proto::metadata::v1::{CreateAdminGrantRequest, CreateAdminGrantResponse};
use holdall_proto::timestamp;
use holdall_runtime::token;
use tonic::{Request, Response, Status};

use super::Rpc;
use crate::domain::error::Error;

/// The role of administrators, as access tokens name it.
const ADMIN_ROLE: &str = "admin";
/// How long a grant is good for, in microseconds.
const LIFETIME: i64 = 5 * 60 * 1_000_000;

#[tonic::async_trait]
impl AdminService for Rpc {
    async fn create_admin_grant(
        &self,
        request: Request<CreateAdminGrantRequest>,
    ) -> Result<Response<CreateAdminGrantResponse>, Status> {
        let caller = token::caller(&request)?;
        // Whoever may act for accounts is not an administrator by that.
        if caller.role != ADMIN_ROLE || caller.kind == token::DELEGATED {
            return Err(Error::Forbidden.into());
        }
        let expires_at_us = self.0.clock.now().saturating_add(LIFETIME);
        Ok(Response::new(CreateAdminGrantResponse {
            admin_grant: self
                .0
                .keys
                .seal(&AdminGrant { expires_at_us, subject: caller.account_id.to_string() }),
            expires_at: Some(timestamp(expires_at_us)),
        }))
    }
}
