//! Logs, traces and metrics of a process.
//!
//! Logs go to standard error: for people on a terminal, JSON otherwise. Every line written under a request
//! carries its trace id (see [`trace`](crate::trace)). With an OTLP endpoint configured, traces and metrics
//! go there; when nobody listens they are dropped, calls do not notice, and nothing is logged about it
//! (unless `log` names `opentelemetry_sdk` itself). Metrics can also be read as text, by [`Scrape`].
//!
//! Levels: ERROR a defect of ours or lost data; WARN something an operator may have to act on; INFO what the
//! process does as a whole; DEBUG single requests.

mod gate;
mod lines;
mod process;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{MetricExporter, RetryPolicy, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_prometheus_text_exporter::PrometheusExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::Level;
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

/// Bounds of histograms of durations, in seconds: from what one process does in memory to what is as good as hanging.
pub const DURATIONS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// One attempt to export, or to flush at the end, takes no longer.
const EXPORT_LIMIT: Duration = Duration::from_secs(3);

/// What has to be flushed at the end.
#[derive(Debug)]
#[must_use = "shutdown() sends what has not been sent yet"]
pub struct Telemetry {
    tracer: SdkTracerProvider,
    /// None when nobody would learn what was measured: measuring costs every call a little.
    meter: Option<SdkMeterProvider>,
    scrape: Option<Scrape>,
}

/// What is measured in this process, as text. Clones read the same.
#[derive(Clone, Debug)]
pub struct Scrape(PrometheusExporter);

impl Scrape {
    /// All of it, in the text format of Prometheus.
    ///
    /// # Errors
    /// After the end of the telemetry.
    pub fn text(&self) -> std::io::Result<String> {
        let mut text = Vec::new();
        self.0.export(&mut text)?;
        String::from_utf8(text).map_err(std::io::Error::other)
    }
}

/// The filter that `log` stands for.
pub(crate) fn filter(log: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse(format!("{QUIET},{log}"))
}

/// Starts the telemetry of this process, whose name is `name`. Once for each process, inside the tokio
/// runtime.
///
/// `scraped` says whether somebody will read metrics as text. From then on panics are logged as well. Fails when the configuration is unusable or telemetry was started
/// before; an endpoint where nobody listens is no failure.
pub fn start(name: &'static str, config: &TelemetryConfig, scraped: bool) -> Result<Telemetry, BoxError> {
    let telemetry = Telemetry::new(name, config.otlp_endpoint.as_deref(), scraped)?;
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
    let detail = if config.otlp_endpoint.is_some() { Level::DEBUG } else { Level::INFO };
    let gate = Gate { events: filter(&config.log)?, spans: detail };
    tracing_subscriber::registry().with(spans).with(lines).with(gate).try_init()?;
    if let Some(meter) = &telemetry.meter {
        opentelemetry::global::set_meter_provider(meter.clone());
        process::register(&meter.meter("holdall"));
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
    fn new(name: &'static str, endpoint: Option<&str>, scraped: bool) -> Result<Self, BoxError> {
        let resource = Resource::builder()
            .with_service_name(name)
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            // Tells replicas apart.
            .with_attribute(KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()))
            .build();
        let tracer = SdkTracerProvider::builder().with_resource(resource.clone());
        let scrape = scraped.then(|| Scrape(PrometheusExporter::builder().without_scope_info().build()));
        let meter = SdkMeterProvider::builder().with_resource(resource);
        let meter = match &scrape {
            Some(Scrape(reader)) => meter.with_reader(reader.clone()),
            None => meter,
        };
        let Some(endpoint) = endpoint else {
            // Spans have ids for the log and are not recorded.
            let tracer = tracer.with_sampler(Sampler::AlwaysOff).build();
            return Ok(Self { tracer, meter: scraped.then(|| meter.build()), scrape });
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
        let tracer = tracer.with_batch_exporter(spans).build();
        let meter = meter.with_periodic_exporter(metrics).build();
        Ok(Self { tracer, meter: Some(meter), scrape })
    }

    /// What is measured, to be read at any time; none when it was not asked for.
    pub fn scrape(&self) -> Option<Scrape> {
        self.scrape.clone()
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
