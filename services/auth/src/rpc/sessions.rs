//! `holdall.auth.v1.SessionService`.

use std::sync::Arc;

use holdall_proto::auth::v1::session_service_server::SessionService;
use holdall_proto::auth::v1::{
    CreateSessionRequest, CreateSessionResponse, ExchangeSessionRequest, ExchangeSessionResponse,
    ListSessionsRequest, ListSessionsResponse, RevokeSessionRequest, RevokeSessionResponse,
    RotateSessionRequest, RotateSessionResponse,
};
use holdall_proto::span;
use holdall_runtime::token::caller;
use tonic::{Request, Response, Status};

use crate::authority::{Authority, SignIn};
use crate::convert;

/// The service.
pub struct Sessions(pub Arc<Authority>);

#[tonic::async_trait]
impl SessionService for Sessions {
    async fn create_session(
        &self,
        request: Request<CreateSessionRequest>,
    ) -> Result<Response<CreateSessionResponse>, Status> {
        let request = request.into_inner();
        let sign_in = SignIn {
            lifetime: convert::lifetime(request.lifetime)?,
            form: convert::handle_form(request.uuid_handle),
            reuse: request.reuse,
            ..SignIn::new(
                &request.login,
                &request.password,
                convert::kind(request.kind)?,
                &request.device_name,
                &request.client_address,
            )?
        };
        let signed_in = self.0.sign_in(sign_in).await?;
        Ok(Response::new(CreateSessionResponse {
            handle: signed_in.handle.reveal(),
            session: Some(convert::session(&signed_in.session)),
            access_token: Some(convert::access_token(&signed_in.token)),
            account: Some(convert::account(&signed_in.account)),
        }))
    }

    async fn exchange_session(
        &self,
        request: Request<ExchangeSessionRequest>,
    ) -> Result<Response<ExchangeSessionResponse>, Status> {
        let request = request.into_inner();
        let exchanged = self.0.exchange(&request.handle, request.extend).await?;
        Ok(Response::new(ExchangeSessionResponse {
            reusable_for: span(self.0.reusable_for(&exchanged)),
            session: Some(convert::session(&exchanged.session)),
            access_token: Some(convert::access_token(&exchanged.token)),
            account: Some(convert::account(&exchanged.account)),
        }))
    }

    async fn rotate_session(
        &self,
        request: Request<RotateSessionRequest>,
    ) -> Result<Response<RotateSessionResponse>, Status> {
        let request = request.into_inner();
        let lifetime = convert::lifetime(request.lifetime)?;
        let signed_in = self.0.rotate_session(&request.handle, lifetime).await?;
        Ok(Response::new(RotateSessionResponse {
            handle: signed_in.handle.reveal(),
            session: Some(convert::session(&signed_in.session)),
            access_token: Some(convert::access_token(&signed_in.token)),
            account: Some(convert::account(&signed_in.account)),
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let caller = convert::caller(caller(&request)?);
        let request = request.get_ref();
        let (sessions, next) = self.0.list_sessions(&caller, request.page_size, &request.page_token).await?;
        Ok(Response::new(ListSessionsResponse {
            sessions: sessions.iter().map(convert::session).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn revoke_session(
        &self,
        request: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        let caller = convert::caller(caller(&request)?);
        self.0.revoke_session(&caller, &request.get_ref().session_id).await?;
        Ok(Response::new(RevokeSessionResponse {}))
    }
}
