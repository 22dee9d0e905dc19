//! The native API: JSON under `/api/v1`, problems of RFC 9457, a document of OpenAPI 3.1.
//!
//! One file per resource; a handler decodes, calls, encodes. Types of the wire stay in here: names follow the services'
//! messages, answers borrow from them.

pub mod accounts;
pub mod buffer;
pub mod changes;
pub mod content;
pub mod folders;
pub mod fs;
pub mod links;
pub mod nodes;
pub mod openapi;
pub mod policy;
pub mod problem;
pub mod sessions;
pub mod space;
pub mod trash;

mod answer;
mod caller;
mod extract;
mod page;
mod time;

/// Where the native API stands.
pub const PREFIX: &str = "/api/v1";
