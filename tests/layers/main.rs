//! Folder order is dependency order, and what a folder may name is written down here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// The packages of the workspace in their order, and the packages that each may depend on, all of them before it.
///
/// No service depends on another; they meet in `proto`.
const PACKAGES: [(&str, &str, &[&str]); 9] = [
    ("proto", "holdall-proto", &[]),
    ("services/runtime", "holdall-runtime", &[]),
    ("services/sql", "holdall-sql", &["holdall-runtime"]),
    ("services/auth", "holdall-auth", SERVICE),
    ("services/metadata", "holdall-metadata", SERVICE),
    ("services/blob", "holdall-blob", SERVICE),
    (
        "gateway",
        "holdall-gateway",
        &["holdall-proto", "holdall-runtime", "holdall-auth", "holdall-metadata", "holdall-blob"],
    ),
    ("clients/cli", "holdall", &[]),
    // Of `sql`, the throwaway PostgreSQL; of the servers, nothing.
    ("tests", "e2e", &["holdall-proto", "holdall-sql"]),
];

const SERVICE: &[&str] = &["holdall-proto", "holdall-runtime", "holdall-sql"];

/// Libraries that only these packages may name as dependencies: everybody else goes through them.
const OWNERS: [(&str, &[&str]); 4] = [
    ("sqlx", &["holdall-sql"]),
    // The load script measures against a plain axum.
    ("axum", &["holdall-gateway", "e2e"]),
    ("jsonwebtoken", &["holdall-runtime", "holdall-auth"]),
    ("opentelemetry-otlp", &["holdall-runtime"]),
];

/// What source files may not name: files, names, reason.
const NOT_NAMED: [(&str, &[&str], &str); 17] = [
    (
        "services/*/src/domain",
        &["tonic", "prost", "sqlx", "axum", "http", "holdall_proto", "holdall_sql"],
        "rules know neither the wire nor the database",
    ),
    (
        "services/*/src/domain",
        &["crate::rpc", "crate::store", "crate::convert"],
        "main → lib → rpc → domain → store",
    ),
    ("services/*/src/store", &["tonic", "prost", "axum", "crate::rpc"], "a store knows no wire"),
    ("services/runtime/src", &["holdall_proto"], "runtime knows no word of the domain"),
    ("services/sql/src", &["holdall_proto"], "sql is for anybody's rows"),
    (
        "gateway/src",
        &["holdall_auth", "holdall_metadata", "holdall_blob"],
        "only embedded.rs, and what is below it, names service crates",
    ),
    (
        "gateway/src/ops",
        &["axum", "hyper", "crate::rest", "crate::links", "crate::compat", "crate::web", "crate::router"],
        "ops know no HTTP",
    ),
    (
        "gateway/src/rest",
        &["crate::compat", "crate::links", "crate::web", "crate::router"],
        "dialects never call each other",
    ),
    (
        "gateway/src/grpc",
        &["crate::compat", "crate::rest", "crate::links", "crate::web", "crate::router"],
        "what is passed on is no dialect",
    ),
    (
        "gateway/src/links",
        &["crate::compat", "crate::rest", "crate::router"],
        "dialects never call each other",
    ),
    (
        "gateway/src/compat",
        &["crate::rest", "crate::links", "crate::router"],
        "dialects never call each other",
    ),
    (
        "gateway/src/compat/file_uploader",
        &["compat::cloudbuffer", "compat::file_drop", "compat::file_storage", "compat::syncfile"],
        "dialects never call each other",
    ),
    (
        "gateway/src/compat/cloudbuffer",
        &["compat::file_uploader", "compat::file_drop", "compat::file_storage", "compat::syncfile"],
        "dialects never call each other",
    ),
    (
        "gateway/src/compat/file_drop",
        &["compat::file_uploader", "compat::cloudbuffer", "compat::file_storage", "compat::syncfile"],
        "dialects never call each other",
    ),
    (
        "gateway/src/compat/file_storage",
        &["compat::file_uploader", "compat::cloudbuffer", "compat::file_drop", "compat::syncfile"],
        "dialects never call each other",
    ),
    (
        "gateway/src/compat/syncfile",
        &["compat::file_uploader", "compat::cloudbuffer", "compat::file_drop", "compat::file_storage"],
        "dialects never call each other",
    ),
    (
        "gateway/src/web",
        &["crate::compat", "crate::rest", "crate::links", "crate::router"],
        "what pages share knows no page of a dialect",
    ),
];

/// The exceptions to [`NOT_NAMED`].
const EXCEPT: [&str; 3] =
    ["gateway/src/embedded.rs", "gateway/src/embedded/backup.rs", "gateway/src/embedded/doctor.rs"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is a folder of the workspace")
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

#[test]
fn packages_depend_on_earlier_ones_only() {
    let order: BTreeMap<&str, usize> =
        PACKAGES.iter().enumerate().map(|(at, (_, name, _))| (*name, at)).collect();
    for (folder, name, may) in PACKAGES {
        for other in may {
            assert!(order[other] < order[name], "{folder} stands before {other}");
        }
    }

    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let mut seen = BTreeSet::new();
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        let (folder, _, may) = PACKAGES
            .iter()
            .find(|(_, known, _)| *known == name)
            .unwrap_or_else(|| panic!("{name} is new: give it a place in PACKAGES"));
        let manifest = package["manifest_path"].as_str().expect("a path");
        assert_eq!(Path::new(manifest), root().join(folder).join("Cargo.toml"));
        seen.insert(name);
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let other = dependency["name"].as_str().expect("a name");
            // Dependencies of tests and build scripts count too.
            if order.contains_key(other) {
                assert!(may.contains(&other), "{name} depends on {other}");
            }
            if let Some((_, owners)) = OWNERS.iter().find(|(library, _)| *library == other) {
                assert!(owners.contains(&name), "{name} depends on {other}, which only {owners:?} may");
            }
        }
    }
    assert_eq!(seen.len(), PACKAGES.len(), "PACKAGES names what is not there; there is {seen:?}");
}

#[test]
fn members_stand_in_their_order() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace has a manifest");
    let members =
        manifest.split_once("members = [").and_then(|(_, rest)| rest.split_once(']')).expect("members").0;
    let members: Vec<&str> = members.split(',').map(|member| member.trim().trim_matches('"')).collect();
    let known: Vec<&str> = PACKAGES.iter().map(|(folder, ..)| *folder).collect();
    assert_eq!(members.strip_suffix(&[""]).unwrap_or(&members), known);
}

#[test]
fn files_name_only_what_they_may() {
    let mut looked_at = 0;
    for (pattern, names, reason) in NOT_NAMED {
        for file in files(pattern) {
            let path =
                file.strip_prefix(root()).expect("it is in the workspace").to_string_lossy().into_owned();
            if EXCEPT.contains(&path.as_str()) {
                continue;
            }
            looked_at += 1;
            let source = fs::read_to_string(&file).expect("source is UTF-8");
            // Unit tests, which stand at the end, may look around.
            let source = source.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            for name in names {
                let line = source.lines().position(|line| names_it(line, name));
                assert_eq!(line.map(|line| line + 1), None, "{path} names {name}: {reason}");
            }
        }
    }
    assert!(looked_at > 50, "the patterns find only {looked_at} files");
}

#[test]
fn names_are_found_as_words() {
    for line in [
        "use tonic::Status;",
        "    fn f() -> tonic::Status {",
        "use {tonic as t, http};",
        "let x: ::tonic::A;",
    ] {
        assert!(names_it(line, "tonic"), "{line}");
    }
    for line in [
        "// tonic::Status is not used here",
        "use tonic_types::X;",
        "/// see [`tonic::Status`]",
        "let tonic_water = 1;",
    ] {
        assert!(!names_it(line, "tonic"), "{line}");
    }
    assert!(names_it("use crate::rest::nodes;", "crate::rest"));
    assert!(names_it("use crate::{error, rest};", "crate::rest"));
    assert!(!names_it("use crate::restore;", "crate::rest"));
    assert!(!names_it("let rest = 1;", "crate::rest"));
}

/// Whether a line of source, comments apart, names a crate (`tonic`) or a module of this one (`crate::rest`).
fn names_it(line: &str, name: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let word = |text: &str, word: &str, path: bool| {
        text.match_indices(word).any(|(at, _)| {
            let (before, after) = (text[..at].chars().next_back(), text[at + word.len()..].chars().next());
            let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            let used =
                !path || text[at + word.len()..].trim_start().starts_with("::") || text.contains("use ");
            !part(before) && !part(after) && used
        })
    };
    match name.strip_prefix("crate::") {
        None => word(code, name, true),
        Some(module) => {
            word(code, name, false)
                || code.split_once("crate::{").is_some_and(|(_, list)| {
                    list.split([',', '}']).any(|item| item.trim().split("::").next() == Some(module))
                })
        }
    }
}

/// All `.rs` files of a folder, and the file of the same name as the folder. `*` stands for any one folder.
fn files(pattern: &str) -> Vec<PathBuf> {
    let mut starts = vec![root().to_owned()];
    for part in pattern.split('/') {
        starts = starts
            .into_iter()
            .flat_map(|folder| match part {
                "*" => entries(&folder),
                name => vec![folder.join(name)],
            })
            .collect();
    }
    let mut files = Vec::new();
    while let Some(start) = starts.pop() {
        let file = start.with_extension("rs");
        if start.is_dir() {
            starts.extend(entries(&start));
            if file.is_file() && !files.contains(&file) {
                files.push(file);
            }
        } else if file.is_file() && !files.contains(&file) {
            files.push(file);
        }
    }
    files
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|kind| kind == "rs"))
        .collect()
}
