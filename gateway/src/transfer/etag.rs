//! Entity tags and the conditions that name them (RFC 9110, §8.8.3 and §13.1).

use crate::error::{Code, Error};
use holdall_proto::metadata::v1::{EtagList, Precondition, precondition::Condition};
use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};

/// More tags than this in one condition are refused.
const MAX_TAGS: usize = 64;

/// A condition that is not what RFC 9110 allows, or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl From<Malformed> for Error {
    fn from(_: Malformed) -> Self {
        Self::new(Code::InvalidHeader)
            .detail("If-Match or If-None-Match is malformed, or means nothing here.")
    }
}

/// What `If-Match` or `If-None-Match` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tags<'a> {
    /// `*`: any representation at all.
    Any,
    /// One or more entity tags.
    List(Vec<Tag<'a>>),
}

/// One entity tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag<'a> {
    /// Marked `W/`. We send none, but clients and caches may make them.
    pub weak: bool,
    /// What stands between the quotes.
    pub opaque: &'a str,
}

impl Tags<'_> {
    /// Whether a strong tag equals `etag` (strong comparison, as `If-Match` and ranges need it).
    pub fn match_strongly(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => tags.iter().any(|tag| !tag.weak && tag.opaque == etag),
        }
    }

    /// Whether a tag equals `etag`, weak or not (weak comparison, as `If-None-Match` needs it).
    pub fn match_weakly(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => tags.iter().any(|tag| tag.opaque == etag),
        }
    }
}

/// The condition in the header `name`; `None` when there is none.
pub fn tags(headers: &HeaderMap, name: HeaderName) -> Result<Option<Tags<'_>>, Malformed> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    // A star stands alone.
    if first.as_bytes().trim_ascii() == b"*" {
        return if values.next().is_none() { Ok(Some(Tags::Any)) } else { Err(Malformed) };
    }
    let mut list = Vec::new();
    for value in std::iter::once(first).chain(values) {
        parse_list(value.to_str().map_err(|_| Malformed)?, &mut list)?;
    }
    if list.is_empty() { Err(Malformed) } else { Ok(Some(Tags::List(list))) }
}

/// Reads `1#entity-tag`. Empty elements are skipped, as RFC 9110 §5.6.1.2 asks of a recipient.
fn parse_list<'a>(mut rest: &'a str, list: &mut Vec<Tag<'a>>) -> Result<(), Malformed> {
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Ok(());
        }
        let (tag, after) = parse_tag(rest)?;
        if list.len() == MAX_TAGS {
            return Err(Malformed);
        }
        list.push(tag);
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return Err(Malformed);
        }
    }
}

/// Reads one entity tag and gives what follows it.
pub fn parse_tag(text: &str) -> Result<(Tag<'_>, &str), Malformed> {
    let (weak, quoted) = match text.strip_prefix("W/") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (opaque, rest) = quoted.strip_prefix('"').and_then(|open| open.split_once('"')).ok_or(Malformed)?;
    // etagc = %x21 / %x23-7E / obs-text; `to_str` let no obs-text through.
    if opaque.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok((Tag { weak, opaque }, rest))
    } else {
        Err(Malformed)
    }
}

/// The condition on a write that `If-Match` and `If-None-Match` state.
///
/// `If-None-Match` with tags, rather than `*`, has no use on a write and is refused as malformed; so are both headers
/// at once. Weak tags never match, so a list of nothing else is a condition that cannot hold.
pub fn precondition(headers: &HeaderMap) -> Result<Option<Precondition>, Malformed> {
    let condition = match (tags(headers, IF_MATCH)?, tags(headers, IF_NONE_MATCH)?) {
        (None, None) => return Ok(None),
        (Some(Tags::Any), None) => Condition::Present(true),
        (Some(Tags::List(tags)), None) => Condition::AnyOf(any_of(&tags)),
        (None, Some(Tags::Any)) => Condition::Absent(true),
        (None, Some(Tags::List(_))) | (Some(_), Some(_)) => return Err(Malformed),
    };
    Ok(Some(Precondition { condition: Some(condition) }))
}

fn any_of(tags: &[Tag<'_>]) -> EtagList {
    let mut etags: Vec<String> =
        tags.iter().filter(|tag| !tag.weak).map(|tag| tag.opaque.to_owned()).collect();
    if etags.is_empty() {
        // No etag of ours looks like this.
        etags.push("W/".to_owned());
    }
    EtagList { etags }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(IF_MATCH, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn opaque(values: &[&str]) -> Result<Vec<String>, Malformed> {
        let headers = headers(values);
        match tags(&headers, IF_MATCH)? {
            Some(Tags::List(list)) => Ok(list
                .iter()
                .map(|tag| format!("{}{}", if tag.weak { "W/" } else { "" }, tag.opaque))
                .collect()),
            Some(Tags::Any) => Ok(vec!["*".to_owned()]),
            None => Ok(vec![]),
        }
    }

    #[test]
    fn lists_are_read() {
        assert_eq!(opaque(&[]), Ok(vec![]));
        assert_eq!(opaque(&["*"]), Ok(vec!["*".to_owned()]));
        assert_eq!(opaque(&[r#""a""#]), Ok(vec!["a".to_owned()]));
        assert_eq!(opaque(&[r#" "a" ,, W/"b,c","" "#]), Ok(vec!["a".into(), "W/b,c".into(), String::new()]));
        assert_eq!(opaque(&[r#""a""#, r#""b""#]), Ok(vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn nonsense_is_refused() {
        for value in
            ["", ",", "\"", "a", "\"a", "\"a\" \"b\"", "\"a\"b", "w/\"a\"", "*, \"a\"", "\"a\", *", "\"a b\""]
        {
            assert_eq!(opaque(&[value]), Err(Malformed), "{value:?}");
        }
        assert_eq!(opaque(&["*", "\"a\""]), Err(Malformed));
        assert_eq!(opaque(&["\"a\"", "*"]), Err(Malformed));
    }

    #[test]
    fn no_more_than_64_tags() {
        let tags = |count: usize| vec!["\"x\""; count].join(",");
        assert_eq!(opaque(&[&tags(64)]).unwrap().len(), 64);
        assert_eq!(opaque(&[&tags(65)]), Err(Malformed));
        assert_eq!(opaque(&[&tags(40), &tags(40)]), Err(Malformed));
    }

    #[test]
    fn weak_tags_match_weakly_only() {
        let headers = headers(&[r#"W/"a", "b""#]);
        let tags = tags(&headers, IF_MATCH).unwrap().unwrap();
        assert!(!tags.match_strongly("a") && tags.match_weakly("a"));
        assert!(tags.match_strongly("b") && tags.match_weakly("b"));
        assert!(!tags.match_weakly("c"));
    }

    #[test]
    fn writes_are_conditioned() {
        let of = |pairs: &[(HeaderName, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in pairs {
                map.append(name.clone(), HeaderValue::from_str(value).unwrap());
            }
            precondition(&map).map(|found| found.and_then(|precondition| precondition.condition))
        };
        let list = |etags: &[&str]| {
            Condition::AnyOf(EtagList { etags: etags.iter().map(|&etag| etag.to_owned()).collect() })
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[(IF_MATCH, "*")]), Ok(Some(Condition::Present(true))));
        assert_eq!(of(&[(IF_NONE_MATCH, "*")]), Ok(Some(Condition::Absent(true))));
        assert_eq!(of(&[(IF_MATCH, r#""a", W/"b""#)]), Ok(Some(list(&["a"]))));
        assert_eq!(of(&[(IF_MATCH, r#"W/"b""#)]), Ok(Some(list(&["W/"]))));
        assert_eq!(of(&[(IF_NONE_MATCH, r#""a""#)]), Err(Malformed));
        assert_eq!(of(&[(IF_MATCH, "*"), (IF_NONE_MATCH, "*")]), Err(Malformed));
    }
}
