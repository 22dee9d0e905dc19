//! What is told of statements: a span in the trace of the request, and how long they take.
//!
//! Names follow OpenTelemetry's conventions for databases. The text of a statement holds no values: they are bound.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use tracing::{Instrument, Span};

use crate::database::Dialect;
use crate::error::Error;

/// Bounds of both histograms, in seconds.
const BOUNDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0];

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    opentelemetry::global::meter("holdall")
        .f64_histogram("db.client.operation.duration")
        .with_unit("s")
        .with_boundaries(BOUNDS.to_vec())
        .with_description("Duration of statements, the wait for a connection included")
        .build()
});

static WAIT: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    opentelemetry::global::meter("holdall")
        .f64_histogram("db.client.connection.wait_time")
        .with_unit("s")
        .with_boundaries(BOUNDS.to_vec())
        .with_description("Time until a connection, or the turn to write, was had")
        .build()
});

/// One statement that is watched.
pub(crate) struct Watch {
    span: Span,
    system: &'static str,
    operation: &'static str,
    started: Instant,
}

impl Watch {
    /// The statement with that text, which is about to run.
    pub(crate) fn statement(dialect: Dialect, text: &str) -> Self {
        let system = match dialect {
            Dialect::Sqlite => "sqlite",
            Dialect::Postgres => "postgresql",
        };
        let operation = operation(text);
        let span = tracing::debug_span!(
            "statement",
            otel.name = operation,
            otel.kind = "client",
            db.system.name = system,
            db.operation.name = operation,
            db.query.text = text,
        );
        Self { span, system, operation, started: Instant::now() }
    }

    /// Runs it to its end.
    pub(crate) async fn over<T>(self, running: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let result = running.instrument(self.span).await;
        let attributes = [
            KeyValue::new("db.system.name", self.system),
            KeyValue::new("db.operation.name", self.operation),
            KeyValue::new("outcome", if result.is_ok() { "ok" } else { "error" }),
        ];
        DURATION.record(self.started.elapsed().as_secs_f64(), &attributes);
        result
    }
}

/// Notes how long a connection was waited for.
pub(crate) fn waited(time: Duration) {
    WAIT.record(time.as_secs_f64(), &[]);
}

/// The first word, when it is one of those that stores use.
fn operation(text: &str) -> &'static str {
    const KNOWN: [&str; 7] = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "BEGIN", "COMMIT"];
    let first = text.split_whitespace().next().unwrap_or_default();
    KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(first)).unwrap_or("OTHER")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_apart_by_their_first_word() {
        assert_eq!(operation("SELECT 1"), "SELECT");
        assert_eq!(operation("\n  insert INTO t"), "INSERT");
        assert_eq!(operation("VACUUM"), "OTHER");
        assert_eq!(operation(""), "OTHER");
    }
}
