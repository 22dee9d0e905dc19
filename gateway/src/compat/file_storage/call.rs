//! A call: on whose authority it comes, its parameters, and the user it is about.

use axum::extract::{FromRequest, Request};
use http::HeaderMap;
use subtle::ConstantTimeEq;

use super::answer::{Failed, Result};
use crate::App;
use crate::error::{Code, Error};
use crate::identity::{Handle, identify};
use crate::ops::Caller;
use crate::transfer::fields::Fields;

/// What the history of a user's files says about where a change came from.
const DEVICE: &str = "File storage API";

/// On whose authority a call comes.
pub enum Authority {
    /// That of the operator's own program, which answers for every user.
    Service,
    /// A user's own.
    Own(Box<Caller>),
}

/// A call of a method.
pub struct Call {
    /// On whose authority.
    pub authority: Authority,
    /// The parameters.
    pub fields: Fields,
}

impl Authority {
    /// The one that the request shows.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`] when it shows none.
    pub async fn of(app: &App, headers: &HeaderMap) -> Result<Self> {
        let handle = Handle::of(headers)?;
        let token = app.compat.file_storage_api.service_token.as_bytes();
        if !token.is_empty() && bool::from(token.ct_eq(handle.0.as_bytes())) {
            return Ok(Self::Service);
        }
        Ok(Self::Own(Box::new(identify(app, handle).await?)))
    }

    /// The user with that name; `None` when there is none.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`] when this is the authority of another user.
    pub async fn user(&self, app: &App, username: &str) -> Result<Option<Caller>> {
        match self {
            Self::Own(caller) if is_same(&caller.account().username, username) => {
                Ok(Some(Caller::clone(caller)))
            }
            Self::Own(_) => Err(Error::new(Code::Unauthenticated)
                .detail("A session is good for its own user only; for others, send the service token.")
                .into()),
            Self::Service => match app.delegate()?.act_for(&app.upstreams, username, DEVICE).await {
                Ok(caller) => Ok(Some(caller)),
                Err(error) if error.code == Code::NotFound => Ok(None),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// The same user as one whose credentials may be read and changed without the password.
    pub async fn over_credentials(&self, app: &App, user: Caller) -> Result<Caller> {
        match self {
            Self::Service => Ok(user),
            Self::Own(_) => {
                let username = &user.account().username;
                Ok(app.delegate()?.act_for(&app.upstreams, username, DEVICE).await?)
            }
        }
    }
}

impl Call {
    /// The value of a parameter that the method needs.
    ///
    /// # Errors
    /// [`Code::MalformedForm`].
    pub fn text(&self, name: &'static str) -> Result<&str> {
        self.either(name, name)
    }

    /// The same of one that goes by two names.
    pub fn either(&self, name: &'static str, other: &'static str) -> Result<&str> {
        self.fields.get(name).or_else(|| self.fields.get(other)).ok_or_else(|| missing(name))
    }

    /// The user named by `username`; `None` when there is none.
    pub async fn user(&self, app: &App) -> Result<Option<Caller>> {
        self.authority.user(app, self.text("username")?).await
    }

    /// The user named by `username` and `user_id`; `None` when there is none with both.
    pub async fn numbered_user(&self, app: &App) -> Result<Option<Caller>> {
        let number = self.text("user_id")?.trim().parse();
        let user = self.user(app).await?;
        Ok(user.filter(|user| number.as_ref() == Ok(&user.account().number)))
    }
}

impl FromRequest<App> for Call {
    type Rejection = Failed;

    async fn from_request(request: Request, app: &App) -> Result<Self> {
        let authority = Authority::of(app, request.headers()).await?;
        Ok(Self { authority, fields: Fields::of(request).await? })
    }
}

/// A parameter is missing.
pub fn missing(name: &'static str) -> Failed {
    Error::new(Code::MalformedForm).detail(format!("The parameter `{name}` is missing.")).into()
}

/// Whether two usernames are one user's, without regard to case. Only whoever has proved to be one of them is compared, and
/// acts as nobody else then, so nothing hangs on the fine points of case.
fn is_same(username: &str, other: &str) -> bool {
    username == other || username.to_lowercase() == other.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(body: &str) -> Call {
        Call { authority: Authority::Service, fields: Fields::json(body.as_bytes()).unwrap() }
    }

    #[test]
    fn parameters_are_text_under_either_name() {
        let call = call(r#"{"username":123,"new_folder":"a","user_dir":null,"empty":""}"#);
        assert_eq!(call.text("username").unwrap(), "123");
        assert_eq!(call.either("new_folred", "new_folder").unwrap(), "a");
        assert_eq!(call.text("empty").unwrap(), "");
        assert!(call.text("user_dir").is_err());
        assert!(call.text("nothing").is_err());
    }

    #[test]
    fn names_are_compared_without_case() {
        assert!(is_same("Alice", "aLICE") && is_same("ÄRGER", "ärger"));
        assert!(!is_same("alice", "alice ") && !is_same("alice", "alic"));
    }
}
