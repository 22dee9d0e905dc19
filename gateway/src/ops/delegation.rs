//! Acting for accounts: for those that a program of the operator's answers for, and for the accounts that belong to the
//! installation itself.

use std::sync::Arc;

use bytes::Bytes;
use holdall_proto::auth::v1::act_for_request::Account as ForWhom;
use holdall_proto::auth::v1::{Account, ActForRequest, ActForResponse, Delegation, RegisterRequest, Session};
use holdall_proto::grant::KeyRing;
use holdall_runtime::clock::Clock;

use super::{Caller, Proof, accounts};
use crate::error::Result;
use crate::upstreams::Upstreams;

/// How long a proof is good for, in microseconds: one call, and some difference between clocks.
const LIFETIME: i64 = 60_000_000;

const ACT_FOR: &str = "/holdall.auth.v1.DelegationService/ActFor";
const REGISTER: &str = "/holdall.auth.v1.AccountService/Register";

/// What proves to auth that this gateway may act for others: keys that the two share.
#[derive(Clone)]
pub struct Delegate(Arc<Shared>);

struct Shared {
    ring: KeyRing,
    keys: Vec<[u8; 32]>,
    clock: Clock,
}

impl Delegate {
    /// One that holds these keys, the first of which seals; none without keys.
    pub fn new(keys: &[[u8; 32]], clock: &Clock) -> Option<Self> {
        let (first, others) = keys.split_first()?;
        let ring = others.iter().fold(KeyRing::new(first), KeyRing::and);
        Some(Self(Arc::new(Shared { ring, keys: keys.to_vec(), clock: clock.clone() })))
    }

    /// Keys for another use, one of each key (`BLAKE3 derive_key`). The first is the one to use, all are to be known.
    /// `context` names the use and is never used for another.
    pub fn derived(&self, context: &'static str) -> Vec<[u8; 32]> {
        self.0.keys.iter().map(|key| blake3::derive_key(context, key)).collect()
    }

    fn seal(&self, method: &str) -> Bytes {
        let expires_at_us = self.0.clock.now().saturating_add(LIFETIME);
        self.0.ring.seal(&Delegation { method: method.to_owned(), expires_at_us })
    }

    /// Acts for the account with this username. `device` is what the account sees of it in its history.
    pub async fn act_for(
        &self,
        upstreams: &Upstreams,
        username: &str,
        device: &'static str,
    ) -> Result<Caller> {
        let whom = ForWhom::Username(username.to_owned());
        Leave { delegate: self.clone(), whom, device }.act(upstreams).await
    }

    /// Acts for an account of the installation itself, made at the first call.
    pub async fn act_for_system(&self, upstreams: &Upstreams, name: &'static str) -> Result<Caller> {
        let whom = ForWhom::System(name.to_owned());
        Leave { delegate: self.clone(), whom, device: name }.act(upstreams).await
    }

    /// Makes an account by the looser rules that a delegation allows: see the fields of the request that need one.
    pub async fn register(&self, upstreams: &Upstreams, mut request: RegisterRequest) -> Result<Account> {
        request.delegation = self.seal(REGISTER);
        accounts::register(upstreams, request).await
    }
}

/// Leave to act for one account, for as long as the key is good.
#[derive(Clone)]
pub(super) struct Leave {
    delegate: Delegate,
    whom: ForWhom,
    device: &'static str,
}

impl Leave {
    /// The caller that acts for the account.
    pub(super) async fn act(&self, upstreams: &Upstreams) -> Result<Caller> {
        let request =
            ActForRequest { delegation: self.delegate.seal(ACT_FOR), account: Some(self.whom.clone()) };
        let ActForResponse { access_token, account, .. } = upstreams.act_for(request).await?;
        let session = Session { device_name: self.device.to_owned(), ..Session::default() };
        let clock = self.delegate.0.clock.clone();
        Caller::of(Proof::Leave(self.clone()), access_token, account, session, clock)
    }
}
