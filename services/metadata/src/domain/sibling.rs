//! The next name that is free beside one that is taken: `stem(n).ext`.

use super::name::{MAX_BYTES, Name};

/// The parts of a name between which a number goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Siblings<'n> {
    stem: &'n str,
    /// With its dot; may be empty.
    extension: &'n str,
}

/// Most digits of a number: more than a folder can have files.
pub const MOST_DIGITS: u32 = 9;

/// Bytes that an extension leaves for the number with its parentheses and the largest first character of a stem.
const LEAST_ROOM: usize = MOST_DIGITS as usize + 2 + 4;

impl<'n> Siblings<'n> {
    /// The part after the last dot is the extension. A name that starts with its only dot has none, nor has one whose extension
    /// leaves no room for a number.
    #[must_use]
    pub fn of(name: &'n Name) -> Self {
        let name = name.as_str();
        match name.rfind('.').map(|dot| name.split_at(dot)) {
            Some((stem, extension)) if !stem.is_empty() && extension.len() + LEAST_ROOM <= MAX_BYTES => {
                Self { stem, extension }
            }
            _ => Self { stem: name, extension: "" },
        }
    }

    /// The range of names, from the first and before the last, in which all siblings are whose number has that many digits.
    #[must_use]
    pub fn range(&self, digits: u32) -> (String, String) {
        let stem = self.shortened(digits);
        // The parentheses are neighbours.
        (format!("{stem}("), format!("{stem})"))
    }

    /// Of the siblings whose number has that many digits, the one with the smallest that `is_free`.
    pub fn first(&self, digits: u32, is_free: impl Fn(&str) -> bool) -> Option<String> {
        let (stem, extension) = (self.shortened(digits), self.extension);
        let most = 10_u64.checked_pow(digits)?;
        (most / 10..most).map(|number| format!("{stem}({number}){extension}")).find(|name| is_free(name))
    }

    /// As much of the stem as there is room for.
    fn shortened(&self, digits: u32) -> &'n str {
        let number = usize::try_from(digits).unwrap_or(MAX_BYTES) + 2;
        let room = MAX_BYTES.saturating_sub(self.extension.len() + number);
        self.stem.get(..self.stem.floor_char_boundary(room)).unwrap_or(self.stem)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn next(text: &str, taken: &[&str]) -> String {
        let name = Name::parse(text).unwrap();
        let siblings = Siblings::of(&name);
        let taken: HashSet<&str> = taken.iter().copied().collect();
        let is_free = |name: &str| !taken.contains(name);
        let found = (1..=MOST_DIGITS).find_map(|digits| {
            let (from, to) = siblings.range(digits);
            let found = siblings.first(digits, is_free)?;
            assert!(from <= found && found < to, "{found} in {from}..{to}");
            Some(found)
        });
        found.unwrap()
    }

    #[test]
    fn the_number_goes_before_the_extension() {
        for (name, sibling) in [
            ("a.txt", "a(1).txt"),
            ("a", "a(1)"),
            (".hidden", ".hidden(1)"),
            (".hidden.txt", ".hidden(1).txt"),
            ("a.tar.gz", "a.tar(1).gz"),
            ("a.", "a(1)."),
            ("...", "..(1)."),
            ("a(1).txt", "a(1)(1).txt"),
            ("Grüße.日本", "Grüße(1).日本"),
        ] {
            assert_eq!(next(name, &[]), sibling);
            assert!(Name::parse(sibling).is_ok());
        }
    }

    #[test]
    fn the_smallest_free_number_is_taken() {
        assert_eq!(next("a.txt", &["a(1).txt", "a(3).txt"]), "a(2).txt");
        assert_eq!(next("a.txt", &["a(0).txt", "a(01).txt", "a(1)"]), "a(1).txt");
        let nine: Vec<String> = (1..10).map(|number| format!("a({number})")).collect();
        let nine: Vec<&str> = nine.iter().map(String::as_str).collect();
        assert_eq!(next("a", &nine), "a(10)");
    }

    #[test]
    fn long_stems_are_shortened_between_characters() {
        let sibling = next(&format!("{}.txt", "a".repeat(251)), &[]);
        assert_eq!(sibling, format!("{}(1).txt", "a".repeat(248)));
        let taken: Vec<String> = (1..10).map(|number| format!("{}({number}).txt", "a".repeat(248))).collect();
        let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
        let sibling = next(&format!("{}.txt", "a".repeat(251)), &taken);
        assert_eq!(sibling, format!("{}(10).txt", "a".repeat(247)));
        // 252 bytes of stem and no room for a fourth byte.
        assert_eq!(next(&"🙂".repeat(63), &[]), format!("{}(1)", "🙂".repeat(63)));
        assert_eq!(next(&format!("{}abc", "🙂".repeat(63)), &[]), format!("{}(1)", "🙂".repeat(63)));
        assert_eq!(next(&format!("ab{}", "🙂".repeat(63)), &[]), format!("ab{}(1)", "🙂".repeat(62)));
        let extension = format!("a.{}", "x".repeat(253));
        assert_eq!(next(&extension, &[]), format!("a.{}(1)", "x".repeat(250)), "no extension at all");
    }

    #[test]
    fn siblings_are_names() {
        for length in 1..=255 {
            for end in ["", ".x", ".日本"] {
                let Ok(name) = Name::parse(&format!("{}{end}", "ü".repeat(length))) else { continue };
                let siblings = Siblings::of(&name);
                for digits in 1..=MOST_DIGITS {
                    let sibling = siblings.first(digits, |_| true).unwrap();
                    assert_eq!(Name::parse(&sibling).unwrap().as_str(), sibling);
                }
            }
        }
    }
}
