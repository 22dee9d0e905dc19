//! `Content-Disposition` (RFC 6266) with any file name (RFC 8187).

use std::fmt::Write as _;

use http::header::CONTENT_DISPOSITION;
use http::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Everything but `attr-char` (RFC 8187, §3.2.1).
const NOT_ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// What a browser should do with the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Show it.
    Inline,
    /// Save it.
    Attachment,
}

/// The header for a file called `name`.
///
/// `filename` carries plain ASCII for old clients, in which `"`, `\`, `%`, controls and everything beyond ASCII are
/// replaced by `_`; `filename*` carries the exact name whenever the two differ.
pub fn content_disposition(disposition: Disposition, name: &str) -> HeaderValue {
    let kind = match disposition {
        Disposition::Inline => "inline",
        Disposition::Attachment => "attachment",
    };
    let mut value = String::with_capacity(kind.len() + 16 + name.len());
    value.push_str(kind);
    value.push_str("; filename=\"");
    let mut exact = true;
    for c in name.chars() {
        let plain = matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '%' | '/');
        exact &= plain;
        value.push(if plain { c } else { '_' });
    }
    value.push('"');
    if !exact {
        let _ = write!(value, "; filename*=UTF-8''{}", utf8_percent_encode(name, NOT_ATTR_CHAR));
    }
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static(match disposition {
        Disposition::Inline => "inline",
        Disposition::Attachment => "attachment",
    }))
}

/// The file name in a `Content-Disposition` of a request, without any folders before it; `None` when it holds none.
/// `filename*` (RFC 8187, UTF-8 only) goes before `filename`.
pub fn file_name(headers: &HeaderMap) -> Option<String> {
    let text = std::str::from_utf8(headers.get(CONTENT_DISPOSITION)?.as_bytes()).ok()?;
    let mut plain = None;
    let mut rest = text.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim();
        let (value, next) = value(after.trim_start());
        if name.eq_ignore_ascii_case("filename*") {
            let (charset, encoded) = value.split_once('\'')?;
            let encoded = encoded.split_once('\'')?.1;
            if charset.eq_ignore_ascii_case("utf-8")
                && let Ok(name) = percent_decode_str(encoded).decode_utf8()
            {
                return Some(base_name(&name));
            }
        } else if name.eq_ignore_ascii_case("filename") && plain.is_none() {
            plain = Some(base_name(&value));
        }
        match next.split_once(';') {
            Some((_, more)) if !more.trim().is_empty() => rest = more,
            _ => return plain,
        }
        if !rest.contains('=') {
            return plain;
        }
    }
}

/// The value of a parameter, a token or a quoted string (RFC 9110, §5.6.4), and what comes after it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.trim_end().to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    (value, "")
}

fn base_name(name: &str) -> String {
    name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(name: &str) -> String {
        content_disposition(Disposition::Attachment, name).to_str().unwrap().to_owned()
    }

    /// What a client of RFC 8187 makes of the header.
    fn decoded(header: &str) -> String {
        match header.split_once("filename*=UTF-8''") {
            Some((_, encoded)) => percent_decode_str(encoded).decode_utf8().unwrap().into_owned(),
            None => header.split_once("filename=\"").unwrap().1.strip_suffix('"').unwrap().to_owned(),
        }
    }

    #[test]
    fn plain_names_need_no_more() {
        assert_eq!(attachment("a b.txt"), r#"attachment; filename="a b.txt""#);
        assert_eq!(
            content_disposition(Disposition::Inline, "a;b='c'.png").to_str().unwrap(),
            r#"inline; filename="a;b='c'.png""#
        );
    }

    #[test]
    fn other_names_carry_both() {
        assert_eq!(
            attachment(r#"a"b\c%41€.txt"#),
            r#"attachment; filename="a_b_c_41_.txt"; filename*=UTF-8''a%22b%5Cc%2541%E2%82%AC.txt"#
        );
        assert_eq!(
            attachment("\"; filename=evil.html"),
            r#"attachment; filename="_; filename=evil.html"; filename*=UTF-8''%22%3B%20filename%3Devil.html"#
        );
    }

    #[test]
    fn every_name_comes_back_exactly() {
        let names = [
            "über straße.pdf",
            "日本語.txt",
            "🎒🎒.zip",
            "a\u{301}.txt",
            "\"".repeat(200).as_str(),
            "a'b*c(d).txt",
            "100%.txt",
            "..hidden",
            "e\r\nSet-Cookie: x=1",
            "nul\0",
            "tab\t",
            " lead",
            "trail ",
            "<img src=x onerror=alert(1)>",
            "\u{202e}exe.txt",
            "=cmd()",
            "🎒".repeat(63).as_str(),
        ]
        .map(str::to_owned);
        for name in names {
            let header = attachment(&name);
            assert!(header.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{header}");
            assert_eq!(decoded(&header), name);
            let quoted = header.split_once("filename=\"").unwrap().1.split_once('"').unwrap().0;
            assert!(!quoted.contains(['\\', '%']), "{header}");
            // Nothing but our own parameters: the quoted string ends where we ended it.
            let after = header.split_once("filename=\"").unwrap().1.split_once('"').unwrap().1;
            assert!(after.is_empty() || after.starts_with("; filename*=UTF-8''"), "{header}");
        }
    }

    #[test]
    fn names_are_read_from_requests() {
        let name = |value: &str| {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            file_name(&HeaderMap::from_iter([(CONTENT_DISPOSITION, value)]))
        };
        for (value, expected) in [
            (r#"attachment; filename="a b.txt""#, Some("a b.txt")),
            ("attachment; filename=a.txt", Some("a.txt")),
            ("attachment;filename = a.txt ; x=y", Some("a.txt")),
            (r#"form-data; name="file"; filename="a\"b\\c;d.txt""#, Some("c;d.txt")),
            ("attachment; filename=\"x\"; filename*=UTF-8''gr%C3%BC%C3%9Fe.txt", Some("grüße.txt")),
            ("attachment; filename*=iso-8859-1'en'%A3; filename=x", Some("x")),
            ("attachment; filename=\"../../etc/passwd\"", Some("passwd")),
            ("attachment; filename=\"ü.txt\"", Some("ü.txt")),
            ("attachment; filename=\"open", Some("open")),
            ("attachment; filename=\"\"", Some("")),
            ("attachment", None),
            ("attachment; filename", None),
            ("", None),
        ] {
            assert_eq!(name(value).as_deref(), expected, "{value}");
        }
        assert_eq!(file_name(&HeaderMap::new()), None);
    }
}
