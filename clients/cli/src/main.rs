//! `holdall`: a person's files on a Holdall server, from the command line.
//!
//! ```text
//! main → commands → api → (config, path, error)
//! ```

mod api;
mod args;
mod commands;
mod config;
mod error;
mod output;
mod path;
mod progress;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Without a provider TLS panics at its first use; a second installation can only find the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args = args::Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&error::Error::local("cannot start", error)),
    };
    let done = runtime.block_on(commands::run(args));
    // A prompt or a read of standard input that was given up would otherwise hold the end back.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::fail(&error),
    }
}
