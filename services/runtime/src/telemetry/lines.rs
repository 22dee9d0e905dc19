//! Log lines: one for each event, with the trace id of the request it belongs to.
//!
//! Made here and not by `tracing_subscriber::fmt`, which writes the fields of every span into text as the span
//! begins: more work for each call than the call itself, nearly always for nothing. Here a span costs nothing,
//! and its fields go to traces alone.

use std::fmt::{self, Write as _};

use opentelemetry::TraceId;
use opentelemetry::trace::TraceContextExt;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::Context;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// One JSON object: `timestamp` (RFC 3339, UTC), `level`, `target`, `message`, the event's fields, `trace_id`.
    Json,
    /// The same for people, with colours or without.
    Text { colours: bool },
}

/// Makes lines and hands each to `write`, whole and with its end.
pub(super) struct Lines<W> {
    pub(super) style: Style,
    pub(super) write: W,
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber,
    W: Fn(&str) + 'static,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line { style: self.style, out: String::with_capacity(256) };
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        line.begin(level, target);
        event.record(&mut line);
        line.end(opentelemetry::Context::map_current(|context| context.span().span_context().trace_id()));
        (self.write)(&line.out);
    }
}

struct Line {
    style: Style,
    out: String,
}

impl Line {
    fn begin(&mut self, level: Level, target: &str) {
        let mut time = String::with_capacity(32);
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        match self.style {
            Style::Json => {
                self.out.push('{');
                self.field("timestamp", &time);
                self.field("level", level.as_str());
                self.field("target", target);
            }
            Style::Text { colours } => {
                let colour = match level {
                    Level::ERROR => 31,
                    Level::WARN => 33,
                    Level::INFO => 32,
                    _ => 34,
                };
                let _ = match colours {
                    true => {
                        write!(self.out, "\x1b[2m{time}\x1b[0m \x1b[{colour}m{level:>5}\x1b[0m {target}:")
                    }
                    false => write!(self.out, "{time} {level:>5} {target}:"),
                };
            }
        }
    }

    fn end(&mut self, trace_id: TraceId) {
        if trace_id != TraceId::INVALID {
            self.plain("trace_id", format_args!("{trace_id}"));
        }
        self.out.push_str(if self.style == Style::Json { "}\n" } else { "\n" });
    }

    /// A value with a form of its own in JSON; texts stand in quotes.
    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        let name = name.strip_prefix("r#").unwrap_or(name);
        let value = serde_json::to_string(value).unwrap_or_default();
        let _ = match self.style {
            Style::Json if self.out.ends_with('{') => write!(self.out, "\"{name}\":{value}"),
            Style::Json => write!(self.out, ",\"{name}\":{value}"),
            Style::Text { .. } => write!(self.out, " {name}={value}"),
        };
    }

    /// A value that is shown as it shows itself; the message stands without its name.
    fn plain(&mut self, name: &str, value: fmt::Arguments<'_>) {
        if self.style == Style::Json {
            return self.field(name, &value.to_string());
        }
        self.out.push(' ');
        if name != "message" {
            let _ = write!(self.out, "{}=", name.strip_prefix("r#").unwrap_or(name));
        }
        // What came from outside must not begin a line or colour the terminal.
        for character in value.to_string().chars() {
            if character.is_control() {
                self.out.extend(character.escape_default());
            } else {
                self.out.push(character);
            }
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.plain("message", format_args!("{value}"));
        } else {
            self.field(field.name(), value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field.name(), &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field.name(), &value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.plain(field.name(), format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.plain(field.name(), format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn lines(style: Style, log: impl FnOnce()) -> String {
        let written = Arc::new(Mutex::new(String::new()));
        let copy = Arc::clone(&written);
        let write = move |line: &str| copy.lock().unwrap().push_str(line);
        let subscriber = tracing_subscriber::registry().with(Lines { style, write });
        tracing::subscriber::with_default(subscriber, log);
        written.lock().unwrap().clone()
    }

    fn log() {
        let _span = tracing::info_span!("request", secret = "span").entered();
        let error: &(dyn std::error::Error + 'static) = &std::io::Error::other("it\u{7}broke");
        let address = std::net::Ipv4Addr::LOCALHOST;
        tracing::warn!(%address, count = 3, ok = false, error, r#type = "a\"b\nc", "two\nlines");
    }

    #[test]
    fn json_holds_everything_and_stays_on_one_line() {
        let text = lines(Style::Json, log);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let mut line: Value = serde_json::from_str(&text).unwrap();
        let time = line.as_object_mut().unwrap().remove("timestamp").unwrap();
        assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
        let expected = json!({
            "level": "WARN", "target": module_path!(), "message": "two\nlines", "address": "127.0.0.1",
            "count": 3, "ok": false, "error": "it\u{7}broke", "type": "a\"b\nc",
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn text_is_for_people_and_escapes_what_could_deceive_them() {
        let text = lines(Style::Text { colours: false }, log);
        let (_, rest) = text.split_once(" WARN ").unwrap();
        let expected =
            "two\\nlines address=127.0.0.1 count=3 ok=false error=it\\u{7}broke type=\"a\\\"b\\nc\"\n";
        assert_eq!(rest, format!("{}: {expected}", module_path!()));
    }
}
