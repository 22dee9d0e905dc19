//! Calls that were handed to a connection which ended at that moment.
//!
//! hyper hands a request to the task of its connection through a channel. When that task ends at the same moment, the request
//! may stay in the channel, neither sent nor refused, and its caller waits until the client makes the next request and finds
//! the connection gone ([hyper #4122](https://github.com/hyperium/hyper/issues/4122)). A client that makes no other request
//! would wait for ever.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use tokio::time::sleep;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::BoxError;

/// Until the other request is made. Most calls have their answer before.
const PATIENCE: Duration = Duration::from_millis(250);

/// Waits for `call`, which was made over `channel`. If that takes long, another request goes out, once: a connection that
/// ended is given up with all that was handed to it, and the call fails as one that was not sent.
pub(super) async fn wait<T, C>(channel: C, call: impl Future<Output = T>) -> T
where
    C: GrpcService<Body>,
    C::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <C::ResponseBody as http_body::Body>::Error: Into<BoxError> + Send,
{
    let look = async {
        sleep(PATIENCE).await;
        // Whatever it says, it was made.
        let _ = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
        pending::<Infallible>().await
    };
    tokio::select! {
        biased;
        answer = call => answer,
        never = look => match never {},
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use tokio::sync::oneshot;
    use tower::{ServiceExt, service_fn};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_that_nobody_sends_is_given_back() {
        // Each request ends the one before it, and none is answered.
        let last = Arc::new(Mutex::new(None));
        let channel = service_fn(move |_: Request<Body>| {
            let (ended, has_ended) = oneshot::channel::<Response<Body>>();
            *last.lock().unwrap() = Some(ended);
            has_ended
        });
        let call = channel.clone().oneshot(Request::new(Body::empty()));
        let waited = tokio::time::timeout(Duration::from_secs(10), wait(channel, call)).await;
        assert!(waited.expect("it waits no longer than it has to").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_is_waited_for() {
        let channel = service_fn(async |_: Request<Body>| Err::<Response<Body>, _>(std::fmt::Error));
        let call = async { sleep(Duration::from_secs(3600)).await };
        wait(channel, call).await;
    }
}
