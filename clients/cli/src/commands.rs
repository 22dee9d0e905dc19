//! One file for each thing that can be done.

mod get;
mod link;
mod login;
mod logout;
mod ls;
mod mkdir;
mod mv;
mod put;
mod rm;

use futures::StreamExt as _;

use crate::api::Client;
use crate::args::{Args, Command};
use crate::config;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Transfers that run at once.
const AT_ONCE: usize = 4;

/// Does what was asked for.
///
/// # Errors
/// Whatever the command fails with.
pub async fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Login(args) => login::login(&args).await,
        Command::Register(args) => login::register(&args).await,
        Command::Logout => logout::logout().await,
        Command::Put(args) => put::put(&signed_in()?, &args).await,
        Command::Get(args) => get::get(&signed_in()?, &args).await,
        Command::Ls(args) => ls::ls(&signed_in()?, &args).await,
        Command::Mkdir { remote } => mkdir::mkdir(&signed_in()?, &remote).await,
        Command::Rm { remote } => rm::rm(&signed_in()?, &remote).await,
        Command::Mv { from, to } => mv::mv(&signed_in()?, &from, &to).await,
        Command::Link { remote, expires_in } => link::link(&signed_in()?, &remote, expires_in).await,
    }
}

fn signed_in() -> Result<Client> {
    Client::of(&config::load(&config::file()?)?)
}

/// Does many things, some at once. Goes on after a failure, and tells about each.
async fn each<T>(items: Vec<T>, progress: &Progress, work: impl AsyncFn(T) -> Result<()>) -> Result<()> {
    let total = items.len();
    let work = &work;
    let mut running = futures::stream::iter(items).map(|item| work(item)).buffer_unordered(AT_ONCE);
    let (mut failed, mut code) = (0, None);
    while let Some(done) = running.next().await {
        let Err(error) = done else { continue };
        if total == 1 {
            progress.finish();
            return Err(error);
        }
        progress.say(&error.to_string());
        failed += 1;
        code = code.or(Some(error.exit_code()));
    }
    progress.finish();
    match code {
        None => Ok(()),
        Some(code) => Err(Error::Some { failed, total, code }),
    }
}
