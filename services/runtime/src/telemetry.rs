//! Logs, traces and metrics of a process.
//!
//! Logs go to standard error: for people on a terminal, JSON otherwise. Every line written under a request
//! carries its trace id (see [`trace`](crate::trace)). With an OTLP endpoint configured, traces and metrics
//! go there; when nobody listens they are dropped, calls do not notice, and nothing is logged about it
//! (unless `log` names `opentelemetry_sdk` itself).
//!
//! Levels: ERROR a defect of ours or lost data; WARN something an operator may have to act on; INFO what the
//! process does as a whole; DEBUG single requests.

mod gate;
mod lines;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{MetricExporter, RetryPolicy, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use gate::Gate;
use lines::{Lines, Style};

use crate::BoxError;
use crate::config::{LogFormat, TelemetryConfig};

/// Libraries below us, quiet unless asked for by name. They also carry the export of traces, which must not
/// trace itself.
const QUIET: &str = "h2=warn,hyper=warn,hyper_util=warn,tonic=warn,tower=warn,rustls=warn,sqlx=warn,\
    opentelemetry=off,opentelemetry_sdk=off,opentelemetry-otlp=off";

/// One attempt to export, or to flush at the end, takes no longer.
const EXPORT_LIMIT: Duration = Duration::from_secs(3);

/// What has to be flushed at the end.
#[derive(Debug)]
#[must_use = "shutdown() sends what has not been sent yet"]
pub struct Telemetry {
    tracer: SdkTracerProvider,
    meter: Option<SdkMeterProvider>,
}

/// The filter that `log` stands for.
pub(crate) fn filter(log: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse(format!("{QUIET},{log}"))
}

/// Starts the telemetry of this process, whose name is `name`. Once for each process, inside the tokio
/// runtime.
///
/// From then on panics are logged as well. Fails when the configuration is unusable or telemetry was started
/// before; an endpoint where nobody listens is no failure.
pub fn start(name: &'static str, config: &TelemetryConfig) -> Result<Telemetry, BoxError> {
    let telemetry = Telemetry::new(name, config.otlp_endpoint.as_deref())?;
    let terminal = std::io::stderr().is_terminal();
    let style = match config.format {
        LogFormat::Auto if terminal => Style::Text { colours: true },
        LogFormat::Auto | LogFormat::Json => Style::Json,
        LogFormat::Pretty => Style::Text { colours: terminal },
    };
    let lines = Lines { style, write: to_stderr };
    let spans = tracing_opentelemetry::layer()
        .with_tracer(telemetry.tracer.tracer("holdall"))
        .with_location(false)
        .with_threads(false)
        .with_level(false)
        .with_target(false)
        .with_tracked_inactivity(false);
    tracing_subscriber::registry().with(spans).with(lines).with(Gate(filter(&config.log)?)).try_init()?;
    if let Some(meter) = &telemetry.meter {
        opentelemetry::global::set_meter_provider(meter.clone());
    }
    log_panics();
    Ok(telemetry)
}

fn to_stderr(line: &str) {
    // There is nowhere to tell that telling failed.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("(no message)");
        let location = panic.location().map(tracing::field::display);
        tracing::error!(message, location, "panic");
    }));
}

impl Telemetry {
    fn new(name: &'static str, endpoint: Option<&str>) -> Result<Self, BoxError> {
        let resource = Resource::builder()
            .with_service_name(name)
            .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let tracer = SdkTracerProvider::builder().with_resource(resource.clone());
        let Some(endpoint) = endpoint else {
            // Spans have ids for the log and are not recorded.
            return Ok(Self { tracer: tracer.with_sampler(Sampler::AlwaysOff).build(), meter: None });
        };
        let spans = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_LIMIT)
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        let metrics = MetricExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_LIMIT)
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        Ok(Self {
            tracer: tracer.with_batch_exporter(spans).build(),
            meter: Some(
                SdkMeterProvider::builder().with_resource(resource).with_periodic_exporter(metrics).build(),
            ),
        })
    }

    /// Sends what has not been sent yet, for a few seconds at most. That it could not be sent is of no
    /// consequence.
    pub async fn shutdown(self) {
        let flushing = tokio::task::spawn_blocking(move || {
            let _ = self.tracer.shutdown();
            if let Some(meter) = &self.meter {
                let _ = meter.shutdown();
            }
        });
        let _ = tokio::time::timeout(EXPORT_LIMIT, flushing).await;
    }
}
