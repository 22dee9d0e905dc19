//! Calling services directly, as a gRPC client from outside would.

use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

/// A connection to a service at `http://…`.
pub async fn connect(url: &str) -> Channel {
    Endpoint::from_shared(url.to_owned())
        .expect("an address")
        .connect()
        .await
        .unwrap_or_else(|error| panic!("{url} does not accept: {error:?}"))
}

/// A request with `authorization: Bearer TOKEN`.
pub fn signed<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = MetadataValue::try_from(format!("Bearer {token}")).expect("a token is visible ASCII");
    request.metadata_mut().insert("authorization", value);
    request
}

/// Fails the test unless the call was refused with that code and reason (`google.rpc.ErrorInfo`).
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, reason: &str) {
    let status = result.expect_err("the call is refused");
    assert_eq!(status.code(), code, "{status:?}");
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "holdall"), "{status:?}");
}
