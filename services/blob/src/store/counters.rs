//! What a store did, for tests and metrics.
//!
//! Whatever happens often is counted in atomics, which the process's meter reads when it collects. What has a distribution
//! goes into histograms of the meter itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

use super::gate::Trouble;

/// Counts since the store was opened.
#[derive(Debug)]
pub struct Counters {
    /// Flushes of a pack.
    pub flushes: AtomicU64,
    /// Transactions of the index.
    pub commits: AtomicU64,
    /// Blobs written.
    pub blobs: AtomicU64,
    /// Chunks written.
    pub chunks: AtomicU64,
    /// Bytes of the chunks written.
    pub chunk_bytes: AtomicU64,
    /// Bytes that they take, encoded.
    pub stored_bytes: AtomicU64,
    /// Chunks that were there already.
    pub deduplicated: AtomicU64,
    /// Bytes of the chunks that were there already.
    pub deduplicated_bytes: AtomicU64,
    /// Bytes appended to packs.
    pub appended_bytes: AtomicU64,
    /// Bytes of content that came by the lane for small blobs.
    pub small_bytes: AtomicU64,
    /// Bytes of content that came by the lane for large blobs.
    pub bulk_bytes: AtomicU64,
    /// Bytes of chunks that were read from memory.
    pub cached_read_bytes: AtomicU64,
    /// Bytes, as stored, that were read from packs.
    pub pack_read_bytes: AtomicU64,
    /// Blobs looked up.
    pub blob_cache: Lookups,
    /// Small chunks looked up.
    pub chunk_cache: Lookups,
    /// Packs looked up for reading.
    pub pack_cache: Lookups,
    /// Chunks and manifests that were found damaged, as often as they were.
    pub damaged: AtomicU64,
    /// Reads of what is encrypted with a key that is not here.
    pub keys_missing: AtomicU64,
    /// Uploads refused because there is no room.
    pub refused_full: AtomicU64,
    /// Uploads refused because an earlier write failed.
    pub refused_degraded: AtomicU64,
    /// Writes that failed, by [`Trouble`].
    pub write_errors: [AtomicU64; Trouble::ALL.len()],
    /// 1 while no uploads are taken because a write failed.
    pub degraded: AtomicU64,
    histograms: Histograms,
}

/// How often something was found in memory, and how often not.
#[derive(Debug, Default)]
pub struct Lookups {
    /// How often it was.
    pub hits: AtomicU64,
    /// How often it was not.
    pub misses: AtomicU64,
}

impl Lookups {
    /// Counts one, and hands it on.
    pub fn count<T>(&self, found: Option<T>) -> Option<T> {
        Counters::add(if found.is_some() { &self.hits } else { &self.misses }, 1);
        found
    }
}

#[derive(Debug)]
struct Histograms {
    batch_entries: Histogram<u64>,
    batch_bytes: Histogram<u64>,
    chunk_size: Histogram<u64>,
    flush: Histogram<f64>,
    queue: Histogram<f64>,
    small: [KeyValue; 1],
    bulk: [KeyValue; 1],
}

impl Histograms {
    fn new(meter: &Meter) -> Self {
        let powers = |from: u32, to: u32| (from..=to).step_by(2).map(|power| 2_f64.powi(power.cast_signed()));
        let sizes = |name, unit, description, from, to| {
            let histogram = meter.u64_histogram(name).with_unit(unit).with_description(description);
            histogram.with_boundaries(powers(from, to).collect()).build()
        };
        let times = |name, description| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(description);
            // 61 µs to 16 s.
            histogram.with_boundaries(powers(0, 18).map(|times| times / 16384.0).collect()).build()
        };
        Self {
            batch_entries: sizes(
                "holdall.blob.batch.entries",
                "{entry}",
                "Entries that were appended together",
                0,
                10,
            ),
            batch_bytes: sizes("holdall.blob.batch.size", "By", "Bytes that were appended together", 8, 26),
            chunk_size: sizes("holdall.blob.chunk.size", "By", "Bytes of a chunk that was written", 8, 22),
            flush: times("holdall.blob.flush.duration", "Time of a flush of a pack"),
            queue: times("holdall.blob.queue.duration", "Time from a blob's last entry to its answer"),
            small: [KeyValue::new("lane", "small")],
            bulk: [KeyValue::new("lane", "bulk")],
        }
    }
}

impl Default for Counters {
    /// Those of the process's meter.
    fn default() -> Self {
        Self::new(&opentelemetry::global::meter("holdall-blob"))
    }
}

impl Counters {
    /// Nothing counted yet. Distributions go to `meter`.
    pub fn new(meter: &Meter) -> Self {
        Self {
            flushes: AtomicU64::default(),
            commits: AtomicU64::default(),
            blobs: AtomicU64::default(),
            chunks: AtomicU64::default(),
            chunk_bytes: AtomicU64::default(),
            stored_bytes: AtomicU64::default(),
            deduplicated: AtomicU64::default(),
            deduplicated_bytes: AtomicU64::default(),
            appended_bytes: AtomicU64::default(),
            small_bytes: AtomicU64::default(),
            bulk_bytes: AtomicU64::default(),
            cached_read_bytes: AtomicU64::default(),
            pack_read_bytes: AtomicU64::default(),
            blob_cache: Lookups::default(),
            chunk_cache: Lookups::default(),
            pack_cache: Lookups::default(),
            damaged: AtomicU64::default(),
            keys_missing: AtomicU64::default(),
            refused_full: AtomicU64::default(),
            refused_degraded: AtomicU64::default(),
            write_errors: Default::default(),
            degraded: AtomicU64::default(),
            histograms: Histograms::new(meter),
        }
    }

    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// Entries were appended together.
    pub(super) fn batch(&self, entries: usize, bytes: u64) {
        self.histograms.batch_entries.record(entries as u64, &[]);
        self.histograms.batch_bytes.record(bytes, &[]);
        Self::add(&self.appended_bytes, bytes);
    }

    /// A chunk was written that takes `stored` bytes.
    pub(super) fn chunk(&self, size: u32, stored: u32) {
        self.histograms.chunk_size.record(size.into(), &[]);
        Self::add(&self.chunks, 1);
        Self::add(&self.chunk_bytes, size.into());
        Self::add(&self.stored_bytes, stored.into());
    }

    /// A chunk was there already.
    pub(super) fn duplicate(&self, size: u32) {
        Self::add(&self.deduplicated, 1);
        Self::add(&self.deduplicated_bytes, size.into());
    }

    /// A pack was flushed, or could not be.
    pub(super) fn flush(&self, time: Duration) {
        self.histograms.flush.record(time.as_secs_f64(), &[]);
        Self::add(&self.flushes, 1);
    }

    /// A blob was answered for so long after its last entry was sent.
    pub(super) fn answered(&self, is_bulk: bool, time: Duration) {
        let histograms = &self.histograms;
        let lane = if is_bulk { &histograms.bulk } else { &histograms.small };
        histograms.queue.record(time.as_secs_f64(), lane);
    }

    /// Lets the process's meter read them.
    pub(super) fn publish(self: &Arc<Self>) {
        self.publish_to(&opentelemetry::global::meter("holdall-blob"));
    }

    /// Lets `meter` read them.
    pub(super) fn publish_to(self: &Arc<Self>, meter: &Meter) {
        for Instrument { name, unit, description, series } in INSTRUMENTS {
            let all = Arc::clone(self);
            let series: Vec<_> = series
                .iter()
                .map(|(labels, of)| {
                    let labels = labels.iter().map(|(key, value)| KeyValue::new(*key, *value));
                    (labels.collect::<Vec<_>>(), *of)
                })
                .collect();
            meter
                .u64_observable_counter(*name)
                .with_unit(*unit)
                .with_description(*description)
                .with_callback(move |observer| {
                    for (labels, of) in &series {
                        observer.observe(of(&all).load(Ordering::Relaxed), labels);
                    }
                })
                .build();
        }
        let all = Arc::clone(self);
        meter
            .u64_observable_gauge("holdall.blob.degraded")
            .with_description("1 while no uploads are taken because a write failed")
            .with_callback(move |observer| observer.observe(all.degraded.load(Ordering::Relaxed), &[]))
            .build();
    }
}

type Of = fn(&Counters) -> &AtomicU64;

struct Instrument {
    name: &'static str,
    unit: &'static str,
    description: &'static str,
    series: &'static [(&'static [(&'static str, &'static str)], Of)],
}

const fn instrument(
    name: &'static str,
    unit: &'static str,
    description: &'static str,
    series: &'static [(&'static [(&'static str, &'static str)], Of)],
) -> Instrument {
    Instrument { name, unit, description, series }
}

const INSTRUMENTS: &[Instrument] = &[
    instrument("holdall.blob.flushes", "{flush}", "Flushes of a pack", &[(&[], |all| &all.flushes)]),
    instrument("holdall.blob.commits", "{commit}", "Transactions of the index", &[(&[], |all| &all.commits)]),
    instrument("holdall.blob.blobs", "{blob}", "Blobs written", &[(&[], |all| &all.blobs)]),
    instrument(
        "holdall.blob.chunks",
        "{chunk}",
        "Chunks that uploads brought",
        &[(&[("stored", "new")], |all| &all.chunks), (&[("stored", "already")], |all| &all.deduplicated)],
    ),
    // Of these three, new and already make the ratio of deduplication, new and encoded that of compression.
    instrument(
        "holdall.blob.chunk_bytes",
        "By",
        "Bytes of the chunks that uploads brought",
        &[
            (&[("stored", "new")], |all| &all.chunk_bytes),
            (&[("stored", "already")], |all| &all.deduplicated_bytes),
        ],
    ),
    instrument(
        "holdall.blob.stored_bytes",
        "By",
        "Bytes of the chunks that were stored, encoded",
        &[(&[], |all| &all.stored_bytes)],
    ),
    instrument(
        "holdall.blob.appended_bytes",
        "By",
        "Bytes appended to packs",
        &[(&[], |all| &all.appended_bytes)],
    ),
    instrument(
        "holdall.blob.received_bytes",
        "By",
        "Bytes of content on their way into packs",
        &[(&[("lane", "small")], |all| &all.small_bytes), (&[("lane", "bulk")], |all| &all.bulk_bytes)],
    ),
    instrument(
        "holdall.blob.read_bytes",
        "By",
        "Bytes that were read, from packs as stored",
        &[
            (&[("from", "memory")], |all| &all.cached_read_bytes),
            (&[("from", "packs")], |all| &all.pack_read_bytes),
        ],
    ),
    instrument(
        "holdall.blob.lookups",
        "{lookup}",
        "What was looked for in memory, and whether it was there",
        &[
            (&[("cache", "blobs"), ("result", "hit")], |all| &all.blob_cache.hits),
            (&[("cache", "blobs"), ("result", "miss")], |all| &all.blob_cache.misses),
            (&[("cache", "chunks"), ("result", "hit")], |all| &all.chunk_cache.hits),
            (&[("cache", "chunks"), ("result", "miss")], |all| &all.chunk_cache.misses),
            (&[("cache", "packs"), ("result", "hit")], |all| &all.pack_cache.hits),
            (&[("cache", "packs"), ("result", "miss")], |all| &all.pack_cache.misses),
        ],
    ),
    instrument(
        "holdall.blob.damaged",
        "{read}",
        "Chunks and manifests found damaged",
        &[(&[], |all| &all.damaged)],
    ),
    instrument(
        "holdall.blob.keys_missing",
        "{read}",
        "Reads of what is encrypted with a key that is not here",
        &[(&[], |all| &all.keys_missing)],
    ),
    instrument(
        "holdall.blob.refused",
        "{upload}",
        "Uploads that were refused",
        &[
            (&[("reason", "full")], |all| &all.refused_full),
            (&[("reason", "degraded")], |all| &all.refused_degraded),
        ],
    ),
    instrument(
        "holdall.blob.write_errors",
        "{error}",
        "Writes that failed",
        &[
            (&[("reason", "full")], |all| all.write_error(Trouble::Full)),
            (&[("reason", "read_only")], |all| all.write_error(Trouble::ReadOnly)),
            (&[("reason", "too_many_files")], |all| all.write_error(Trouble::TooManyFiles)),
            (&[("reason", "other")], |all| all.write_error(Trouble::Other)),
        ],
    ),
];

impl Counters {
    /// How often that happened.
    pub fn write_error(&self, trouble: Trouble) -> &AtomicU64 {
        let [full, read_only, too_many_files, other] = &self.write_errors;
        match trouble {
            Trouble::Full => full,
            Trouble::ReadOnly => read_only,
            Trouble::TooManyFiles => too_many_files,
            Trouble::Other => other,
        }
    }
}
