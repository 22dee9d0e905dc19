//! Small bodies, whole, and large ones with a limit.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::upload::broken_off;
use crate::error::{Code, Error, Result};

/// Nothing that is read as a whole comes near this.
pub const MAX_WHOLE: usize = 1 << 20;
/// Time for such a body to arrive.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The whole body, of at most 1 MiB, within 30 seconds.
pub async fn whole(body: Body) -> Result<Bytes> {
    let collected = tokio::time::timeout(TIMEOUT, Limited::new(body, MAX_WHOLE).collect());
    match collected.await.map_err(|_| Code::Timeout)? {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => Err(Code::TooLarge.into()),
        Err(error) => Err(broken_off(&*error)),
    }
}

/// The pieces as long as they come to at most `most` bytes, and [`Code::TooLarge`] when there are more.
pub fn at_most<S>(pieces: S, most: u64) -> impl Stream<Item = Result<Bytes>> + Send
where
    S: Stream<Item = Result<Bytes>> + Send,
{
    pieces.scan(Some(most), move |left, piece| {
        let piece = match (*left, piece) {
            (None, _) => None,
            (Some(room), Ok(piece)) => match room.checked_sub(piece.len() as u64) {
                Some(rest) => {
                    *left = Some(rest);
                    Some(Ok(piece))
                }
                None => {
                    *left = None;
                    Some(Err(Error::new(Code::TooLarge)))
                }
            },
            (Some(_), Err(error)) => {
                *left = None;
                Some(Err(error))
            }
        };
        std::future::ready(piece)
    })
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    async fn limited(most: u64, pieces: &[&'static str]) -> (String, Option<Code>) {
        let pieces = stream::iter(pieces.to_vec()).map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        let mut passed = String::new();
        let mut failure = None;
        for piece in at_most(pieces, most).collect::<Vec<_>>().await {
            match piece {
                Ok(piece) => passed.push_str(std::str::from_utf8(&piece).unwrap()),
                Err(error) => failure = Some(error.code),
            }
        }
        (passed, failure)
    }

    #[tokio::test]
    async fn a_body_may_be_as_large_as_the_limit_and_no_larger() {
        assert_eq!(limited(4, &["ab", "cd"]).await, ("abcd".to_owned(), None));
        assert_eq!(limited(3, &["ab", "cd", "e"]).await, ("ab".to_owned(), Some(Code::TooLarge)));
        assert_eq!(limited(0, &[]).await, (String::new(), None));
    }

    #[tokio::test]
    async fn a_small_body_is_read_whole() {
        assert_eq!(whole(Body::from("abc")).await.unwrap(), "abc");
        assert_eq!(whole(Body::from(vec![0; MAX_WHOLE + 1])).await.unwrap_err().code, Code::TooLarge);
    }
}
