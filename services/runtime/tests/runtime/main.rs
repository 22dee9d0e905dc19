//! The runtime through its public interface.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy sees what helps a test as production code when it stands outside of one"
)]

mod both_shapes;
mod breaker;
mod probe;
mod process;
mod serving;
mod tls;
