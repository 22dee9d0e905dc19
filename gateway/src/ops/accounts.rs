//! Accounts and their credentials.

use holdall_proto::auth::v1::{
    Account, ChangeEmailRequest, ChangePasswordRequest, GetAccountRequest, RegisterRequest,
};

use super::{Caller, incomplete};
use crate::error::Result;
use crate::upstreams::Upstreams;

/// Makes an account.
pub async fn register(upstreams: &Upstreams, request: RegisterRequest) -> Result<Account> {
    upstreams.accounts().register(request).await?.into_inner().account.ok_or_else(incomplete)
}

/// The caller's account.
pub async fn get(upstreams: &Upstreams, caller: &Caller) -> Result<Account> {
    let request = caller.asks(GetAccountRequest {});
    upstreams.accounts().get_account(request).await?.into_inner().account.ok_or_else(incomplete)
}

/// Replaces the caller's password and ends the account's other sessions.
pub async fn change_password(
    upstreams: &Upstreams,
    caller: &Caller,
    request: ChangePasswordRequest,
) -> Result<()> {
    upstreams.accounts().change_password(caller.asks(request)).await?;
    Ok(())
}

/// Replaces or removes the caller's e-mail address.
pub async fn change_email(
    upstreams: &Upstreams,
    caller: &Caller,
    request: ChangeEmailRequest,
) -> Result<Account> {
    let request = caller.asks(request);
    upstreams.accounts().change_email(request).await?.into_inner().account.ok_or_else(incomplete)
}
