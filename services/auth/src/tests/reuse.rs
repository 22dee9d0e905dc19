//! Sessions of a lifetime and with a handle of one's own, and such as are reused.

use holdall_proto::auth::v1::{ListSessionsRequest, RevokeSessionRequest, SessionKind};
use holdall_runtime::status::field_violations;
use prost_types::Duration as WireDuration;

use super::*;

async fn create(upstream: &Upstream, request: CreateSessionRequest) -> Result<CreateSessionResponse, Status> {
    let answer = SessionServiceClient::new(upstream.clone()).create_session(request).await;
    answer.map(tonic::Response::into_inner)
}

fn lasting(seconds: i64) -> CreateSessionRequest {
    CreateSessionRequest {
        kind: SessionKind::Legacy.into(),
        lifetime: Some(WireDuration { seconds, nanos: 0 }),
        ..sign_in("alice", PASSWORD)
    }
}

fn reused() -> CreateSessionRequest {
    CreateSessionRequest {
        kind: SessionKind::Legacy.into(),
        device_name: "Läptop".into(),
        reuse: true,
        ..sign_in("alice", PASSWORD)
    }
}

#[tokio::test]
async fn a_session_lives_as_long_as_was_asked_for() {
    let auth = Auth::start().await;
    auth.register("alice").await;
    const YEAR: i64 = 365 * 86_400;
    for seconds in [1, 3_600, 100 * 86_400, YEAR] {
        let made = create(&auth.upstream, lasting(seconds)).await.unwrap();
        assert_eq!(since_start(&made.session.unwrap().expires_at), seconds * 1_000_000);
        let extended = auth.extend(&made.handle).await.unwrap().session.unwrap();
        assert_eq!(since_start(&extended.expires_at), seconds * 1_000_000, "use changes nothing");
    }
    let usual = CreateSessionRequest { lifetime: None, ..lasting(0) };
    let made = create(&auth.upstream, usual).await.unwrap().session.unwrap();
    assert_eq!(since_start(&made.expires_at), 5 * 86_400_000_000);

    for (seconds, nanos) in [(0, 0), (0, 999), (-1, 0), (i64::MIN, 0), (YEAR, 1_000), (i64::MAX, 0)] {
        let request = CreateSessionRequest { lifetime: Some(WireDuration { seconds, nanos }), ..lasting(0) };
        let status = create(&auth.upstream, request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{seconds} {nanos}");
        assert_eq!(reason_of(&status).as_deref(), Some("INVALID_FIELD"));
        assert_eq!(field_violations(&status)[0].0, "lifetime");
    }
    let web = CreateSessionRequest { kind: SessionKind::Web.into(), ..lasting(31 * 86_400) };
    assert_eq!(refusal(create(&auth.upstream, web).await), expected(Code::InvalidArgument, "INVALID_FIELD"));
}

#[tokio::test]
async fn a_handle_can_have_the_form_of_a_uuid() {
    let auth = Auth::start().await;
    auth.register("alice").await;
    let request = || CreateSessionRequest { uuid_handle: true, ..sign_in("alice", PASSWORD) };
    let made = create(&auth.upstream, request()).await.unwrap();
    let uuid = uuid::Uuid::try_parse(&made.handle).unwrap();
    assert_eq!((uuid.get_version_num(), uuid.to_string()), (4, made.handle.clone()));
    assert_ne!(create(&auth.upstream, request()).await.unwrap().handle, made.handle);
    let exchanged = auth.exchange(&made.handle).await.unwrap();
    assert_eq!(exchanged.session, made.session);
    auth.exchange(&made.handle.to_uppercase()).await.expect("case does not count in a UUID");
    for bad in [made.handle.replace('-', ""), format!("hs_{}", made.handle), uuid::Uuid::nil().to_string()] {
        assert_eq!(refusal(auth.exchange(&bad).await), expected(Code::Unauthenticated, "SESSION_INVALID"));
    }
    let revoke = by(&made, RevokeSessionRequest::default());
    auth.sessions().revoke_session(revoke).await.unwrap();
    assert!(auth.exchange(&made.handle).await.is_err());
}

#[tokio::test]
async fn a_live_session_is_told_again_with_its_handle() {
    let auth = Auth::delegating().await;
    auth.register("alice").await;
    let replica = auth.replica(auth.config()).await;
    for uuid_handle in [false, true] {
        let request = || CreateSessionRequest { uuid_handle, ..reused() };
        let first = create(&auth.upstream, request()).await.unwrap();
        assert_eq!(first.handle.starts_with("hs_"), !uuid_handle);
        auth.clock.advance(seconds(3_600));
        for upstream in [&auth.upstream, &replica] {
            let again = create(upstream, request()).await.unwrap();
            assert_eq!(again.handle, first.handle);
            let (again, first) = (again.session.unwrap(), first.session.clone().unwrap());
            assert_eq!((again.session_id, again.expires_at), (first.session_id, first.expires_at));
        }
        let exchanged = auth.exchange(&first.handle).await.unwrap();
        assert_eq!(exchanged.session.unwrap().session_id, first.session.as_ref().unwrap().session_id);

        for other in [
            CreateSessionRequest { device_name: "other".into(), ..request() },
            CreateSessionRequest { kind: SessionKind::Api.into(), ..request() },
            CreateSessionRequest { reuse: false, ..request() },
        ] {
            assert_ne!(create(&auth.upstream, other).await.unwrap().handle, first.handle);
        }
        let again = create(&auth.upstream, request()).await.unwrap();
        assert_eq!(again.handle, first.handle);
        let revoke = by(&again, RevokeSessionRequest::default());
        auth.sessions().revoke_session(revoke).await.unwrap();
        let next = create(&auth.upstream, request()).await.unwrap();
        assert_ne!(next.handle, first.handle);
        auth.exchange(&next.handle).await.unwrap();
    }
}

#[tokio::test]
async fn a_session_that_has_expired_is_not_reused() {
    let auth = Auth::delegating().await;
    auth.register("alice").await;
    let request = || CreateSessionRequest { reuse: true, ..lasting(3_600) };
    let first = create(&auth.upstream, request()).await.unwrap();
    auth.clock.advance(seconds(3_599));
    assert_eq!(create(&auth.upstream, request()).await.unwrap().handle, first.handle);
    auth.clock.advance(seconds(1));
    let next = create(&auth.upstream, request()).await.unwrap();
    assert_ne!(next.handle, first.handle);
    assert_eq!(since_start(&next.session.unwrap().expires_at), 7_200_000_000);
}

#[tokio::test]
async fn reuse_needs_the_password_and_a_key() {
    let auth = Auth::delegating().await;
    auth.register("alice").await;
    create(&auth.upstream, reused()).await.unwrap();
    let wrong = CreateSessionRequest { password: "wrong horse".into(), ..reused() };
    assert_eq!(
        refusal(create(&auth.upstream, wrong).await),
        expected(Code::Unauthenticated, "WRONG_CREDENTIALS")
    );
    let keyless = auth.replica(config()).await;
    assert_eq!(refusal(create(&keyless, reused()).await), expected(Code::PermissionDenied, "FORBIDDEN"));
}

#[tokio::test]
async fn failed_reuses_are_slowed_down_like_any_sign_in() {
    let auth = Auth::delegating().await;
    auth.register("alice").await;
    let mut limited = auth.config();
    limited.rate_limits.enabled = true;
    let replica = auth.replica(limited).await;
    create(&replica, reused()).await.unwrap();
    for _ in 0..5 {
        let wrong = CreateSessionRequest { password: "wrong horse".into(), ..reused() };
        create(&replica, wrong).await.unwrap_err();
    }
    assert_eq!(refusal(create(&replica, reused()).await), expected(Code::ResourceExhausted, "RATE_LIMITED"));
}

#[tokio::test]
async fn rotated_keys_tell_old_handles_until_they_are_gone() {
    let auth = Auth::delegating().await;
    auth.register("alice").await;
    let mut turned = auth.config();
    turned.delegation.key_files.reverse();
    let mut without = auth.config();
    without.delegation.key_files.remove(0);
    let first = create(&auth.upstream, reused()).await.unwrap();
    let turned = auth.replica(turned).await;
    assert_eq!(create(&turned, reused()).await.unwrap().handle, first.handle);
    auth.clock.advance(seconds(1));
    let without = auth.replica(without).await;
    let next = create(&without, reused()).await.unwrap();
    assert_ne!(next.handle, first.handle);
    assert_eq!(create(&turned, reused()).await.unwrap().handle, next.handle, "the newest one");
    auth.exchange(&first.handle).await.expect("the old one lives on");
}

#[tokio::test]
async fn a_thousand_sessions_live_and_the_oldest_end() {
    let auth = Auth::start().await;
    let first = auth.person("alice").await;
    auth.exchange(&first.handle).await.unwrap();
    let mut last = None;
    for _ in 0..1_000 {
        auth.clock.advance(Duration::from_millis(1));
        last = Some(auth.sign_in("alice", PASSWORD).await.unwrap());
    }
    assert_eq!(
        refusal(auth.exchange(&first.handle).await),
        expected(Code::Unauthenticated, "SESSION_INVALID"),
        "at once"
    );
    let request = ListSessionsRequest { page_size: 1_000, page_token: String::new() };
    let page = auth.sessions().list_sessions(by(&last.unwrap(), request)).await.unwrap().into_inner();
    assert_eq!((page.sessions.len(), page.next_page_token.as_str()), (1_000, ""));
}
