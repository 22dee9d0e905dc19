use holdall_proto::auth::v1::{
    GetAccountRequest, ListSessionsRequest, RevokeSessionRequest, RotateSessionRequest,
    RotateSessionResponse, SessionKind,
};
use holdall_proto::span_us;
use holdall_runtime::status::retry_after;
use tonic_types::StatusExt as _;

use super::*;

async fn revoke(auth: &Auth, by_whom: &CreateSessionResponse, id: &str) -> Result<(), Status> {
    let request = RevokeSessionRequest { session_id: id.into() };
    auth.sessions().revoke_session(by(by_whom, request)).await.map(drop)
}

fn id(session: &CreateSessionResponse) -> &str {
    &session.session.as_ref().unwrap().session_id
}

#[tokio::test]
async fn signing_in_gives_a_handle_a_session_and_a_token() {
    let auth = Auth::start().await;
    let account_id = auth.register("alice").await;
    let request = CreateSessionRequest {
        kind: SessionKind::Web.into(),
        device_name: "Läptop".into(),
        ..sign_in("ALICE", PASSWORD)
    };
    let answer = auth.sessions().create_session(request).await.unwrap().into_inner();
    let session = answer.session.clone().unwrap();
    assert!(answer.handle.starts_with("hs_"));
    assert_eq!((session.account_id.as_str(), session.kind()), (account_id.as_str(), SessionKind::Web));
    assert_eq!(session.device_name, "Läptop");
    assert_eq!(since_start(&session.expires_at), 7 * 86_400_000_000);
    assert_eq!(since_start(&answer.access_token.as_ref().unwrap().expires_at), 300_000_000);

    let exchanged = auth.exchange(&answer.handle).await.unwrap();
    assert_eq!((exchanged.session, exchanged.access_token), (answer.session, answer.access_token));
}

#[tokio::test]
async fn a_kind_that_is_not_said_is_api_and_one_that_is_not_known_is_refused() {
    let auth = Auth::start().await;
    let session = auth.person("alice").await.session.unwrap();
    assert_eq!(session.kind(), SessionKind::Api);
    let request = CreateSessionRequest { kind: 99, ..sign_in("alice", PASSWORD) };
    assert_eq!(
        refusal(auth.sessions().create_session(request).await),
        expected(Code::InvalidArgument, "INVALID_FIELD")
    );
}

#[tokio::test]
async fn unknown_and_wrong_look_the_same() {
    let auth = Auth::start().await;
    auth.register("alice").await;
    let mut seen = Vec::new();
    for (login, password) in [
        ("alice", "wrong horse"),
        ("alice", ""),
        ("bob", PASSWORD),
        ("", ""),
        ("alice\0", PASSWORD),
        (&"x".repeat(100_000), PASSWORD),
        ("' OR 1=1 --", PASSWORD),
    ] {
        let status = auth.sign_in(login, password).await.unwrap_err();
        seen.push((status.code(), status.message().to_owned(), status.details().to_vec()));
        assert_eq!(reason_of(&status).as_deref(), Some("WRONG_CREDENTIALS"));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn a_password_that_is_too_long_is_refused_unhashed() {
    let auth = Auth::start().await;
    let status = auth.sign_in("alice", &"x".repeat(1025)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "password");
}

#[tokio::test]
async fn an_ended_session_is_refused_at_once() {
    let auth = Auth::start().await;
    let (one, other) = (auth.person("alice").await, auth.sign_in("alice", PASSWORD).await.unwrap());
    auth.exchange(&one.handle).await.unwrap();
    revoke(&auth, &other, id(&one)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(
            refusal(auth.exchange(&one.handle).await),
            expected(Code::Unauthenticated, "SESSION_INVALID")
        );
    }
    assert_eq!(refusal(auth.extend(&one.handle).await), expected(Code::Unauthenticated, "SESSION_INVALID"));
    assert_eq!(
        refusal(auth.accounts().get_account(by(&one, GetAccountRequest {})).await),
        expected(Code::Unauthenticated, "SESSION_INVALID")
    );
    revoke(&auth, &other, id(&one)).await.expect("ending what has ended succeeds");
    auth.exchange(&other.handle).await.unwrap();
    revoke(&auth, &other, "").await.unwrap();
    assert_eq!(
        refusal(auth.exchange(&other.handle).await),
        expected(Code::Unauthenticated, "SESSION_INVALID")
    );
}

#[tokio::test]
async fn replicas_notice_an_ended_session_within_five_seconds() {
    let auth = Auth::start().await;
    let alice = auth.person("alice").await;
    let replica = auth.replica(config()).await;
    exchange(&replica, &alice.handle, false).await.unwrap();
    revoke(&auth, &alice, "").await.unwrap();
    auth.clock.advance(seconds(5));
    assert_eq!(
        refusal(exchange(&replica, &alice.handle, false).await),
        expected(Code::Unauthenticated, "SESSION_INVALID")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_exchange_that_begins_after_the_end_succeeds() {
    let auth = Auth::start().await;
    auth.register("alice").await;
    for _ in 0..20 {
        let alice = auth.sign_in("alice", PASSWORD).await.unwrap();
        let crowd: Vec<_> = (0..4)
            .map(|_| {
                let (upstream, handle) = (auth.upstream.clone(), alice.handle.clone());
                tokio::spawn(async move { while exchange(&upstream, &handle, false).await.is_ok() {} })
            })
            .collect();
        revoke(&auth, &alice, "").await.unwrap();
        for _ in 0..10 {
            assert!(auth.exchange(&alice.handle).await.is_err());
        }
        for one in crowd {
            one.await.unwrap();
        }
    }
}

#[tokio::test]
async fn another_persons_session_looks_like_none() {
    let auth = Auth::start().await;
    let (alice, bob) = (auth.person("alice").await, auth.person("bob").await);
    let mut seen = Vec::new();
    for id in [id(&alice), "01890a5d-ac96-774b-bcce-b302099a8057", "nonsense"] {
        let status = revoke(&auth, &bob, id).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
        seen.push((status.message().to_owned(), status.details().to_vec()));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1);
    auth.exchange(&alice.handle).await.unwrap();
}

#[tokio::test]
async fn an_expired_session_is_refused() {
    let auth = Auth::start().await;
    let alice = auth.person("alice").await;
    auth.clock.advance(days(90) - seconds(1));
    auth.exchange(&alice.handle).await.unwrap();
    auth.clock.advance(seconds(1));
    assert_eq!(
        refusal(auth.exchange(&alice.handle).await),
        expected(Code::Unauthenticated, "SESSION_INVALID")
    );
}

#[tokio::test]
async fn extending_ends_at_the_absolute_lifetime() {
    let auth = Auth::start().await;
    auth.register("alice").await;
    let request = CreateSessionRequest { kind: SessionKind::Web.into(), ..sign_in("alice", PASSWORD) };
    let handle = auth.sessions().create_session(request).await.unwrap().into_inner().handle;
    const DAY: i64 = 86_400_000_000;
    for (day, end) in [(0, 7), (6, 13), (12, 19), (18, 25), (24, 30), (29, 30)] {
        auth.clock.set(NOW + day * DAY);
        let before = auth.exchange(&handle).await.unwrap();
        let after = auth.extend(&handle).await.unwrap();
        assert_eq!(since_start(&after.session.unwrap().expires_at), end * DAY, "on day {day}");
        assert!(since_start(&before.session.unwrap().expires_at) <= end * DAY);
    }
    auth.clock.set(NOW + 30 * DAY);
    assert!(auth.extend(&handle).await.is_err());
}

async fn rotate(auth: &Auth, handle: &str, lifetime: Option<i64>) -> Result<RotateSessionResponse, Status> {
    let lifetime = lifetime.map(|seconds| prost_types::Duration { seconds, nanos: 0 });
    let request = RotateSessionRequest { handle: handle.to_owned(), lifetime };
    auth.sessions().rotate_session(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_handle_is_replaced_and_the_lifetime_begins_anew() {
    let auth = Auth::start().await;
    auth.register("alice").await;
    for uuid_handle in [false, true] {
        auth.clock.set(NOW);
        let request = CreateSessionRequest {
            kind: SessionKind::Legacy.into(),
            lifetime: Some(prost_types::Duration { seconds: 3600, nanos: 0 }),
            uuid_handle,
            ..sign_in("alice", PASSWORD)
        };
        let old = auth.sessions().create_session(request).await.unwrap().into_inner();
        auth.exchange(&old.handle).await.unwrap();
        auth.clock.advance(seconds(3000));
        let new = rotate(&auth, &old.handle, Some(3600)).await.unwrap();
        assert_eq!(new.handle.len(), old.handle.len());
        assert_eq!(since_start(&new.session.as_ref().unwrap().expires_at), 6_600_000_000);
        assert_eq!(new.account.unwrap().username, "alice");
        let exchanged = auth.exchange(&new.handle).await.unwrap();
        assert_eq!(exchanged.session.as_ref().unwrap().session_id, id(&old));
        assert_eq!(exchanged.session, new.session);
        let gone = expected(Code::Unauthenticated, "SESSION_INVALID");
        assert_eq!(refusal(auth.exchange(&old.handle).await), gone);
        assert_eq!(refusal(rotate(&auth, &old.handle, None).await), gone);
        auth.clock.advance(seconds(3600));
        assert_eq!(refusal(rotate(&auth, &new.handle, None).await), gone);
    }
}

#[tokio::test]
async fn handles_of_other_kinds_and_for_too_long_are_not_replaced() {
    let auth = Auth::start().await;
    let alice = auth.person("alice").await;
    let forbidden = expected(Code::PermissionDenied, "FORBIDDEN");
    assert_eq!(refusal(rotate(&auth, &alice.handle, None).await), forbidden);
    auth.exchange(&alice.handle).await.unwrap();
    let request = CreateSessionRequest { kind: SessionKind::Legacy.into(), ..sign_in("alice", PASSWORD) };
    let legacy = auth.sessions().create_session(request).await.unwrap().into_inner();
    for lifetime in [0, -1, 1000 * 86_400, i64::MAX] {
        let refused = refusal(rotate(&auth, &legacy.handle, Some(lifetime)).await);
        assert_eq!(refused, expected(Code::InvalidArgument, "INVALID_FIELD"), "{lifetime}");
    }
    auth.exchange(&legacy.handle).await.unwrap();
    for handle in ["", "nonsense"] {
        let refused = refusal(rotate(&auth, handle, None).await);
        assert_eq!(refused, expected(Code::Unauthenticated, "SESSION_INVALID"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_exchange_of_a_replaced_handle_succeeds() {
    let auth = Auth::start().await;
    auth.register("alice").await;
    for _ in 0..20 {
        let request = CreateSessionRequest { kind: SessionKind::Legacy.into(), ..sign_in("alice", PASSWORD) };
        let old = auth.sessions().create_session(request).await.unwrap().into_inner().handle;
        let crowd: Vec<_> = (0..4)
            .map(|_| {
                let (upstream, handle) = (auth.upstream.clone(), old.clone());
                tokio::spawn(async move { while exchange(&upstream, &handle, false).await.is_ok() {} })
            })
            .collect();
        let new = rotate(&auth, &old, None).await.unwrap().handle;
        for _ in 0..10 {
            assert!(auth.exchange(&old).await.is_err());
            auth.exchange(&new).await.unwrap();
        }
        for one in crowd {
            one.await.unwrap();
        }
    }
}

#[tokio::test]
async fn use_is_noted_now_and_then() {
    let auth = Auth::start().await;
    let alice = auth.person("alice").await;
    let used =
        async || since_start(&auth.exchange(&alice.handle).await.unwrap().session.unwrap().last_used_at);
    assert_eq!(used().await, 0);
    auth.clock.advance(seconds(300));
    assert_eq!(used().await, 0);
    auth.clock.advance(seconds(60));
    assert_eq!(used().await, 360_000_000);
    auth.clock.advance(seconds(60));
    assert_eq!(used().await, 360_000_000);
}

#[tokio::test]
async fn sessions_are_listed_in_pages_that_belong_to_one_account() {
    let auth = Auth::start().await;
    let alice = auth.person("alice").await;
    let bob = auth.person("bob").await;
    let mut expected_ids = vec![id(&alice).to_owned()];
    for _ in 0..4 {
        auth.clock.advance(seconds(1));
        expected_ids.push(id(&auth.sign_in("alice", PASSWORD).await.unwrap()).to_owned());
    }
    expected_ids.reverse();

    let list = async |session: &CreateSessionResponse, page_size: i32, page_token: &str| {
        let request = ListSessionsRequest { page_size, page_token: page_token.into() };
        Ok::<_, Status>(auth.sessions().list_sessions(by(session, request)).await?.into_inner())
    };
    let (mut ids, mut token) = (Vec::new(), String::new());
    loop {
        let page = list(&alice, 2, &token).await.unwrap();
        ids.extend(page.sessions.into_iter().map(|session| session.session_id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        let foreign = refusal(list(&bob, 2, &token).await);
        assert_eq!(foreign, expected(Code::InvalidArgument, "INVALID_PAGE_TOKEN"));
    }
    assert_eq!(ids, expected_ids);
    let all = list(&alice, 5, "").await.unwrap();
    assert_eq!((all.sessions.len(), all.next_page_token.as_str()), (5, ""));
    assert_eq!(list(&alice, 0, "").await.unwrap().sessions.len(), 5);
    assert_eq!(refusal(list(&alice, -1, "").await), expected(Code::InvalidArgument, "INVALID_FIELD"));
    assert_eq!(refusal(list(&alice, 0, "x").await), expected(Code::InvalidArgument, "INVALID_PAGE_TOKEN"));
}

#[tokio::test]
async fn failed_sign_ins_are_slowed_down_for_known_and_unknown_names_alike() {
    let mut config = config();
    config.rate_limits.enabled = true;
    let auth = Auth::with(config).await;
    auth.register("alice").await;
    let from = async |login: &str, password: &str, address: &str| {
        let request = CreateSessionRequest { client_address: address.into(), ..sign_in(login, password) };
        auth.sessions().create_session(request).await.map(drop)
    };
    for login in ["alice", "nobody"] {
        for _ in 0..5 {
            assert_eq!(
                refusal(from(login, "wrong horse", "192.0.2.1").await),
                expected(Code::Unauthenticated, "WRONG_CREDENTIALS")
            );
        }
        let status = from(login, PASSWORD, "192.0.2.1").await.unwrap_err();
        assert_eq!(reason_of(&status).as_deref(), Some("RATE_LIMITED"));
        assert_eq!(retry_after(&status), Some(seconds(60)));
    }
    from("alice", PASSWORD, "192.0.2.2").await.expect("from elsewhere the owner gets in");
    auth.clock.advance(seconds(60));
    from("alice", PASSWORD, "192.0.2.1").await.unwrap();
    assert!(from("alice", "wrong horse", "192.0.2.1").await.is_err());
    from("alice", PASSWORD, "192.0.2.1").await.expect("a success starts anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_sign_ins_at_once_none_is_lost() {
    let mut config = config();
    // So that the queue fills up while the first ones run.
    config.password.memory_kib = 4_096;
    let auth = Auth::with(config).await;
    auth.register("alice").await;
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let mut sessions = auth.sessions();
            tokio::spawn(async move { sessions.create_session(sign_in("alice", PASSWORD)).await })
        })
        .collect();
    let (mut signed_in, mut turned_away) = (0, 0);
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => signed_in += 1,
            result => {
                assert_eq!(refusal(result), expected(Code::Unavailable, "OVERLOADED"));
                turned_away += 1;
            }
        }
    }
    assert_eq!(signed_in + turned_away, 40);
    assert!(signed_in >= 34, "two run and 32 wait, but {signed_in} signed in");
    auth.sign_in("alice", PASSWORD).await.expect("no turn is lost");
}

#[tokio::test]
async fn cheaper_credentials_are_replaced_at_the_next_sign_in() {
    let auth = Auth::start().await;
    auth.register("alice").await;
    let mut dearer = config();
    dearer.password.iterations = 2;
    let replica = auth.replica(dearer).await;
    let credential = async || auth.credential("alice").await;
    assert!(credential().await.contains("t=1"));
    let mut sessions = SessionServiceClient::new(replica);
    sessions.create_session(sign_in("alice", "wrong horse")).await.unwrap_err();
    assert!(credential().await.contains("t=1"));
    sessions.create_session(sign_in("alice", PASSWORD)).await.unwrap();
    assert!(credential().await.contains("t=2"));
    auth.sign_in("alice", PASSWORD).await.unwrap();
    assert!(credential().await.contains("t=2"));
}

/// An answer that is taken again by itself, or from another replica, is never older than one that is asked for each time.
#[tokio::test]
async fn an_exchange_says_for_how_long_it_may_be_taken_again() {
    let auth = Auth::start().await;
    let alice = auth.person("alice").await;
    let reusable = async || span_us(auth.exchange(&alice.handle).await.unwrap().reusable_for.as_ref());
    assert_eq!(reusable().await, 5_000_000);
    auth.clock.advance(seconds(3));
    assert_eq!(reusable().await, 2_000_000);
    auth.clock.advance(seconds(2));
    assert_eq!(reusable().await, 5_000_000, "it was looked at again");
    // In the last minute of a session its token lives no longer than that.
    let end = since_start(&alice.session.unwrap().expires_at);
    let lived = Duration::from_secs(5);
    auth.clock.advance(Duration::from_micros(end.try_into().unwrap()) - lived - seconds(62));
    assert_eq!(reusable().await, 2_000_000);
    auth.clock.advance(seconds(2));
    assert_eq!(reusable().await, 0);
}
