//! Who sends a request: the holder of the session whose handle stands in `Authorization: Bearer` (RFC 6750, §2.1).
//!
//! A handle is taken from nowhere else, and never from a URL, which ends up in histories and logs.

use axum::extract::FromRequestParts;
use holdall_runtime::serve::PeerAddr;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::App;
use crate::error::{Code, Result};
use crate::ops::{Caller, sessions};

/// Handles are 256 bits in text; nothing longer is looked up.
const MAX_HANDLE: usize = 256;

/// The handle of a session, not yet looked at. A secret: neither shown nor logged.
pub struct Handle(pub String);

impl Handle {
    /// The handle in the one `Authorization` header.
    pub fn of(headers: &HeaderMap) -> Result<Self> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().ok_or(Code::Unauthenticated)?;
        let handle =
            value.to_str().ok().and_then(|value| value.split_once(' ')).and_then(|(scheme, handle)| {
                let handle = handle.trim();
                let usable =
                    scheme.eq_ignore_ascii_case("bearer") && (1..=MAX_HANDLE).contains(&handle.len());
                usable.then(|| handle.to_owned())
            });
        handle.filter(|_| values.next().is_none()).map(Self).ok_or_else(|| Code::Unauthenticated.into())
    }
}

/// The caller of a request, for dialects that find the handle elsewhere too.
pub async fn identify(app: &App, handle: Handle) -> Result<Caller> {
    sessions::identify(&app.upstreams, &app.clock, handle.0).await
}

/// The network address of whoever asks, for the limits of auth. Empty when there is no network in between.
pub struct ClientAddress(pub String);

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Self::Rejection> {
        let address = parts.extensions.get::<PeerAddr>().map(|peer| peer.0.ip().to_canonical().to_string());
        Ok(Self(address.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::error::Error;

    fn handle(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        Handle::of(&headers)
            .map(|handle| handle.0)
            .map_err(|error: Error| assert_eq!(error.code, Code::Unauthenticated))
            .ok()
    }

    #[test]
    fn one_bearer_and_nothing_else() {
        assert_eq!(handle(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(handle(&["bEARER  abc "]).as_deref(), Some("abc"));
        for values in [
            &[][..],
            &["abc"],
            &["Basic abc"],
            &["Bearer"],
            &["Bearer "],
            &["Bearerabc"],
            &["Bearer a", "Bearer a"],
        ] {
            assert_eq!(handle(values), None, "{values:?}");
        }
        assert_eq!(handle(&[&format!("Bearer {}", "x".repeat(257))]), None);
    }
}
