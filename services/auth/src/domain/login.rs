//! The names that a person signs in with: a username, and an e-mail address if they gave one.
//!
//! Both are kept as they were given (after Unicode normalisation) and compared by a [`LoginKey`]. Usernames and addresses
//! share one set of keys, so that nobody can take another's address for a username and be signed in in their place.

use unicode_normalization::UnicodeNormalization as _;

use super::error::{Error, Rule};

/// The most characters in a username.
const USERNAME_CHARACTERS: usize = 64;

/// The most bytes in an e-mail address (RFC 5321, section 4.5.3.1.3, without the angle brackets).
const EMAIL_BYTES: usize = 254;

/// The most characters in the name of a system account, without what comes before it.
const SYSTEM_CHARACTERS: usize = 32;

/// A username as it is shown: NFC, 1 to 64 characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Username(String);

/// An e-mail address as it is shown. Nobody has checked that mail to it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

/// What a username or address is compared by: NFC, then simple case folding, then NFC.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LoginKey(String);

impl Username {
    /// Checks and normalises a username from outside.
    ///
    /// # Errors
    /// [`Error::InvalidAccount`] naming `username` and the rule it breaks.
    pub fn parse(given: &str) -> Result<Self, Error> {
        let refuse = |rule| Err(Error::InvalidAccount { field: "username", rule });
        // Bounds the work below; NFC makes no character out of nothing.
        if given.len() > 16 * USERNAME_CHARACTERS {
            return refuse(Rule::LongerThanCharacters(USERNAME_CHARACTERS));
        }
        let name: String = given.nfc().collect();
        if name.is_empty() {
            return refuse(Rule::Empty);
        }
        if name.chars().count() > USERNAME_CHARACTERS {
            return refuse(Rule::LongerThanCharacters(USERNAME_CHARACTERS));
        }
        if name.trim() != name {
            return refuse(Rule::BlankAtEnd);
        }
        if name.chars().any(|c| matches!(c, '/' | '\\')) {
            return refuse(Rule::Slash);
        }
        if name.chars().any(unseen) {
            return refuse(Rule::InvisibleCharacter);
        }
        Ok(Self(name))
    }

    /// The username of a system account, `system/<name>`: the slash keeps it apart from all that people can choose.
    ///
    /// # Errors
    /// [`Error::InvalidField`] naming `system` for what does not have 1 to 32 characters of `a-z` and `-`.
    pub fn system(name: &str) -> Result<Self, Error> {
        let plain = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'-'));
        if !plain || !(1..=SYSTEM_CHARACTERS).contains(&name.len()) {
            return Err(Error::InvalidField { field: "system", rule: Rule::NotASystemName });
        }
        Ok(Self(format!("system/{name}")))
    }

    /// As it is shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is compared by.
    pub fn key(&self) -> LoginKey {
        LoginKey::new(&self.0)
    }

    pub(crate) fn from_store(stored: String) -> Self {
        Self(stored)
    }
}

impl Email {
    /// Checks an address from outside; the empty text is no address.
    ///
    /// The check is light on purpose: only a message that arrives shows that an address is right.
    ///
    /// # Errors
    /// [`Error::InvalidAccount`] naming `email` and the rule it breaks.
    pub fn parse(given: &str) -> Result<Option<Self>, Error> {
        let refuse = |rule| Err(Error::InvalidAccount { field: "email", rule });
        if given.is_empty() {
            return Ok(None);
        }
        if given.len() > EMAIL_BYTES {
            return refuse(Rule::LongerThanBytes(EMAIL_BYTES));
        }
        let address: String = given.nfc().collect();
        if address.chars().any(|c| c.is_whitespace() || unseen(c)) {
            return refuse(Rule::InvisibleCharacter);
        }
        let mut parts = address.split('@');
        let both = parts.next().is_some_and(|local| !local.is_empty())
            && parts.next().is_some_and(|domain| !domain.is_empty())
            && parts.next().is_none();
        if !both {
            return refuse(Rule::NotAnAddress);
        }
        Ok(Some(Self(address)))
    }

    /// Takes any text of at most 254 bytes without control characters for an address, exactly as it is; the empty text is
    /// no address.
    ///
    /// # Errors
    /// [`Error::InvalidAccount`] naming `email` and the rule it breaks.
    pub fn any(given: &str) -> Result<Option<Self>, Error> {
        let refuse = |rule| Err(Error::InvalidAccount { field: "email", rule });
        if given.len() > EMAIL_BYTES {
            return refuse(Rule::LongerThanBytes(EMAIL_BYTES));
        }
        if given.chars().any(char::is_control) {
            return refuse(Rule::InvisibleCharacter);
        }
        Ok(Some(Self(given.to_owned())).filter(|_| !given.is_empty()))
    }

    /// As it is shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is compared by.
    pub fn key(&self) -> LoginKey {
        LoginKey::new(&self.0)
    }

    pub(crate) fn from_store(stored: String) -> Self {
        Self(stored)
    }
}

impl LoginKey {
    /// The key of what somebody typed into the field for username or address. `None` for what can be neither.
    pub fn of_login(typed: &str) -> Option<Self> {
        let plausible = typed.len() <= 16 * USERNAME_CHARACTERS && !typed.contains(char::is_control);
        (plausible && !typed.is_empty()).then(|| Self::new(typed))
    }

    /// The key that no account has, which stands for what can be no name.
    pub(crate) fn nobody() -> Self {
        Self(String::new())
    }

    fn new(name: &str) -> Self {
        Self(name.nfc().map(fold).nfc().collect())
    }

    /// The key as text, for storing.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Simple case folding (Unicode's `CaseFolding.txt`, statuses C and S) by way of the standard library's tables: one
/// character for one, without regard to language. `ß` stays apart from `ss`, and `İ` and `ı` from `i`.
fn fold(c: char) -> char {
    if c == 'ı' {
        return c;
    }
    let upper = only(c.to_uppercase()).unwrap_or(c);
    only(upper.to_lowercase()).unwrap_or(upper)
}

fn only(mut characters: impl Iterator<Item = char>) -> Option<char> {
    let first = characters.next()?;
    characters.next().is_none().then_some(first)
}

/// Characters that leave no mark of their own, or that rearrange those around them: controls, the default ignorable
/// code points of Unicode, and every blank but the plain space.
fn unseen(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(result: Result<impl std::fmt::Debug, Error>) -> Rule {
        match result {
            Err(Error::InvalidAccount { rule, .. }) => rule,
            other => panic!("expected a broken rule, got {other:?}"),
        }
    }

    #[test]
    fn names_of_many_scripts_are_taken_as_they_are() {
        for name in
            ["a", "Ada Lovelace", "Zoë", "李小龍", "мария", "💾", "o'neil", "x@y", "ẞ", &"é".repeat(64)]
        {
            assert_eq!(Username::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_are_kept_in_normal_form_c() {
        assert_eq!(Username::parse("Zoe\u{308}").unwrap().as_str(), "Zoë");
        assert_eq!(Username::parse(&"e\u{301}".repeat(64)).unwrap().as_str(), "é".repeat(64));
    }

    #[test]
    fn names_that_mislead_are_refused() {
        assert_eq!(rule(Username::parse("")), Rule::Empty);
        assert_eq!(rule(Username::parse(&"a".repeat(65))), Rule::LongerThanCharacters(64));
        assert_eq!(rule(Username::parse(&"a".repeat(1_000_000))), Rule::LongerThanCharacters(64));
        for blank in [" a", "a ", "\u{a0}a", "a\u{3000}", " "] {
            assert_eq!(rule(Username::parse(blank)), Rule::BlankAtEnd, "{blank:?}");
        }
        for slash in ["a/b", "..\\", "../x"] {
            assert_eq!(rule(Username::parse(slash)), Rule::Slash, "{slash:?}");
        }
        for c in [
            '\0',
            '\r',
            '\n',
            '\t',
            '\x7f',
            '\u{85}',
            '\u{200b}',
            '\u{200d}',
            '\u{202e}',
            '\u{2066}',
            '\u{2069}',
            '\u{feff}',
            '\u{ad}',
            '\u{a0}',
            '\u{2028}',
            '\u{e0041}',
        ] {
            assert_eq!(rule(Username::parse(&format!("a{c}b"))), Rule::InvisibleCharacter, "{c:?}");
        }
    }

    #[test]
    fn case_and_normal_form_do_not_tell_names_apart() {
        let key = |name: &str| LoginKey::of_login(name).unwrap();
        for (one, other) in [
            ("Alice", "aLICE"),
            ("Zoë", "ZOE\u{308}"),
            ("ΟΔΟΣ", "οδος"),
            ("ẞ", "ß"),
            ("МАРИЯ", "мария"),
            ("ǅ", "ǆ"),
            ("\u{212a}", "k"),
        ] {
            assert_eq!(key(one), key(other), "{one} {other}");
        }
        for (one, other) in
            [("ß", "ss"), ("İ", "i"), ("ı", "i"), ("ı", "I"), ("İ", "ı"), ("a", "а"), ("a", "a ")]
        {
            assert_ne!(key(one), key(other), "{one} {other}");
        }
    }

    #[test]
    fn a_key_is_its_own_key() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            let once = LoginKey::new(c.encode_utf8(&mut [0; 4]));
            assert_eq!(LoginKey::new(once.as_str()), once, "{c:?}");
        }
    }

    #[test]
    fn addresses_need_two_sides_and_nothing_unseen() {
        assert_eq!(Email::parse("").unwrap(), None);
        for good in ["a@b", "First.Last+tag@example.org", "ü@bücher.example"] {
            assert_eq!(Email::parse(good).unwrap().unwrap().as_str(), good);
        }
        for bad in ["a", "@", "a@", "@b", "a@b@c"] {
            assert_eq!(rule(Email::parse(bad)), Rule::NotAnAddress, "{bad:?}");
        }
        for bad in ["a b@c", "a@b\r\nBcc: x@y", " a@b", "a@b\0", "a\u{200b}@b"] {
            assert_eq!(rule(Email::parse(bad)), Rule::InvisibleCharacter, "{bad:?}");
        }
        assert_eq!(rule(Email::parse(&format!("{}@b", "a".repeat(253)))), Rule::LongerThanBytes(254));
    }

    #[test]
    fn any_text_can_be_an_address_where_it_is_asked_for() {
        for given in ["nobody", " a b ", "a@b@c", "system/anonymous", "Zoe\u{308}", &"é".repeat(127)] {
            assert_eq!(Email::any(given).unwrap().unwrap().as_str(), given);
        }
        assert_eq!(Email::any("").unwrap(), None);
        assert_eq!(rule(Email::any(&"é".repeat(128))), Rule::LongerThanBytes(254));
        assert_eq!(rule(Email::any("a\nb")), Rule::InvisibleCharacter);
    }

    #[test]
    fn nobody_can_be_called_like_a_system_account() {
        let system = Username::system("open-store").unwrap();
        assert_eq!(system.as_str(), "system/open-store");
        assert_eq!(rule(Username::parse(system.as_str())), Rule::Slash);
        assert!(Username::system(&"a".repeat(32)).is_ok());
        for bad in ["", "A", "a b", "a/b", "ä", "a1", &"a".repeat(33)] {
            let refused = Username::system(bad);
            assert!(matches!(refused, Err(Error::InvalidField { field: "system", .. })), "{bad:?}");
        }
    }
}
