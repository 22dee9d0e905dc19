//! Pages of lists.

use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::{Code, Error, Result};
use crate::ops::Page;

/// The largest page; more asked for is cut down to it.
const MAX: u32 = 1000;

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many items at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before; leave out for the first page.
    cursor: Option<String>,
}

impl PageQuery {
    /// As the services ask for it.
    pub fn page(self) -> Result<Page> {
        page(self.limit, self.cursor)
    }
}

/// A page of `limit` items after `cursor`.
pub fn page(limit: Option<u32>, cursor: Option<String>) -> Result<Page> {
    Ok(Page { size: size(limit)?, token: cursor.unwrap_or_default() })
}

/// How many items a page has at most, as the services take it: zero for their default.
pub fn size(limit: Option<u32>) -> Result<i32> {
    match limit {
        None => Ok(0),
        Some(0) => Err(Error::new(Code::InvalidField).field("limit", "must be at least 1")),
        Some(limit) => Ok(i32::try_from(limit.min(MAX)).unwrap_or_default()),
    }
}

/// The cursor of the next page, if there is one.
pub fn next(token: &str) -> Option<&str> {
    Some(token).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(size(None).unwrap(), 0);
        assert_eq!(size(Some(1)).unwrap(), 1);
        assert_eq!(size(Some(u32::MAX)).unwrap(), 1000);
        assert_eq!(size(Some(0)).unwrap_err().code, Code::InvalidField);
    }
}
