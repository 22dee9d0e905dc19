//! What a folder does with the files directly in it.

use serde::{Deserialize, Serialize};

/// The longest time to live, in microseconds: 1,000 years, so that every expiry is a time that can be told.
pub const LONGEST: i64 = 1000 * 365 * 24 * 3600 * 1_000_000;

/// A folder's policy. The default does nothing special.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How long after their content was written files are gone, in microseconds; `None` for never.
    pub time_to_live: Option<i64>,
    /// Most files; 0 for no limit.
    pub max_files: u32,
    /// Most versions of a file; 0 for no limit.
    pub max_versions: u32,
    /// Whether deleting is for good.
    pub skip_trash: bool,
}

impl Policy {
    /// Nothing special.
    pub const NONE: Self = Self { time_to_live: None, max_files: 0, max_versions: 0, skip_trash: false };

    /// When a file whose content is written at `now` is gone.
    #[must_use]
    pub fn expiry(&self, now: i64) -> Option<i64> {
        self.time_to_live.map(|time| now.saturating_add(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_live_as_long_as_the_folder_says() {
        assert_eq!(Policy::NONE.expiry(5), None);
        assert_eq!(Policy { time_to_live: Some(10), ..Policy::NONE }.expiry(5), Some(15));
        assert_eq!(Policy::default(), Policy::NONE);
    }
}
