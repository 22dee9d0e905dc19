//! What the server says when it says no: RFC 9457 problem details.

use std::fmt;
use std::time::Duration;

use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use serde::Deserialize;

/// Longer ones are not ours.
const LONGEST: u64 = 64 << 10;

/// A refusal.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// What happened, for programs; empty when the answer is not Holdall's.
    pub code: String,
    /// Whether the very same call may succeed later.
    pub retryable: bool,
    /// When.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
    title: String,
    detail: String,
    request_id: String,
    errors: Vec<Field>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Field {
    field: String,
    description: String,
}

impl Problem {
    /// Reads the answer, whatever it is.
    pub async fn of(response: Response) -> Self {
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = header(RETRY_AFTER).and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let ours = header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/problem+json"))
            && response.content_length().is_some_and(|length| length <= LONGEST);
        let body = if ours { response.bytes().await.unwrap_or_default() } else { bytes::Bytes::new() };
        let problem: Self = serde_json::from_slice(&body).unwrap_or_default();
        Self { status, retry_after, ..problem }
    }

    /// There is nothing of that name.
    pub fn not_found() -> Self {
        Self { status: 404, code: "not_found".to_owned(), ..Self::default() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.as_str(), self.status) {
            ("unauthenticated", _) => {
                return f.write_str("the session has ended; sign in with: holdall login URL");
            }
            ("wrong_credentials", _) => return f.write_str("wrong username or password"),
            ("not_found", _) => return f.write_str("there is no such file or folder"),
            ("", status) => {
                return write!(f, "HTTP {status}, and not from Holdall; is the address right?");
            }
            _ => {}
        }
        let text = if self.detail.is_empty() { &self.title } else { &self.detail };
        f.write_str(text.trim_end_matches('.'))?;
        for Field { field, description } in &self.errors {
            write!(f, "; {field} {description}")?;
        }
        if let Some(wait) = self.retry_after.filter(|wait| !wait.is_zero()) {
            write!(f, "; try again in {} s", wait.as_secs())?;
        }
        if self.status == 500 {
            write!(f, " (request {})", self.request_id)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str) -> String {
        serde_json::from_str::<Problem>(json).unwrap().to_string()
    }

    #[test]
    fn a_problem_is_one_sentence() {
        assert_eq!(
            shown(
                r#"{"type":"urn:x","title":"Invalid account data","status":422,"code":"invalid_account",
                "detail":"It does not meet the rules.","request_id":"r","retryable":false,
                "errors":[{"field":"password","description":"must have at least 8 characters"}]}"#
            ),
            "It does not meet the rules; password must have at least 8 characters"
        );
        assert_eq!(
            shown(r#"{"status":409,"code":"would_cycle","title":"Folder inside itself"}"#),
            "Folder inside itself"
        );
        assert_eq!(
            shown(r#"{"status":500,"code":"internal","detail":"A defect on our side.","request_id":"r-1"}"#),
            "A defect on our side (request r-1)"
        );
    }

    #[test]
    fn answers_of_others_are_recognised() {
        assert!(shown(r#"{"status":404}"#).contains("HTTP 404"));
        assert!(shown(r#"{"status":404}"#).contains("is the address right?"));
        assert_eq!(
            shown(r#"{"status":401,"code":"unauthenticated"}"#),
            "the session has ended; sign in with: holdall login URL"
        );
    }
}
