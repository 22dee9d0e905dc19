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
pub(super) struct Gate {
    /// For events.
    pub(super) events: EnvFilter,
    /// Spans up to this level: those of single statements are worth their price where traces are sent somewhere.
    pub(super) spans: Level,
}

impl Gate {
    /// Spans of libraries would trace the export of traces.
    fn wants(&self, span: &Metadata<'_>) -> bool {
        *span.level() <= self.spans && span.target().starts_with("holdall")
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Gate {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Also what is not let through: the filter follows spans by name where it is told to.
        let interest = Layer::<S>::register_callsite(&self.events, metadata);
        match metadata.is_span() {
            true if self.wants(metadata) => Interest::always(),
            true => Interest::never(),
            false => interest,
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        match metadata.is_span() {
            true => self.wants(metadata),
            false => Layer::<S>::enabled(&self.events, metadata, context),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Layer::<S>::max_level_hint(&self.events).map(|level| level.max(LevelFilter::from_level(self.spans)))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.events.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        Layer::<S>::on_record(&self.events, id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        Layer::<S>::on_enter(&self.events, id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        Layer::<S>::on_exit(&self.events, id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.events.on_close(id, context);
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
        counted_up_to(Level::INFO, log, work)
    }

    fn counted_up_to(spans: Level, log: &str, work: impl FnOnce()) -> (usize, usize) {
        let count = Count::default();
        let gate = Gate { events: super::super::filter(log).unwrap(), spans };
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
    fn details_pass_where_traces_are_sent() {
        let work = || {
            let _statement = tracing::debug_span!("statement").entered();
            let _theirs = tracing::debug_span!(target: "h2", "frame").entered();
            tracing::debug!("whispered");
        };
        assert_eq!(counted("info", work), (0, 0));
        assert_eq!(counted_up_to(Level::DEBUG, "info", work), (1, 0));
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
