//! What a caller demands of the present state before it is changed.

use super::error::Error;

/// A condition, checked in the transaction of the write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Anything goes.
    #[default]
    None,
    /// The thing must not exist yet.
    Absent,
    /// The thing must exist.
    Present,
    /// The thing must exist and have one of these tags.
    AnyOf(Vec<String>),
}

/// Most tags in one condition.
pub const MAX_ETAGS: usize = 64;

impl Precondition {
    /// Passes when the condition holds for the thing with the tag `current`, or for its absence.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`].
    pub fn check(&self, current: Option<&str>) -> Result<(), Error> {
        let holds = match self {
            Self::None => true,
            Self::Absent => current.is_none(),
            Self::Present => current.is_some(),
            Self::AnyOf(etags) => current.is_some_and(|current| etags.iter().any(|etag| etag == current)),
        };
        if holds { Ok(()) } else { Err(Error::PreconditionFailed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let any_of = Precondition::AnyOf(vec!["a".to_owned(), "b".to_owned()]);
        let cases = [
            (Precondition::None, None, true),
            (Precondition::None, Some("a"), true),
            (Precondition::Absent, None, true),
            (Precondition::Absent, Some("a"), false),
            (Precondition::Present, None, false),
            (Precondition::Present, Some("a"), true),
            (any_of.clone(), None, false),
            (any_of.clone(), Some("b"), true),
            (any_of, Some("c"), false),
        ];
        for (condition, current, holds) in cases {
            assert_eq!(condition.check(current).is_ok(), holds, "{condition:?} {current:?}");
        }
    }
}
