//! The gRPC health service (`grpc.health.v1`) and server reflection (`grpc.reflection.v1`).

use futures::StreamExt;
use futures::stream::{self, BoxStream};
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
#[must_use]
pub fn add_health(routes: Routes, shutdown: &Shutdown) -> Routes {
    routes.add_service(HealthServer::new(Reports { shutdown: shutdown.clone() }))
}

struct Reports {
    shutdown: Shutdown,
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
        Ok(Response::new(report(if ends { ServingStatus::NotServing } else { ServingStatus::Serving })))
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
