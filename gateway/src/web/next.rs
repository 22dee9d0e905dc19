//! Where to go after signing in.

/// Longer than any path that we send people away from.
const MAX: usize = 512;

/// The path when it leads to a page of ours, else the front page.
///
/// Browsers take `//host`, `/\host` and, since they drop tabs and line ends, `/<tab>/host` for other hosts (WHATWG URL,
/// §4.4).
pub fn local(path: &str) -> &str {
    let mut bytes = path.bytes();
    let usable = path.len() <= MAX
        && bytes.next() == Some(b'/')
        && bytes.next() != Some(b'/')
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if usable { path } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for good in ["/", "/account/profile/", "/file/load?x=//y", "/a%2F%2Fb"] {
            assert_eq!(local(good), good);
        }
        for evil in [
            "",
            "//evil.org",
            "/\\evil.org",
            "\\\\evil.org",
            "/\t/evil.org",
            "https://evil.org",
            "evil.org",
            "/a\\b",
            "javascript:alert(1)",
            " /a",
            "/a b",
            "/\r\nSet-Cookie: a=b",
            "/ü",
        ] {
            assert_eq!(local(evil), "/", "{evil:?}");
        }
        assert_eq!(local(&"/a".repeat(300)), "/");
    }
}
