//! What happens around every RPC, in one order, whether it arrives over TCP or from this process.
//!
//! [`wrap`] puts it around a server's routes themselves and not around a listener, so there is no second
//! place that could differ. From the outside in: a span in the caller's trace, with duration and code
//! measured; a panic becomes INTERNAL; the caller's deadline; whether the peer may call this; the caller's
//! identity. Answers of streams are watched to their end.

mod admission;
mod answer;
pub mod deadline;
mod peer;
mod server;

pub use admission::{Admission, HEALTH, REFLECTION};
pub(crate) use peer::{Permit, covers};
pub use server::wrap;
