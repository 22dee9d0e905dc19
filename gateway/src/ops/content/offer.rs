//! A body that may be offered to a second upload when the first did not begin.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{Stream, TryStreamExt, stream};

use crate::error::{Code, Error, Result};

/// A body for whichever upload asks for its bytes first, for use with [`Folders::with`](crate::ops::folders::Folders::with).
/// Every further one fails with [`Code::NotFound`], which is what made it the further one: half a body is never stored.
pub struct Offer<S>(Arc<Mutex<Option<S>>>);

impl<S> Offer<S>
where
    S: Stream<Item = Result<Bytes>> + Send + 'static,
{
    /// An offer of `body`.
    pub fn of(body: S) -> Self {
        Self(Arc::new(Mutex::new(Some(body))))
    }

    /// The body for one upload; nothing is taken before it is polled.
    pub fn body(&self) -> impl Stream<Item = Result<Bytes>> + Send + use<S> {
        let offered = Arc::clone(&self.0);
        stream::once(async move {
            let body = offered.lock().unwrap_or_else(PoisonError::into_inner).take();
            body.ok_or_else(|| Error::new(Code::NotFound))
        })
        .try_flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_taken_once() {
        let offer = Offer::of(stream::iter([Ok(Bytes::from("a")), Ok(Bytes::from("b"))]));
        drop(offer.body());
        assert_eq!(offer.body().try_collect::<Vec<_>>().await.unwrap(), ["a", "b"]);
        assert_eq!(offer.body().try_collect::<Vec<_>>().await.unwrap_err().code, Code::NotFound);
    }
}
