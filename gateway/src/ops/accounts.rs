//! Accounts and their credentials.

use holdall_proto::auth::v1::{
    Account, ChangeEmailRequest, ChangePasswordRequest, CreateSessionRequest, DeleteAccountRequest,
    GetAccountRequest, GetImportedCredentialRequest, RegisterRequest,
};

use holdall_runtime::clock::Clock;

use super::{Caller, incomplete, nodes, sessions};
use crate::error::{Code, Error, Result};
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
///
/// An account that is gone already is no failure: a replica of auth may remember it for some seconds, and let us act for it.
pub async fn delete(upstreams: &Upstreams, caller: &Caller) -> Result<()> {
    nodes::empty_space(upstreams, caller).await?;
    let asked = caller.asks(DeleteAccountRequest::default());
    match upstreams.accounts().delete_account(asked).await.map_err(Error::from) {
        // Its own token, which was made a moment ago, is refused.
        Err(error) if error.code == Code::Unauthenticated => Ok(()),
        done => done.map(drop),
    }
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
    nodes::empty_space(upstreams, &signed_in).await?;
    upstreams.accounts().delete_account(signed_in.asks(request)).await?;
    Ok(())
}

/// The crypt string that the account was given, as it was given. For accounts that the gateway acts for.
pub async fn imported_credential(upstreams: &Upstreams, caller: &Caller) -> Result<String> {
    let request = caller.asks(GetImportedCredentialRequest {});
    Ok(upstreams.accounts().get_imported_credential(request).await?.into_inner().imported_credential)
}
