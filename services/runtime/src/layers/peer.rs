//! What the peer of a connection may call: other services, by the names in their certificates.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use tonic::{Code, Status};

use super::admission::HEALTH;
use crate::status::Failure;

/// How often refusals of one connection are logged, at most.
const LOGGED_EVERY: Duration = Duration::from_secs(1);

/// What one connection may be used for. In the extensions of its requests where the listener limits its clients; calls inside
/// this process come without.
#[derive(Debug)]
pub(crate) struct Permit {
    /// Those of the names that the listener knows which the peer has proved to have.
    peer: String,
    calls: Vec<String>,
    refusals: Mutex<Refusals>,
}

#[derive(Debug, Default)]
struct Refusals {
    since_logged: u64,
    logged: Option<Instant>,
}

/// Whether an entry of a list of calls is `*`, the service of this path, or its method.
pub(crate) fn covers(entry: &str, path: &str) -> bool {
    let Some(path) = path.strip_prefix('/') else { return false };
    let service = path.split_once('/').map_or("", |(service, _)| service);
    entry == "*" || (!entry.is_empty() && (entry == path || entry == service))
}

impl Permit {
    /// For a peer that has proved to have `names`, and may call what is listed for any of them.
    pub(crate) fn new<'a>(proved: impl IntoIterator<Item = (&'a str, &'a [String])>) -> Self {
        let (mut names, mut calls) = (Vec::new(), Vec::new());
        for (name, may_call) in proved {
            names.push(name);
            calls.extend_from_slice(may_call);
        }
        Self { peer: names.join(","), calls, refusals: Mutex::default() }
    }

    /// PERMISSION_DENIED (`PEER_FORBIDDEN`) unless the peer may call this. Anybody may ask for health.
    pub(super) fn check(&self, path: &str, denied: &Counter<u64>) -> Result<(), Status> {
        if path.starts_with(HEALTH) || self.calls.iter().any(|entry| covers(entry, path)) {
            return Ok(());
        }
        denied.add(1, &[KeyValue::new("peer", self.peer.clone())]);
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.since_logged += 1;
        if refusals.logged.is_none_or(|logged| logged.elapsed() >= LOGGED_EVERY) {
            let (peer, refused) = (&*self.peer, refusals.since_logged);
            tracing::warn!(
                peer,
                method = path,
                refused,
                "a peer may not call this (server.tls.client_calls)"
            );
            *refusals = Refusals { since_logged: 0, logged: Some(Instant::now()) };
        }
        Err(Failure::new(Code::PermissionDenied, "PEER_FORBIDDEN", "This client may not call this method.")
            .status())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_service_a_method_or_all() {
        for (entry, path, yes) in [
            ("*", "/a.B/C", true),
            ("a.B", "/a.B/C", true),
            ("a.B/C", "/a.B/C", true),
            ("a.B/C", "/a.B/D", false),
            ("a.B/C", "/a.B/C/D", false),
            ("a.B", "/a.BB/C", false),
            ("a.B", "/a.b/C", false),
            ("a", "/a.B/C", false),
            ("", "//C", false),
            ("", "/", false),
            ("a.B", "a.B/C", false),
        ] {
            assert_eq!(covers(entry, path), yes, "{entry} {path}");
        }
    }

    #[test]
    fn a_peer_may_call_what_any_of_its_names_may() {
        let denied = opentelemetry::global::meter("test").u64_counter("denied").build();
        let (first, second) = (["a.B".to_owned()], ["c.D/E".to_owned()]);
        let both = Permit::new([("first", &first[..]), ("second", &second[..])]);
        assert!(both.check("/a.B/X", &denied).is_ok() && both.check("/c.D/E", &denied).is_ok());
        assert_eq!(both.check("/c.D/X", &denied).unwrap_err().code(), Code::PermissionDenied);
        let nobody = Permit::new([]);
        assert!(nobody.check("/grpc.health.v1.Health/Check", &denied).is_ok());
        assert!(nobody.check("/a.B/X", &denied).is_err());
    }
}
