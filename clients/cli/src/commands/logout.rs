//! `holdall logout`.

use crate::api::Client;
use crate::config;
use crate::error::Result;
use crate::output;

/// Ends the session, and forgets it. A session that the server does not know any more is forgotten too; while the server
/// cannot be reached the session lives on, and is remembered.
pub async fn logout() -> Result<()> {
    let file = config::file()?;
    let session = config::load(&file)?;
    match Client::of(&session)?.sign_out().await {
        Err(error) if !error.is("unauthenticated") => Err(error),
        _ => {
            config::remove(&file)?;
            output::print(&format!("signed out of {}\n", session.url)).map(drop)
        }
    }
}
