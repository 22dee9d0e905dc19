//! Blob asks which blobs are in use.

use holdall_proto::blob::v1::{ReadGrant, RootsGrant};
use holdall_proto::metadata::v1::roots_service_client::RootsServiceClient;
use tonic::Code;

use super::*;

const MINUTE: i64 = 60 * 1_000_000;

fn client(world: &World) -> RootsServiceClient<Upstream> {
    RootsServiceClient::new(world.upstream.clone())
}

fn list(grant: bytes::Bytes, limit: i32) -> proto::ListReleasedRequest {
    proto::ListReleasedRequest { grant, limit }
}

#[track_caller]
fn refused<T>(result: Result<T, Status>, code: Code, reason: &str) {
    let status = result.map(drop).unwrap_err();
    assert_eq!((status.code(), reason_of(&status).as_deref()), (code, Some(reason)), "{status:?}");
}

#[tokio::test]
async fn only_blob_may_ask() {
    let world = World::new().await;
    let mut client = client(&world);
    let grant = |us| world.keys.seal(&RootsGrant { expires_at_us: us });
    let other = KeyRing::new(&[1; 32]).seal(&RootsGrant { expires_at_us: NOW + MINUTE });
    let read = world.keys.seal(&ReadGrant { blob_id: String::new(), expires_at_us: NOW + MINUTE });
    for grant in [bytes::Bytes::new(), other, read, grant(NOW), grant(NOW + 10 * MINUTE)] {
        let answer = client.list_released(list(grant.clone(), 0)).await;
        refused(answer, Code::Unauthenticated, "GRANT_INVALID");
        let request = proto::CheckLiveRequest { grant: grant.clone(), blob_ids: Vec::new() };
        refused(client.check_live(request).await, Code::Unauthenticated, "GRANT_INVALID");
        let request = proto::AcknowledgeReleasedRequest { grant, blob_ids: Vec::new() };
        refused(client.acknowledge_released(request).await, Code::Unauthenticated, "GRANT_INVALID");
    }
    let answer = client.list_released(list(grant(NOW + MINUTE), 0)).await.unwrap().into_inner();
    assert!(answer.blob_ids.is_empty() && !answer.instance.is_empty());
}

#[tokio::test]
async fn questions_are_bounded() {
    let world = World::new().await;
    let mut client = client(&world);
    let grant = world.keys.seal(&RootsGrant { expires_at_us: NOW + MINUTE });
    let id = Uuid::now_v7().to_string();
    for blob_ids in [vec![id.clone(); 1001], vec!["x".to_owned()]] {
        let request = proto::CheckLiveRequest { grant: grant.clone(), blob_ids: blob_ids.clone() };
        refused(client.check_live(request).await, Code::InvalidArgument, "INVALID_FIELD");
        let request = proto::AcknowledgeReleasedRequest { grant: grant.clone(), blob_ids };
        refused(client.acknowledge_released(request).await, Code::InvalidArgument, "INVALID_FIELD");
    }
    refused(client.list_released(list(grant.clone(), -1)).await, Code::InvalidArgument, "INVALID_FIELD");
    let request = proto::CheckLiveRequest { grant, blob_ids: vec![id; 1000] };
    assert!(client.check_live(request).await.unwrap().into_inner().live_blob_ids.is_empty());
}
