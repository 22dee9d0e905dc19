//! How often one endpoint may be called, by a client and by an account.

use crate::App;
use crate::identity::ClientAddress;
use crate::limits::Rule;

use super::answer::Failure;

/// What is counted for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/api`.
    About,
    /// Uploads.
    Upload,
    /// `/file` and `/f`.
    File,
    /// Deletions.
    Delete,
    /// Registrations.
    Register,
    /// Logins.
    Login,
    /// Renewals of tokens.
    Refresh,
    /// Logouts.
    Logout,
    /// Lists of files.
    List,
}

impl Endpoint {
    fn name(self) -> &'static str {
        match self {
            Self::About => "file uploader: about",
            Self::Upload => "file uploader: upload",
            Self::File => "file uploader: file",
            Self::Delete => "file uploader: delete",
            Self::Register => "file uploader: register",
            Self::Login => "file uploader: login",
            Self::Refresh => "file uploader: refresh",
            Self::Logout => "file uploader: logout",
            Self::List => "file uploader: list",
        }
    }
}

/// Counts a call for the client that makes it.
pub fn admit_client(app: &App, endpoint: Endpoint, client: &ClientAddress) -> Result<(), Failure> {
    admit(app, endpoint, &client.source())
}

/// Counts a call for the account that makes it, by its number.
pub fn admit_account(app: &App, endpoint: Endpoint, number: u64) -> Result<(), Failure> {
    admit(app, endpoint, &format!("account {number}"))
}

fn admit(app: &App, endpoint: Endpoint, who: &str) -> Result<(), Failure> {
    let settings = &app.compat.file_uploader;
    let most = match endpoint {
        Endpoint::Upload => settings.uploads_per_minute,
        _ => settings.calls_per_minute,
    };
    let rule = Rule::per_minute(endpoint.name(), most.into());
    app.limits.take(rule, who, 1).map_err(|wait| Failure::Limited(most, wait))
}
