//! Passwords as people type them.

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;

use super::error::{Error, Rule};

/// The most bytes in a password, as given.
const LONGEST: usize = 1024;

/// A password in the clear, in Unicode normal form C so that keyboards that compose accents differently agree. Never
/// printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// A password to be compared with a stored credential. The empty one is allowed here, and never right.
    ///
    /// # Errors
    /// [`Error::InvalidField`] naming `field` when it is longer than 1,024 bytes: nothing is hashed then.
    pub fn to_compare(field: &'static str, given: &str) -> Result<Self, Error> {
        if given.len() > LONGEST {
            return Err(Error::InvalidField { field, rule: Rule::LongerThanBytes(LONGEST) });
        }
        Ok(Self(given.nfc().collect()))
    }

    /// A password to be set: at least `shortest` characters, counted after normalisation. There are no rules about its
    /// composition (NIST SP 800-63B, section 3.1.1.2).
    ///
    /// # Errors
    /// [`Error::InvalidAccount`] naming `field` and the rule it breaks.
    pub fn to_set(field: &'static str, given: &str, shortest: usize) -> Result<Self, Error> {
        let refuse = |rule| Err(Error::InvalidAccount { field, rule });
        if given.len() > LONGEST {
            return refuse(Rule::LongerThanBytes(LONGEST));
        }
        let password: String = given.nfc().collect();
        if password.chars().count() < shortest {
            return refuse(Rule::ShorterThanCharacters(shortest));
        }
        Ok(Self(password))
    }

    /// What is hashed.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composed_and_decomposed_accents_are_the_same_password() {
        let one = Password::to_set("password", "pässwörter", 8).unwrap();
        let other = Password::to_compare("password", "pa\u{308}sswo\u{308}rter").unwrap();
        assert_eq!(one, other);
    }

    #[test]
    fn length_counts_characters_below_and_bytes_above() {
        assert!(Password::to_set("password", &"é".repeat(8), 8).is_ok());
        let short = Password::to_set("password", &"e\u{301}".repeat(7), 8);
        assert!(matches!(short, Err(Error::InvalidAccount { rule: Rule::ShorterThanCharacters(8), .. })));
        assert!(Password::to_set("password", &"a".repeat(1024), 8).is_ok());
        let long = Password::to_set("password", &"a".repeat(1025), 8);
        assert!(matches!(long, Err(Error::InvalidAccount { rule: Rule::LongerThanBytes(1024), .. })));
        let long = Password::to_compare("password", &"a".repeat(10 << 20));
        assert!(matches!(long, Err(Error::InvalidField { field: "password", .. })));
    }

    #[test]
    fn blanks_and_zero_bytes_are_part_of_a_password() {
        let one = Password::to_set("password", " a\0b secret ", 8).unwrap();
        assert_eq!(one.as_bytes(), b" a\0b secret ");
    }

    #[test]
    fn a_password_is_never_printed() {
        let password = Password::to_set("password", "correct horse", 8).unwrap();
        assert!(!format!("{password:?}").contains("horse"));
    }
}
