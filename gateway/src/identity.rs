//! Who sends a request: the holder of the session whose handle stands in `Authorization: Bearer` (RFC 6750, §2.1).
//!
//! A handle is taken from nowhere else, and never from a URL, which ends up in histories and logs.

use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use holdall_runtime::serve::PeerAddr;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::App;
use crate::error::{Code, Result};
use crate::ops::{Caller, sessions};

/// Handles are 256 bits in text; nothing longer is looked up.
pub const MAX_HANDLE: usize = 256;

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

/// The network address of whoever asks, for limits. Empty when there is no network in between.
pub struct ClientAddress(pub String);

impl ClientAddress {
    /// What limits count by: an IPv4 address, or the /64 network of an IPv6 address, which one household has.
    pub fn source(&self) -> String {
        match self.0.parse() {
            Ok(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
            _ => self.0.clone(),
        }
    }
}

impl FromRequestParts<App> for ClientAddress {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> std::result::Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<PeerAddr>().map(|peer| peer.0.ip().to_canonical());
        let address = peer.map(|peer| app.proxies.client(peer, &parts.headers).to_string());
        Ok(Self(address.unwrap_or_default()))
    }
}

/// The proxies whose word about the client is taken.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Those in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client of a request that came from `peer`: the last address in `X-Forwarded-For`, read from its end, that is not
    /// a trusted proxy's. Without a trusted peer the header is anybody's claim, and does not count.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        let forwarded = headers.get_all(X_FORWARDED_FOR).iter().collect::<Vec<_>>();
        let hops = forwarded.iter().rev().flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
        for hop in hops {
            if !self.trusts(client) {
                break;
            }
            let Some(address) = address(hop.trim()) else { break };
            client = address;
        }
        client
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let address = text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
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

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let proxies = Proxies::new(trusted.iter().map(|network| network.parse().unwrap()).collect());
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_str(value).unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(client(&[], "10.0.0.1", &["9.9.9.9"]), "10.0.0.1");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &["9.9.9.9"]), "9.9.9.9");
        assert_eq!(client(&["10.0.0.0/8"], "11.0.0.1", &["9.9.9.9"]), "11.0.0.1");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &["127.0.0.1, 9.9.9.9, 10.1.1.1"]), "9.9.9.9");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &["127.0.0.1", "9.9.9.9:4711"]), "9.9.9.9");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &["8.8.8.8, nonsense"]), "10.0.0.1");
        assert_eq!(client(&["fd00::/8"], "fd00::1", &["2001:db8::1"]), "2001:db8::1");
    }

    #[test]
    fn households_count_as_one() {
        assert_eq!(ClientAddress("192.0.2.7".to_owned()).source(), "192.0.2.7");
        assert_eq!(ClientAddress("2001:db8:0:1:2:3:4:5".to_owned()).source(), "2001:db8:0:1::/64");
        assert_eq!(ClientAddress(String::new()).source(), "");
    }
}
