//! The pages, and how they say sizes and dates.

use askama::Template;
use prost_types::Timestamp;

/// The page of a link.
#[derive(Template)]
#[template(path = "link.html")]
pub struct Link<'a> {
    /// Of the file; shown as text.
    pub name: &'a str,
    /// Of the file, for people.
    pub size: String,
    /// When the link ends.
    pub expires: Option<String>,
    /// Where the file itself is.
    pub download: String,
    /// The QR code of `url`, as SVG.
    pub qr: String,
    /// The address of the page.
    pub url: &'a str,
}

/// A page with a sentence.
#[derive(Template)]
#[template(path = "message.html")]
pub struct Message {
    /// A few words.
    pub title: &'static str,
    /// A sentence.
    pub text: &'static str,
}

/// The front page.
#[derive(Template)]
#[template(path = "landing.html")]
pub struct Landing;

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
    fn a_name_is_text_and_nothing_else() {
        let name = "<img src=x onerror=alert(1)>\"'{{7*7}}&";
        let page = Link {
            name,
            size: size(5),
            expires: Some(date(&Timestamp::default())),
            download: "/s/abc/download".to_owned(),
            qr: "<svg></svg>".to_owned(),
            url: "https://example.org/s/abc",
        };
        let html = page.render().unwrap();
        assert!(
            !html.contains("<img src=x") && html.contains("&#60;img src=x onerror=alert(1)&#62;"),
            "{html}"
        );
        assert!(html.contains("<svg></svg>") && html.contains("href=\"/s/abc/download\""));
        assert!(!html.contains("style=") && !html.contains("<script") && !html.contains("<style"));
    }
}
