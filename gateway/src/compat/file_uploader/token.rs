//! Access tokens: signed envelopes around the handle of a session (RFC 7519, with HS256).
//!
//! Clients look into them for the account and the end. The handle makes them what they are: when its session has ended, the
//! token is good for nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Result};
use crate::ops::delegation::Delegate;

/// Names the use of the keys; never to be used for another.
const CONTEXT: &str = "holdall.compat.file_uploader 2026-11 access token";
/// Longer ones are none of ours.
const MAX_LENGTH: usize = 1024;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// The number of the account.
    pub user_id: u64,
    /// From then on it is over: Unix time in seconds.
    #[serde(rename = "ExpiresAt")]
    pub expires_at: f64,
    /// The handle of the session. Secret.
    pub handle: String,
}

#[derive(Serialize, Deserialize)]
struct Header<'a> {
    alg: &'a str,
    #[serde(default)]
    typ: Option<&'a str>,
}

/// The keys that tokens are signed with: the first signs, all verify.
#[derive(Default)]
pub struct Tokens(Vec<hmac::Key>);

impl Tokens {
    /// Those that follow from the keys for acting for others; none without any.
    pub fn new(delegate: Option<&Delegate>) -> Self {
        let keys = delegate.map(|delegate| delegate.derived(CONTEXT)).unwrap_or_default();
        Self(keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect())
    }

    /// A token.
    ///
    /// # Errors
    /// [`Code::Unavailable`] where there are no keys.
    pub fn issue(&self, claims: &Claims) -> Result<String> {
        let key = self.0.first().ok_or(Code::Unavailable)?;
        let mut token = encoded(&Header { alg: "HS256", typ: Some("JWT") })?;
        token.push('.');
        token.push_str(&encoded(claims)?);
        let signature = hmac::sign(key, token.as_bytes());
        token.push('.');
        BASE64.encode_string(signature, &mut token);
        Ok(token)
    }

    /// What a token says; `None` when it is no token, or none of ours.
    pub fn read(&self, token: &str) -> Option<Claims> {
        if token.len() > MAX_LENGTH {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header = BASE64.decode(header).ok()?;
        let header: Header<'_> = serde_json::from_slice(&header).ok()?;
        let signature = BASE64.decode(signature).ok()?;
        let ours = self.0.iter().any(|key| hmac::verify(key, signed.as_bytes(), &signature).is_ok());
        if header.alg != "HS256" || !ours {
            return None;
        }
        serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()
    }
}

fn encoded(part: &impl Serialize) -> Result<String> {
    Ok(BASE64.encode(serde_json::to_vec(part).map_err(|_| Code::Internal)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(keys: &[u8]) -> Tokens {
        Tokens(keys.iter().map(|&key| hmac::Key::new(hmac::HMAC_SHA256, &[key; 32])).collect())
    }

    fn claims() -> Claims {
        Claims { user_id: 7, expires_at: 1_795_307_328.84, handle: "hs_x".to_owned() }
    }

    #[test]
    fn a_token_is_read_back() {
        let token = tokens(&[1, 2]).issue(&claims()).unwrap();
        for keys in [&[1][..], &[1, 2], &[2, 1]] {
            assert_eq!(tokens(keys).read(&token), Some(claims()));
        }
        assert_eq!(tokens(&[2]).read(&token), None);
        assert_eq!(tokens(&[]).read(&token), None);
    }

    #[test]
    fn the_form_is_that_of_a_json_web_token() {
        let token = tokens(&[1]).issue(&claims()).unwrap();
        let parts: Vec<_> = token.split('.').collect();
        let [header, payload, signature] = parts[..] else { panic!("{token}") };
        let text = |part: &str| String::from_utf8(BASE64.decode(part).unwrap()).unwrap();
        assert_eq!(text(header), r#"{"alg":"HS256","typ":"JWT"}"#);
        assert_eq!(text(payload), r#"{"user_id":7,"ExpiresAt":1795307328.84,"handle":"hs_x"}"#);
        assert_eq!(BASE64.decode(signature).unwrap().len(), 32);
    }

    #[test]
    fn the_signature_is_that_of_rfc_7515() {
        let key = BASE64
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let tokens = Tokens(vec![hmac::Key::new(hmac::HMAC_SHA256, &key)]);
        let signed = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = BASE64.encode(hmac::sign(&tokens.0[0], signed.as_bytes()));
        assert_eq!(signature, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        // Ours or not, it does not say what a token of ours says.
        assert_eq!(tokens.read(&format!("{signed}.{signature}")), None);
    }

    #[test]
    fn whatever_was_changed_is_no_token() {
        let tokens = tokens(&[1]);
        let token = tokens.issue(&claims()).unwrap();
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(tokens.read(std::str::from_utf8(&other).unwrap()), None, "{at}");
        }
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let payload = signed.split_once('.').unwrap().1;
        let none = BASE64.encode(r#"{"alg":"none"}"#);
        for other in [
            String::new(),
            "..".to_owned(),
            format!("{signed}."),
            signed.to_owned(),
            format!("{token}="),
            format!("{token}.{signature}"),
            format!("{none}.{payload}."),
            format!("{none}.{payload}.{signature}"),
            "x".repeat(5000),
        ] {
            assert_eq!(tokens.read(&other), None, "{other}");
        }
    }

    #[test]
    fn another_algorithm_is_refused_also_when_the_signature_is_ours() {
        let tokens = tokens(&[1]);
        let signed = format!("{}.{}", BASE64.encode(r#"{"alg":"HS512"}"#), encoded(&claims()).unwrap());
        let signature = BASE64.encode(hmac::sign(&tokens.0[0], signed.as_bytes()));
        assert_eq!(tokens.read(&format!("{signed}.{signature}")), None);
    }
}
