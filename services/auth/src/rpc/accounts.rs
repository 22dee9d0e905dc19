//! `holdall.auth.v1.AccountService`.

use std::sync::Arc;

use holdall_proto::auth::v1::account_service_server::AccountService;
use holdall_proto::auth::v1::{
    ChangeEmailRequest, ChangeEmailResponse, ChangePasswordRequest, ChangePasswordResponse,
    DeleteAccountRequest, DeleteAccountResponse, GetAccountRequest, GetAccountResponse,
    GetImportedCredentialRequest, GetImportedCredentialResponse, RegisterRequest, RegisterResponse,
};
use holdall_runtime::token::caller;
use tonic::{Request, Response, Status};

use crate::authority::Authority;
use crate::convert;

/// The service.
pub struct Accounts(pub Arc<Authority>);

#[tonic::async_trait]
impl AccountService for Accounts {
    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        let registration = self.0.registration(&convert::form(request.get_ref()))?;
        let account = self.0.register(registration).await?;
        Ok(Response::new(RegisterResponse { account: Some(convert::account(&account)) }))
    }

    async fn get_account(
        &self,
        request: Request<GetAccountRequest>,
    ) -> Result<Response<GetAccountResponse>, Status> {
        let caller = convert::caller(caller(&request)?);
        let account = self.0.account(&caller).await?;
        Ok(Response::new(GetAccountResponse { account: Some(convert::account(&account)) }))
    }

    async fn change_password(
        &self,
        request: Request<ChangePasswordRequest>,
    ) -> Result<Response<ChangePasswordResponse>, Status> {
        let caller = convert::caller(caller(&request)?);
        let request = request.into_inner();
        self.0
            .change_password(
                &caller,
                &request.current_password,
                &request.new_password,
                &request.imported_credential,
                &request.client_address,
            )
            .await?;
        Ok(Response::new(ChangePasswordResponse {}))
    }

    async fn change_email(
        &self,
        request: Request<ChangeEmailRequest>,
    ) -> Result<Response<ChangeEmailResponse>, Status> {
        let caller = convert::caller(caller(&request)?);
        let request = request.into_inner();
        let account = self
            .0
            .change_email(
                &caller,
                &request.current_password,
                &request.email,
                request.any_email,
                &request.client_address,
            )
            .await?;
        Ok(Response::new(ChangeEmailResponse { account: Some(convert::account(&account)) }))
    }

    async fn delete_account(
        &self,
        request: Request<DeleteAccountRequest>,
    ) -> Result<Response<DeleteAccountResponse>, Status> {
        let caller = convert::caller(caller(&request)?);
        let request = request.get_ref();
        self.0.delete_account(&caller, &request.current_password, &request.client_address).await?;
        Ok(Response::new(DeleteAccountResponse {}))
    }

    async fn get_imported_credential(
        &self,
        request: Request<GetImportedCredentialRequest>,
    ) -> Result<Response<GetImportedCredentialResponse>, Status> {
        let caller = convert::caller(caller(&request)?);
        let credential = self.0.imported_credential(&caller).await?;
        Ok(Response::new(GetImportedCredentialResponse {
            imported_credential: credential.reveal().to_owned(),
        }))
    }
}
