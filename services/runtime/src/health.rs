//! The gRPC health service (`grpc.health.v1`) and server reflection (`grpc.reflection.v1`).

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::BoxError;
use crate::shutdown::Shutdown;

/// Adds the health service to a server's routes. Its methods are [`layers::HEALTH`](crate::layers::HEALTH), to be listed as
/// public.
///
/// Of the whole server, which is the empty service name, it says SERVING until `shutdown` begins, and NOT_SERVING from then
/// on: new calls are answered all the same for as long as they can come in. Whoever watches is told, and the watch ends when
/// connections do.
///
/// `keys` are ids of keys that this service shares with others, by what they are for, the one that is used first. Answers carry
/// them, so that `doctor` finds services that do not hold the same.
#[must_use]
pub fn add_health(routes: Routes, shutdown: &Shutdown, keys: &[(&str, Vec<String>)]) -> Routes {
    let keys: Vec<String> = keys.iter().map(|(of, ids)| format!("{of}={}", ids.join("+"))).collect();
    // Ids are hexadecimal.
    let keys = keys.join(" ").parse().ok();
    routes.add_service(HealthServer::new(Reports { shutdown: shutdown.clone(), keys }))
}

/// In answers of the health service: `KIND=ID+ID KIND=ID`.
const KEY_IDS: &str = "holdall-key-ids";

/// The ids in an answer of a service's health, by what the keys are for.
pub(crate) fn key_ids<T>(answer: &Response<T>) -> Vec<(String, Vec<String>)> {
    let text = answer.metadata().get(KEY_IDS).and_then(|ids| ids.to_str().ok()).unwrap_or_default();
    let kinds = text.split_ascii_whitespace().filter_map(|kind| kind.split_once('='));
    kinds
        .map(|(of, ids)| {
            (of.to_owned(), ids.split('+').filter(|id| !id.is_empty()).map(str::to_owned).collect())
        })
        .collect()
}

struct Reports {
    shutdown: Shutdown,
    keys: Option<MetadataValue<Ascii>>,
}

/// How far a watch has come.
enum Watch {
    Begins,
    Waits,
    Ends,
}

fn report(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

fn is_known(request: &HealthCheckRequest) -> Result<(), Status> {
    if request.service.is_empty() { Ok(()) } else { Err(Status::not_found("there is no such service")) }
}

#[tonic::async_trait]
impl Health for Reports {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        is_known(request.get_ref())?;
        let ends = self.shutdown.has_begun();
        let status = if ends { ServingStatus::NotServing } else { ServingStatus::Serving };
        let mut answer = Response::new(report(status));
        if let Some(keys) = &self.keys {
            answer.metadata_mut().insert(KEY_IDS, keys.clone());
        }
        Ok(answer)
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        is_known(request.get_ref())?;
        let shutdown = self.shutdown.clone();
        let reports = stream::unfold(Watch::Begins, move |watch| {
            let shutdown = shutdown.clone();
            async move {
                match watch {
                    Watch::Begins if !shutdown.has_begun() => {
                        Some((Ok(report(ServingStatus::Serving)), Watch::Waits))
                    }
                    Watch::Begins | Watch::Waits => {
                        shutdown.begun().await;
                        Some((Ok(report(ServingStatus::NotServing)), Watch::Ends))
                    }
                    Watch::Ends => {
                        shutdown.requested().await;
                        None
                    }
                }
            }
        });
        Ok(Response::new(reports.boxed()))
    }
}

/// Adds reflection of the services in an encoded `FileDescriptorSet`. Its methods are
/// [`layers::REFLECTION`](crate::layers::REFLECTION).
///
/// Fails when the bytes are no descriptor set.
pub fn add_reflection(routes: Routes, descriptors: &'static [u8]) -> Result<Routes, BoxError> {
    let service = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(descriptors)
        .build_v1()?;
    Ok(routes.add_service(service))
}
