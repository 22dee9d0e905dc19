//! Accounts and their credentials.

use holdall_proto::auth::v1::{
    Account, ChangeEmailRequest, ChangePasswordRequest, CreateSessionRequest, DeleteAccountRequest,
    GetAccountRequest, GetImportedCredentialRequest, RegisterRequest,
};

use holdall_runtime::clock::Clock;

use super::{Caller, incomplete, nodes, sessions};
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

/// Deletes the caller's account and everything that it holds, for a caller that needs no password. The content goes first:
/// when this breaks off, the account is still there and it can be done again.
pub async fn delete(upstreams: &Upstreams, caller: &Caller) -> Result<()> {
    delete_with(upstreams, caller, DeleteAccountRequest::default()).await
}

/// The same for a caller who has to show the password. It is checked by signing in, before anything is touched.
pub async fn delete_own(
    upstreams: &Upstreams,
    clock: &Clock,
    caller: &Caller,
    request: DeleteAccountRequest,
) -> Result<()> {
    let sign_in = CreateSessionRequest {
        login: caller.account().username.clone(),
        password: request.current_password.clone(),
        client_address: request.client_address.clone(),
        ..CreateSessionRequest::default()
    };
    let signed_in = sessions::create(upstreams, sign_in).await?.caller(clock)?;
    delete_with(upstreams, &signed_in, request).await
}

async fn delete_with(upstreams: &Upstreams, caller: &Caller, request: DeleteAccountRequest) -> Result<()> {
    nodes::empty_space(upstreams, caller).await?;
    upstreams.accounts().delete_account(caller.asks(request)).await?;
    Ok(())
}

/// The crypt string that the account was given, as it was given. For accounts that the gateway acts for.
pub async fn imported_credential(upstreams: &Upstreams, caller: &Caller) -> Result<String> {
    let request = caller.asks(GetImportedCredentialRequest {});
    Ok(upstreams.accounts().get_imported_credential(request).await?.into_inner().imported_credential)
}
