//! The `grpc-timeout` header, as of <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.
//!
//! A deadline runs until the head of the answer is there. For a call that sends a stream that is the whole
//! call, so clients set none on calls that carry content.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::Status;

/// Name of the header.
pub const HEADER: HeaderName = HeaderName::from_static("grpc-timeout");

/// The time that the caller gives us. `None` when there is no such header or it is malformed.
pub fn read(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(HEADER)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

/// Sets the header, rounded down to what eight digits can say.
pub fn write(headers: &mut HeaderMap, limit: Duration) {
    const MAX: u128 = 99_999_999;
    let text = match limit {
        limit if limit.as_micros() <= MAX => format!("{}u", limit.as_micros()),
        limit if limit.as_millis() <= MAX => format!("{}m", limit.as_millis()),
        limit => format!("{}S", u128::from(limit.as_secs()).min(MAX)),
    };
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(HEADER, value);
    }
}

/// What a call that took too long is answered with.
pub fn exceeded() -> Status {
    Status::deadline_exceeded("the call took longer than its deadline")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Option<Duration> {
        read(&HeaderMap::from_iter([(HEADER, HeaderValue::from_str(text).unwrap())]))
    }

    #[test]
    fn every_unit_is_understood() {
        assert_eq!(read_text("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(read_text("3M"), Some(Duration::from_secs(180)));
        assert_eq!(read_text("42S"), Some(Duration::from_secs(42)));
        assert_eq!(read_text("13m"), Some(Duration::from_millis(13)));
        assert_eq!(read_text("2u"), Some(Duration::from_micros(2)));
        assert_eq!(read_text("82n"), Some(Duration::from_nanos(82)));
        assert_eq!(read_text("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
    }

    #[test]
    fn malformed_values_are_no_deadline() {
        for text in ["", "S", "82f", "+5S", "123456789H", "oneH", "5 S", "5S "] {
            assert_eq!(read_text(text), None, "{text:?}");
        }
        assert_eq!(read(&HeaderMap::new()), None);
    }

    #[test]
    fn what_is_written_is_read() {
        for limit in [1, 999, 5_000_000, 3_600_000_000_u64].map(Duration::from_micros) {
            let mut headers = HeaderMap::new();
            write(&mut headers, limit);
            assert_eq!(read(&headers), Some(limit));
        }
    }
}
