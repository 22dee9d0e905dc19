//! The contract between Holdall's services: messages and gRPC stubs generated from `holdall/**/*.proto`, and the
//! sealed byte strings that metadata and blob hand each other.
//!
//! Services meet only here. Comments on messages and methods stand in the `.proto` files and are carried over.

#![allow(
    missing_docs,
    unused_qualifications,
    clippy::allow_attributes_without_reason,
    reason = "generated from .proto files, where buf's COMMENTS rules check for comments"
)]

pub mod codec;
pub mod grant;

use std::collections::HashSet;

use prost::Message as _;
use prost_types::method_options::IdempotencyLevel;

/// The domain of every `google.rpc.ErrorInfo` that Holdall's services send.
pub const ERROR_DOMAIN: &str = "holdall";

/// File descriptors of every service, for gRPC server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/holdall.bin"));

/// Every method, as a path: `/package.Service/Method`.
pub fn methods() -> Vec<String> {
    paths(|_| true)
}

/// The methods that may be called twice with the effect of once, as paths. Their `.proto` files say so with the option
/// `idempotency_level`.
pub fn idempotent_methods() -> HashSet<String> {
    methods_of(&[IdempotencyLevel::Idempotent, IdempotencyLevel::NoSideEffects])
}

/// Those of them that have no effect at all.
pub fn harmless_methods() -> HashSet<String> {
    methods_of(&[IdempotencyLevel::NoSideEffects])
}

fn methods_of(levels: &[IdempotencyLevel]) -> HashSet<String> {
    let is_wanted = |method: &prost_types::MethodDescriptorProto| {
        let level = method.options.as_ref().map(prost_types::MethodOptions::idempotency_level);
        level.is_some_and(|level| levels.contains(&level))
    };
    paths(is_wanted).into_iter().collect()
}

fn paths(which: impl Fn(&prost_types::MethodDescriptorProto) -> bool) -> Vec<String> {
    // Our own descriptors can be read; a test looks.
    let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default();
    let mut paths = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let of = |method: &prost_types::MethodDescriptorProto| {
                format!("/{}.{}/{}", file.package(), service.name(), method.name())
            };
            paths.extend(service.method.iter().filter(|method| which(method)).map(of));
        }
    }
    paths
}

/// Reasons for failed calls.
pub mod error {
    pub mod v1 {
        tonic::include_proto!("holdall.error.v1");

        impl Reason {
            /// The name as it goes into `google.rpc.ErrorInfo`: the value's name without its prefix.
            pub fn name(self) -> &'static str {
                let full = self.as_str_name();
                full.strip_prefix("REASON_").unwrap_or(full)
            }

            /// The reason with that name, if there is one.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::from_str_name(&format!("REASON_{name}"))
            }
        }
    }
}

/// Accounts, sessions, signing keys.
pub mod auth {
    pub mod v1 {
        tonic::include_proto!("holdall.auth.v1");
    }
}

/// Spaces, nodes, content, links, changes.
pub mod metadata {
    pub mod v1 {
        tonic::include_proto!("holdall.metadata.v1");
    }
}

/// Bytes.
pub mod blob {
    pub mod v1 {
        tonic::include_proto!("holdall.blob.v1");
    }
}

/// A span of time in microseconds for the wire; nothing for none or less.
pub fn span(us: i64) -> Option<prost_types::Duration> {
    let nanos = i32::try_from(us.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
    (us > 0).then(|| prost_types::Duration { seconds: us.div_euclid(1_000_000), nanos })
}

/// A span of time on the wire in microseconds, rounded down; 0 for one that is not set, negative, or malformed.
pub fn span_us(span: Option<&prost_types::Duration>) -> i64 {
    let us = span
        .filter(|span| span.seconds >= 0 && (0..1_000_000_000).contains(&span.nanos))
        .and_then(|span| span.seconds.checked_mul(1_000_000)?.checked_add(i64::from(span.nanos) / 1_000));
    us.unwrap_or(0)
}

/// Unix time in microseconds, as Holdall's services keep it, for the wire.
pub fn timestamp(unix_us: i64) -> prost_types::Timestamp {
    let nanos = i32::try_from(unix_us.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
    prost_types::Timestamp { seconds: unix_us.div_euclid(1_000_000), nanos }
}

/// A wire time as Unix microseconds, rounded down. `None` when it lies outside years 1 to 9999 or is malformed.
pub fn unix_us(time: &prost_types::Timestamp) -> Option<i64> {
    const YEAR_1: i64 = -62_135_596_800;
    const YEAR_10000: i64 = 253_402_300_800;
    if !(YEAR_1..YEAR_10000).contains(&time.seconds) || !(0..1_000_000_000).contains(&time.nanos) {
        return None;
    }
    Some(time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_wire() {
        for us in [0, 1, -1, 1_764_000_000_123_456, -62_135_596_800_000_000] {
            assert_eq!(unix_us(&timestamp(us)), Some(us));
        }
    }

    #[test]
    fn spans_survive_the_wire_and_nonsense_is_none() {
        for us in [1, 999_999, 1_000_000, 5_000_001] {
            assert_eq!(span_us(span(us).as_ref()), us);
        }
        assert_eq!((span(0), span(-1)), (None, None));
        let of = |seconds, nanos| span_us(Some(&prost_types::Duration { seconds, nanos }));
        assert_eq!((of(-1, 0), of(0, -1), of(i64::MAX, 0), of(1, i32::MAX), span_us(None)), (0, 0, 0, 0, 0));
    }

    #[test]
    fn times_out_of_range_are_refused() {
        let at = |seconds, nanos| unix_us(&prost_types::Timestamp { seconds, nanos });
        assert_eq!(at(i64::MAX, 0), None);
        assert_eq!(at(i64::MIN, 0), None);
        assert_eq!(at(0, -1), None);
        assert_eq!(at(0, 1_000_000_000), None);
    }

    #[test]
    fn every_reason_is_found_by_its_name() {
        for number in 0..100 {
            if let Ok(reason) = error::v1::Reason::try_from(number) {
                assert_eq!(error::v1::Reason::from_name(reason.name()), Some(reason));
                assert!(!reason.name().starts_with("REASON_"));
            }
        }
    }

    #[test]
    fn what_may_be_repeated_is_told_by_the_contract() {
        let methods = idempotent_methods();
        let harmless = harmless_methods();
        assert!(
            harmless.is_subset(&methods) && harmless.contains("/holdall.metadata.v1.NodeService/GetNode")
        );
        assert!(!harmless.contains("/holdall.metadata.v1.ContentService/CommitUpload"));
        assert!(self::methods().len() > methods.len());
        for yes in [
            "metadata.v1.NodeService/GetNode",
            "metadata.v1.ContentService/CommitUpload",
            "blob.v1.BlobService/Read",
        ] {
            assert!(methods.contains(&format!("/holdall.{yes}")), "{yes}");
        }
        for no in [
            "metadata.v1.LinkService/OpenLink",
            "auth.v1.AccountService/Register",
            "blob.v1.BlobService/Write",
        ] {
            assert!(!methods.contains(&format!("/holdall.{no}")), "{no}");
        }
    }
}
