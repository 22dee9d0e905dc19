//! Configuration: defaults, then a TOML file, then the environment, then command-line flags.
//!
//! A configuration is a plain struct of sections that holds data and does nothing. Every key can be set by an
//! environment variable, `HOLDALL_SECTION__KEY=value`, with `__` between nested sections. Unknown keys are
//! refused, whether they come from the file or the environment, so that a misspelt limit cannot be silently
//! off; for that every section carries `#[serde(default, deny_unknown_fields)]`. Variables without `__`
//! (`HOLDALL_TOKEN`) are not configuration.
//!
//! Layers are merged as TOML tables, so a section may be given in part at each of them. Trap: a section that
//! is an enum with data does not merge (keys of the default variant stay behind); use one section for each
//! variant.

mod sections;
mod units;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

pub use sections::{
    AdminConfig, BodyConfig, DataConfig, LogFormat, ServerConfig, ServerLimits, ShutdownConfig,
    TelemetryConfig, TlsConfig, UpstreamConfig,
};
pub use units::{ByteSize, HumanDuration, UnitError};

const PREFIX: &str = "HOLDALL_";

/// The flags of every server.
#[derive(Clone, Debug, Default, clap::Parser)]
pub struct Args {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to listen on, such as 127.0.0.1:8080; port 0 takes a free one and prints it.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Directory for this server's data.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Check the configuration and exit.
    #[arg(long)]
    pub check_config: bool,
}

/// What can tell whether its values make sense together.
pub trait Validate {
    /// Checks every value, without changing anything outside. Errors name the key relative to `self`; a
    /// struct of sections adds the section's name with [`Invalid::within`].
    fn validate(&self) -> Result<(), Invalid>;
}

/// A whole configuration of a server.
pub trait ProcessConfig: Serialize + DeserializeOwned + Default + Validate {
    /// `[telemetry]`.
    fn telemetry(&self) -> &TelemetryConfig;
    /// `[shutdown]`.
    fn shutdown(&self) -> &ShutdownConfig;
    /// `[admin]`.
    fn admin(&self) -> &AdminConfig;
}

/// A value that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    key: String,
    problem: String,
}

impl Invalid {
    /// `problem` completes the sentence that `key` begins: "must be at least 1".
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }

    /// The same, seen from the struct that holds this section under `section`.
    #[must_use]
    pub fn within(mut self, section: &str) -> Self {
        self.key = format!("{section}.{}", self.key);
        self
    }

    /// The key, with dots between sections.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} (set it in the configuration file or by {})",
            self.key,
            self.problem,
            variable(&self.key)
        )
    }
}

impl std::error::Error for Invalid {}

/// Why there is no configuration to start with. Never quotes the value of an environment variable, which may
/// be secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not TOML, or holds a key or value that is not ours.
    #[error("configuration file {}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Line, column, and what is wrong there.
        problem: String,
    },
    /// An environment variable or flag holds a key or value that is not ours.
    #[error("{origin}: {problem}")]
    Override {
        /// The variable or flag.
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The values do not make sense.
    #[error("{0}")]
    Invalid(#[from] Invalid),
}

/// Reads the configuration that `args` and the environment of this process describe, and validates it.
pub fn load<T>(args: &Args) -> Result<T, ConfigError>
where
    T: Serialize + DeserializeOwned + Default + Validate,
{
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX) && name.contains("__"))
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(ConfigError::Override { origin: name, problem: "is not UTF-8".to_owned() }),
        })
        .collect::<Result<Vec<_>, _>>()?;
    load_from(args, environment)
}

/// [`load`] with the environment given. Variables that do not look like `HOLDALL_SECTION__KEY` are left
/// alone.
pub fn load_from<T>(
    args: &Args,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigError>
where
    T: Serialize + DeserializeOwned + Default + Validate,
{
    let mut layers = Layers::<T>::new();
    if let Some(path) = &args.config {
        layers.add_file(path)?;
    }
    let mut environment: Vec<_> = environment.into_iter().collect();
    environment.sort();
    for (name, value) in environment {
        if let Some(key) = name.strip_prefix(PREFIX).filter(|key| key.contains("__")) {
            let path: Vec<String> = key.split("__").map(str::to_ascii_lowercase).collect();
            layers.add_override(&name, &path, &value);
        }
    }
    let own = |section: &str, key: &str| [section.to_owned(), key.to_owned()];
    if let Some(listen) = args.listen {
        layers.add_override("--listen", &own("server", "listen"), &listen.to_string());
    }
    if let Some(dir) = &args.data_dir {
        let Some(dir) = dir.to_str() else {
            let problem = "is not UTF-8".to_owned();
            return Err(ConfigError::Override { origin: "--data-dir".to_owned(), problem });
        };
        layers.add_override("--data-dir", &own("data", "dir"), dir);
    }
    let config = layers.finish()?;
    config.validate()?;
    Ok(config)
}

/// The layers merged so far, and the first of them that did not fit.
struct Layers<T> {
    table: Table,
    trouble: Option<ConfigError>,
    of: std::marker::PhantomData<T>,
}

impl<T: Serialize + DeserializeOwned + Default> Layers<T> {
    fn new() -> Self {
        let (table, trouble) = match Table::try_from(T::default()) {
            Ok(table) => (table, None),
            Err(error) => {
                let origin = "the built-in defaults".to_owned();
                (Table::new(), Some(ConfigError::Override { origin, problem: error.to_string() }))
            }
        };
        Self { table, trouble, of: std::marker::PhantomData }
    }

    fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let file = |error: toml::de::Error| ConfigError::File {
            path: path.to_owned(),
            problem: error.to_string().trim_end().to_owned(),
        };
        merge(&mut self.table, toml::from_str(&text).map_err(file)?);
        if let Err(error) = read::<T>(&self.table) {
            // The text alone gives the better message, with line and column.
            let error = toml::from_str::<T>(&text).err().unwrap_or(error);
            self.trouble.get_or_insert(file(error));
        }
        Ok(())
    }

    /// Tries the value as TOML (numbers, booleans, arrays, quoted text), then as plain text.
    fn add_override(&mut self, origin: &str, path: &[String], value: &str) {
        let typed = toml::from_str::<Table>(&format!("value = {value}"))
            .ok()
            .filter(|table| table.len() == 1)
            .and_then(|mut table| table.remove("value"));
        let mut failed = None;
        for toml_value in typed.into_iter().chain([Value::String(value.to_owned())]) {
            let mut table = self.table.clone();
            set(&mut table, path, toml_value);
            match read::<T>(&table) {
                Ok(_) => return self.table = table,
                Err(error) => failed = failed.or(Some((error, table))),
            }
        }
        if let Some((error, table)) = failed {
            // Kept all the same: another layer may supply what is missing beside it.
            self.table = table;
            let (origin, problem) = (origin.to_owned(), without_value(error.message(), value));
            self.trouble.get_or_insert(ConfigError::Override { origin, problem });
        }
    }

    fn finish(self) -> Result<T, ConfigError> {
        read(&self.table).map_err(|error| {
            self.trouble.unwrap_or_else(|| ConfigError::Override {
                origin: "configuration".to_owned(),
                problem: error.message().to_owned(),
            })
        })
    }
}

fn read<T: DeserializeOwned>(table: &Table) -> Result<T, toml::de::Error> {
    T::deserialize(Value::Table(table.clone()))
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(into)), Value::Table(from)) => merge(into, from),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

/// Sets the value at a path. A value that stands where a section is needed becomes a section, and is refused
/// on reading.
fn set(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => drop(table.insert(key.clone(), value)),
        [section, rest @ ..] => {
            if !table.get(section).is_some_and(Value::is_table) {
                table.insert(section.clone(), Value::Table(Table::new()));
            }
            if let Some(Value::Table(section)) = table.get_mut(section) {
                set(section, rest, value);
            }
        }
    }
}

/// A complaint of serde about `value` that does not repeat it.
fn without_value(problem: &str, value: &str) -> String {
    problem
        .trim_end()
        .replace(&format!("{value:?}"), "of this variable")
        .replace(&format!("`{value}`"), "value")
}

/// The environment variable that sets a key.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

#[cfg(test)]
mod tests;
