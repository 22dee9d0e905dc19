//! Sends the request of a step, exactly as it says.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use harness::{Answer, Api, Content, encode_segment, raw};

use crate::{
    data::{Part, Step},
    template::{Variables, fill, fill_json},
};

const BOUNDARY: &str = "----holdall-9f2c";
/// More of it is not shown in a message.
const SHOWN: usize = 2000;

/// Cookies by name.
pub type Jar = BTreeMap<String, String>;

/// The content that `bytes = N` sends and `content = N` expects.
pub fn content(len: u64) -> Content {
    Content::new("contract", len)
}

/// Which gateway is asked, where there are several.
#[derive(Clone, Copy)]
pub enum To {
    /// The first one.
    First,
    /// Any.
    Next,
}

/// A request, ready to be sent.
pub struct Request {
    line: String,
    headers: Vec<String>,
    body: Vec<Piece>,
    chunked: bool,
}

enum Piece {
    Text(Bytes),
    Generated(Content),
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Text(bytes) => bytes.len() as u64,
            Self::Generated(content) => content.len(),
        }
    }

    fn frames(&self) -> Box<dyn Iterator<Item = Bytes> + Send> {
        match self {
            Self::Text(bytes) => Box::new(std::iter::once(bytes.clone()).filter(|bytes| !bytes.is_empty())),
            Self::Generated(content) => Box::new(content.pieces()),
        }
    }
}

impl Request {
    /// The request of a step.
    pub fn of(step: &Step, variables: &Variables, jar: Option<&Jar>) -> Result<Self, String> {
        let line = fill(&step.send, variables)?;
        let (body, media_type) = body(step, variables)?;
        let mut headers = Vec::new();
        for (name, values) in &step.headers {
            for value in values.values() {
                headers.push(format!("{name}: {}", fill(value, variables)?));
            }
        }
        let given = |name: &str| step.headers.keys().any(|known| known.eq_ignore_ascii_case(name));
        if let Some(media_type) = media_type.filter(|_| !given("content-type")) {
            headers.push(format!("Content-Type: {media_type}"));
        }
        if let Some(jar) = jar.filter(|jar| !jar.is_empty()) {
            let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            headers.push(format!("Cookie: {}", cookies.join("; ")));
        }
        let length: u64 = body.iter().map(Piece::len).sum();
        if step.chunked {
            headers.push("Transfer-Encoding: chunked".to_owned());
        } else if !given("content-length") && (length > 0 || !line.starts_with("GET ")) {
            headers.push(format!("Content-Length: {length}"));
        }
        Ok(Self { line, headers, body, chunked: step.chunked })
    }

    /// Sends it over a connection of its own. `None` when there is no answer.
    pub async fn send(&self, api: &Api, to: To) -> Option<Answer> {
        let headers: Vec<&str> = self.headers.iter().map(String::as_str).collect();
        let mut head = raw::head(api, &self.line, &headers);
        if headers.iter().any(|header| header.to_ascii_lowercase().starts_with("host:")) {
            // Only one of them.
            let own = head.find("\r\nhost: ").expect("a host") + 2;
            let end = own + head[own..].find("\r\n").expect("the end of a line") + 2;
            head.replace_range(own..end, "");
        }
        let head = std::iter::once(Bytes::from(head));
        let body = self.body.iter().flat_map(Piece::frames);
        let mut connection = match to {
            To::First => raw::Connection::open(api).await,
            To::Next => raw::Connection::open_next(api).await,
        };
        let has_body = !self.line.starts_with("HEAD ");
        let answer = if self.chunked {
            let chunks = body
                .map(|piece| [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat().into());
            let end = std::iter::once(Bytes::from_static(b"0\r\n\r\n"));
            connection.converse(head.chain(chunks).chain(end), has_body).await
        } else {
            connection.converse(head.chain(body), has_body).await
        };
        answer.map(|answer| Answer { request: self.line.clone(), ..answer })
    }

    /// For people.
    pub fn show(&self) -> String {
        let mut text = format!("{}\n{}\n\n", self.line, self.headers.join("\n"));
        for piece in &self.body {
            match piece {
                Piece::Text(bytes) => text.push_str(&shown(bytes)),
                Piece::Generated(content) => text.push_str(&format!("({} bytes)", content.len())),
            }
        }
        text
    }
}

/// An answer, for people.
pub fn show(answer: &Answer) -> String {
    let headers: Vec<String> = answer
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    format!("{}\n{}\n\n{}", answer.status, headers.join("\n"), shown(&answer.body))
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned();
    if bytes.len() > SHOWN { format!("{text}… ({} bytes)", bytes.len()) } else { text }
}

fn decode(text: &str) -> Result<Bytes, String> {
    STANDARD.decode(text).map(Bytes::from).map_err(|error| format!("{text:?}: {error}"))
}

fn body(step: &Step, variables: &Variables) -> Result<(Vec<Piece>, Option<String>), String> {
    let whole = |bytes: Bytes| vec![Piece::Text(bytes)];
    if let Some(text) = &step.text {
        return Ok((whole(fill(text, variables)?.into()), None));
    }
    if let Some(text) = &step.base64 {
        return Ok((whole(decode(text)?), None));
    }
    if let Some(json) = &step.json {
        let json = fill_json(json, variables)?.to_string();
        return Ok((whole(json.into()), Some("application/json".to_owned())));
    }
    if let Some(form) = &step.form {
        let fields = form.iter().map(|(name, value)| {
            Ok(format!("{}={}", encode_segment(name), encode_segment(&fill(value, variables)?)))
        });
        let fields = fields.collect::<Result<Vec<_>, String>>()?.join("&");
        return Ok((whole(fields.into()), Some("application/x-www-form-urlencoded".to_owned())));
    }
    if let Some(parts) = &step.parts {
        let mut pieces = Vec::new();
        for part in parts {
            pieces.extend(multipart(part, variables)?);
        }
        pieces.push(Piece::Text(format!("--{BOUNDARY}--\r\n").into()));
        return Ok((pieces, Some(format!("multipart/form-data; boundary={BOUNDARY}"))));
    }
    Ok((step.bytes.map(|len| Piece::Generated(content(len))).into_iter().collect(), None))
}

fn multipart(part: &Part, variables: &Variables) -> Result<[Piece; 3], String> {
    let head = match &part.head {
        Some(head) => fill(head, variables)?,
        None => {
            let name = part.name.as_deref().ok_or("a part needs a name")?;
            let mut head = format!("Content-Disposition: form-data; name=\"{}\"", fill(name, variables)?);
            if let Some(file) = &part.file {
                head.push_str(&format!("; filename=\"{}\"", fill(file, variables)?));
            }
            if let Some(media_type) = &part.media_type {
                head.push_str(&format!("\r\nContent-Type: {}", fill(media_type, variables)?));
            }
            head
        }
    };
    let content = match (&part.text, &part.base64, part.bytes) {
        (Some(text), None, None) => Piece::Text(fill(text, variables)?.into()),
        (None, Some(text), None) => Piece::Text(decode(text)?),
        (None, None, Some(len)) => Piece::Generated(content(len)),
        _ => return Err("a part needs one of text, base64, bytes".to_owned()),
    };
    let head = Piece::Text(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").into());
    Ok([head, content, Piece::Text(Bytes::from_static(b"\r\n"))])
}
