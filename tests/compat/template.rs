//! Texts with `${…}` in them: variables and patterns. The module `main` tells what there is.

use std::collections::BTreeMap;

use harness::encode_segment;
use regex::Regex;
use serde_json::{Map, Value};

/// The variables of a case.
pub type Variables = BTreeMap<String, Value>;

type Result<T> = std::result::Result<T, String>;

enum Piece<'a> {
    Text(&'a str),
    Hole(&'a str),
}

fn pieces(template: &str) -> Result<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        let end = if after.starts_with('/') { after.find("/}").map(|at| at + 1) } else { after.find('}') };
        let end = end.ok_or_else(|| format!("{template:?} lacks a closing brace"))?;
        pieces.push(Piece::Hole(&after[..end]));
        rest = &after[end + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn variable(hole: &str, variables: &Variables) -> Result<String> {
    if let Some((text, times)) = hole.rsplit_once('*') {
        let times: usize = times.parse().map_err(|_| format!("${{{hole}}}: how often?"))?;
        return Ok(text.repeat(times));
    }
    let (name, encoded) = match hole.split_once('|') {
        Some((name, "url")) => (name, true),
        Some((_, filter)) => return Err(format!("there is no filter {filter:?}")),
        None => (hole, false),
    };
    let value = variables.get(name).ok_or_else(|| format!("there is no variable {name:?}"))?;
    let text = plain(value);
    Ok(if encoded { encode_segment(&text) } else { text })
}

/// A text to send.
pub fn fill(template: &str, variables: &Variables) -> Result<String> {
    let mut text = String::new();
    for piece in pieces(template)? {
        match piece {
            Piece::Text(piece) => text.push_str(piece),
            Piece::Hole(hole) => text.push_str(&variable(hole, variables)?),
        }
    }
    Ok(text)
}

/// JSON to send.
pub fn fill_json(template: &Value, variables: &Variables) -> Result<Value> {
    Ok(match template {
        Value::String(text) => match alone(text)? {
            Some("null") => Value::Null,
            Some(name) if variables.contains_key(name) => variables[name].clone(),
            _ => Value::String(fill(text, variables)?),
        },
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| fill_json(item, variables)).collect::<Result<_>>()?)
        }
        Value::Object(members) => {
            let filled = members
                .iter()
                .map(|(name, value)| Ok((fill(name, variables)?, fill_json(value, variables)?)));
            Value::Object(filled.collect::<Result<Map<_, _>>>()?)
        }
        other => other.clone(),
    })
}

/// What stands between the braces when there is nothing else.
fn alone(text: &str) -> Result<Option<&str>> {
    Ok(match pieces(text)?.as_slice() {
        [Piece::Hole(hole)] => Some(hole),
        _ => None,
    })
}

/// Whether a text is as expected.
pub fn matches(expected: &str, text: &str, variables: &Variables) -> Result<bool> {
    let mut pattern = String::from("(?s)^");
    for piece in pieces(expected)? {
        match piece {
            Piece::Text(piece) => pattern.push_str(&regex::escape(piece)),
            Piece::Hole(hole) => match kind(hole) {
                Some(kind) => pattern.push_str(&format!("(?:{})", filled(kind, variables)?)),
                None => pattern.push_str(&regex::escape(&variable(hole, variables)?)),
            },
        }
    }
    pattern.push('$');
    let regex = Regex::new(&pattern).map_err(|error| format!("{expected:?}: {error}"))?;
    Ok(regex.is_match(text))
}

/// A regular expression with variables in it.
fn filled(regex: &str, variables: &Variables) -> Result<String> {
    let filled = pieces(regex)?.into_iter().map(|piece| match piece {
        Piece::Text(piece) => Ok(piece.to_owned()),
        Piece::Hole(hole) => Ok(regex::escape(&variable(hole, variables)?)),
    });
    filled.collect()
}

/// The regular expression for a kind of text.
fn kind(hole: &str) -> Option<&str> {
    if let Some(regex) = hole.strip_prefix('/') {
        return regex.strip_suffix('/');
    }
    Some(match hole {
        "uuid" => "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "hex24" => "[0-9a-f]{24}",
        "int" => "-?[0-9]+",
        "any" => ".*",
        _ => return None,
    })
}

/// How JSON differs from what is expected; nothing when it does not. With `partial`, objects may have further members.
pub fn differs(
    at: &str,
    expected: &Value,
    found: &Value,
    partial: bool,
    variables: &Variables,
) -> Result<Vec<String>> {
    let wrong = |expected: &dyn std::fmt::Display| vec![format!("{at}: {found} instead of {expected}")];
    let same = |is: bool| if is { Vec::new() } else { wrong(expected) };
    let mut differences = Vec::new();
    match (expected, found) {
        (Value::String(text), _) if alone(text)?.is_some() => {
            let hole = alone(text)?.unwrap_or_default();
            return Ok(match hole {
                "any" => Vec::new(),
                "null" => same(found.is_null()),
                "int" => same(found.is_i64() || found.is_u64()),
                "number" => same(found.is_number()),
                "string" => same(found.is_string()),
                "bool" => same(found.is_boolean()),
                "array" => same(found.is_array()),
                "object" => same(found.is_object()),
                _ if kind(hole).is_some() => {
                    same(matches(text, found.as_str().unwrap_or("\u{0}not a text"), variables)?)
                }
                _ => match variables.get(hole) {
                    Some(value) if value == found => Vec::new(),
                    Some(value) => wrong(value),
                    None => same(found.as_str() == Some(&fill(text, variables)?)),
                },
            });
        }
        (Value::String(text), Value::String(found_text)) => {
            if !matches(text, found_text, variables)? {
                return Ok(wrong(expected));
            }
        }
        (Value::Array(wanted), Value::Array(items)) => {
            if wanted.len() != items.len() {
                return Ok(wrong(expected));
            }
            for (n, (wanted, item)) in wanted.iter().zip(items).enumerate() {
                differences.extend(differs(&format!("{at}/{n}"), wanted, item, partial, variables)?);
            }
        }
        (Value::Object(wanted), Value::Object(members)) => {
            let mut names = Vec::new();
            for (name, wanted) in wanted {
                let name = fill(name, variables)?;
                match members.get(&name) {
                    Some(member) => {
                        differences.extend(differs(
                            &format!("{at}/{name}"),
                            wanted,
                            member,
                            partial,
                            variables,
                        )?);
                    }
                    None => differences.push(format!("{at}/{name} is missing")),
                }
                names.push(name);
            }
            for (name, member) in members.iter().filter(|(name, _)| !partial && !names.contains(name)) {
                differences.push(format!("{at}/{name}: {member} is too much"));
            }
        }
        (Value::Number(wanted), Value::Number(number)) => {
            return Ok(same(wanted.as_f64() == number.as_f64()));
        }
        _ => return Ok(same(expected == found)),
    }
    Ok(differences)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn variables() -> Variables {
        [("id".to_owned(), json!(7)), ("name".to_owned(), json!("a b.txt"))].into()
    }

    #[test]
    fn texts_are_filled() {
        let fill = |template| fill(template, &variables());
        assert_eq!(fill("/x/${id}/${name|url}?${ab*2}").unwrap(), "/x/7/a%20b.txt?abab");
        assert!(fill("${unknown}").is_err());
        assert!(fill("${id").is_err());
        assert!(fill("${uuid}").is_err(), "patterns are not sent");
        let json = fill_json(&json!({"${id}": "${id}", "x": ["${null}", "n${id}"]}), &variables()).unwrap();
        assert_eq!(json, json!({"7": 7, "x": [null, "n7"]}));
    }

    #[test]
    fn patterns_match_whole_texts() {
        let matches = |expected, text| matches(expected, text, &variables()).unwrap();
        assert!(matches("a.b ${name} ${/[a-f]{2}/}!", "a.b a b.txt ff!"));
        assert!(!matches("a.b", "axb") && !matches("a", "ab") && !matches("${/a/}", "ba"));
        assert!(matches("x${any}", "x\ny"));
        assert!(matches("${/x?${name}+/}", "a b.txttt") && !matches("${/${name}/}", "a b-txt"));
        assert!(matches("${uuid}", "6b9a1c1b-5594-4cb9-8d49-99a4c28782a1"));
    }

    #[test]
    fn json_is_compared_member_by_member() {
        let differs =
            |expected, found, partial| differs("", &expected, &found, partial, &variables()).unwrap().len();
        assert_eq!(differs(json!({"a": 1}), json!({"a": 1.0, "b": 2}), true), 0);
        assert_eq!(differs(json!({"a": 1}), json!({"a": 1, "b": 2}), false), 1);
        assert_eq!(differs(json!({"a": "${id}"}), json!({"a": "7"}), false), 1, "the type counts");
        assert_eq!(differs(json!(["${int}", "${null}"]), json!([1, null]), false), 0);
        assert_eq!(differs(json!(["${int}"]), json!(["1"]), false), 1);
        assert_eq!(differs(json!([]), json!([1]), true), 1);
        assert_eq!(differs(json!({}), json!({"a": 1}), true), 0);
        assert_eq!(differs(json!({"a": {}}), json!({"a": {"b": 1}}), false), 1);
    }
}
