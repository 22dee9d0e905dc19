//! `holdall login` and `holdall register`.

use std::io::{self, BufRead as _, Write as _};

use url::{Host, Url};

use crate::api::Client;
use crate::args::{Login, Register};
use crate::config::{self, Session};
use crate::error::{Error, Result};
use crate::output;

/// Signs in, and remembers the session.
pub async fn login(args: &Login) -> Result<()> {
    let file = config::file()?;
    let url = server(&args.url)?;
    let username = username(args)?;
    let password = if args.password_stdin { password_from_stdin()? } else { ask("Password: ")? };
    sign_in(&file, url, username, &password).await
}

/// Registers, signs in, and remembers the session.
pub async fn register(args: &Register) -> Result<()> {
    let file = config::file()?;
    let url = server(&args.login.url)?;
    let username = username(&args.login)?;
    let password = if args.login.password_stdin {
        password_from_stdin()?
    } else {
        let password = ask("Password: ")?;
        if ask("The same again: ")? != password {
            return Err(Error::Other("these were two different passwords".to_owned()));
        }
        password
    };
    Client::new(&url, None)?.register(&username, &password, args.email.as_deref()).await?;
    sign_in(&file, url, username, &password).await
}

async fn sign_in(file: &std::path::Path, url: Url, username: String, password: &str) -> Result<()> {
    let token = Client::new(&url, None)?.sign_in(&username, password, &device_name()).await?;
    let said = format!("signed in to {url} as {}\n", output::plain(&username));
    config::save(file, &Session { url, username, token })?;
    output::print(&said).map(drop)
}

/// The address of a server, from what was typed.
fn server(text: &str) -> Result<Url> {
    let wrong = || Error::Usage("the address of a server looks like https://files.example.org".to_owned());
    let url = Url::parse(text).map_err(|_| wrong())?;
    let plain = url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "http" | "https")
        || !plain
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(wrong());
    }
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(wrong()),
    };
    if url.scheme() == "http" && !here {
        output::complain(
            "with http:// everybody on the way can read the password and the files; better use https://",
        );
    }
    Ok(url)
}

fn username(args: &Login) -> Result<String> {
    match &args.username {
        Some(username) => Ok(username.clone()),
        None => {
            let mut err = io::stderr();
            let _ = write!(err, "Username: ").and_then(|()| err.flush());
            line_from_stdin("username")
        }
    }
}

fn ask(prompt: &str) -> Result<String> {
    rpassword::prompt_password(prompt).map_err(|error| Error::local("cannot ask for the password", error))
}

fn password_from_stdin() -> Result<String> {
    line_from_stdin("password")
}

fn line_from_stdin(what: &str) -> Result<String> {
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Error::local(format!("cannot read the {what}"), error))?;
    let line = line.trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        return Err(Error::Usage(format!("no {what} was given")));
    }
    Ok(line.to_owned())
}

/// How this session is shown in the list of sessions.
fn device_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.or_else(|| std::env::var("COMPUTERNAME").ok()).or_else(|| std::env::var("HOSTNAME").ok());
    let host: String = host.unwrap_or_default().trim().chars().filter(|c| !c.is_control()).take(64).collect();
    if host.is_empty() { "holdall".to_owned() } else { format!("holdall on {host}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_servers_are_recognised() {
        for good in [
            "http://127.0.0.1:8080",
            "https://files.example.org/",
            "https://example.org/holdall",
            "http://[::1]:1",
        ] {
            assert!(server(good).is_ok(), "{good}");
        }
        for bad in [
            "files.example.org",
            "localhost:8080",
            "ftp://x",
            "https://a:b@x",
            "https://x?y",
            "https://x#y",
            "",
        ] {
            assert!(matches!(server(bad), Err(Error::Usage(_))), "{bad}");
        }
    }
}
