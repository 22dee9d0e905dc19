//! What kinds of files this API stores.

/// Those that it stores, by what stands after the last dot.
const ALLOWED: [&str; 38] = [
    "txt", "doc", "docx", "docm", "dotm", "dotx", "pdf", "xls", "xlsx", "xlsm", "xltx", "xlt", "xltm",
    "pptx", "ppt", "ppsx", "pps", "potx", "pot", "ppa", "ppam", "jpg", "jpeg", "tif", "tiff", "png", "gif",
    "bmp", "wav", "mp3", "wma", "ogg", "aac", "flac", "avi", "mkv", "mp4", "mpeg",
];

/// Whether a file with that name is stored.
pub fn is_allowed(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, extension)| ALLOWED.iter().any(|allowed| extension.eq_ignore_ascii_case(allowed)))
}

/// What stands after the last dot; the whole name when there is none.
pub fn of(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, extension)| extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_after_the_last_dot_counts_in_any_case() {
        for good in ["a.txt", "a.TXT", "a.b.Jpeg", ".pdf", "a b.mp4"] {
            assert!(is_allowed(good), "{good}");
        }
        for bad in ["a.exe", "a.html", "txt", "a.txt.", "a.txt.sh", "a.txtx", "", "a.txt "] {
            assert!(!is_allowed(bad), "{bad}");
        }
        assert_eq!((of("a.b.txt"), of("txt"), of("a.")), ("txt", "txt", ""));
    }
}
