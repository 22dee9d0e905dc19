//! What an operator asks when something does not work: `NAME doctor`. Looks, and changes nothing that lasts.
//!
//! A service adds what it knows to a [`Report`]; what every process has is looked at here. Nothing secret is said.

mod cert;
mod place;

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use clap::{Args as _, FromArgMatches};
use serde::Serialize;

use crate::config::{self, ProcessConfig, UpstreamConfig};
use crate::run::Place;
use crate::upstream;

/// What was found out about one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is as it should be.
    Ok,
    /// It works, and may not for long, or not safely.
    Warning,
    /// It does not work.
    Wrong,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Wrong => "wrong",
        })
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What: a key of the configuration, where there is one.
    pub name: String,
    /// How it is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do; empty where nothing is to be done.
    pub advice: String,
}

/// Somebody who holds keys that are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Who.
    pub name: String,
    /// Ids of the keys, the one that is used first.
    pub ids: Vec<String>,
}

/// What was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order in which it was.
    pub checks: Vec<Check>,
}

impl Report {
    /// Adds something.
    pub fn add(&mut self, name: &str, state: State, found: impl Into<String>, advice: &str) {
        let (name, found, advice) = (name.to_owned(), found.into(), advice.to_owned());
        self.checks.push(Check { name, state, found, advice });
    }

    /// Adds something that is as it should be.
    pub fn ok(&mut self, name: &str, found: impl Into<String>) {
        self.add(name, State::Ok, found, "");
    }

    /// Adds something that may not work for long, or not safely.
    pub fn warning(&mut self, name: &str, found: impl Into<String>, advice: &str) {
        self.add(name, State::Warning, found, advice);
    }

    /// Adds something that does not work.
    pub fn wrong(&mut self, name: &str, found: impl Into<String>, advice: &str) {
        self.add(name, State::Wrong, found, advice);
    }

    /// Whether something does not work.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        self.checks.iter().any(|check| check.state == State::Wrong)
    }

    /// Whether another service can be reached, and says that it takes calls.
    pub async fn upstream(&mut self, name: &str, config: &UpstreamConfig) {
        let name = format!("{name}.url");
        let advice = "start the service, and check its address, TLS and the network in between";
        let timeout = Some(config.timeout.get());
        let upstream = match upstream::connect(config, timeout, &upstream::Idempotent::default()) {
            Ok(upstream) => upstream,
            Err(error) => return self.wrong(&name, error.to_string(), advice),
        };
        let mut health = tonic_health::pb::health_client::HealthClient::new(upstream);
        let asked = tonic_health::pb::HealthCheckRequest::default();
        match health.check(asked).await {
            Ok(answer) if answer.get_ref().status == SERVING => self.ok(&name, "takes calls"),
            Ok(_) => {
                self.wrong(&name, "does not take calls", "wait until it has started, or look into its log");
            }
            Err(status) => self.wrong(&name, format!("does not answer: {:?}", status.code()), advice),
        }
    }

    /// What the replicas of another service hold of the keys that are shared for `of`, as far as they can be reached. `name` is
    /// that of the service.
    pub async fn keys_of(&self, name: &str, config: &UpstreamConfig, of: &str) -> Vec<Holder> {
        let urls = config.url.as_deref().unwrap_or_default();
        let first = urls.split(',').next().and_then(|url| url.trim().parse::<http::Uri>().ok());
        let first = first.as_ref().and_then(http::Uri::host).map(str::to_owned);
        let mut holders = Vec::new();
        for url in urls.split(',').map(str::trim) {
            let one = UpstreamConfig {
                url: Some(url.to_owned()),
                server_name: config.server_name.clone().or_else(|| first.clone()),
                ..config.clone()
            };
            let timeout = Some(config.timeout.get());
            let Ok(upstream) = upstream::connect(&one, timeout, &upstream::Idempotent::default()) else {
                continue;
            };
            let mut health = tonic_health::pb::health_client::HealthClient::new(upstream);
            let Ok(answer) = health.check(tonic_health::pb::HealthCheckRequest::default()).await else {
                continue;
            };
            let ids = crate::health::key_ids(&answer).into_iter().find(|(kind, _)| kind == of);
            holders.extend(ids.map(|(_, ids)| Holder { name: format!("{name} at {url}"), ids }));
        }
        holders
    }

    /// Whether what each of these seals can be opened by all of them.
    pub fn same_keys(&mut self, of: &str, holders: &[Holder]) {
        let name = format!("keys of {of}");
        let mut strangers = Vec::new();
        for sealing in holders {
            let Some(key) = sealing.ids.first() else { continue };
            let without = holders.iter().filter(|opening| !opening.ids.contains(key));
            strangers.extend(without.map(|opening| (sealing, key, opening)));
        }
        for (sealing, key, opening) in &strangers {
            let found = format!("{} uses the key {key}, which {} does not have", sealing.name, opening.name);
            self.wrong(&name, found, "give both the same key files, and start them again");
        }
        if strangers.is_empty() && holders.len() > 1 {
            let names: Vec<&str> = holders.iter().map(|holder| holder.name.as_str()).collect();
            self.ok(&name, format!("are the same: {}", names.join(", ")));
        }
    }

    fn lines(&self) -> String {
        let line = |check: &Check| {
            let Check { name, state, found, advice } = check;
            let advice = if advice.is_empty() { String::new() } else { format!(" ({advice})") };
            format!("{state:<7}  {name}: {found}{advice}\n")
        };
        self.checks.iter().map(line).collect()
    }
}

const SERVING: i32 = tonic_health::pb::health_check_response::ServingStatus::Serving as i32;

#[derive(clap::Args)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Does that when the first argument asks for it: prints what `look` reports, and exits with 1 when something is wrong.
pub fn command<C, Fut>(name: &'static str, look: impl FnOnce(C) -> Fut) -> Option<ExitCode>
where
    C: ProcessConfig,
    Fut: Future<Output = Report>,
{
    std::env::args_os().nth(1).filter(|first| first == "doctor")?;
    let about = "Look at everything that the server needs, tell what is wrong and what to do, and exit with 1 if something is";
    let doctor = Arguments::augment_args(clap::Command::new("doctor").about(about));
    let matches = clap::Command::new(name)
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .subcommand(doctor)
        .get_matches();
    let (_, matches) = matches.subcommand()?;
    let Arguments { place, json } = Arguments::from_arg_matches(matches).unwrap_or_else(|error| error.exit());
    let mut report = Report::default();
    match config::load(&place.args()) {
        Ok(config) => {
            report.ok("configuration", "is valid");
            crate::tls::install_provider();
            match tokio::runtime::Runtime::new() {
                Ok(runtime) => report.checks.append(&mut runtime.block_on(look(config)).checks),
                Err(error) => {
                    report.wrong("process", format!("cannot start threads: {error}"), "raise its limits");
                }
            }
        }
        Err(error) => report.wrong("configuration", error.to_string(), "correct it"),
    }
    let text =
        if json { serde_json::to_string_pretty(&report).unwrap_or_default() + "\n" } else { report.lines() };
    // Whoever does not listen any more does not need to know.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Some(if report.is_wrong() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests;
