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
    /// Blobs that were found to be out of use.
    pub condemned_blobs: AtomicU64,
    /// Blobs that were deleted.
    pub deleted_blobs: AtomicU64,
    /// Chunks that were deleted from the index.
    pub deleted_chunks: AtomicU64,
    /// What these take in packs, in bytes.
    pub deleted_bytes: AtomicU64,
    /// Packs that were emptied.
    pub compacted_packs: AtomicU64,
    /// Bytes that were copied out of them.
    pub copied_bytes: AtomicU64,
    /// Records that were read again to find damage.
    pub scrubbed_records: AtomicU64,
    /// Their bytes.
    pub scrubbed_bytes: AtomicU64,
    /// Packs that were to be emptied and hold something damaged that is wanted.
    pub quarantined_packs: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// Lets the process's meter read them.
    pub(super) fn publish(self: &Arc<Self>) {
        type Of = fn(&Counters) -> &AtomicU64;
        let meter = opentelemetry::global::meter("holdall-blob");
        let counters: [(&str, &str, Of); 16] = [
            ("holdall.blob.flushes", "Flushes of a pack", |all| &all.flushes),
            ("holdall.blob.commits", "Transactions of the index", |all| &all.commits),
            ("holdall.blob.blobs", "Blobs written", |all| &all.blobs),
            ("holdall.blob.chunks", "Chunks written", |all| &all.chunks),
            ("holdall.blob.deduplicated", "Chunks that were there already", |all| &all.deduplicated),
            ("holdall.blob.appended_bytes", "Bytes appended to packs", |all| &all.appended_bytes),
            ("holdall.blob.damaged", "Chunks and manifests found damaged", |all| &all.damaged),
            ("holdall.blob.condemned_blobs", "Blobs found out of use", |all| &all.condemned_blobs),
            ("holdall.blob.deleted_blobs", "Blobs deleted", |all| &all.deleted_blobs),
            ("holdall.blob.deleted_chunks", "Chunks deleted", |all| &all.deleted_chunks),
            ("holdall.blob.deleted_bytes", "Bytes of deleted chunks in packs", |all| &all.deleted_bytes),
            ("holdall.blob.compacted_packs", "Packs emptied", |all| &all.compacted_packs),
            ("holdall.blob.copied_bytes", "Bytes copied out of packs", |all| &all.copied_bytes),
            ("holdall.blob.scrubbed_records", "Records read to find damage", |all| &all.scrubbed_records),
            ("holdall.blob.scrubbed_bytes", "Bytes read to find damage", |all| &all.scrubbed_bytes),
            ("holdall.blob.quarantined_packs", "Packs kept for what is damaged in them", |all| {
                &all.quarantined_packs
            }),
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
