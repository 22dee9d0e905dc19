//! `holdall-gateway healthcheck`: asks a process on this machine whether it is ready, for container images, which have
//! nothing else to ask with.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// Connecting, and each wait for the answer, at most.
const LIMIT: Duration = Duration::from_secs(2);

#[derive(Parser)]
#[command(name = "holdall-gateway", version)]
enum Cli {
    /// Exits with 0 when the URL answers 200, with 1 otherwise.
    Healthcheck {
        /// What to ask: the admin listener of any of the servers.
        #[arg(long, default_value = "http://127.0.0.1:9090/readyz")]
        url: http::Uri,
    },
}

/// Does that when the arguments ask for it. Reads no configuration.
pub fn main() -> Option<ExitCode> {
    if std::env::args_os().nth(1)? != OsStr::new("healthcheck") {
        return None;
    }
    let Cli::Healthcheck { url } = Cli::parse();
    Some(match is_ready(&url) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(_) => ExitCode::FAILURE,
    })
}

fn is_ready(url: &http::Uri) -> std::io::Result<bool> {
    let host = url.host().unwrap_or("127.0.0.1");
    let port = url.port_u16().unwrap_or(80);
    let address = (host.trim_matches(['[', ']']), port).to_socket_addrs()?.next();
    let address = address.ok_or(std::io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    write!(stream, "GET {} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n", url.path())?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(status.ends_with(b" 200"))
}
