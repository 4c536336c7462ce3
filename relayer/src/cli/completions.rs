//! `oraculum completions`: what a shell needs to complete the command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, CommandResult, print};

/// Print a script with which a shell completes this command.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oraculum completions bash > ~/.local/share/bash-completion/completions/oraculum")]
pub(super) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Runs the command.
pub(super) fn run(args: &CompletionsArgs) -> CommandResult {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "oraculum", &mut script);
    print(String::from_utf8_lossy(&script).trim_end())
}
