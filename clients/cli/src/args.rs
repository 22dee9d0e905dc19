//! The command line.

use std::path::PathBuf;

use clap::{Args as Arguments, Parser, Subcommand};

const AFTER_HELP: &str = "\
REMOTE is a path on the server, such as photos/2026/beach.jpg; a slash at its end says that a folder is meant.

Exit codes:
  0  done
  1  failed for another reason than those below
  2  wrong use of this command
  3  not signed in, or wrong username or password
  4  no such file or folder
  5  in conflict with what is there
  6  the server cannot be reached or is busy; the same command may work later
  7  no room left, or too large

The session is kept in holdall/config.toml in the configuration folder ($XDG_CONFIG_HOME, or ~/.config), readable by
you alone; $HOLDALL_CONFIG names another file.";

/// Files on a Holdall server: put, get, list, share.
#[derive(Debug, Parser)]
#[command(name = "holdall", version, after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sign in, and remember the session.
    Login(Login),
    /// Make an account, and sign in.
    Register(Register),
    /// End the session, and forget it.
    Logout,
    /// Upload files.
    Put(Put),
    /// Download files; goes on where an earlier attempt was cut off.
    Get(Get),
    /// List a folder.
    Ls(Ls),
    /// Make a folder, and those above it that are missing.
    Mkdir {
        /// Where.
        remote: String,
    },
    /// Put files or folders into the trash.
    Rm {
        /// Which.
        #[arg(required = true)]
        remote: Vec<String>,
    },
    /// Rename or move a file or folder.
    Mv {
        /// What.
        from: String,
        /// Its new path, or the folder to move it into.
        to: String,
    },
    /// Share a file by a short link.
    Link {
        /// Which.
        remote: String,
        /// How long the link works, such as 12h or 30d; for ever when left out.
        #[arg(long, value_name = "TIME", value_parser = duration)]
        expires_in: Option<u64>,
    },
}

/// Who signs in where.
#[derive(Debug, Arguments)]
pub struct Login {
    /// The address of the server, such as `https://files.example.org`.
    pub url: String,
    /// Username or e-mail address; asked for when left out.
    #[arg(long, short)]
    pub username: Option<String>,
    /// Read the password from the first line of standard input instead of asking for it.
    #[arg(long, requires = "username")]
    pub password_stdin: bool,
}

/// Who registers where.
#[derive(Debug, Arguments)]
pub struct Register {
    /// The account.
    #[command(flatten)]
    pub login: Login,
    /// An e-mail address for the account.
    #[arg(long)]
    pub email: Option<String>,
}

/// What to upload.
#[derive(Debug, Arguments)]
pub struct Put {
    /// Upload folders with all they hold. Symbolic links inside are left out.
    #[arg(long, short)]
    pub recursive: bool,
    /// Show no progress.
    #[arg(long, short)]
    pub quiet: bool,
    /// Files and folders; `-` for standard input.
    #[arg(required = true)]
    pub local: Vec<PathBuf>,
    /// The path to upload to, or a folder to upload into.
    pub remote: String,
}

/// What to download.
#[derive(Debug, Arguments)]
pub struct Get {
    /// Download a folder with all it holds.
    #[arg(long, short)]
    pub recursive: bool,
    /// Show no progress.
    #[arg(long, short)]
    pub quiet: bool,
    /// What to download.
    pub remote: String,
    /// The path to write to, or a folder to write into; `-` for standard output; the current folder when left out.
    pub local: Option<PathBuf>,
}

/// What to list.
#[derive(Debug, Arguments)]
pub struct Ls {
    /// Show sizes and times (UTC) too.
    #[arg(long, short)]
    pub long: bool,
    /// The folder; the topmost when left out.
    #[arg(default_value = "")]
    pub remote: String,
}

/// Seconds in a text such as `90s`, `30m`, `12h` or `7d`.
fn duration(text: &str) -> Result<u64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err("expected a number and one of s, m, h, d".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "expected a number and one of s, m, h, d".to_owned())?;
    number.checked_mul(unit).filter(|&seconds| seconds > 0).ok_or_else(|| "out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_last_of_several_paths_is_the_remote_one() {
        let args = Args::try_parse_from(["holdall", "put", "-r", "a", "b", "to/"]).unwrap();
        let Command::Put(put) = args.command else { panic!("{args:?}") };
        assert!(put.recursive);
        assert_eq!(put.local, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!(put.remote, "to/");
        assert!(Args::try_parse_from(["holdall", "put", "a"]).is_err());
        assert!(Args::try_parse_from(["holdall", "put", "-", "a"]).is_ok());
        assert!(Args::try_parse_from(["holdall", "get", "a", "-"]).is_ok());
    }

    #[test]
    fn a_password_from_standard_input_needs_a_username() {
        assert!(Args::try_parse_from(["holdall", "login", "http://x", "--password-stdin"]).is_err());
        assert!(
            Args::try_parse_from(["holdall", "login", "http://x", "--password-stdin", "-u", "a"]).is_ok()
        );
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("90s"), Ok(90));
        assert_eq!(duration("12h"), Ok(43_200));
        assert_eq!(duration("30d"), Ok(2_592_000));
        for bad in ["", "1", "h", "0d", "-1h", "1w", "1.5h", "99999999999999999999d", "999999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
