//! What is logged and traced at all: one decision for all layers.
//!
//! Trap: a filter for each layer (`Layer::with_filter`) keeps its decisions in thread-local state between
//! "is it enabled" and the event itself. A library that only asks, as database drivers do before they put a log
//! line together, leaves a stale "no" behind, and the next span of ours on that thread is lost.

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Lets through the events that the filter wants, and of spans ours alone: always, for they carry the trace.
pub(super) struct Gate(pub(super) EnvFilter);

/// Spans of libraries would trace the export of traces.
fn is_our_span(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO && metadata.target().starts_with("holdall")
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Gate {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Also what is not let through: the filter follows spans by name where it is told to.
        let interest = Layer::<S>::register_callsite(&self.0, metadata);
        match metadata.is_span() {
            true if is_our_span(metadata) => Interest::always(),
            true => Interest::never(),
            false => interest,
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        match metadata.is_span() {
            true => is_our_span(metadata),
            false => Layer::<S>::enabled(&self.0, metadata, context),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Layer::<S>::max_level_hint(&self.0).map(|level| level.max(LevelFilter::INFO))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.0.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        Layer::<S>::on_record(&self.0, id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        Layer::<S>::on_enter(&self.0, id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        Layer::<S>::on_exit(&self.0, id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.0.on_close(id, context);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Counts the spans and events that reach it.
    #[derive(Clone, Default)]
    struct Count {
        spans: Arc<AtomicUsize>,
        events: Arc<AtomicUsize>,
    }

    impl<S: Subscriber> Layer<S> for Count {
        fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
            self.spans.fetch_add(1, Ordering::Relaxed);
        }

        fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
            self.events.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counted(log: &str, work: impl FnOnce()) -> (usize, usize) {
        let count = Count::default();
        let gate = Gate(super::super::filter(log).unwrap());
        let subscriber = tracing_subscriber::registry().with(count.clone()).with(gate);
        tracing::subscriber::with_default(subscriber, work);
        (count.spans.load(Ordering::Relaxed), count.events.load(Ordering::Relaxed))
    }

    #[test]
    fn our_spans_pass_whatever_is_logged() {
        let work = || {
            let _ours = tracing::info_span!("rpc").entered();
            let _theirs = tracing::info_span!(target: "h2", "frame").entered();
            tracing::info!("said");
            tracing::debug!("whispered");
            tracing::info!(target: "h2", "chatter");
        };
        assert_eq!(counted("info", work), (1, 1));
        assert_eq!(counted("debug", work), (1, 2));
        assert_eq!(counted("error", work), (1, 0));
    }

    #[test]
    fn asking_and_saying_nothing_loses_no_span() {
        let work = || {
            for _ in 0..3 {
                assert!(!tracing::enabled!(target: "sqlx::query", Level::DEBUG));
                let _ours = tracing::info_span!("rpc").entered();
            }
        };
        assert_eq!(counted("info", work), (3, 0));
    }
}
