//! What a file is called: for people to read and clients to save under, and never a path.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, Uri};
use percent_encoding::percent_decode_str;

use crate::transfer::disposition;
use crate::transfer::fields::Fields;

/// The most bytes that a link keeps.
const LONGEST: usize = 1024;

/// The fields that may hold a name, the documented one first.
pub const FIELDS: [&str; 3] = ["file_name", "filename", "name"];

/// A name as it is kept: without folders before it, with `_` for controls, and cut where it is too long. `None` when
/// nothing is left.
pub fn kept(name: &str) -> Option<String> {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = base.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
    let end = plain.floor_char_boundary(LONGEST);
    plain.get(..end).filter(|name| !name.trim().is_empty()).map(str::to_owned)
}

/// Whether a field may hold a name.
pub fn is_field(name: &str) -> bool {
    FIELDS.contains(&name)
}

/// The name in the fields of a form or query.
pub fn in_fields(fields: &Fields) -> Option<String> {
    FIELDS.into_iter().find_map(|field| fields.get(field)).and_then(kept)
}

/// The name in the query.
pub fn in_query(uri: &Uri) -> Option<String> {
    in_fields(&Fields::urlencoded(uri.query().unwrap_or_default().as_bytes()))
}

/// The name of a body that is the file itself: of `Content-Disposition`, `X-File-Name` (which may be percent-encoded), or
/// the query.
pub fn of_body(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let disposition = disposition::file_name(headers).as_deref().and_then(kept);
    disposition.or_else(|| in_header(headers)).or_else(|| in_query(uri))
}

fn in_header(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(HeaderName::from_static("x-file-name"))?;
    let text = std::str::from_utf8(value.as_bytes()).ok()?;
    let decoded = percent_decode_str(text).decode_utf8().unwrap_or(Cow::Borrowed(text));
    kept(&decoded)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::CONTENT_DISPOSITION;

    use super::*;

    #[test]
    fn names_are_no_paths_and_hold_no_controls() {
        for (given, name) in [
            ("a b.txt", Some("a b.txt")),
            ("../../e.txt", Some("e.txt")),
            (r"C:\dir\ü.txt", Some("ü.txt")),
            ("a\r\nX: y", Some("a__X: y")),
            ("", None),
            ("dir/", None),
            (" \t", Some(" _")),
        ] {
            assert_eq!(kept(given).as_deref(), name, "{given:?}");
        }
        assert_eq!(kept(&"ü".repeat(600)).unwrap().len(), 1024);
        assert_eq!(kept(&"€".repeat(600)).unwrap().len(), 1023);
    }

    #[test]
    fn a_body_is_named_in_one_of_three_places() {
        let uri = Uri::from_static("/files/upload?file_name=c+d.txt");
        let disposition = HeaderValue::from_static("attachment; filename=\"a.txt\"");
        let header = HeaderValue::from_static("b%20%C3%BC.txt");
        let mut headers = HeaderMap::new();
        assert_eq!(of_body(&Uri::from_static("/files/upload"), &headers), None);
        assert_eq!(of_body(&uri, &headers).as_deref(), Some("c d.txt"));
        headers.insert("x-file-name", header);
        assert_eq!(of_body(&uri, &headers).as_deref(), Some("b ü.txt"));
        headers.insert("x-file-name", HeaderValue::from_static("100%.txt"));
        assert_eq!(of_body(&uri, &headers).as_deref(), Some("100%.txt"));
        headers.insert(CONTENT_DISPOSITION, disposition);
        assert_eq!(of_body(&uri, &headers).as_deref(), Some("a.txt"));
    }

    #[test]
    fn fields_have_several_names() {
        let name = |query: &str| in_fields(&Fields::urlencoded(query.as_bytes()));
        assert_eq!(name("name=c&filename=b&file_name=a").as_deref(), Some("a"));
        assert_eq!(name("name=c&filename=b").as_deref(), Some("b"));
        assert_eq!(name("name=c").as_deref(), Some("c"));
        assert_eq!(name("title=c"), None);
    }
}
