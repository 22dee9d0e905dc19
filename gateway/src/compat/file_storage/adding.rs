//! `add_file`.

use axum::extract::{Request, State};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

use super::answer::{Answer, NO_USER, Result};
use super::call::{Authority, Call, missing};
use super::extension;
use super::place::Directory;
use crate::App;
use crate::error::{Code, Error};
use crate::ops::content::{self, Upload, keeping_both, to_path};
use crate::transfer::body::MAX_WHOLE;
use crate::transfer::fields::Fields;
use crate::transfer::media_type;
use crate::transfer::multipart::{Form, Part, boundary};
use crate::transfer::upload::{self, Pieces};

const NOT_SUPPORTED: &str = "The extension of these files are not supported by this system.";
const NO_DIRECTORY: &str = "There is no such directory";

const PARAMETERS: [&str; 5] = ["username", "user_id", "filename", "user_dir", "content"];

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `add_file(username, user_id, filename, user_dir)`, with the content: see the [class](super).
pub async fn add_file(State(app): State<App>, request: Request) -> Result {
    let (parts, body) = request.into_parts();
    upload::check(&parts.headers)?;
    let authority = Authority::of(&app, &parts.headers).await?;
    let fields = match boundary(&parts.headers)? {
        None => Fields::read(&parts.headers, body).await?,
        Some(boundary) => {
            let mut form = Form::of(boundary, body);
            let (fields, file) = up_to_the_file(&mut form).await?;
            if let Some(part) = file {
                return stream_in(&app, Call { authority, fields }, part, form).await;
            }
            fields
        }
    };
    let call = Call { authority, fields };
    let content = call.fields.get("content").map_or(Ok(Vec::new()), decoded)?;
    let size = Some(content.len() as u64);
    let name = call.text("filename")?;
    add(&app, &call, name, size, Pieces::of(content.into())).await
}

/// The parameters before the file, and the file.
async fn up_to_the_file(form: &mut Form) -> Result<(Fields, Option<Part>)> {
    let mut fields = Fields::default();
    let mut size = 0;
    while let Some(part) = form.next().await? {
        if part.file_name().is_some() || part.name() == "file" {
            return Ok((fields, Some(part)));
        }
        let name = part.name().to_owned();
        let text = part.text().await?;
        size += name.len() + text.len();
        if size > MAX_WHOLE {
            return Err(Code::TooLarge.into());
        }
        fields.0.push((name, text));
    }
    Ok((fields, None))
}

/// Stores the part under its own name, unless the parameters give it another.
async fn stream_in(app: &App, call: Call, part: Part, form: Form) -> Result {
    for name in ["username", "user_id"] {
        call.fields.get(name).ok_or_else(too_late)?;
    }
    let own = part.file_name().map(str::to_owned);
    let name = call.fields.get("filename").or(own.as_deref()).ok_or_else(|| missing("filename"))?;
    let (content, rest) = part.content(form);
    // The upload ends well only when nothing came after the file that should have been known before it.
    let checked = content.chain(stream::once(async move {
        let late = rest.take().iter().any(|(name, _)| PARAMETERS.contains(&name.as_str()));
        if late { Err(too_late()) } else { Ok(Bytes::new()) }
    }));
    add(app, &call, name, None, checked).await
}

async fn add<S>(app: &App, call: &Call, name: &str, size: Option<u64>, body: S) -> Result
where
    S: Stream<Item = Result<Bytes, Error>> + Send + 'static,
{
    let Some(user) = call.numbered_user(app).await? else { return Ok(NO_USER.into()) };
    let directory = match call.fields.get("user_dir") {
        Some(user_dir) => Directory::parse(&user, call.text("username")?, user_dir),
        None => Directory::root(&user),
    };
    let path = directory.path_of(name).filter(|_| extension::is_allowed(name));
    let Some(path) = path else { return Ok(NOT_SUPPORTED.into()) };
    let upload = Upload {
        target: keeping_both(to_path(path)),
        size,
        media_type: media_type::guess(name).to_owned(),
        precondition: None,
        idempotency_key: String::new(),
        link: None,
    };
    match content::upload(&app.upstreams, &user, upload, body).await {
        Ok(uploaded) => Ok(added(&directory, uploaded.node.name)),
        Err(error) => match error.code {
            // In the root it can only be the name that is not a good one.
            Code::InvalidPath if directory.is_root() => Ok(NOT_SUPPORTED.into()),
            Code::InvalidPath | Code::NotAFolder | Code::NotFound => Ok(NO_DIRECTORY.into()),
            _ => Err(error.into()),
        },
    }
}

/// What is told of a file that was stored.
pub fn added(directory: &Directory, name: String) -> Answer {
    let file_dir = directory.storage_of(&name);
    Answer::Dictionary(vec![("filename".to_owned(), name), ("file_dir".to_owned(), file_dir)])
}

fn too_late() -> Error {
    Error::new(Code::MalformedForm).detail("All parameters must come before the file.")
}

/// The bytes of a text in base64, with or without padding and line breaks.
fn decoded(text: &str) -> Result<Vec<u8>, Error> {
    let text: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64
        .decode(text)
        .map_err(|_| Error::new(Code::MalformedForm).detail("The parameter `content` is not base64."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_libraries_write_it() {
        for good in ["aGk=", "aGk", "aG\nk=\n"] {
            assert_eq!(decoded(good).unwrap(), b"hi", "{good:?}");
        }
        assert_eq!(decoded("").unwrap(), b"");
        for bad in ["a", "a-_=", "ä", "aGk=aGk="] {
            assert!(decoded(bad).is_err(), "{bad}");
        }
    }
}
