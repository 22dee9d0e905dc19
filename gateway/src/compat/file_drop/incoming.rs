//! A file on its way in: part `file` of a form, or a body that is the file itself.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Uri};

use super::name;
use crate::error::Result;
use crate::transfer::multipart::{Form, Rest};
use crate::transfer::upload::{self, Pieces};
use crate::transfer::{fields, media_type};

/// Content in pieces.
pub struct Content(Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>);

impl Content {
    fn of(pieces: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Self {
        Self(Box::pin(pieces))
    }
}

impl Stream for Content {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// A file that is coming in.
pub struct Incoming {
    /// As it is kept; `None` when the client did not say.
    pub name: Option<String>,
    /// As the client said, where it said something that is a type.
    pub media_type: String,
    /// Where it is known beforehand.
    pub size: Option<u64>,
    /// The bytes.
    pub content: Content,
}

/// A form up to its file.
#[derive(Default)]
pub struct Posted {
    /// The file, if there is one.
    pub file: Option<Incoming>,
    /// The texts before it.
    pub texts: fields::Fields,
    /// The texts after it, once its content was read.
    pub rest: Rest,
}

/// Reads a form up to the content of the part `file`, without that.
pub async fn of_form(boundary: String, body: Body) -> Result<Posted> {
    let mut form = Form::of(boundary, body);
    let mut texts = Vec::new();
    while let Some(part) = form.next().await? {
        let Some(name) = part.file_name() else {
            let name = part.name().to_owned();
            // Of other fields nothing is kept.
            if name::is_field(&name) && texts.len() < name::FIELDS.len() {
                texts.push((name, part.text().await?));
            }
            continue;
        };
        // A form without a file chosen holds one without a name.
        if part.name() != "file" || name.is_empty() {
            continue;
        }
        let name = name::kept(name);
        let media_type = type_of(media_type::claimed_text(part.media_type()));
        let (content, rest) = part.content(form);
        let file = Incoming { name, media_type, size: None, content: Content::of(content) };
        return Ok(Posted { file: Some(file), texts: fields::Fields(texts), rest });
    }
    Ok(Posted { file: None, texts: fields::Fields(texts), rest: Rest::default() })
}

/// Takes a body for a file; `None` when it is empty.
pub async fn of_body(uri: &Uri, headers: &HeaderMap, body: Body) -> Result<Option<Incoming>> {
    let size = upload::size(headers)?;
    let mut content = Content::of(Pieces::of(body));
    match size {
        Some(0) => return Ok(None),
        Some(_) => {}
        // Only the first piece shows whether there is any.
        None => match content.next().await {
            None => return Ok(None),
            Some(first) => content = Content::of(stream::iter([first]).chain(content)),
        },
    }
    let media_type = type_of(media_type::claimed(headers.get(CONTENT_TYPE)));
    Ok(Some(Incoming { name: name::of_body(uri, headers), media_type, size, content }))
}

fn type_of(claimed: Option<&str>) -> String {
    claimed.unwrap_or("application/octet-stream").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(head: &str, content: &str) -> String {
        format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    }

    async fn posted(parts: &[String]) -> Posted {
        of_form("b".to_owned(), Body::from(format!("{}--b--\r\n", parts.concat()))).await.unwrap()
    }

    async fn bytes(content: Content) -> Vec<u8> {
        content.map(|piece| piece.unwrap().to_vec()).collect::<Vec<_>>().await.concat()
    }

    #[tokio::test]
    async fn the_part_called_file_counts() {
        let other = part(r#"name="other"; filename="o.txt""#, "other");
        let before = part(r#"name="file_name""#, "before.txt");
        let typed = part("name=\"file\"; filename=\"../f.html\"\r\nContent-Type: text/html", "content");
        let after = part(r#"name="name""#, "after.txt");
        let posted = posted(&[other, before, typed, after]).await;
        let file = posted.file.unwrap();
        assert_eq!((file.name.as_deref(), file.media_type.as_str()), (Some("f.html"), "text/html"));
        assert_eq!(bytes(file.content).await, b"content");
        assert_eq!(name::in_fields(&posted.texts).as_deref(), Some("before.txt"));
        assert_eq!(posted.rest.take(), [("name".to_owned(), "after.txt".to_owned())]);
    }

    #[tokio::test]
    async fn a_file_without_a_name_or_of_another_field_is_none() {
        for head in [r#"name="file"; filename="""#, r#"name="other"; filename="x""#, r#"name="file""#] {
            assert!(posted(&[part(head, "x")]).await.file.is_none(), "{head}");
        }
    }

    #[tokio::test]
    async fn an_empty_body_is_no_file() {
        let uri = Uri::from_static("/files/upload");
        let of = |body: Body| async { of_body(&uri, &HeaderMap::new(), body).await.unwrap() };
        assert!(of(Body::empty()).await.is_none());
        let pieces = stream::iter(["ab", "cd"]).map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
        let file = of(Body::from_stream(pieces)).await.unwrap();
        assert_eq!((file.media_type.as_str(), file.name), ("application/octet-stream", None));
        assert_eq!(bytes(file.content).await, b"abcd");
    }
}
