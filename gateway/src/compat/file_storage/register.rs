//! The class `Register`.

use axum::extract::State;
use holdall_proto::auth::v1::RegisterRequest;

use super::answer::{Answer, EMPTY, NO_USER, Result, WRONG};
use super::call::{Authority, Call};
use crate::App;
use crate::error::{Code, Error};
use crate::ops::accounts;

const SHORT_NAME: &str = "Username is too short";
const BAD_NAME: &str = "This username is not supported by this system.";
const BAD_EMAIL: &str = "Email address is too short, or incorrect";
const NAME_TAKEN: &str = "That username is already taken, please choose another";
/// Said of an address that another account has.
pub const EMAIL_TAKEN: &str = "This email is already in use.";

/// `add_user(username, email, password, tracking)`: the password is one that was hashed by the caller.
pub async fn add_user(State(app): State<App>, call: Call) -> Result {
    let (username, email) = (call.text("username")?, call.text("email")?);
    let (password, tracking) = (call.text("password")?, call.text("tracking")?);
    // Refuses the authority of everybody else.
    let exists = match call.authority {
        Authority::Service => false,
        Authority::Own(_) => call.user(&app).await?.is_some(),
    };
    if let Some(sentence) = refusal(username, email) {
        return Ok(sentence.into());
    }
    if exists {
        return Ok(NAME_TAKEN.into());
    }
    if password.is_empty() {
        return Ok(EMPTY.into());
    }
    let request = RegisterRequest {
        username: username.to_owned(),
        email: email.to_owned(),
        imported_credential: password.to_owned(),
        any_email: true,
        external_reference: tracking.to_owned(),
        // The operator's program stands for many people: no address of one of them is known.
        ..RegisterRequest::default()
    };
    match app.delegate()?.register(&app.upstreams, request).await {
        Ok(_) => Ok(Answer::Text("ok".to_owned())),
        Err(error) => sentence(error).map(Answer::from),
    }
}

/// What is said before anything is looked up. An address has to fail in every way to be refused.
fn refusal(username: &str, email: &str) -> Option<&'static str> {
    if username.chars().count() < 3 {
        return Some(SHORT_NAME);
    }
    (email.chars().count() < 8 && !email.contains('@') && !email.contains('.')).then_some(BAD_EMAIL)
}

fn sentence(error: Error) -> Result<&'static str> {
    match error.code {
        Code::UsernameTaken => Ok(NAME_TAKEN),
        Code::EmailTaken => Ok(EMAIL_TAKEN),
        Code::InvalidAccount | Code::InvalidField => {
            Ok(match error.fields.first().map(|(field, _)| field.as_str()) {
                Some("username") => BAD_NAME,
                Some("email") => BAD_EMAIL,
                _ => WRONG,
            })
        }
        _ => Err(error.into()),
    }
}

/// `get_tracking(username)`: what was given as `tracking`.
pub async fn get_tracking(State(app): State<App>, call: Call) -> Result {
    let user = call.user(&app).await?;
    Ok(user.map_or(NO_USER.into(), |user| Answer::Text(user.account().external_reference.clone())))
}

/// `del_user(username)`: deletes the account and all that it holds.
pub async fn del_user(State(app): State<App>, call: Call) -> Result {
    let Some(user) = call.user(&app).await? else { return Ok(NO_USER.into()) };
    let user = call.authority.over_credentials(&app, user).await?;
    accounts::delete(&app.upstreams, &user).await?;
    Ok(Answer::Text(format!("{} has been deleted", user.account().username)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_before_addresses_and_addresses_fail_in_every_way() {
        assert_eq!(refusal("ab", ""), Some(SHORT_NAME));
        assert_eq!(refusal("äö", "a@b.example"), Some(SHORT_NAME));
        for bad in ["", "short", "1234567"] {
            assert_eq!(refusal("abc", bad), Some(BAD_EMAIL), "{bad}");
        }
        for good in ["a@b", "a.b", "xxxxxxxx", "alice@example.org"] {
            assert_eq!(refusal("123", good), None, "{good}");
        }
    }

    #[test]
    fn refusals_of_the_service_have_their_sentences() {
        let of = |error: Error| sentence(error).ok();
        assert_eq!(of(Code::UsernameTaken.into()), Some(NAME_TAKEN));
        assert_eq!(of(Code::EmailTaken.into()), Some(EMAIL_TAKEN));
        let invalid = |field| of(Error::new(Code::InvalidAccount).field(field, "is bad"));
        assert_eq!(invalid("username"), Some(BAD_NAME));
        assert_eq!(invalid("email"), Some(BAD_EMAIL));
        assert_eq!(invalid("external_reference"), Some(WRONG));
        assert_eq!(of(Code::Unavailable.into()), None);
    }
}
