//! Durations and sizes as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A length of time, written as a whole number and a unit: `250ms`, `5s`, `10m`, `2h`, `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(Duration);

/// A number of bytes, written as a whole number and an optional unit: `512`, `64KiB`, `16MiB`, `4GiB`,
/// `1TiB`, or with powers of ten `64kB`, `16MB`, `4GB`, `1TB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

/// Why a text is not a duration or size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// It does not start with a whole number.
    #[error("expected a whole number followed by a unit")]
    NoNumber,
    /// The unit is missing or unknown.
    #[error("unknown unit; use one of {0}")]
    Unit(&'static str),
    /// The value does not fit.
    #[error("too large")]
    TooLarge,
}

const DURATION_UNITS: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl HumanDuration {
    /// From whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// From whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// As the standard library's type.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl ByteSize {
    /// From a number of bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for HumanDuration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split(text)?;
        let millis = lookup(DURATION_UNITS, unit).ok_or(UnitError::Unit("ms, s, m, h, d"))?;
        number.checked_mul(millis).map(Self::from_millis).ok_or(UnitError::TooLarge)
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split(text)?;
        let unit = if unit.is_empty() { "B" } else { unit };
        let bytes =
            lookup(SIZE_UNITS, unit).ok_or(UnitError::Unit("B, KiB, MiB, GiB, TiB, kB, MB, GB, TB"))?;
        number.checked_mul(bytes).map(Self).ok_or(UnitError::TooLarge)
    }
}

fn split(text: &str) -> Result<(u64, &str), UnitError> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(UnitError::NoNumber);
    }
    Ok((number.parse().map_err(|_| UnitError::TooLarge)?, unit.trim_start()))
}

fn lookup(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        write_largest_unit(f, millis, DURATION_UNITS, "s")
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_largest_unit(f, self.0, SIZE_UNITS, "B")
    }
}

fn write_largest_unit(
    f: &mut fmt::Formatter<'_>,
    value: u64,
    units: &[(&str, u64)],
    zero: &str,
) -> fmt::Result {
    match units.iter().find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor)) {
        Some((unit, factor)) => write!(f, "{}{unit}", value / factor),
        None => write!(f, "{value}{zero}"),
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = HumanDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration with its unit, such as \"30s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<HumanDuration, E> {
                text.parse().map_err(|error| E::custom(format_args!("not a duration: {error}")))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrNumber;
        impl Visitor<'_> for TextOrNumber {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, or a size such as \"64MiB\"")
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
                u64::try_from(bytes).map(ByteSize).map_err(|_| E::custom("a size cannot be negative"))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(|error| E::custom(format_args!("not a size: {error}")))
            }
        }
        deserializer.deserialize_any(TextOrNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, millis) in [("250ms", 250), ("5s", 5_000), ("10m", 600_000), ("2h", 7_200_000), ("0s", 0)]
        {
            assert_eq!(text.parse::<HumanDuration>().unwrap().get(), Duration::from_millis(millis));
            assert_eq!(HumanDuration::from_millis(millis).to_string(), text);
        }
        assert_eq!(HumanDuration::from_secs(90).to_string(), "90s");
        assert_eq!("1 d".parse::<HumanDuration>().unwrap(), HumanDuration::from_secs(86_400));
    }

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in
            [("64MiB", 64 << 20), ("1TiB", 1 << 40), ("3kB", 3_000), ("513B", 513), ("0B", 0)]
        {
            assert_eq!(text.parse::<ByteSize>().unwrap().get(), bytes);
            assert_eq!(ByteSize::new(bytes).to_string(), text);
        }
        assert_eq!("512".parse::<ByteSize>().unwrap().get(), 512);
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!("".parse::<HumanDuration>(), Err(UnitError::NoNumber));
        assert_eq!("s".parse::<HumanDuration>(), Err(UnitError::NoNumber));
        assert_eq!("-5s".parse::<HumanDuration>(), Err(UnitError::NoNumber));
        assert!(matches!("5".parse::<HumanDuration>(), Err(UnitError::Unit(_))));
        assert!(matches!("5.5s".parse::<HumanDuration>(), Err(UnitError::Unit(_))));
        assert_eq!("99999999999999999999s".parse::<HumanDuration>(), Err(UnitError::TooLarge));
        assert_eq!("18446744073709551615TiB".parse::<ByteSize>(), Err(UnitError::TooLarge));
        assert!(matches!("5mib".parse::<ByteSize>(), Err(UnitError::Unit(_))));
    }
}
