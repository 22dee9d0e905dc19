//! What the gateway answers by itself: health, and a description of what is public.

use std::collections::BTreeMap;

use holdall_runtime::BoxError;
use holdall_runtime::upstream::{Upstream, in_process};
use prost_types::FileDescriptorSet;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::server::Builder;

use super::methods::Service;
use crate::ops::health;
use crate::upstreams::Upstreams;

/// These services, to be called like the others.
///
/// # Errors
/// When `descriptors` contradict themselves.
pub fn services(
    upstreams: &Upstreams,
    services: &BTreeMap<String, Service>,
    descriptors: &FileDescriptorSet,
) -> Result<Upstream, BoxError> {
    let reflection = || Builder::configure().register_file_descriptor_set(descriptors.clone());
    let health = Healths { upstreams: upstreams.clone(), services: services.clone() };
    let routes = Routes::new(HealthServer::new(health))
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    Ok(in_process(routes.prepare(), None))
}

struct Healths {
    upstreams: Upstreams,
    services: BTreeMap<String, Service>,
}

#[tonic::async_trait]
impl Health for Healths {
    type WatchStream = futures::stream::Empty<Result<HealthCheckResponse, Status>>;

    /// Of everything, by the empty name, or of one service that is public.
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let name = request.into_inner().service;
        let connections = self.upstreams.connections();
        let serving = match self.services.get(&name) {
            None if name.is_empty() => health::check(&self.upstreams).await,
            None => return Err(Status::not_found("there is no such service")),
            Some(Service::Auth) => health::serving("auth", connections.auth.clone()).await,
            Some(Service::Metadata) => health::serving("metadata", connections.metadata.clone()).await,
            Some(Service::Blob | Service::BlobControl) => {
                health::serving("blob", connections.blob_control.clone()).await
            }
            Some(Service::Local) => Ok(()),
        };
        let status = if serving.is_ok() { ServingStatus::Serving } else { ServingStatus::NotServing };
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    /// Not offered: it would have the gateway ask for as long as strangers like.
    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("ask with Check"))
    }
}
