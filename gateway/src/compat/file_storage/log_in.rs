//! The class `LogIn`.

use axum::extract::State;
use holdall_proto::auth::v1::{ChangeEmailRequest, ChangePasswordRequest};

use super::answer::{Answer, EMPTY, NO_USER, Result, WRONG};
use super::call::Call;
use super::register::EMAIL_TAKEN;
use crate::App;
use crate::error::Code;
use crate::ops::accounts;

const BAD: &str = "bad";
const BAD_EMAIL: &str = "This email does not supported by system";

/// `login_user(username)`: whether there is such a user. The password is the caller's to check.
pub async fn login_user(State(app): State<App>, call: Call) -> Result {
    let user = call.user(&app).await?;
    Ok(user.map_or(BAD.into(), |_| Answer::Text("ok".to_owned())))
}

/// `get_pwd(username)`: the hashed password as it was given; there is none where the account has a password of another origin.
pub async fn get_pwd(State(app): State<App>, call: Call) -> Result {
    let Some(user) = call.user(&app).await? else { return Ok(BAD.into()) };
    let user = call.authority.over_credentials(&app, user).await?;
    match accounts::imported_credential(&app.upstreams, &user).await {
        Ok(credential) => Ok(Answer::Text(credential)),
        Err(error) if error.code == Code::NotFound => Ok(BAD.into()),
        Err(error) => Err(error.into()),
    }
}

/// `change_password(username, user_id, password)`: the password is one that was hashed by the caller.
pub async fn change_password(State(app): State<App>, call: Call) -> Result {
    let password = call.text("password")?;
    let Some(user) = call.numbered_user(&app).await? else { return Ok(NO_USER.into()) };
    if password.is_empty() {
        return Ok(EMPTY.into());
    }
    let user = call.authority.over_credentials(&app, user).await?;
    let request = ChangePasswordRequest {
        imported_credential: password.to_owned(),
        ..ChangePasswordRequest::default()
    };
    match accounts::change_password(&app.upstreams, &user, request).await {
        Ok(()) => Ok(Answer::Nothing),
        Err(error) if matches!(error.code, Code::InvalidAccount | Code::InvalidField) => Ok(WRONG.into()),
        Err(error) => Err(error.into()),
    }
}

/// `del_user(username, user_id)`: deletes the account and all that it holds. Nothing is said of an unknown user.
pub async fn del_user(State(app): State<App>, call: Call) -> Result {
    let Some(user) = call.numbered_user(&app).await? else { return Ok(Answer::Nothing) };
    let user = call.authority.over_credentials(&app, user).await?;
    accounts::delete(&app.upstreams, &user).await?;
    Ok(Answer::Nothing)
}

/// `change_email(username, user_id, new_email)`.
pub async fn change_email(State(app): State<App>, call: Call) -> Result {
    let email = call.text("new_email")?;
    let user = call.numbered_user(&app).await?;
    if !email.contains('@') || !email.contains('.') {
        return Ok(BAD_EMAIL.into());
    }
    let Some(user) = user else { return Ok(NO_USER.into()) };
    let user = call.authority.over_credentials(&app, user).await?;
    let request =
        ChangeEmailRequest { email: email.to_owned(), any_email: true, ..ChangeEmailRequest::default() };
    match accounts::change_email(&app.upstreams, &user, request).await {
        Ok(_) => Ok(Answer::Nothing),
        Err(error) => match error.code {
            Code::EmailTaken => Ok(EMAIL_TAKEN.into()),
            Code::InvalidAccount | Code::InvalidField => Ok(BAD_EMAIL.into()),
            _ => Err(error.into()),
        },
    }
}
