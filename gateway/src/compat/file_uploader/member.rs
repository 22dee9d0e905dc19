//! Who sends a request: the account behind an access token.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use prost_types::Duration;

use super::answer::{AuthError, Failure};
use super::token::Claims;
use crate::App;
use crate::error::{Code, Error, Result};
use crate::ops::Caller;
use crate::ops::sessions::{self, SignedIn};

/// The name of the device of all sessions that are begun here.
pub const DEVICE: &str = "File Uploader";

/// For so long the session outlives its token, so that a token that is over is told from one that never was. In seconds.
const GRACE: u32 = 24 * 3600;

/// How long the session of a token of so many seconds lives.
pub fn lifetime(token_seconds: u32) -> Duration {
    Duration { seconds: i64::from(token_seconds) + i64::from(GRACE), nanos: 0 }
}

/// The token for a session that has just begun, or has a new handle.
pub fn issue(app: &App, signed_in: SignedIn, token_seconds: u32) -> Result<String> {
    let user_id = signed_in.account.number;
    let expires_at = now(app) + f64::from(token_seconds);
    app.file_uploader_tokens.issue(&Claims { user_id, expires_at, handle: signed_in.handle })
}

/// The account of a request with its token in the one `Authorization` header.
pub async fn identify(app: &App, headers: &HeaderMap) -> Result<Caller, Failure> {
    let token = bearer(headers).map_err(Failure::Auth)?;
    let claims = read(app, token).map_err(Failure::Auth)?;
    let is_over = claims.is_over(app);
    let caller = of_session(app, claims).await?;
    if is_over { Err(expire(app, &caller).await) } else { Ok(caller) }
}

/// What a token says, if it is one of ours.
pub fn read(app: &App, token: &str) -> Result<Claims, AuthError> {
    app.file_uploader_tokens.read(token).ok_or(AuthError::Invalid)
}

impl Claims {
    /// Whether the time of the token is over.
    pub fn is_over(&self, app: &App) -> bool {
        self.expires_at <= now(app)
    }
}

/// The account behind the session of a token, over or not.
pub async fn of_session(app: &App, claims: Claims) -> Result<Caller, Failure> {
    sessions::identify(&app.upstreams, &app.clock, claims.handle).await.map_err(ended)
}

/// Ends the session of a token that is over, and says so: the next call will not find it.
pub async fn expire(app: &App, caller: &Caller) -> Failure {
    match sessions::revoke(&app.upstreams, caller, String::new()).await {
        Ok(()) => Failure::Auth(AuthError::Expired),
        Err(error) => ended(error),
    }
}

/// A failure of a call that a session was needed for.
fn ended(error: Error) -> Failure {
    match error.code {
        Code::Unauthenticated => Failure::Auth(AuthError::Unknown),
        _ => Failure::Other(error.of_read()),
    }
}

/// The token in the header: the second of exactly two words.
fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().filter(|value| !value.is_empty()).ok_or(AuthError::Missing)?;
    let words = value.to_str().ok().and_then(|value| value.split_once(' '));
    words
        .filter(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(' ')
        })
        .filter(|_| values.next().is_none())
        .map(|(_, token)| token)
        .ok_or(AuthError::Malformed)
}

/// Unix time in seconds.
fn now(app: &App) -> f64 {
    seconds(app.clock.now())
}

/// Unix microseconds in seconds, as this API tells times to programs.
pub fn seconds(unix_us: i64) -> f64 {
    unix_us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn token(values: &[&str]) -> Result<String, AuthError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        bearer(&headers).map(str::to_owned)
    }

    #[test]
    fn a_token_is_the_second_of_two_words() {
        assert_eq!(token(&["Bearer a.b.c"]).as_deref(), Ok("a.b.c"));
        assert_eq!(token(&["bEARER x"]).as_deref(), Ok("x"));
        assert_eq!(token(&[]), Err(AuthError::Missing));
        assert_eq!(token(&[""]), Err(AuthError::Missing));
        for malformed in ["x", "Bearer", "Bearer ", "Bearer  x", "Bearer x y", "Basic x", "Bearerx"] {
            assert_eq!(token(&[malformed]), Err(AuthError::Malformed), "{malformed}");
        }
        assert_eq!(token(&["Bearer x", "Bearer x"]), Err(AuthError::Malformed));
    }

    #[test]
    fn a_session_outlives_its_token() {
        assert_eq!(lifetime(432_000).seconds, 518_400);
        assert_eq!(lifetime(u32::MAX).seconds, i64::from(u32::MAX) + 86_400);
    }
}
