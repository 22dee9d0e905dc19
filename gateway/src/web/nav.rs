//! The bar on top of every page.

use crate::ops::Caller;

/// Where in the bar a page is, and who looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Nav {
    who: Who,
    at: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// Nobody knows, or there is nothing for accounts to do.
    Anybody,
    /// Not signed in.
    Visitor,
    /// Signed in.
    Member,
}

impl Nav {
    /// For pages that are the same for everybody: the way home and nothing else.
    pub const PLAIN: Self = Self { who: Who::Anybody, at: "" };

    /// For the page at `at`, as the caller sees it, or somebody who is not signed in.
    pub fn of(caller: Option<&Caller>, at: &'static str) -> Self {
        Self { who: if caller.is_some() { Who::Member } else { Who::Visitor }, at }
    }

    /// Whether there is more than the way home.
    pub fn is_full(&self) -> bool {
        self.who != Who::Anybody
    }

    /// Whether somebody is signed in.
    pub fn is_member(&self) -> bool {
        self.who == Who::Member
    }

    /// The attribute that marks the entry for `path`, when that is the page.
    pub fn mark(&self, path: &str) -> &'static str {
        if self.at == path { "aria-current=page" } else { "" }
    }
}
