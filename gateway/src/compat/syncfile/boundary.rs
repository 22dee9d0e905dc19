//! Forms whose header does not name their boundary, which the original's own client sends.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};

use crate::error::{Code, Result};
use crate::transfer::upload::broken_off;

/// The first line is looked for in so much of the body.
const PEEKED: usize = 8 << 10;
/// The longest boundary (RFC 2046, §5.1.1).
const LONGEST: usize = 70;

/// The boundary that the first line of the body shows, and the whole body.
///
/// # Errors
/// [`Code::MalformedForm`] when it shows none.
pub async fn find(
    body: Body,
) -> Result<(String, impl Stream<Item = std::result::Result<Bytes, axum::Error>> + Send + use<>)> {
    let mut body = body.into_data_stream();
    let mut start = BytesMut::new();
    let boundary = loop {
        match boundary(&start) {
            Line::Boundary(boundary) => break boundary,
            Line::Incomplete if start.len() < PEEKED => {}
            Line::Incomplete | Line::Other => return Err(Code::MalformedForm.into()),
        }
        match body.next().await {
            Some(Ok(data)) => start.extend_from_slice(&data),
            Some(Err(error)) => return Err(broken_off(&error)),
            None => return Err(Code::MalformedForm.into()),
        }
    };
    Ok((boundary, stream::iter([Ok(start.freeze())]).chain(body)))
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Boundary(String),
    /// It does not end here.
    Incomplete,
    Other,
}

/// What the first line is that is not empty: a boundary after two dashes, with blanks at its end at most.
fn boundary(mut body: &[u8]) -> Line {
    while let Some(rest) = body.strip_prefix(b"\r\n") {
        body = rest;
    }
    let Some(end) = body.windows(2).position(|pair| pair == b"\r\n") else { return Line::Incomplete };
    let line = body.get(..end).unwrap_or_default();
    let boundary = line.strip_prefix(b"--").map(<[u8]>::trim_ascii_end).unwrap_or_default();
    let plausible =
        (1..=LONGEST).contains(&boundary.len()) && boundary.iter().all(|byte| matches!(byte, b' '..=b'~'));
    match std::str::from_utf8(boundary) {
        Ok(boundary) if plausible => Line::Boundary(boundary.to_owned()),
        _ => Line::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Line {
        boundary(text.as_bytes())
    }

    #[test]
    fn the_first_line_is_the_boundary() {
        for text in ["--x y\r\nContent", "--x y\r\n", "\r\n--x y\r\n", "--x y \t\r\n--other\r\n"] {
            assert_eq!(found(text), Line::Boundary("x y".to_owned()), "{text:?}");
        }
        for text in ["", "\r\n", "--", "--x", "--x\r"] {
            assert_eq!(found(text), Line::Incomplete, "{text:?}");
        }
        for text in
            ["x\r\n", "-x\r\n", "--\r\n", "-- \r\n", "--\u{fc}\r\n", "--a\0b\r\n", "content\r\n--x\r\n"]
        {
            assert_eq!(found(text), Line::Other, "{text:?}");
        }
        assert_eq!(found(&format!("--{}\r\n", "x".repeat(71))), Line::Other);
    }

    #[tokio::test]
    async fn nothing_of_the_body_is_lost() {
        for size in 1..20 {
            let text = b"\r\n--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n";
            let pieces: Vec<_> = text
                .chunks(size)
                .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
                .collect();
            let (boundary, body) = find(Body::from_stream(stream::iter(pieces))).await.unwrap();
            assert_eq!(boundary, "b");
            let pieces: Vec<_> = body.map(|piece| piece.unwrap()).collect().await;
            assert_eq!(pieces.concat(), text);
        }
    }

    #[tokio::test]
    async fn only_a_little_is_looked_at() {
        let line = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'-'; 1024])));
        let error = find(Body::from_stream(line)).await.err().unwrap();
        assert_eq!(error.code, Code::MalformedForm);
    }
}
