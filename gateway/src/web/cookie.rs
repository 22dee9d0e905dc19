//! The cookie by which a browser is signed in.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::App;
use crate::error::{Code, Result};
use crate::identity::{Handle, MAX_HANDLE, identify};
use crate::ops::Caller;

const NAME: &str = "sessionid";

/// How long a browser stays signed in, in seconds: two weeks.
pub const LIFETIME: i64 = 14 * 24 * 3600;

/// The caller that the cookie stands for; `None` without a cookie, and when the session has ended.
pub async fn caller(app: &App, headers: &HeaderMap) -> Result<Option<Caller>> {
    let Some(handle) = handle(headers) else { return Ok(None) };
    match identify(app, handle).await {
        Ok(caller) => Ok(Some(caller)),
        Err(error) if error.code == Code::Unauthenticated => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether there is such a cookie, whatever it holds.
pub fn is_there(headers: &HeaderMap) -> bool {
    value(headers).is_some()
}

fn handle(headers: &HeaderMap) -> Option<Handle> {
    value(headers)
        .filter(|value| (1..=MAX_HANDLE).contains(&value.len()))
        .map(|value| Handle(value.to_owned()))
}

/// The value of the first cookie with the name (RFC 6265, §5.4).
fn value(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == NAME).then_some(value))
}

/// `Set-Cookie` for a session. Not for scripts, not for other sites, and only over TLS where the public uses that.
pub fn set(app: &App, handle: &str) -> Result<HeaderValue> {
    let mut value = header(app, handle, LIFETIME)?;
    value.set_sensitive(true);
    Ok(value)
}

/// `Set-Cookie` that takes it away.
pub fn clear(app: &App) -> Result<HeaderValue> {
    header(app, "", 0)
}

fn header(app: &App, value: &str, max_age: i64) -> Result<HeaderValue> {
    let secure =
        app.scheme == "https" || app.public_url.as_ref().is_some_and(|url| url.starts_with("https:"));
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{NAME}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::try_from(text).map_err(|_| Code::Internal.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_name_counts() {
        let of = |cookies: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for cookie in cookies {
                headers.append(COOKIE, HeaderValue::from_static(cookie));
            }
            handle(&headers).map(|handle| handle.0)
        };
        assert_eq!(of(&["a=1; sessionid=abc=; sessionid=other"]).as_deref(), Some("abc="));
        assert_eq!(of(&["a=1", "sessionid=abc"]).as_deref(), Some("abc"));
        for none in
            [&[][..], &["a=1"], &["sessionid="], &["sessionid"], &["SESSIONID=abc"], &["xsessionid=abc"]]
        {
            assert_eq!(of(none), None, "{none:?}");
        }
    }
}
