//! Requests that another site made a browser send.
//!
//! A browser says where a request comes from (`Sec-Fetch-Site`, W3C Fetch Metadata; `Origin`, RFC 6454), and pages cannot
//! make it lie. Programs that are no browsers say nothing, and hold no cookie that they were not given for that purpose.
//!
//! Trap: a page with `Referrer-Policy: no-referrer` makes its own forms say `Origin: null`. Pages with forms go out with
//! `same-origin` instead.

use http::header::ORIGIN;
use http::uri::{Authority, Uri};
use http::{HeaderMap, HeaderName};

use crate::error::{Code, Result};
use crate::{Gateway, authority};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a request that changes something in the name of whoever holds the cookie, unless it comes from a page of ours or
/// from no page at all.
///
/// # Errors
/// [`Code::Forbidden`].
pub fn check(app: &Gateway, uri: &Uri, headers: &HeaderMap) -> Result<()> {
    let known = headers
        .get_all(SEC_FETCH_SITE)
        .iter()
        .all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
    let public = app.public_url.as_ref().and_then(|url| url.parse::<Uri>().ok());
    let ours: Vec<Authority> =
        authority(uri, headers).into_iter().chain(public.and_then(|url| url.authority().cloned())).collect();
    let own = headers.get_all(ORIGIN).iter().all(|origin| {
        origin.to_str().is_ok_and(|origin| ours.iter().any(|authority| is_of(origin, authority)))
    });
    if known && own { Ok(()) } else { Err(Code::Forbidden.into()) }
}

/// Whether the origin is that of the host and port. The scheme is left open: behind a proxy it is not known here.
fn is_of(origin: &str, authority: &Authority) -> bool {
    let Some((scheme, rest)) = origin.split_once("://") else { return false };
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let Ok(given) = rest.parse::<Authority>() else { return false };
    given.host().eq_ignore_ascii_case(authority.host())
        && given.port_u16().unwrap_or(usual) == authority.port_u16().unwrap_or(usual)
        && !rest.contains(['@', '/'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_ours_or_it_is_not() {
        let of = |origin, host: &'static str| is_of(origin, &Authority::from_static(host));
        for (origin, host) in [
            ("http://example.org", "example.org"),
            ("https://example.org", "Example.org:443"),
            ("http://example.org:80", "example.org"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(of(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("null", "example.org"),
            ("", "example.org"),
            ("http://example.org.evil", "example.org"),
            ("http://evil/example.org", "example.org"),
            ("http://user@example.org", "example.org"),
            ("http://example.org:8081", "example.org:8080"),
            ("http://sub.example.org", "example.org"),
            ("ftp://example.org", "example.org"),
            ("http://", "example.org"),
        ] {
            assert!(!of(origin, host), "{origin} {host}");
        }
    }
}
