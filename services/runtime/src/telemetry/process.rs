//! What the system says of this process, under the names that Prometheus' client libraries have for it.

use opentelemetry::metrics::Meter;
use procfs::WithCurrentSystemInfo;
use procfs::process::Process;

/// Registers what is read from `/proc` whenever it is asked for. Where there is none, nothing is measured.
pub(super) fn register(meter: &Meter) {
    gauge(meter, "process.resident_memory", "By", "Memory in use", |process| {
        Some(process.stat().ok()?.rss_bytes().get() as f64)
    });
    gauge(meter, "process.virtual_memory", "By", "Address space in use", |process| {
        Some(process.stat().ok()?.vsize as f64)
    });
    gauge(meter, "process.open_fds", "", "Open files and sockets", |process| {
        Some(process.fd_count().ok()? as f64)
    });
    gauge(meter, "process.max_fds", "", "Most open files and sockets", |process| {
        match process.limits().ok()?.max_open_files.soft_limit {
            procfs::process::LimitValue::Value(most) => Some(most as f64),
            procfs::process::LimitValue::Unlimited => None,
        }
    });
    gauge(meter, "process.threads", "", "Threads", |process| Some(process.stat().ok()?.num_threads as f64));
    meter
        .f64_observable_counter("process.cpu")
        .with_unit("s")
        .with_description("Time of processors")
        .with_callback(|observer| {
            if let Ok(stat) = Process::myself().and_then(|process| process.stat()) {
                let ticks = stat.utime + stat.stime;
                observer.observe(ticks as f64 / procfs::ticks_per_second() as f64, &[]);
            }
        })
        .build();
    // It does not change.
    let started = Process::myself().and_then(|process| process.stat()).ok().and_then(|stat| {
        Some(
            procfs::boot_time_secs().ok()? as f64 + stat.starttime as f64 / procfs::ticks_per_second() as f64,
        )
    });
    meter
        .f64_observable_gauge("process.start_time")
        .with_unit("s")
        .with_description("When it started, in seconds since 1970")
        .with_callback(move |observer| {
            if let Some(started) = started {
                observer.observe(started, &[]);
            }
        })
        .build();
}

fn gauge(
    meter: &Meter,
    name: &'static str,
    unit: &'static str,
    description: &'static str,
    read: impl Fn(&Process) -> Option<f64> + Send + Sync + 'static,
) {
    meter
        .f64_observable_gauge(name)
        .with_unit(unit)
        .with_description(description)
        .with_callback(move |observer| {
            if let Some(value) = Process::myself().ok().as_ref().and_then(&read) {
                observer.observe(value, &[]);
            }
        })
        .build();
}
