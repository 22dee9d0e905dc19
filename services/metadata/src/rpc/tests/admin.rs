//! Leave for administrators.

use holdall_proto::blob::v1::AdminGrant;
use tonic::Code;

use super::*;

#[tokio::test]
async fn only_administrators_get_leave_to_administer() {
    let world = World::new().await;
    let request = proto::CreateAdminGrantRequest {};
    let others =
        [("api", "member"), ("api", "system"), ("api", "Admin"), ("api", ""), ("delegated", "admin")];
    for (kind, role) in others {
        let status = world.caller_of(kind, role).create_admin_grant(request).await.unwrap_err();
        let refusal = (status.code(), reason_of(&status));
        assert_eq!(refusal, (Code::PermissionDenied, Some("FORBIDDEN".to_owned())), "{kind} {role}");
    }
    let answer = world.caller_as("admin").create_admin_grant(request).await.unwrap();
    let grant: AdminGrant = world.keys.open(&answer.admin_grant, NOW).unwrap();
    assert_eq!(grant.expires_at_us, NOW + 5 * 60 * 1_000_000);
    assert!(Uuid::try_parse(&grant.subject).is_ok_and(|subject| !subject.is_nil()), "{}", grant.subject);
    assert_eq!(answer.expires_at, Some(holdall_proto::timestamp(grant.expires_at_us)));
}
