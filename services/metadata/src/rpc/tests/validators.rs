//! Answers that are kept elsewhere.

use holdall_proto::metadata::v1::freshness_service_client::FreshnessServiceClient;
use holdall_proto::span_us;
use tonic::Code;

use super::*;

async fn check(world: &World, validators: Vec<bytes::Bytes>) -> Result<Vec<bool>, Status> {
    let mut client = FreshnessServiceClient::new(world.upstream.clone());
    let request = proto::CheckCurrentRequest { validators };
    client.check_current(request).await.map(|answer| answer.into_inner().current)
}

fn validator(reuse: Option<proto::Reuse>) -> bytes::Bytes {
    reuse.expect("the answer may be kept").validator
}

#[tokio::test]
async fn a_validator_is_current_until_the_space_changes() {
    let world = World::new().await;
    let (alice, bob) = (world.caller(), world.caller());
    alice.put("f", b"one").await;
    bob.put("f", b"one").await;
    let open = async |caller: &Caller<'_>| {
        let r#ref = by_path("f");
        let request = proto::OpenContentRequest { r#ref, version_id: String::new() };
        validator(caller.open_content(request).await.unwrap().reuse)
    };
    let list = alice.list_children(proto::ListChildrenRequest::default()).await.unwrap();
    let before = [open(&alice).await, validator(list.reuse), open(&bob).await].to_vec();
    assert_eq!(check(&world, before.clone()).await.unwrap(), [true, true, true]);
    alice.put("g", b"two").await;
    assert_eq!(check(&world, before.clone()).await.unwrap(), [false, false, true]);
    assert_eq!(check(&world, [open(&alice).await, before[0].clone()].to_vec()).await.unwrap(), [true, false]);
}

#[tokio::test]
async fn what_is_no_validator_is_not_current() {
    let world = World::new().await;
    let alice = world.caller();
    let list = alice.list_children(proto::ListChildrenRequest::default()).await.unwrap();
    let good = validator(list.reuse);
    let unknown = [Uuid::now_v7().as_bytes(), &good[16..]].concat();
    let mut bad = vec![bytes::Bytes::new(), unknown.into(), [&good[..], &[0]].concat().into()];
    bad.extend((0..good.len()).map(|end| good.slice(..end)));
    assert_eq!(check(&world, bad.clone()).await.unwrap(), vec![false; bad.len()]);
    let status = check(&world, vec![good; 1001]).await.unwrap_err();
    assert_eq!((status.code(), &field_violations(&status)[0].0[..]), (Code::InvalidArgument, "validators"));
}

#[tokio::test]
async fn what_ends_by_itself_says_when() {
    let world = World::new().await;
    let alice = world.caller();
    alice.put("f", b"one").await;
    let lasts = async || {
        let list = alice.list_children(proto::ListChildrenRequest::default()).await.unwrap().reuse;
        let request = proto::OpenContentRequest { r#ref: by_path("f"), version_id: String::new() };
        let open = alice.open_content(request).await.unwrap().reuse;
        [list, open].map(|reuse| span_us(reuse.and_then(|reuse| reuse.lasts).as_ref()))
    };
    let [list, open] = lasts().await;
    assert_eq!(list, 3600 * 1_000_000);
    // Half of what a grant is good for.
    assert!((1..list).contains(&open));
    let time_to_live = Some(prost_types::Duration { seconds: 10, nanos: 0 });
    let policy = Some(proto::FolderPolicy { time_to_live, ..Default::default() });
    let request = proto::SetFolderPolicyRequest { policy, ..Default::default() };
    alice.set_folder_policy(request).await.unwrap();
    alice.put("f", b"two").await;
    assert_eq!(lasts().await, [10_000_000; 2]);
    world.clock.advance(Duration::from_secs(4));
    assert_eq!(lasts().await, [6_000_000; 2]);
}
