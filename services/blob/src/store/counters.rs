//! What a store did, for tests and metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the store was opened.
#[derive(Debug, Default)]
pub struct Counters {
    /// Flushes of a pack.
    pub flushes: AtomicU64,
    /// Transactions of the index.
    pub commits: AtomicU64,
    /// Blobs written.
    pub blobs: AtomicU64,
    /// Chunks written.
    pub chunks: AtomicU64,
    /// Chunks that were there already.
    pub deduplicated: AtomicU64,
    /// Bytes appended to packs.
    pub appended_bytes: AtomicU64,
    /// Chunks and manifests that were found damaged, as often as they were.
    pub damaged: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// Lets the process's meter read them.
    pub(super) fn publish(self: &Arc<Self>) {
        type Of = fn(&Counters) -> &AtomicU64;
        let meter = opentelemetry::global::meter("holdall-blob");
        let counters: [(&str, &str, Of); 7] = [
            ("holdall.blob.flushes", "Flushes of a pack", |all| &all.flushes),
            ("holdall.blob.commits", "Transactions of the index", |all| &all.commits),
            ("holdall.blob.blobs", "Blobs written", |all| &all.blobs),
            ("holdall.blob.chunks", "Chunks written", |all| &all.chunks),
            ("holdall.blob.deduplicated", "Chunks that were there already", |all| &all.deduplicated),
            ("holdall.blob.appended_bytes", "Bytes appended to packs", |all| &all.appended_bytes),
            ("holdall.blob.damaged", "Chunks and manifests found damaged", |all| &all.damaged),
        ];
        for (name, description, counter) in counters {
            let all = Arc::clone(self);
            meter
                .u64_observable_counter(name)
                .with_description(description)
                .with_callback(move |observer| observer.observe(counter(&all).load(Ordering::Relaxed), &[]))
                .build();
        }
    }
}
