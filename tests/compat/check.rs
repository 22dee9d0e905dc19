//! Whether an answer is as a step expects it, and what later steps need of it.

use harness::Answer;
use regex::Regex;
use serde_json::Value;

use crate::{
    data::Step,
    template::{Variables, differs, fill, matches},
    wire::{Jar, content},
};

/// Everything that is wrong with an answer.
pub fn wrongs(step: &Step, answer: &Answer, variables: &Variables) -> Result<Vec<String>, String> {
    let mut wrongs = Vec::new();
    let status = answer.status.as_u16();
    let good = match &step.status {
        Value::String(expected) => matches(expected, &status.to_string(), variables)?,
        expected => *expected == status,
    };
    if !good {
        wrongs.push(format!("the status is {status} instead of {}", step.status));
    }
    let text = answer.text();
    for (expected, partial) in [(&step.is, false), (&step.has, true)] {
        let Some(expected) = expected else { continue };
        let media_type = header(answer, "content-type").unwrap_or_default();
        if !media_type.starts_with("application/json") && !media_type.ends_with("+json") {
            wrongs.push(format!("JSON is called {media_type:?}"));
        }
        match serde_json::from_slice(&answer.body) {
            Ok(found) => wrongs.extend(differs("", expected, &found, partial, variables)?),
            Err(_) => wrongs.push("the body is not JSON".to_owned()),
        }
    }
    if let Some(body) = &step.body
        && !matches(body, &text, variables)?
    {
        wrongs.push(format!("the body is not {body:?}"));
    }
    for piece in &step.contains {
        let piece = fill(piece, variables)?;
        if !text.contains(&piece) {
            wrongs.push(format!("the body does not contain {piece:?}"));
        }
    }
    for piece in &step.lacks {
        let piece = fill(piece, variables)?;
        if text.contains(&piece) {
            wrongs.push(format!("the body contains {piece:?}"));
        }
    }
    if let Some(len) = step.content
        && content(len).bytes() != answer.body
    {
        wrongs.push(format!("the body is not the content of {len} bytes"));
    }
    for (name, expected) in &step.header {
        let found = header(answer, name);
        let mut good = true;
        for expected in expected.as_array().map_or(std::slice::from_ref(expected), Vec::as_slice) {
            good &= match expected {
                Value::Bool(false) => found.is_none(),
                Value::String(expected) => {
                    matches(expected, found.as_deref().unwrap_or_default(), variables)?
                }
                _ => return Err(format!("header {name} is expected to be a text or false")),
            };
        }
        if !good {
            wrongs.push(format!("header {name} is {found:?} instead of {expected}"));
        }
    }
    if (status >= 400 || step.is.is_some())
        && let Some(inside) = answer.revealed()
    {
        wrongs.push(format!("the body shows {inside:?}"));
    }
    Ok(wrongs)
}

/// All values of a header, as one.
fn header(answer: &Answer, name: &str) -> Option<String> {
    let values: Vec<_> =
        answer.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// Takes what later steps need.
pub fn keep(step: &Step, answer: &Answer, variables: &mut Variables) -> Result<(), String> {
    for (name, source) in &step.keep {
        let value = if let Some(header_name) = source.strip_prefix("header ") {
            header(answer, header_name).map(Value::String)
        } else if let Some(cookie) = source.strip_prefix("cookie ") {
            cookies(answer).remove(cookie).map(Value::String)
        } else if source.is_empty() || source.starts_with('/') {
            let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
            body.and_then(|body| body.pointer(source).cloned())
        } else {
            let pattern = Regex::new(source).map_err(|error| format!("{source:?}: {error}"))?;
            let text = answer.text();
            let found = pattern.captures(&text).and_then(|groups| groups.get(1));
            found.map(|group| Value::String(group.as_str().to_owned()))
        };
        let value = value.ok_or_else(|| format!("there is no {source} to keep as {name}"))?;
        variables.insert(name.clone(), value);
    }
    Ok(())
}

/// The cookies that an answer sets; those that it takes away are empty.
pub fn cookies(answer: &Answer) -> Jar {
    let lines = answer.headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok());
    lines
        .filter_map(|line| {
            let mut attributes = line.split(';').map(str::trim);
            let (name, value) = attributes.next()?.split_once('=')?;
            let gone = attributes.any(|attribute| attribute.eq_ignore_ascii_case("max-age=0"));
            Some((name.to_owned(), if gone { String::new() } else { value.to_owned() }))
        })
        .collect()
}
