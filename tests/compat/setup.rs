//! How the servers of these tests are set up.

use harness::{Options, Service};

/// The token for the File storage API.
pub const SERVICE_TOKEN: &str = "service-token-of-the-tests";

/// No limits, and a token for the File storage API.
pub fn options() -> Options {
    Options::new().set(Service::Gateway, "rate_limits.enabled", "false").set(
        Service::Gateway,
        "compat.file_storage_api.service_token",
        &format!("{SERVICE_TOKEN:?}"),
    )
}
