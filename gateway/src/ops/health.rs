//! Whether the services take calls.

use futures::future::try_join3;
use holdall_runtime::upstream::Upstream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::error::{Code, Result};
use crate::upstreams::Upstreams;

/// Asks every service (`grpc.health.v1`); an error when one of them cannot be reached or is not serving.
pub async fn check(upstreams: &Upstreams) -> Result<()> {
    let [auth, metadata, blob] = upstreams.each();
    try_join3(serving("auth", auth), serving("metadata", metadata), serving("blob", blob)).await?;
    Ok(())
}

/// The same of one service, which is called `name` in the log.
pub async fn serving(name: &'static str, upstream: Upstream) -> Result<()> {
    // The empty name stands for the server as a whole.
    let request = HealthCheckRequest { service: String::new() };
    match HealthClient::new(upstream).check(request).await {
        Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => return Ok(()),
        Ok(answer) => tracing::warn!(service = name, status = ?answer.get_ref().status(), "not ready"),
        Err(status) => tracing::warn!(service = name, code = ?status.code(), "not ready"),
    }
    Err(Code::Unavailable.into())
}
