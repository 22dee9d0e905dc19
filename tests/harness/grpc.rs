//! Calling services directly, as a gRPC client from outside would.

use bytes::{Buf, BufMut, Bytes};
use holdall_proto::FILE_DESCRIPTOR_SET;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
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

/// Messages as bytes, for calling any method.
#[derive(Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// All methods of the contract, as paths.
pub fn methods() -> Vec<String> {
    use prost::Message as _;
    let descriptors =
        prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("our own descriptors");
    let mut paths = Vec::new();
    for file in &descriptors.file {
        for service in &file.service {
            let of = |method: &prost_types::MethodDescriptorProto| {
                format!("/{}.{}/{}", file.package(), service.name(), method.name())
            };
            paths.extend(service.method.iter().map(of));
        }
    }
    paths
}

/// Calls a method with a message as bytes.
pub async fn call(
    channel: &Channel,
    path: &str,
    token: Option<&str>,
    message: impl Into<Bytes>,
) -> Result<Bytes, Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.expect("the service accepts");
    let message = message.into();
    let request = match token {
        Some(token) => signed(token, message),
        None => Request::new(message),
    };
    let path = http::uri::PathAndQuery::try_from(path).expect("a path");
    client.unary(request, path, Raw).await.map(tonic::Response::into_inner)
}
