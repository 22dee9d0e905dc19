//! What is put into the buffer: a form with one file, or the bare data.
//!
//! The checks come in the order of the original: the number of files, the header that says what they are, the name.

use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use holdall_proto::metadata::v1::EntryKind;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

use super::{X_DATA_TYPE, answer, refusal, store as put};
use crate::App;
use crate::compat::cloudbuffer::Refused;
use crate::compat::cloudbuffer::load::media_type_of;
use crate::error::{Code, Error};
use crate::ops::Caller;
use crate::transfer::fields::Fields;
use crate::transfer::multipart::{Form, Rest, boundary};
use crate::transfer::upload::{self, Pieces};
use crate::transfer::{disposition, media_type};

/// The longest name, in characters.
const NAME_CHARACTERS: usize = 100;

/// What the contract says about data that is not taken.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// Not exactly one file.
    Files(usize),
    /// The header is neither `text` nor `file`, but this.
    DataType(String),
    /// What is wrong with the rest.
    Invalid(&'static str),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        let body = match fault {
            Fault::Files(count) => json!({"error": 0, "message": format!("Wrong number of files: {count}")}),
            Fault::DataType(given) => {
                json!({"error": 1, "message": format!("Wrong data type header: {given}")})
            }
            Fault::Invalid(what) => json!({"code": 1, "message": format!("error while validating: {what}")}),
        };
        answer(StatusCode::BAD_REQUEST, &body).into()
    }
}

/// Stores the body of a request.
pub async fn store(app: &App, caller: &Caller, parts: &Parts, body: Body) -> Result<(), Refused> {
    let kind = kind(&parts.headers);
    match boundary(&parts.headers) {
        Ok(None) => raw(app, caller, parts, kind?, body).await,
        Ok(Some(boundary)) => form(app, caller, kind, Form::of(boundary, body)).await,
        Err(_) => Err(Fault::Files(0).into()),
    }
}

/// The body is the data, whatever type it claims to be.
async fn raw(app: &App, caller: &Caller, parts: &Parts, kind: EntryKind, body: Body) -> Result<(), Refused> {
    let name = name(kind, raw_name(parts))?;
    let media_type = match kind {
        EntryKind::File => media_type::claimed(parts.headers.get(http::header::CONTENT_TYPE))
            .unwrap_or_else(|| media_type::guess(&name))
            .to_owned(),
        _ => String::new(),
    };
    let size = upload::size(&parts.headers).map_err(|error| refusal(&error))?;
    put(app, caller, kind, name, media_type, size, Pieces::of(body)).await.map_err(|error| invalid(&error))
}

/// The one file in a form is the data.
async fn form(
    app: &App,
    caller: &Caller,
    kind: Result<EntryKind, Fault>,
    mut form: Form,
) -> Result<(), Refused> {
    let part = loop {
        match form.next().await {
            Ok(Some(part)) if part.file_name().is_some_and(|name| !name.is_empty()) => break part,
            Ok(Some(_)) => {}
            Ok(None) => return Err(Fault::Files(0).into()),
            Err(error) if is_broken(&error) => return Err(Fault::Files(0).into()),
            Err(error) => return Err(refusal(&error)),
        }
    };
    let given = part.file_name().map(str::to_owned);
    let checked = kind.and_then(|kind| Ok((kind, name(kind, given)?)));
    match checked {
        Ok((kind, name)) => {
            let media_type =
                if kind == EntryKind::File { media_type_of(&part, &name) } else { String::new() };
            let (body, rest) = part.content(form);
            let put = put(app, caller, kind, name, media_type, None, alone(body, rest.clone())).await;
            put.map_err(|error| if rest.files() > 0 { too_many(&rest) } else { invalid(&error) })
        }
        Err(fault) => {
            // The number of files comes first, and is known at the end only.
            let (body, rest) = part.content(form);
            let read = body.try_for_each(|_| std::future::ready(Ok(()))).await;
            Err(match read {
                Ok(()) if rest.files() > 0 => too_many(&rest),
                Ok(()) => fault.into(),
                Err(error) => invalid(&error),
            })
        }
    }
}

fn too_many(rest: &Rest) -> Refused {
    Fault::Files(1 + rest.files()).into()
}

/// The same pieces, with an error at their end when another file came after them.
fn alone<S>(body: S, rest: Rest) -> impl Stream<Item = Result<Bytes, Error>> + Send
where
    S: Stream<Item = Result<Bytes, Error>> + Send,
{
    let end = stream::once(async move {
        if rest.files() > 0 { Err(Error::new(Code::MalformedForm)) } else { Ok(Bytes::new()) }
    });
    body.chain(end).try_filter(|piece| std::future::ready(!piece.is_empty()))
}

/// A failure to store, in the words of the contract where it has any.
fn invalid(error: &Error) -> Refused {
    match error.code {
        Code::InvalidName | Code::InvalidPath => Fault::Invalid("filename cannot be used").into(),
        _ if is_broken(error) => Fault::Invalid("the data is not whole").into(),
        _ => refusal(error),
    }
}

fn is_broken(error: &Error) -> bool {
    matches!(error.code, Code::MalformedForm | Code::TruncatedBody | Code::InvalidEncoding)
}

/// What the data is. The header is case-sensitive, and two of it are as good as one with a comma.
fn kind(headers: &HeaderMap) -> Result<EntryKind, Fault> {
    let values: Vec<String> = headers.get_all(X_DATA_TYPE).iter().map(text).collect();
    match values.join(",").as_str() {
        "text" => Ok(EntryKind::Text),
        "file" => Ok(EntryKind::File),
        _ if values.is_empty() => Err(Fault::DataType("None".to_owned())),
        other => Err(Fault::DataType(other.to_owned())),
    }
}

/// A header's value as text: UTF-8 where it is, else Latin-1, which anything is.
fn text(value: &HeaderValue) -> String {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => value.as_bytes().iter().map(|&byte| char::from(byte)).collect(),
    }
}

/// The name to store: a file has one, text has none.
fn name(kind: EntryKind, given: Option<String>) -> Result<String, Fault> {
    if kind != EntryKind::File {
        return Ok(String::new());
    }
    let name = given.ok_or(Fault::Invalid("filename is missing"))?;
    if name.chars().count() > NAME_CHARACTERS {
        return Err(Fault::Invalid("filename is longer than 100 characters"));
    }
    Ok(name)
}

/// The name of a file whose body is bare: from the first place that holds one.
fn raw_name(parts: &Parts) -> Option<String> {
    let header = |name: &str| parts.headers.get(name).map(text);
    let query = || {
        let query = Fields::urlencoded(parts.uri.query().unwrap_or_default().as_bytes());
        query.get("filename").map(str::to_owned)
    };
    [disposition::file_name(&parts.headers), header("x-file-name"), header("x-filename"), query()]
        .into_iter()
        .flatten()
        .map(|name| name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned())
        .find(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(uri: &str, headers: &[(&str, &[u8])]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_header_is_one_of_two_words() {
        let of = |values: &[&[u8]]| {
            let headers: Vec<(&str, &[u8])> = values.iter().map(|value| ("x-data-type", *value)).collect();
            kind(&parts("/", &headers).headers)
        };
        assert_eq!(of(&[b"text"]), Ok(EntryKind::Text));
        assert_eq!(of(&[b"file"]), Ok(EntryKind::File));
        assert_eq!(of(&[]), Err(Fault::DataType("None".to_owned())));
        for bad in ["", "Text", "FILE", "image", "\u{fc}"] {
            assert_eq!(of(&[bad.as_bytes()]), Err(Fault::DataType(bad.to_owned())));
        }
        assert_eq!(of(&[b"\xfc"]), Err(Fault::DataType("\u{fc}".to_owned())));
        assert_eq!(of(&[b"text", b"text"]), Err(Fault::DataType("text,text".to_owned())));
    }

    #[test]
    fn bare_files_are_named_in_one_of_four_places() {
        let all: [(&str, &[u8]); 3] = [
            ("content-disposition", b"attachment; filename=\"dir/a.txt\""),
            ("x-file-name", "../ü.txt".as_bytes()),
            ("x-filename", b"c.txt"),
        ];
        for (from, expected) in [(0, "a.txt"), (1, "ü.txt"), (2, "c.txt"), (3, "d e.txt")] {
            let parts = parts("/file/buffer?filename=x%2Fd+e.txt", &all[from..]);
            assert_eq!(raw_name(&parts).as_deref(), Some(expected));
        }
        assert_eq!(raw_name(&parts("/file/buffer?filename=a/", &[("x-filename", b"")])), None);
    }

    #[test]
    fn files_need_a_short_name_and_text_needs_none() {
        let long = "ü".repeat(101);
        assert_eq!(name(EntryKind::Text, Some(long.clone())), Ok(String::new()));
        assert_eq!(name(EntryKind::Text, None), Ok(String::new()));
        assert_eq!(name(EntryKind::File, Some("ü".repeat(100))), Ok("ü".repeat(100)));
        assert!(matches!(name(EntryKind::File, Some(long)), Err(Fault::Invalid(_))));
        assert!(
            matches!(name(EntryKind::File, None), Err(Fault::Invalid(what)) if what.contains("filename"))
        );
    }
}
