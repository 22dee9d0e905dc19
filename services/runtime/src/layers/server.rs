//! The server side of [`super`].

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::Body;
use opentelemetry::metrics::Counter;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::Service;
use tracing::Instrument;

use super::admission::Admission;
use super::answer::{Instruments, Rpc, Watched, code_in};
use super::deadline;
use super::peer::Permit;

/// Puts everything that happens around an RPC around all of a server's services, health and reflection
/// included.
#[must_use]
pub fn wrap(routes: Routes, admission: Admission) -> Routes {
    let instruments = Instruments::new();
    let layer = tower::layer::layer_fn(move |inner| Wrapped {
        inner,
        admission: admission.clone(),
        instruments: instruments.clone(),
    });
    Routes::from(routes.into_axum_router().layer(layer)).prepare()
}

#[derive(Clone)]
struct Wrapped<S> {
    inner: S,
    admission: Admission,
    instruments: Instruments,
}

impl<S, B, R> Service<Request<B>> for Wrapped<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Body + Default + Unpin + Send + 'static,
{
    type Response = Response<Watched<R>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The clone stays behind; the one that was polled ready takes the call.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let (admission, denied) = (self.admission.clone(), self.instruments.denied.clone());
        let mut rpc = Rpc::begin(request.uri().path(), request.headers(), self.instruments.clone());
        async move {
            let answering = AssertUnwindSafe(answer(inner, request, admission, denied)).catch_unwind();
            let answer = match answering.instrument(rpc.span.clone()).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(status)) => {
                    // Whether the caller may is for the handler to say: this is about the peer.
                    if status.code() == Code::PermissionDenied {
                        rpc.refused();
                    }
                    status.into_http()
                }
                Err(_) => rpc.panicked().into_http(),
            };
            if let Some(code) = code_in(answer.headers()) {
                rpc.end(code);
            }
            Ok(answer.map(|body| Watched::new(body, rpc)))
        }
        .boxed()
    }
}

async fn answer<S, B, R>(
    mut inner: S,
    mut request: Request<B>,
    admission: Admission,
    denied: Counter<u64>,
) -> Result<Response<R>, Status>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
{
    let limit = deadline::read(request.headers());
    let answering = async {
        if let Some(permit) = request.extensions().get::<Arc<Permit>>() {
            permit.check(request.uri().path(), &denied)?;
        }
        admission.admit(&mut request).await?;
        let Ok(answer) = inner.call(request).await;
        Ok(answer)
    };
    match limit {
        None => answering.await,
        Some(limit) => {
            tokio::time::timeout(limit, answering).await.unwrap_or_else(|_| Err(deadline::exceeded()))
        }
    }
}
