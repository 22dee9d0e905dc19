//! Between the wire's messages and the service's own types.

use holdall_proto::auth::v1 as wire;
use holdall_proto::timestamp;
use holdall_runtime::token::VerifyingKey;

use crate::authority::Caller;
use crate::domain::{AccessToken, Account, AccountId, Email, Error, Kind, Role, Rule, Session, SessionId};

pub fn caller(caller: &holdall_runtime::token::Caller) -> Caller {
    Caller { account_id: AccountId(caller.account_id), session_id: SessionId(caller.session_id) }
}

pub fn account(account: &Account) -> wire::Account {
    wire::Account {
        account_id: account.id.to_string(),
        username: account.username.as_str().to_owned(),
        email: account.email.as_ref().map_or("", Email::as_str).to_owned(),
        role: match account.role {
            Role::Member => wire::Role::Member,
            Role::Admin => wire::Role::Admin,
        }
        .into(),
        created_at: Some(timestamp(account.created_at)),
    }
}

pub fn session(session: &Session) -> wire::Session {
    wire::Session {
        session_id: session.id.to_string(),
        account_id: session.account_id.to_string(),
        kind: match session.kind {
            Kind::Web => wire::SessionKind::Web,
            Kind::Api => wire::SessionKind::Api,
            Kind::Sync => wire::SessionKind::Sync,
            Kind::Legacy => wire::SessionKind::Legacy,
        }
        .into(),
        device_name: session.device_name.clone(),
        created_at: Some(timestamp(session.created_at)),
        last_used_at: Some(timestamp(session.last_used_at)),
        expires_at: Some(timestamp(session.expires_at)),
    }
}

/// The kind that a request asks for; API when it asks for none.
pub fn kind(number: i32) -> Result<Kind, Error> {
    match wire::SessionKind::try_from(number) {
        Ok(wire::SessionKind::Web) => Ok(Kind::Web),
        Ok(wire::SessionKind::Unspecified | wire::SessionKind::Api) => Ok(Kind::Api),
        Ok(wire::SessionKind::Sync) => Ok(Kind::Sync),
        Ok(wire::SessionKind::Legacy) => Ok(Kind::Legacy),
        Err(_) => Err(Error::InvalidField { field: "kind", rule: Rule::UnknownValue }),
    }
}

pub fn access_token(token: &AccessToken) -> wire::AccessToken {
    wire::AccessToken { token: token.token.clone(), expires_at: Some(timestamp(token.expires_at)) }
}

pub fn verifying_key(key: &VerifyingKey) -> wire::VerifyingKey {
    wire::VerifyingKey { key_id: key.kid.clone(), ed25519_public_key: key.public.to_vec().into() }
}
