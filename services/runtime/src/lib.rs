//! What every Holdall process does alike, with no word of files, folders or accounts in it.
//!
//! A server's `main` calls [`run::main`], which loads the configuration ([`config`]), starts logs and metrics
//! ([`telemetry`]), and hands over a [`run::Process`]. The server builds its gRPC services as
//! [`tonic::service::Routes`], wraps them once with [`layers::wrap`] (trace, panic, deadline, caller), and
//! from then on the same wrapped routes are either called in this process ([`upstream::in_process`]) or
//! served over TCP ([`serve::Server`]) and called from another one ([`upstream::connect`]). Both ways behave
//! alike.
//!
//! This crate does not depend on the protocol crate or on any service, and must not.

pub mod admin;
pub mod body;
pub mod clock;
pub mod config;
pub mod data_dir;
pub mod doctor;
pub mod health;
pub mod keyfile;
pub mod layers;
pub mod presence;
pub mod run;
pub mod serve;
pub mod shutdown;
pub mod status;
pub mod telemetry;
pub mod testing;
pub mod tls;
pub mod together;
pub mod token;
pub mod trace;
pub mod upstream;

/// Any error, where only its text matters.
pub type BoxError = tower::BoxError;
