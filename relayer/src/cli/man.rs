//! `oraculum man`: manual pages, for packages.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use super::{Cli, CommandResult, tell};

/// Write a manual page of each command into a folder.
#[derive(Debug, Args)]
#[command(hide = true, after_help = "Example:\n  oraculum man /usr/local/share/man/man1")]
pub(super) struct ManArgs {
    /// The folder; it is made if it does not exist.
    dir: PathBuf,
}

/// Runs the command.
pub(super) fn run(args: &ManArgs) -> CommandResult {
    let written = std::fs::create_dir_all(&args.dir).and_then(|()| clap_mangen::generate_to(Cli::command(), &args.dir));
    written.map_err(|error| format!("cannot write manual pages into {}: {error}", args.dir.display()))?;
    tell!("wrote the manual pages into {}", args.dir.display());
    Ok(())
}
