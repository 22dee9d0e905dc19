//! `/healthz` and `/readyz`: for whoever starts and stops this process, and says no more than that needs.

use axum::extract::State;
use http::header::CACHE_CONTROL;

use crate::App;
use crate::ops::health;
use crate::rest::problem::Problem;

const NO_STORE: [(http::HeaderName, &str); 1] = [(CACHE_CONTROL, "no-store")];

/// Whether this process runs. Asks nobody else: restarting it would not mend them.
pub async fn live() -> impl axum::response::IntoResponse {
    (NO_STORE, "ok")
}

/// Whether this process can do its work: whether every service takes calls.
pub async fn ready(State(app): State<App>) -> Result<impl axum::response::IntoResponse, Problem> {
    health::check(&app.upstreams).await?;
    Ok((NO_STORE, "ok"))
}
