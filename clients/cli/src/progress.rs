//! Progress bars, on a terminal only.

use std::borrow::Cow;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How far a transfer has come. Clones are the same bar.
#[derive(Clone)]
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar for that many bytes, or a count where nobody knows how many. Hidden when `quiet`, and where standard error is
    /// not a terminal.
    pub fn new(total: Option<u64>, quiet: bool) -> Self {
        if quiet {
            return Self(ProgressBar::hidden());
        }
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::no_length(),
        };
        let template = if total.is_some() {
            "{wide_msg} {bytes:>11}/{total_bytes} {bytes_per_sec:>13} [{bar:24}] {eta:>4}"
        } else {
            "{wide_msg} {bytes:>11} {bytes_per_sec:>13}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self(bar)
    }

    /// Names what is being transferred.
    pub fn name(&self, name: impl Into<Cow<'static, str>>) {
        self.0.set_message(name);
    }

    /// That many more bytes are through.
    pub fn advance(&self, bytes: usize) {
        self.0.inc(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// That many bytes have to be transferred again.
    pub fn retreat(&self, bytes: u64) {
        self.0.dec(bytes);
    }

    /// As many bytes there are.
    pub fn set_total(&self, total: u64) {
        self.0.set_length(total);
    }

    /// Says something above the bar.
    pub fn say(&self, text: &str) {
        self.0.suspend(|| crate::output::complain(text));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
