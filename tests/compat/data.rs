//! The data: what the files may say. Anything else in them fails.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

/// A file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Settings of servers: name, service, key.
    #[serde(default)]
    pub server: BTreeMap<String, Settings>,
    #[serde(default)]
    pub shared: BTreeMap<String, Vec<Step>>,
    pub case: Vec<Case>,
}

/// Settings of a server: service, key, value.
pub type Settings = BTreeMap<String, BTreeMap<String, toml::Value>>;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    pub server: Option<String>,
    #[serde(default)]
    pub first_gateway: bool,
    #[serde(default)]
    pub set: BTreeMap<String, Value>,
    #[serde(default)]
    pub each: Vec<BTreeMap<String, Value>>,
    #[serde(default)]
    pub first: Vec<String>,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub send: String,
    #[serde(default)]
    pub each: Vec<BTreeMap<String, Value>>,
    pub jar: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, OneOrMany>,
    pub text: Option<String>,
    pub base64: Option<String>,
    pub json: Option<Value>,
    pub form: Option<BTreeMap<String, String>>,
    pub parts: Option<Vec<Part>>,
    pub bytes: Option<u64>,
    #[serde(default)]
    pub chunked: bool,
    #[serde(default)]
    pub eventually: bool,
    #[serde(default)]
    pub soon: bool,

    pub status: Value,
    pub is: Option<Value>,
    pub has: Option<Value>,
    pub body: Option<String>,
    #[serde(default)]
    pub contains: Vec<String>,
    #[serde(default)]
    pub lacks: Vec<String>,
    pub content: Option<u64>,
    #[serde(default)]
    pub header: BTreeMap<String, Value>,
    #[serde(default)]
    pub keep: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub fn values(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// A part of a multipart form.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub name: Option<String>,
    pub file: Option<String>,
    #[serde(rename = "type")]
    pub media_type: Option<String>,
    pub head: Option<String>,
    pub text: Option<String>,
    pub base64: Option<String>,
    pub bytes: Option<u64>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compat")
}

/// The names of all folders with data, in order.
pub fn folders() -> Vec<String> {
    let entries = fs::read_dir(root()).expect("the tests are in a folder").map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = entries
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The files of a folder with their names, in order.
pub fn load(folder: &str) -> Vec<(String, File)> {
    let entries = fs::read_dir(root().join(folder)).expect("a folder with data");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let files = paths.into_iter().map(|path| {
        let text = fs::read_to_string(&path).expect("a file with data");
        let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = format!("{folder}/{}", path.file_name().unwrap().to_string_lossy());
        file.check(&name);
        (name, file)
    });
    files.collect()
}

impl File {
    /// Names that are used must be there, and no name may be there twice.
    fn check(&self, file: &str) {
        let mut names = Vec::new();
        for case in &self.case {
            let name = &case.name;
            assert!(!names.contains(&name), "{file}: there are two cases {name:?}");
            names.push(name);
            if let Some(server) = &case.server {
                assert!(self.server.contains_key(server), "{file}: {name}: no server {server:?}");
            }
            for shared in &case.first {
                assert!(self.shared.contains_key(shared), "{file}: {name}: no shared steps {shared:?}");
            }
            assert!(!case.steps.is_empty(), "{file}: {name} has no steps");
        }
        for step in self.case.iter().flat_map(|case| &case.steps).chain(self.shared.values().flatten()) {
            let bodies = [
                step.text.is_some(),
                step.base64.is_some(),
                step.json.is_some(),
                step.form.is_some(),
                step.parts.is_some(),
                step.bytes.is_some(),
            ];
            assert!(bodies.into_iter().filter(|is| *is).count() <= 1, "{file}: {}: one body", step.send);
        }
    }

    /// The steps of a case, the shared ones first.
    pub fn steps<'a>(&'a self, case: &'a Case) -> impl Iterator<Item = &'a Step> {
        case.first.iter().flat_map(|name| &self.shared[name]).chain(&case.steps)
    }
}
