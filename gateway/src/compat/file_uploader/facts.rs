//! Names, types, sizes and dates as this API tells them.

use holdall_proto::metadata::v1::{Link, Version};
use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use prost_types::Timestamp;

/// Bytes of the name of a node at most.
const NODE_NAME: usize = 255;
/// Bytes of the name that a link gives a file, at most.
const LINK_NAME: usize = 1024;
/// Characters of a name that are told.
const TOLD: usize = 50;

/// The types that files are sent with, by the extension; all other files are for saving only.
const TYPES: [(&str, &str); 22] = [
    ("xml", "application/xml"),
    ("yaml", "application/x-yaml"),
    ("aac", "audio/aac"),
    ("mp3", "audio/mpeg"),
    ("ogg", "audio/ogg"),
    ("gif", "image/gif"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("tiff", "image/tiff"),
    ("ico", "image/vnd.microsoft.icon"),
    ("wbmp", "image/vnd.wap.wbmp"),
    ("webp", "image/webp"),
    ("csv", "text/csv; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("md", "text/markdown; charset=utf-8"),
    ("txt", "text/plain; charset=utf-8"),
    ("mpeg", "video/mpeg"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("avi", "video/x-msvideo"),
];

/// The type that a file of that name is sent with.
pub fn media_type(name: &str) -> Option<HeaderValue> {
    let extension = extension(name)?;
    let extension = extension.strip_prefix('.')?;
    let (_, media_type) = TYPES.iter().find(|(known, _)| *known == extension)?;
    Some(HeaderValue::from_static(media_type))
}

/// The part of a name from its last dot on, in lower case; `None` without a dot.
pub fn extension(name: &str) -> Option<String> {
    name.rfind('.').and_then(|dot| name.get(dot..)).map(str::to_lowercase)
}

/// The beginning of a name, with dots behind it where something is left out.
pub fn told(name: &str) -> String {
    match name.char_indices().nth(TOLD) {
        Some((end, _)) => format!("{}...", name.get(..end).unwrap_or_default()),
        None => name.to_owned(),
    }
}

/// The name as a link can keep it: all of nearly every name.
pub fn link_name(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    shortened(&name, LINK_NAME)
}

/// The name as a file in a folder can have it, which is the same for nearly every name.
pub fn node_name(name: &str) -> String {
    let allowed = |c: char| {
        !c.is_control() && !matches!(c, '/' | '\\' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let name: String = name.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    match name.as_str() {
        "" | "." | ".." => "_".to_owned(),
        _ => shortened(&name, NODE_NAME),
    }
}

/// The name in at most so many bytes, with its extension where that is a short one.
fn shortened(name: &str, most: usize) -> String {
    if name.len() <= most {
        return name.to_owned();
    }
    let dot = name.rfind('.').filter(|dot| *dot > 0 && name.len() - dot <= most / 4).unwrap_or(name.len());
    let (stem, extension) = name.split_at(dot);
    let end = stem.floor_char_boundary(most - extension.len());
    format!("{}{extension}", stem.get(..end).unwrap_or_default())
}

/// What may not stand in a path as it is (RFC 3986, §3.3). `+` and `=`, of which there are many, may.
const NOT_IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The address of a file, of which `files` is the start.
pub fn url(files: &str, slug: &str) -> String {
    format!("{files}{}", utf8_percent_encode(slug, NOT_IN_PATH))
}

/// A size as people read it: `5B`, `2.0KB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut size = bytes as f64;
    let mut name = "";
    for unit in UNITS {
        size /= 1024.0;
        name = unit;
        if size < 1024.0 {
            break;
        }
    }
    format!("{:?}{name}", (size * 100.0).round() / 100.0)
}

/// A limit as people read it: `100MB`.
pub fn limit(bytes: u64) -> String {
    let size = size(bytes);
    match size.split_once(".0") {
        Some((whole, unit)) if unit.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            format!("{whole}{unit}")
        }
        _ => size,
    }
}

/// A day as people read it: `1.1.1971`.
pub fn day(time: &Timestamp) -> String {
    // As of RFC 3339: 1971-01-01T00:00:00Z.
    let text = time.to_string();
    let part = |from, to| text.get(from..to).unwrap_or_default().trim_start_matches('0');
    format!("{}.{}.{}", part(8, 10), part(5, 7), text.get(..4).unwrap_or_default())
}

/// When a link was made: Unix time in seconds.
pub fn created_at(link: &Link) -> f64 {
    let time = link.created_at.as_ref().and_then(holdall_proto::unix_us);
    super::member::seconds(time.unwrap_or_default())
}

/// The size of what a link leads to.
pub fn size_of(version: Option<&Version>) -> String {
    size(version.map_or(0, |version| version.size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_begin_at_the_last_dot() {
        for (name, expected) in [
            ("test.mp4", Some(".mp4")),
            ("a.tar.GZ", Some(".gz")),
            (".gitignore", Some(".gitignore")),
            ("name.", Some(".")),
            ("..", Some(".")),
            ("Ä.ÄÖ", Some(".äö")),
            ("noext", None),
            ("", None),
        ] {
            assert_eq!(extension(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn types_are_those_of_the_table() {
        for (name, expected) in [
            ("a.PNG", Some("image/png")),
            ("a.b.svg", Some("image/svg+xml")),
            ("a.html", Some("text/html; charset=utf-8")),
            ("a.ico", Some("image/vnd.microsoft.icon")),
            ("a.avi", Some("video/x-msvideo")),
            ("a.pdf", None),
            ("a.zip", None),
            ("a.json", None),
            ("png", None),
            ("a.", None),
        ] {
            let found = media_type(name);
            assert_eq!(found.as_ref().map(|value| value.to_str().unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn long_names_are_told_in_part() {
        assert_eq!(told(&"ü".repeat(50)), "ü".repeat(50));
        assert_eq!(told(&"ü".repeat(51)), format!("{}...", "ü".repeat(50)));
        assert_eq!(told(""), "");
    }

    #[test]
    fn every_name_becomes_one_that_can_be_stored() {
        for (name, expected) in [
            ("a b.txt", "a b.txt"),
            ("a\tb.txt", "a_b.txt"),
            ("a/b\\c.txt", "a_b_c.txt"),
            ("..", "_"),
            (".", "_"),
            ("\u{202e}exe.txt", "_exe.txt"),
        ] {
            assert_eq!(node_name(name), expected);
        }
        let long = format!("{}.mp4", "ü".repeat(400));
        let name = node_name(&long);
        assert!(name.len() <= 255 && name.len() > 250 && name.ends_with("ü.mp4"), "{name}");
        let name = node_name(&format!("a.{}", "ü".repeat(400)));
        assert!(name.len() <= 255 && name.starts_with("a.ü"), "{name}");
        assert_eq!(link_name(&long), long);
        assert_eq!(link_name("a\tb.txt"), "ab.txt");
        let long = format!("{}.mp4", "ü".repeat(600));
        assert!(link_name(&long).len() <= 1024 && link_name(&long).ends_with(".mp4"));
    }

    #[test]
    fn sizes_are_rounded_to_two_digits() {
        for (bytes, expected) in [
            (0, "0B"),
            (5, "5B"),
            (1023, "1023B"),
            (1024, "1.0KB"),
            (2048, "2.0KB"),
            (1500, "1.46KB"),
            (100 << 20, "100.0MB"),
            (1 << 30, "1.0GB"),
            (u64::MAX, "16.0EB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
        assert_eq!(limit(100 << 20), "100MB");
        assert_eq!(limit(1536), "1.5KB");
        assert_eq!(limit(1_101_005), "1.05MB");
        assert_eq!(limit(10), "10B");
    }

    #[test]
    fn addresses_hold_slugs_as_they_are() {
        let url = |slug| url("https://example.org/file/", slug);
        assert_eq!(url("a+b=c-1.mp4"), "https://example.org/file/a+b=c-1.mp4");
        assert_eq!(url("a.x?y#%ü"), "https://example.org/file/a.x%3Fy%23%25%C3%BC");
    }

    #[test]
    fn days_are_written_without_zeros() {
        let day = |seconds| day(&Timestamp { seconds, nanos: 0 });
        assert_eq!(day(31_536_000), "1.1.1971");
        assert_eq!(day(1_795_307_328), "22.11.2026");
    }
}
