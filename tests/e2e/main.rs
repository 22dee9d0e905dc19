//! Black-box tests of everything a client can do, in both shapes.

mod access_tokens;
mod accounts;
mod buffer;
mod changes;
mod cli;
mod concurrent;
mod conditions;
mod content;
mod disposition;
mod folders;
mod idempotency;
mod internal_grpc;
mod interrupted;
mod links;
mod listing;
mod malformed;
mod names;
mod openapi;
mod policies;
mod quota;
mod ranges;
mod sessions;
mod strangers;
mod trash;
mod tree;
mod versions;
