//! Times as RFC 3339 text in UTC with microseconds.

use std::str::FromStr;

use prost_types::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::ToSchema;

/// A point in time: `2026-11-22T03:25:16.123456Z`. Other offsets are read too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-11-22T03:25:16.123456Z")]
pub struct Time(pub Timestamp);

const LEN: usize = "2026-11-22T03:25:16.123456Z".len();

impl Time {
    /// Writes the time without allocating, which shows in a list of a thousand nodes with two times each. Years beyond
    /// 1 to 9999, which RFC 3339 cannot say, are clamped.
    fn write<'a>(&self, buffer: &'a mut [u8; LEN]) -> &'a str {
        let seconds = self.0.seconds.clamp(-62_135_596_800, 253_402_300_799);
        let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
        let of_day = seconds.rem_euclid(86_400);
        let micros = i64::from(self.0.nanos.clamp(0, 999_999_999)) / 1_000;
        *buffer = *b"0000-00-00T00:00:00.000000Z";
        for (at, width, value) in [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, of_day / 3_600),
            (14, 2, of_day / 60 % 60),
            (17, 2, of_day % 60),
            (20, 6, micros),
        ] {
            let mut rest = value;
            for digit in buffer.iter_mut().skip(at).take(width).rev() {
                *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
                rest /= 10;
            }
        }
        std::str::from_utf8(buffer).unwrap_or_default()
    }
}

/// Year, month and day of a day counted from 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// A time that a service always sets; 1970 if it did not.
impl From<&Option<Timestamp>> for Time {
    fn from(time: &Option<Timestamp>) -> Self {
        Self(time.unwrap_or_default())
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.write(&mut [0; LEN]))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        // A date alone, or a time without an offset, is not a point in time.
        let complete = text.len() <= 64 && text.contains(['T', 't', ' ']) && has_offset(&text);
        let time = complete.then(|| Timestamp::from_str(&text).ok()).flatten();
        let time = time.filter(|time| holdall_proto::unix_us(time).is_some());
        time.map(Self).ok_or_else(|| de::Error::custom("not a time as of RFC 3339"))
    }
}

fn has_offset(text: &str) -> bool {
    text.ends_with(['Z', 'z'])
        || text.get(text.len().saturating_sub(6)..).is_some_and(|end| end.starts_with(['+', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(seconds: i64, nanos: i32) -> String {
        Time(Timestamp { seconds, nanos }).write(&mut [0; LEN]).to_owned()
    }

    fn read(text: &str) -> Option<(i64, i32)> {
        let time: Time = serde_json::from_value(serde_json::Value::String(text.to_owned())).ok()?;
        Some((time.0.seconds, time.0.nanos))
    }

    #[test]
    fn times_are_written_with_microseconds() {
        assert_eq!(written(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(written(1_700_000_000, 123_456_789), "2023-11-14T22:13:20.123456Z");
        assert_eq!(written(951_827_696, 7_000), "2000-02-29T12:34:56.000007Z");
        assert_eq!(written(-1, 999_999_999), "1969-12-31T23:59:59.999999Z");
        assert_eq!(written(253_402_300_799, 0), "9999-12-31T23:59:59.000000Z");
        assert_eq!(written(i64::MAX, i32::MAX), "9999-12-31T23:59:59.999999Z");
        assert_eq!(written(i64::MIN, -1), "0001-01-01T00:00:00.000000Z");
    }

    #[test]
    fn what_is_written_is_read() {
        for day in (-719_162..2_932_896).step_by(97) {
            let seconds = day * 86_400 + 3_723;
            assert_eq!(read(&written(seconds, 5_000)), Some((seconds, 5_000)));
        }
    }

    #[test]
    fn offsets_are_read_and_nonsense_is_not() {
        assert_eq!(read("2023-11-14T23:13:20+01:00"), Some((1_700_000_000, 0)));
        assert_eq!(read("2023-11-14t22:13:20z"), Some((1_700_000_000, 0)));
        for text in [
            "",
            "now",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-13-14T22:13:20Z",
            "2023-02-30T00:00:00Z",
            "2023-11-14T25:13:20Z",
            "1700000000",
            "10000-01-01T00:00:00Z",
            "日本T+00:00",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
