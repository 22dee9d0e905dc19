//! The page of a link.

use askama::Template;

use crate::web::Nav;

/// The page of a link.
#[derive(Template)]
#[template(path = "link.html")]
pub struct Link<'a> {
    /// The bar on top.
    pub nav: Nav,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_text_and_nothing_else() {
        let name = "<img src=x onerror=alert(1)>\"'{{7*7}}&";
        let page = Link {
            nav: Nav::PLAIN,
            name,
            size: "5 bytes".to_owned(),
            expires: Some("1 January 1970, 00:00 UTC".to_owned()),
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
