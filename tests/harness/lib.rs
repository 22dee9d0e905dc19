//! What the black-box tests share: servers in either shape, people who use them, content to store.
//!
//! Nothing here links a server. Tests see binaries, their command line and configuration, and the public HTTP and gRPC
//! APIs.
//!
//! - [`Server`] is an installation in one of two [`Shape`]s; [`both_shapes!`] runs a test in each.
//! - [`Persona`] is a registered account with a signed-in client; [`Api`] is that client, [`Answer`] what it gets.
//! - [`Content`] is as many bytes as a test wants, made from a seed, never held whole.
//! - [`eventually`] waits for a condition. No test sleeps.
//!
//! Environment: `HOLDALL_E2E_BIN_DIR` names a folder of binaries to test instead of building them.

mod answer;
mod api;
mod authority;
mod binaries;
#[path = "../../services/blob/tests/bucket/mod.rs"]
pub mod bucket;
pub mod collector;
mod content;
pub mod grpc;
mod launch;
mod model;
mod persona;
mod process;
mod qr;
pub mod raw;
mod reaper;
mod seed;
mod server;
mod shapes;
mod wait;
mod wire;

pub use answer::Answer;
pub use api::{Api, Call, encode_path, encode_segment};
pub use authority::Authority;
pub use binaries::{binary, workspace_root};
pub use content::{Content, chunks_of};
pub use launch::{Options, Service, Shape};
pub use model::{Change, Link, Node, Page, Space, Version};
pub use persona::Persona;
pub use process::{Command, Process};
pub use qr::read_qr;
pub use seed::Seed;
pub use server::{LogOnFailure, Server};
pub use shapes::shared;
pub use wait::{eventually, within};
pub use wire::{Cut, Wire};
