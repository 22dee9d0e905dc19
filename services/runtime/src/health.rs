//! The gRPC health service (`grpc.health.v1`) and server reflection (`grpc.reflection.v1`).

use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::BoxError;

/// Says whether the server takes calls. Not ready until told so. Clones speak for the same server.
#[derive(Clone, Debug)]
pub struct Readiness(HealthReporter);

impl Readiness {
    /// From now on health checks of the whole server (the empty service name) answer SERVING.
    pub async fn ready(&self) {
        self.0.set_service_status("", ServingStatus::Serving).await;
    }

    /// From now on they answer NOT_SERVING. Calls are answered all the same.
    pub async fn not_ready(&self) {
        self.0.set_service_status("", ServingStatus::NotServing).await;
    }
}

/// Adds the health service to a server's routes. Its methods are [`layers::HEALTH`](crate::layers::HEALTH),
/// to be listed as public.
pub async fn add_health(routes: Routes) -> (Routes, Readiness) {
    let (reporter, service) = tonic_health::server::health_reporter();
    let readiness = Readiness(reporter);
    readiness.not_ready().await;
    (routes.add_service(service), readiness)
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
