//! One request, one trace: W3C trace context (<https://www.w3.org/TR/trace-context/>) in and out of header maps.
//!
//! Every log line under a span of ours carries the trace id, whether or not traces are sent anywhere.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, TraceId};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Makes `span` a child of the trace in the headers, or leaves its trace as it is when they hold none.
///
/// Trap: must come before the span is entered for the first time.
pub fn adopt(span: &Span, headers: &HeaderMap) {
    if headers.contains_key("traceparent") {
        let parent = TraceContextPropagator::new().extract(&Headers(headers));
        if parent.span().span_context().is_valid() {
            // Fails for a span that is disabled, which has no parent to set.
            let _ = span.set_parent(parent);
        }
    }
}

/// Puts the trace context of the current span into the headers of an outgoing call.
pub fn inject(headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject(&mut HeadersMut(headers));
}

/// A span for work that is done once for several callers: a child of the first one's span, and linked with the others'.
pub fn shared<'a>(callers: impl IntoIterator<Item = &'a Span>) -> Span {
    let mut callers = callers.into_iter();
    let span = match callers.next() {
        Some(first) => tracing::debug_span!(parent: first, "shared"),
        None => tracing::debug_span!("shared"),
    };
    callers.for_each(|other| {
        span.follows_from(other);
    });
    span
}

/// The id of the current trace: 32 hexadecimal digits. `None` outside of any, and when telemetry was not started.
pub fn current_id() -> Option<String> {
    let id = Context::map_current(|context| context.span().span_context().trace_id());
    (id != TraceId::INVALID).then(|| id.to_string())
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
