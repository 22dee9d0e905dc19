//! Names of nodes.
//!
//! Nearly everything is a good name: blanks, quotes, emoji, trailing dots, reserved words of other systems. Refused is
//! what breaks paths (separators, `.`, `..`), what cannot be shown honestly (controls, bidirectional overrides), and what
//! cannot be seen at all.

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::error::Error;

/// Most bytes of a name, in UTF-8 after normalisation.
pub const MAX_BYTES: usize = 255;

/// A name that a node may have: NFC (UAX #15), compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Normalises and checks a name.
    ///
    /// # Errors
    /// [`Error::InvalidName`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        check(text).map_err(Error::InvalidName)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// [`Name::parse`] for callers that report the problem as part of something larger.
pub(super) fn check(text: &str) -> Result<Name, &'static str> {
    // Composition shortens a text at most three times (UAX #15 §9), so this refuses nothing good.
    if text.len() > 3 * MAX_BYTES {
        return Err(TOO_LONG);
    }
    let name: String = match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => text.to_owned(),
        _ => text.nfc().collect(),
    };
    if name.len() > MAX_BYTES {
        return Err(TOO_LONG);
    }
    match name.as_str() {
        "" => return Err("must not be empty"),
        "." | ".." => return Err("must not be . or .."),
        _ => {}
    }
    for character in name.chars() {
        match character {
            '/' | '\\' => return Err("must not contain a slash or backslash"),
            // C0, DEL and C1.
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => return Err("must not contain control characters"),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                return Err("must not contain characters that override the direction of text");
            }
            _ => {}
        }
    }
    if name.chars().all(is_invisible) {
        return Err("must have a visible character");
    }
    Ok(Name(name))
}

const TOO_LONG: &str = "must not be longer than 255 bytes";

/// Characters without width or mark: soft hyphen, combining grapheme joiner, Hangul and Khmer fillers, zero-width
/// spaces and joiners, marks of direction, word joiner and invisible operators, variation selectors, byte order mark,
/// tags.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusual_names_are_fine() {
        let emoji = "🙂".repeat(63);
        let long = "a".repeat(255);
        for name in [
            "a",
            " ",
            "a b",
            " lead",
            "trail ",
            "dot.",
            "...",
            ".hidden",
            "\"quoted\"",
            "it's",
            "Grüße.txt",
            "日本語",
            "👩‍👩‍👧",
            "CON",
            "aux.txt",
            "a:b?*<>|",
            "%2f",
            "; filename=evil.html",
            "<img src=x>",
            "a\u{2215}b",
            "a\u{200d}b",
            "ß",
            "İ",
            "\u{301}",
            &emoji,
            &long,
        ] {
            assert_eq!(Name::parse(name).unwrap().as_str(), name, "{name}");
        }
    }

    #[test]
    fn names_are_composed() {
        let decomposed = "U\u{308}bersicht";
        assert_eq!(Name::parse(decomposed).unwrap().as_str(), "Übersicht");
        // 300 bytes as sent, 200 as kept.
        let long = "u\u{308}".repeat(100);
        assert_eq!(Name::parse(&long).unwrap().as_str(), "ü".repeat(100));
    }

    #[test]
    fn case_counts() {
        assert_ne!(Name::parse("A.txt"), Name::parse("a.txt"));
        assert_ne!(Name::parse("ß"), Name::parse("ss"));
    }

    #[test]
    fn names_that_break_or_deceive_are_refused() {
        let long = "a".repeat(256);
        // 4 bytes less a character: composition does not bring it down.
        let emoji = "🙂".repeat(64);
        let huge = "a".repeat(1 << 20);
        for name in [
            "",
            ".",
            "..",
            "/",
            "a/b",
            "\\",
            "a\\b",
            "\0",
            "a\tb",
            "a\nb",
            "a\rb",
            "\u{1b}[2J",
            "\u{7f}",
            "\u{80}",
            "\u{85}",
            "\u{9f}",
            "photo\u{202e}gpj.exe",
            "\u{202a}",
            "\u{2066}x\u{2069}",
            "\u{200b}",
            "\u{feff}\u{200d}",
            "\u{ad}",
            "\u{2060}\u{2061}",
            "\u{3164}",
            &long,
            &emoji,
            &huge,
        ] {
            let result = Name::parse(name);
            assert!(matches!(result, Err(Error::InvalidName(_))), "{name:?}: {result:?}");
        }
    }

    #[test]
    fn every_control_character_is_refused() {
        for code in (0..0x20).chain(0x7f..0xa0) {
            let name = format!("a{}", char::from_u32(code).unwrap());
            assert!(Name::parse(&name).is_err(), "U+{code:04X}");
        }
        assert!(Name::parse("a\u{a0}").is_ok());
    }
}
