//! Byte ranges (RFC 9110, §14).

/// What part of the content is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// All of it: no range was asked for, or one that we do not serve. A server may ignore any `Range`; we ignore
    /// several ranges at once, units other than bytes, and what does not follow the grammar.
    Whole,
    /// `len` bytes, at least one, from `start` on; both within the content.
    Part {
        /// Offset of the first byte.
        start: u64,
        /// Number of bytes.
        len: u64,
    },
    /// A well-formed range that holds no byte of the content.
    Unsatisfiable,
}

/// Reads the value of a `Range` header for content of `size` bytes.
pub fn select(value: &str, size: u64) -> Selection {
    let Some((unit, set)) = value.split_once('=') else { return Selection::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Selection::Whole;
    }
    let Some((first, last)) = set.trim_matches([' ', '\t']).split_once('-') else { return Selection::Whole };
    match (number(first), number(last)) {
        (Number::Is(first), Number::Empty) => part(first, u64::MAX, size),
        (Number::Is(first), Number::Is(last)) if first <= last => part(first, last, size),
        (Number::Empty, Number::Is(0)) => Selection::Unsatisfiable,
        (Number::Empty, Number::Is(suffix)) if size > 0 => part(size.saturating_sub(suffix), u64::MAX, size),
        (Number::Empty, Number::Is(_)) => Selection::Unsatisfiable,
        _ => Selection::Whole,
    }
}

fn part(first: u64, last: u64, size: u64) -> Selection {
    if first >= size {
        return Selection::Unsatisfiable;
    }
    // `last` is inclusive; both lie below `size` now, so nothing overflows.
    Selection::Part { start: first, len: last.min(size - 1) - first + 1 }
}

enum Number {
    Empty,
    Is(u64),
    Malformed,
}

/// A number too large for 64 bits is larger than any content: it saturates.
fn number(text: &str) -> Number {
    if text.is_empty() {
        Number::Empty
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        Number::Is(text.parse().unwrap_or(u64::MAX))
    } else {
        Number::Malformed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(start: u64, len: u64) -> Selection {
        Selection::Part { start, len }
    }

    #[test]
    fn single_ranges() {
        assert_eq!(select("bytes=0-0", 10), part(0, 1));
        assert_eq!(select("bytes=2-5", 10), part(2, 4));
        assert_eq!(select("bytes=2-", 10), part(2, 8));
        assert_eq!(select("bytes=2-99", 10), part(2, 8));
        assert_eq!(select("bytes=9-9", 10), part(9, 1));
        assert_eq!(select("Bytes= 0-1 ", 10), part(0, 2));
        assert_eq!(select("bytes=0-18446744073709551615", 10), part(0, 10));
        assert_eq!(select("bytes=0-99999999999999999999999", 10), part(0, 10));
    }

    #[test]
    fn suffixes() {
        assert_eq!(select("bytes=-1", 10), part(9, 1));
        assert_eq!(select("bytes=-10", 10), part(0, 10));
        assert_eq!(select("bytes=-11", 10), part(0, 10));
        assert_eq!(select("bytes=-0", 10), Selection::Unsatisfiable);
        assert_eq!(select("bytes=-5", 0), Selection::Unsatisfiable);
    }

    #[test]
    fn beyond_the_end() {
        assert_eq!(select("bytes=10-", 10), Selection::Unsatisfiable);
        assert_eq!(select("bytes=0-", 0), Selection::Unsatisfiable);
        assert_eq!(select("bytes=9999999999999999999999-", 10), Selection::Unsatisfiable);
    }

    #[test]
    fn what_we_do_not_serve_gives_the_whole() {
        for value in [
            "bytes=5-2",
            "bytes=0-0,2-3",
            "lines=0-1",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1-2-3",
            "bytes=+1-2",
            "bytes= 1 - 2",
        ] {
            assert_eq!(select(value, 10), Selection::Whole, "{value}");
        }
    }
}
