//! Acting for accounts without their passwords.

use std::sync::Arc;

use holdall_runtime::token::DELEGATED;
use uuid::Uuid;

use super::{Authority, FRESH, Signing};
use crate::delegation::ACT_FOR;
use crate::domain::{AccessToken, Account, AccountId, Error, LoginKey, Role, Username, after};
use crate::password::Credential;
use crate::store::{NewAccount, StoredAccount};

/// The account to act for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ActFor {
    /// By its username; `None` for what can be none.
    Username(Option<LoginKey>),
    /// A system account, made when it is not there.
    System(Username),
}

/// Leave to act for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acting {
    /// The account as it was when it was last looked at.
    pub account: Account,
    /// A token for it.
    pub token: AccessToken,
    looked_at: i64,
    endings: u64,
}

impl ActFor {
    /// By username.
    pub fn username(typed: &str) -> Self {
        Self::Username(LoginKey::of_login(typed))
    }

    /// By the name of a system account.
    ///
    /// # Errors
    /// [`Error::InvalidField`] naming `system`.
    pub fn system(name: &str) -> Result<Self, Error> {
        Username::system(name).map(Self::System)
    }
}

impl Authority {
    /// Checks a delegation to act for others.
    ///
    /// # Errors
    /// [`Error::GrantInvalid`].
    pub fn check_delegation(&self, sealed: &[u8]) -> Result<(), Error> {
        self.delegations.check(sealed, ACT_FOR, self.clock.now())
    }

    /// A token for an account, for whoever [may act for others](Self::check_delegation). It lives for a minute at least.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such account or it may not be used; [`Error::Unavailable`],
    /// [`Error::Internal`].
    pub async fn act_for(&self, whom: ActFor) -> Result<Arc<Acting>, Error> {
        let now = self.clock.now();
        let known = self.acting.get(&whom);
        if let Some(known) = &known
            && known.endings == self.endings()
            && (0..FRESH).contains(&(now - known.looked_at))
            && self.is_lasting(&known.token, now)
        {
            return Ok(Arc::clone(known));
        }
        // Read before the account is: what ends from here on makes this old.
        let endings = self.endings();
        let account = self.account_to_act_for(&whom, now).await.inspect_err(|error| {
            if matches!(error, Error::NotFound) {
                self.acting.invalidate(&whom);
            }
        })?;
        let token = match known {
            Some(known)
                if (known.account.id, known.account.role) == (account.id, account.role)
                    && self.is_lasting(&known.token, now) =>
            {
                known.token.clone()
            }
            _ => {
                tracing::info!(account = %account.id, "signed a token to act for an account");
                self.sign(&Signing {
                    account: account.id,
                    role: account.role,
                    session: Uuid::nil(),
                    kind: DELEGATED,
                    now,
                    end: after(now, self.policy.token_lifetime),
                })?
            }
        };
        let acting = Arc::new(Acting { account, token, looked_at: now, endings });
        self.acting.insert(whom, Arc::clone(&acting));
        Ok(acting)
    }

    /// As [`Authority::reusable_for`].
    pub fn acting_reusable_for(&self, acting: &Acting) -> i64 {
        self.rest_of(acting.looked_at, &acting.token)
    }

    async fn account_to_act_for(&self, whom: &ActFor, now: i64) -> Result<Account, Error> {
        let found: Option<StoredAccount> = match whom {
            ActFor::Username(None) => None,
            ActFor::Username(Some(name)) => self.store.account_by_username(name).await?,
            ActFor::System(name) => match self.store.system_account(name).await? {
                Some(account) => Some(account),
                None => Some(self.add_system_account(name, now).await?),
            },
        };
        let active = found.filter(|stored| stored.active).ok_or(Error::NotFound)?;
        Ok(active.account)
    }

    async fn add_system_account(&self, name: &Username, now: i64) -> Result<StoredAccount, Error> {
        let account = Account {
            id: AccountId(self.new_id()),
            // The store gives it one.
            number: 0,
            username: name.clone(),
            email: None,
            role: Role::System,
            external_reference: String::new(),
            created_at: now,
        };
        let new = NewAccount {
            account: &account,
            credential: &Credential::none(),
            imported: false,
            repeatable: None,
        };
        if let Some(number) = self.store.add_system_account(&new).await? {
            tracing::info!(account = %account.id, number, name = name.as_str(), "made a system account");
        }
        let made = self.store.system_account(name).await?;
        made.ok_or_else(|| Error::internal("a system account that was made is not there"))
    }
}
