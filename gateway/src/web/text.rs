//! How pages say sizes and dates.

use prost_types::Timestamp;

/// A size for people: `512 bytes`, `1.4 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes == 1 {
        return "1 byte".to_owned();
    }
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    // Tenths of the unit, rounded to the nearest; 128 bits since a rounded 16 EiB is more than 64 hold.
    let mut tenths = u128::from(bytes) * 10;
    let mut name = "bytes";
    let mut scale = 1;
    for unit in UNITS {
        scale *= 1024;
        tenths = (u128::from(bytes) * 10 + scale / 2) / scale;
        name = unit;
        if tenths < 10_240 {
            break;
        }
    }
    if tenths < 100 {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    } else {
        format!("{} {name}", (tenths + 5) / 10)
    }
}

/// A date for people, in UTC: `22 November 2026, 03:25 UTC`.
pub fn date(time: &Timestamp) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    // As of RFC 3339: 2026-11-22T03:25:16.
    let text = time.to_string();
    let part = |from, to| text.get(from..to).unwrap_or_default();
    let month = part(5, 7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.wrapping_sub(1)));
    format!(
        "{} {} {}, {} UTC",
        part(8, 10).trim_start_matches('0'),
        month.unwrap_or(&""),
        part(0, 4),
        part(11, 16)
    )
}

/// A length of time for people, rounded down to its two largest units: `2 hours`, `1 hour 59 minutes`, `1 second`.
pub fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(24 * 3600, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
    let mut left = seconds;
    let mut words = Vec::new();
    for (length, name) in UNITS {
        let count = left / length;
        left %= length;
        if count > 0 {
            words.push(format!("{count} {name}{}", if count == 1 { "" } else { "s" }));
        } else if !words.is_empty() {
            break;
        }
        if words.len() == 2 {
            break;
        }
    }
    if words.is_empty() { "0 seconds".to_owned() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1_500_000, "1.4 MiB"),
            (10 << 20, "10 MiB"),
            ((10 << 20) - 1, "10 MiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (999 << 30, "999 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn dates_are_words() {
        assert_eq!(date(&Timestamp { seconds: 1_795_317_916, nanos: 5 }), "22 November 2026, 03:25 UTC");
        assert_eq!(date(&Timestamp { seconds: 0, nanos: 0 }), "1 January 1970, 00:00 UTC");
    }

    #[test]
    fn spans_are_short() {
        for (seconds, text) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (61, "1 minute 1 second"),
            (7200, "2 hours"),
            (7199, "1 hour 59 minutes"),
            (3600 + 5, "1 hour"),
            (8 * 24 * 3600 + 3600, "8 days 1 hour"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
