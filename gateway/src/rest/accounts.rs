//! `/accounts` and `/account`.

use axum::extract::State;
use holdall_proto::auth::v1::{
    self as auth, ChangeEmailRequest, ChangePasswordRequest, DeleteAccountRequest, RegisterRequest, Role,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::extract::{IdempotencyKey, Json};
use super::problem::Result;
use super::time::Time;
use crate::App;
use crate::identity::ClientAddress;
use crate::ops::{Caller, accounts};

/// An account.
#[derive(Serialize, ToSchema)]
pub struct Account<'a> {
    /// UUID; never reused.
    account_id: &'a str,
    /// Unique without regard to case.
    #[schema(example = "alice")]
    username: &'a str,
    /// Null when none was given.
    email: Option<&'a str>,
    /// What the account may do.
    #[schema(value_type = String, example = "member")]
    role: &'static str,
    /// When it was registered.
    created_at: Time,
    /// Names the account too, for programs that need a whole number.
    number: u64,
}

impl<'a> From<&'a auth::Account> for Account<'a> {
    fn from(account: &'a auth::Account) -> Self {
        Self {
            account_id: &account.account_id,
            username: &account.username,
            email: Some(account.email.as_str()).filter(|email| !email.is_empty()),
            role: if account.role() == Role::Admin { "admin" } else { "member" },
            created_at: Time::from(&account.created_at),
            number: account.number,
        }
    }
}

/// A new account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// 1 to 64 characters.
    #[schema(example = "alice")]
    username: String,
    /// At least 8 characters, at most 1,024 bytes.
    #[schema(format = Password)]
    password: String,
    /// May be left out.
    email: Option<String>,
}

/// Registers an account.
#[utoipa::path(
    post, path = "/accounts", tag = "accounts", operation_id = "register", security(()),
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gives the same account.")),
    request_body = NewAccount,
    responses(
        (status = 201, description = "The account.", body = Account),
        (status = 403, description = "registration_closed"),
        (status = 409, description = "username_taken, email_taken"),
        (status = 422, description = "invalid_account, idempotency_mismatch"),
        (status = 429, description = "rate_limited"),
    ),
)]
pub async fn register(
    State(app): State<App>,
    ClientAddress(client_address): ClientAddress,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(NewAccount { username, password, email }): Json<NewAccount>,
) -> Result {
    let email = email.unwrap_or_default();
    let request = RegisterRequest {
        username,
        password,
        email,
        idempotency_key,
        client_address,
        ..RegisterRequest::default()
    };
    let account = accounts::register(&app.upstreams, request).await?;
    Answer::json(StatusCode::CREATED, &Account::from(&account))?.location("/account")?.send()
}

/// Reads the caller's account.
#[utoipa::path(
    get, path = "/account", tag = "accounts", operation_id = "get_account",
    responses((status = 200, description = "The account.", body = Account)),
)]
pub async fn get(State(app): State<App>, caller: Caller) -> Result {
    let account = accounts::get(&app.upstreams, &caller).await?;
    Answer::json(StatusCode::OK, &Account::from(&account))?.send()
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The password as it is now.
    #[schema(format = Password)]
    current_password: String,
    /// The password as it is to be.
    #[schema(format = Password)]
    new_password: String,
}

/// Changes the password and ends all other sessions of the account.
#[utoipa::path(
    put, path = "/account/password", tag = "accounts", operation_id = "change_password",
    request_body = NewPassword,
    responses(
        (status = 204, description = "Changed."),
        (status = 401, description = "unauthenticated, wrong_credentials"),
        (status = 422, description = "invalid_account"),
        (status = 429, description = "rate_limited"),
    ),
)]
pub async fn change_password(
    State(app): State<App>,
    ClientAddress(client_address): ClientAddress,
    caller: Caller,
    Json(NewPassword { current_password, new_password }): Json<NewPassword>,
) -> Result {
    let request = ChangePasswordRequest {
        current_password,
        new_password,
        client_address,
        ..ChangePasswordRequest::default()
    };
    accounts::change_password(&app.upstreams, &caller, request).await?;
    answer::nothing()
}

/// A new e-mail address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEmail {
    /// The password as it is now.
    #[schema(format = Password)]
    current_password: String,
    /// The address; null removes it.
    email: Option<String>,
}

/// Changes or removes the e-mail address.
#[utoipa::path(
    put, path = "/account/email", tag = "accounts", operation_id = "change_email",
    request_body = NewEmail,
    responses(
        (status = 200, description = "The account.", body = Account),
        (status = 401, description = "unauthenticated, wrong_credentials"),
        (status = 409, description = "email_taken"),
        (status = 422, description = "invalid_account"),
        (status = 429, description = "rate_limited"),
    ),
)]
pub async fn change_email(
    State(app): State<App>,
    ClientAddress(client_address): ClientAddress,
    caller: Caller,
    Json(NewEmail { current_password, email }): Json<NewEmail>,
) -> Result {
    let email = email.unwrap_or_default();
    let request = ChangeEmailRequest { current_password, email, client_address, any_email: false };
    let account = accounts::change_email(&app.upstreams, &caller, request).await?;
    Answer::json(StatusCode::OK, &Account::from(&account))?.send()
}

/// What it takes to delete an account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Farewell {
    /// The password as it is now.
    #[schema(format = Password)]
    current_password: String,
}

/// Deletes the account with everything in it, for good.
#[utoipa::path(
    delete, path = "/account", tag = "accounts", operation_id = "delete_account",
    request_body = Farewell,
    responses(
        (status = 204, description = "It is gone."),
        (status = 401, description = "unauthenticated, wrong_credentials"),
        (status = 429, description = "rate_limited"),
    ),
)]
pub async fn delete(
    State(app): State<App>,
    ClientAddress(client_address): ClientAddress,
    caller: Caller,
    Json(Farewell { current_password }): Json<Farewell>,
) -> Result {
    let request = DeleteAccountRequest { current_password, client_address };
    accounts::delete_own(&app.upstreams, &app.clock, &caller, request).await?;
    answer::nothing()
}
