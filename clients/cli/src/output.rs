//! What is said on the terminal.

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::api::Node;
use crate::error::{Error, Result};

/// Says what went wrong, and gives the exit code.
pub fn fail(error: &Error) -> ExitCode {
    complain(&error.to_string());
    ExitCode::from(error.exit_code())
}

/// Says something on standard error.
#[expect(clippy::print_stderr, reason = "for the person at the terminal")]
pub fn complain(text: &str) {
    eprintln!("holdall: {}", plain(text));
}

/// Prints lines on standard output. A reader that has seen enough (`holdall ls | head`) is no failure.
///
/// # Errors
/// [`Error::Local`]; `Ok(false)` when nobody reads any more.
pub fn print(lines: &str) -> Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::local("cannot write to standard output", error)),
    }
}

/// One line of a listing.
pub fn line(node: &Node, long: bool) -> String {
    let slash = if node.is_folder() { "/" } else { "" };
    let name = plain(&node.name);
    if !long {
        return format!("{name}{slash}\n");
    }
    let size = node.version.as_ref().map_or_else(|| "-".to_owned(), |version| version.size.to_string());
    format!("{size:>15}  {}  {name}{slash}\n", seconds(&node.modified_at))
}

/// A time without its fraction of a second.
fn seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => plain(time),
    }
}

/// Text from elsewhere, without what a terminal could take for commands.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(json: &str) -> Node {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_listing_shows_what_is_asked_for() {
        let file = node(
            r#"{"node_id":"1","name":"a b.txt","kind":"file","modified_at":"2026-11-22T03:25:16.123456Z",
                "version":{"size":1234}}"#,
        );
        assert_eq!(line(&file, false), "a b.txt\n");
        assert_eq!(line(&file, true), "           1234  2026-11-22T03:25:16Z  a b.txt\n");
        let folder = node(
            r#"{"node_id":"2","name":"x","kind":"folder","modified_at":"2026-11-22T03:25:16Z","version":null}"#,
        );
        assert_eq!(line(&folder, false), "x/\n");
        assert_eq!(line(&folder, true), "              -  2026-11-22T03:25:16Z  x/\n");
    }

    #[test]
    fn text_from_elsewhere_gives_a_terminal_no_commands() {
        assert_eq!(plain("a\x1b[2Jb\rc\u{9b}d"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
    }
}
