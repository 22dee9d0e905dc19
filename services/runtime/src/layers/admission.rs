//! Who may call what: nobody anything, unless the method is public or the call carries a valid access token.

use std::sync::Arc;

use http::Request;
use http::header::AUTHORIZATION;

use crate::token::{Caller, TokenError, Verifier};

/// Every method of the gRPC health service.
pub const HEALTH: &str = "/grpc.health.v1.Health/";

/// Every method of the gRPC reflection service.
pub const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/";

/// The rule by which a server admits calls. Deny by default: a path that is not listed as public needs a
/// token, also if no such method exists.
#[derive(Clone, Debug)]
pub struct Admission {
    verifier: Verifier,
    public: &'static [&'static str],
}

impl Admission {
    /// `public` holds exact paths (`/holdall.auth.v1.KeyService/ListKeys`), or prefixes that end in `/`
    /// ([`HEALTH`]).
    pub fn new(verifier: Verifier, public: &'static [&'static str]) -> Self {
        Self { verifier, public }
    }

    /// Lets the call pass or says why not. After it the extensions hold the proved `Arc<Caller>`, or on a
    /// public method none: a token there is not looked at, and what another layer in this process may have
    /// left is removed.
    pub(super) async fn admit<B>(&self, request: &mut Request<B>) -> Result<(), TokenError> {
        request.extensions_mut().remove::<Arc<Caller>>();
        if self.is_public(request.uri().path()) {
            return Ok(());
        }
        let token = bearer_token(request)?;
        let caller = self.verifier.verify(token).await?;
        request.extensions_mut().insert(caller);
        Ok(())
    }

    fn is_public(&self, path: &str) -> bool {
        self.public.iter().any(
            |public| {
                if public.ends_with('/') { path.starts_with(public) } else { path == *public }
            },
        )
    }
}

/// The token of the one `authorization` header (RFC 6750 §2.1; the scheme's name is case-insensitive).
fn bearer_token<B>(request: &Request<B>) -> Result<&str, TokenError> {
    let mut values = request.headers().get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(TokenError::Missing)?;
    if values.next().is_some() {
        return Err(TokenError::Invalid);
    }
    match value.to_str().ok().and_then(|value| value.split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim_start_matches(' ')),
        _ => Err(TokenError::Invalid),
    }
}
