//! Parameters in the query, as FastAPI reads them.

use http::Uri;

use super::answer::Failure;
use crate::transfer::fields::Fields;

/// The parameters of a request. Of several with one name the last counts.
pub struct Query(Fields);

impl Query {
    /// Those of an address.
    pub fn of(uri: &Uri) -> Self {
        Self(Fields::urlencoded(uri.query().unwrap_or_default().as_bytes()))
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is true or false; false when it is not there.
    pub fn flag(&self, name: &'static str) -> Result<bool, Failure> {
        let Some(value) = self.get(name) else { return Ok(false) };
        let is = |words: [&str; 4]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
        if is(["true", "1", "on", "yes"]) {
            Ok(true)
        } else if is(["false", "0", "off", "no"]) {
            Ok(false)
        } else {
            Err(Failure::NotBoolean(name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_a_few_words() {
        let flag = |query: &str| Query::of(&format!("/?{query}").parse().unwrap()).flag("bot").ok();
        for word in ["true", "True", "1", "on", "yes", "YES"] {
            assert_eq!(flag(&format!("bot={word}")), Some(true), "{word}");
        }
        for word in ["false", "0", "off", "no"] {
            assert_eq!(flag(&format!("bot={word}")), Some(false), "{word}");
        }
        for word in ["", "2", "y", "truee", "null", "%20true"] {
            assert_eq!(flag(&format!("bot={word}")), None, "{word}");
        }
        assert_eq!(flag("bots=1"), Some(false));
        assert_eq!(flag("bot=x&bot=1"), Some(true));
        assert_eq!(Query::of(&Uri::from_static("/x")).flag("bot").ok(), Some(false));
    }
}
