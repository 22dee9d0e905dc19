//! Backups of the one-process shape: `holdall-gateway backup`, `restore` and `verify`.
//!
//! ```text
//! backup.manifest       what belongs to the backup, with sizes and BLAKE3 digests; written last
//! unfinished.manifest   packs that one has copied which is under way, or broke off
//! databases-<time>/     metadata.db  auth.db  blob/index.db  keys/…
//! packs/<id>.pack
//! LOCK                  one backup at a time
//! ```
//!
//! # Why a backup that is made while the server runs is whole
//!
//! * Metadata is copied first, at one moment. Whatever it knows then has been durable in packs since before that, and in the
//!   index.
//! * The index is copied after it. A blob that was in use at the first moment is deleted from the index a grace (a day at
//!   least) after it has lost its last user at the earliest, so the copy has it, and its chunks.
//! * The packs are copied last, up to where rows of that copy point. All of that was durable before the rows were written,
//!   and is never changed. Compaction may delete a pack before its turn comes: it has moved what is wanted of it before, so
//!   the index is copied again, and packs that are there already are not.
//! * None of it is taken on trust, be it that a clock jumped or that copying took days: before the manifest is written, every
//!   blob that the copy of metadata knows is looked up in the copy of the index, with its chunks, and every pack of that has
//!   been copied as far as it is needed. Else there is no backup, and the one before stays.
//!
//! # Why breaking off does no harm
//!
//! What a manifest speaks of is not changed: databases go into a new folder, new packs into new files, and what was added to
//! a pack behind the end that the manifest knows. A new manifest takes the place of the old one by a rename once everything
//! is durable, and only then what it does not speak of is deleted.

mod copy;
mod make;
mod manifest;
mod restore;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use holdall_runtime::run::{self, StartError};

use crate::config::Config;

pub use make::{Made, make};
pub use restore::restore;
pub use verify::verify;

const NAME: &str = "holdall-gateway";

/// Exit code: something is damaged or missing.
const DAMAGED: u8 = 1;

#[derive(clap::Args)]
struct Make {
    /// Folder for the backup. One that is there is brought up to date.
    #[arg(value_name = "DEST")]
    target: PathBuf,
    /// Make it although something is damaged in the data directory, and let it take the place of the one before.
    #[arg(long)]
    accept_damage: bool,
}

#[derive(clap::Args)]
struct Restore {
    /// Folder with the backup.
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
}

#[derive(clap::Args)]
struct Verify {
    /// A backup, or the data directory of a server that does not run.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Does one of these when the arguments ask for it.
pub fn main() -> Option<ExitCode> {
    let about = "Make a backup of the data directory, while the server runs or not";
    run::command_with(NAME, "backup", about, |config: Config, Make { target, accept_damage }| async move {
        let made = make(&config, &target, accept_damage).await?;
        made.tell();
        Ok(if made.problems == 0 { 0 } else { DAMAGED })
    })
    .or_else(|| {
        let about = "Restore a backup into the data directory, which has to be empty or not there";
        run::command_with(NAME, "restore", about, |config: Config, Restore { source }| async move {
            restore(&config, &source).await?;
            say(&format!("{} is restored from {}", config.data.dir.display(), source.display()));
            Ok(0)
        })
    })
    .or_else(|| {
        let about =
            "Read a backup, or a data directory that is not in use, and tell what is damaged or missing";
        run::command_with(NAME, "verify", about, |config: Config, Verify { folder }| async move {
            let found = verify(&config, &folder, &mut |line| say(&line)).await?;
            say(&format!(
                "{} versions and buffer entries, {} packs, {} records, {} bytes, {} problems",
                found.uses, found.packs, found.records, found.bytes, found.problems
            ));
            Ok(if found.problems == 0 { 0 } else { DAMAGED })
        })
    })
}

/// For the person who asked. Whoever does not listen any more does not need to know.
fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn failed(what: &str, path: &std::path::Path, error: &std::io::Error) -> StartError {
    StartError::failed(format!("cannot {what} {}: {error}", path.display()))
}
