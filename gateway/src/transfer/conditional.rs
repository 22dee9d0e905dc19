//! Conditional reads (RFC 9110, §13): which answer the conditions of a `GET` or `HEAD` leave.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};

use super::etag::{self, Malformed};
use super::range::{self, Selection};

/// What tells one representation of content from another.
#[derive(Debug, Clone, Copy)]
pub struct Validators<'a> {
    /// The entity tag, strong, without quotes.
    pub etag: &'a str,
    /// Last modification, Unix time in seconds.
    pub modified: i64,
}

/// What to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 200, 206 or 416.
    Send(Selection),
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
}

/// Evaluates the conditions in the order of RFC 9110, §13.2.2, then the range.
///
/// Dates that are not HTTP dates, and a malformed `If-Range`, count as absent, as the RFC demands; malformed entity
/// tags are an error.
pub fn evaluate(headers: &HeaderMap, of: Validators<'_>, size: u64) -> Result<Outcome, Malformed> {
    if let Some(tags) = etag::tags(headers, IF_MATCH)? {
        if !tags.match_strongly(of.etag) {
            return Ok(Outcome::PreconditionFailed);
        }
    } else if date(headers, IF_UNMODIFIED_SINCE).is_some_and(|limit| of.modified > limit) {
        return Ok(Outcome::PreconditionFailed);
    }
    if let Some(tags) = etag::tags(headers, IF_NONE_MATCH)? {
        if tags.match_weakly(of.etag) {
            return Ok(Outcome::NotModified);
        }
    } else if date(headers, IF_MODIFIED_SINCE).is_some_and(|limit| of.modified <= limit) {
        return Ok(Outcome::NotModified);
    }
    let selection = match headers.get(RANGE).map(|value| value.to_str()) {
        Some(Ok(value)) if range_applies(headers, of) => range::select(value, size),
        _ => Selection::Whole,
    };
    Ok(Outcome::Send(selection))
}

/// `If-Range` (RFC 9110, §13.1.5): a part only when the client has the same representation already. A date is never
/// proof enough, since content may change twice within a second.
fn range_applies(headers: &HeaderMap, of: Validators<'_>) -> bool {
    let Some(value) = headers.get(IF_RANGE) else { return true };
    let Ok(Ok((tag, rest))) = value.to_str().map(etag::parse_tag) else { return false };
    rest.is_empty() && !tag.weak && tag.opaque == of.etag
}

/// A date header as Unix seconds.
fn date(headers: &HeaderMap, name: http::HeaderName) -> Option<i64> {
    let value = headers.get(name)?.to_str().ok()?;
    let since = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// Unix seconds as a date header. Times before 1970 become 1970.
pub fn http_date(unix_seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(unix_seconds).unwrap_or_default());
    // The format ends with the year 9999.
    let time = UNIX_EPOCH
        .checked_add(since)
        .filter(|_| unix_seconds < 253_402_300_800)
        .unwrap_or(SystemTime::UNIX_EPOCH);
    httpdate::fmt_http_date(time)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn outcome(pairs: &[(HeaderName, &str)]) -> Result<Outcome, Malformed> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        evaluate(&headers, Validators { etag: "e1", modified: NOW }, 100)
    }

    const WHOLE: Result<Outcome, Malformed> = Ok(Outcome::Send(Selection::Whole));
    const PART: Result<Outcome, Malformed> = Ok(Outcome::Send(Selection::Part { start: 10, len: 90 }));

    #[test]
    fn without_conditions_all_is_sent() {
        assert_eq!(outcome(&[]), WHOLE);
        assert_eq!(outcome(&[(RANGE, "bytes=10-")]), PART);
        assert_eq!(outcome(&[(RANGE, "bytes=100-")]), Ok(Outcome::Send(Selection::Unsatisfiable)));
    }

    #[test]
    fn tags() {
        assert_eq!(outcome(&[(IF_NONE_MATCH, "\"e1\"")]), Ok(Outcome::NotModified));
        assert_eq!(outcome(&[(IF_NONE_MATCH, "W/\"e1\"")]), Ok(Outcome::NotModified));
        assert_eq!(outcome(&[(IF_NONE_MATCH, "*")]), Ok(Outcome::NotModified));
        assert_eq!(outcome(&[(IF_NONE_MATCH, "\"e2\"")]), WHOLE);
        assert_eq!(outcome(&[(IF_MATCH, "\"e1\"")]), WHOLE);
        assert_eq!(outcome(&[(IF_MATCH, "W/\"e1\"")]), Ok(Outcome::PreconditionFailed));
        assert_eq!(outcome(&[(IF_MATCH, "e1")]), Err(Malformed));
        assert_eq!(outcome(&[(IF_NONE_MATCH, "\"")]), Err(Malformed));
    }

    #[test]
    fn dates() {
        let (before, at) = (http_date(NOW - 1), http_date(NOW));
        assert_eq!(outcome(&[(IF_MODIFIED_SINCE, &at)]), Ok(Outcome::NotModified));
        assert_eq!(outcome(&[(IF_MODIFIED_SINCE, &before)]), WHOLE);
        assert_eq!(outcome(&[(IF_MODIFIED_SINCE, "yesterday")]), WHOLE);
        assert_eq!(outcome(&[(IF_UNMODIFIED_SINCE, &before)]), Ok(Outcome::PreconditionFailed));
        assert_eq!(outcome(&[(IF_UNMODIFIED_SINCE, &at)]), WHOLE);
        // A tag outranks a date.
        assert_eq!(outcome(&[(IF_NONE_MATCH, "\"e2\""), (IF_MODIFIED_SINCE, &at)]), WHOLE);
        assert_eq!(outcome(&[(IF_MATCH, "\"e1\""), (IF_UNMODIFIED_SINCE, &before)]), WHOLE);
    }

    #[test]
    fn if_range() {
        let with = |condition: &str| outcome(&[(RANGE, "bytes=10-"), (IF_RANGE, condition)]);
        assert_eq!(with("\"e1\""), PART);
        for other in ["\"e2\"", "W/\"e1\"", "*", "\"e1\", \"e2\"", "\"e1\"x", "e1", &http_date(NOW)] {
            assert_eq!(with(other), WHOLE, "{other}");
        }
    }

    #[test]
    fn a_date_is_written_as_imf_fixdate() {
        assert_eq!(http_date(NOW), "Tue, 14 Nov 2023 22:13:20 GMT");
        assert_eq!(http_date(-5), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(i64::MAX), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
