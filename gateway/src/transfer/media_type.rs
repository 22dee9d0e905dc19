//! Media types: what an upload claims to be, and what we are willing to say that a download is.

use http::HeaderValue;

use super::disposition::Disposition;

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Types that browsers show without running anything, and may therefore be shown inline.
const HARMLESS: [(&str, HeaderValue); 12] = [
    ("application/pdf", HeaderValue::from_static("application/pdf")),
    ("audio/mpeg", HeaderValue::from_static("audio/mpeg")),
    ("audio/ogg", HeaderValue::from_static("audio/ogg")),
    ("image/avif", HeaderValue::from_static("image/avif")),
    ("image/gif", HeaderValue::from_static("image/gif")),
    ("image/jpeg", HeaderValue::from_static("image/jpeg")),
    ("image/png", HeaderValue::from_static("image/png")),
    ("image/webp", HeaderValue::from_static("image/webp")),
    // One charset for all text: a charset of the uploader's choice can turn harmless bytes into markup.
    ("text/plain", HeaderValue::from_static("text/plain; charset=utf-8")),
    ("video/mp4", HeaderValue::from_static("video/mp4")),
    ("video/ogg", HeaderValue::from_static("video/ogg")),
    ("video/webm", HeaderValue::from_static("video/webm")),
];

/// How content of the stored type is sent: its `Content-Type`, and whether a browser may show it.
///
/// Anything that a browser could run, or that we do not know, goes out as octets to be saved.
pub fn to_serve(stored: &str) -> (HeaderValue, Disposition) {
    let essence = stored.split(';').next().unwrap_or_default().trim();
    HARMLESS
        .into_iter()
        .find(|(name, _)| essence.eq_ignore_ascii_case(name))
        .map_or((OCTETS, Disposition::Attachment), |(_, value)| (value, Disposition::Inline))
}

/// The stored type as it is, for content that nobody runs: an attachment, confined. Text without a charset is UTF-8.
pub fn as_stored(stored: &str) -> HeaderValue {
    let is_text = stored.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/"));
    let value = if is_text && !stored.to_ascii_lowercase().contains("charset=") {
        HeaderValue::try_from(format!("{stored}; charset=utf-8"))
    } else {
        HeaderValue::try_from(stored)
    };
    value.ok().filter(|_| is_media_type(stored)).unwrap_or(OCTETS)
}

/// The type that the client of an upload claims, if it is one worth storing.
pub fn claimed(header: Option<&HeaderValue>) -> Option<&str> {
    claimed_text(header.and_then(|value| value.to_str().ok()))
}

/// The same, where the claim is no header of the request.
pub fn claimed_text(claimed: Option<&str>) -> Option<&str> {
    claimed.map(str::trim).filter(|claimed| is_media_type(claimed) && !is_default(claimed))
}

/// The type that a file called `name` probably has.
pub fn guess(name: &str) -> &'static str {
    mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream")
}

/// `curl -d` and many HTTP libraries send this for any body when nobody told them better.
fn is_default(claimed: &str) -> bool {
    claimed
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Whether the text is a media type with parameters (RFC 9110, §8.3.1) of reasonable length.
fn is_media_type(text: &str) -> bool {
    let mut parts = text.split(';');
    let essence = parts.next().unwrap_or_default().trim_end();
    text.len() <= 255
        && essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
        && parts.all(|parameter| {
            parameter
                .trim()
                .split_once('=')
                .is_some_and(|(name, value)| is_token(name) && is_parameter_value(value))
        })
}

/// A token, or a quoted string without escapes and semicolons, which no type in use needs.
fn is_parameter_value(text: &str) -> bool {
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.bytes().all(|byte| matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~')),
        None => is_token(text),
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(header: &str) -> Option<String> {
        claimed(Some(&HeaderValue::from_str(header).unwrap())).map(str::to_owned)
    }

    #[test]
    fn a_valid_claim_counts() {
        for header in
            ["text/plain; charset=utf-8", r#"multipart/mixed; boundary="a b""#, "application/vnd.api+json"]
        {
            assert_eq!(claim(header).as_deref(), Some(header));
        }
    }

    #[test]
    fn an_invalid_or_thoughtless_claim_does_not() {
        for header in [
            "",
            "text",
            "text/",
            "/plain",
            "te xt/plain",
            "text/plain; charset",
            "text/plain;",
            "a/b/c",
            "*/ *",
        ] {
            assert_eq!(claim(header), None, "{header:?}");
        }
        assert_eq!(claim(&format!("text/{}", "x".repeat(300))), None);
        assert_eq!(claim("application/x-www-form-urlencoded"), None);
        assert_eq!(claimed(None), None);
    }

    #[test]
    fn names_tell_types() {
        assert_eq!(guess("a.PNG"), "image/png");
        assert_eq!(guess("photo.jpeg"), "image/jpeg");
        assert_eq!(guess("notes.txt"), "text/plain");
        assert_eq!(guess("no extension"), "application/octet-stream");
        assert_eq!(guess(""), "application/octet-stream");
    }

    #[test]
    fn nothing_active_is_served_as_itself() {
        for active in [
            "text/html",
            "image/svg+xml",
            "application/xhtml+xml",
            "text/xml",
            "application/javascript",
            "application/wasm",
            "text/css",
            "multipart/related",
            "",
            "junk",
        ] {
            let (content_type, disposition) = to_serve(active);
            assert_eq!((content_type, disposition), (OCTETS, Disposition::Attachment), "{active}");
        }
    }

    #[test]
    fn stored_types_are_sent_when_they_are_types() {
        for (stored, sent) in [
            ("text/html", "text/html; charset=utf-8"),
            ("Text/Plain; charset=latin1", "Text/Plain; charset=latin1"),
            ("image/svg+xml", "image/svg+xml"),
            ("application/json", "application/json"),
            ("", "application/octet-stream"),
            ("junk", "application/octet-stream"),
            ("te\nxt/plain", "application/octet-stream"),
        ] {
            assert_eq!(as_stored(stored), sent, "{stored}");
        }
    }

    #[test]
    fn harmless_types_may_be_shown() {
        assert_eq!(to_serve("IMAGE/PNG"), (HeaderValue::from_static("image/png"), Disposition::Inline));
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        assert_eq!(to_serve("text/plain; charset=utf-7"), (text, Disposition::Inline));
    }
}
