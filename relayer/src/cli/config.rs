//! `oraculum config`: the configuration, without a node.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{CommandResult, tell};
use crate::{
    config::{FILE_NAME, Settings},
    keys,
};

/// Look at a node's configuration.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oraculum config check --config my-node/oraculum.toml")]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Read the configuration, the environment over it and the keystores as a start would, without a password and without
    /// the chain.
    #[command(after_help = "Example:\n  oraculum config check && systemctl reload oraculum")]
    Check {
        /// The configuration file; several where one node serves several chains.
        #[arg(long, value_name = "FILE", env = "ORACULUM_CONFIG", default_value = FILE_NAME)]
        config: Vec<PathBuf>,
    },
}

/// Runs the command.
pub(super) fn run(args: &ConfigArgs) -> CommandResult {
    let ConfigCommand::Check { config } = &args.command;
    for (settings, path) in Settings::load_all(config)?.iter().zip(config) {
        settings.chain.trust()?;
        keys::check(&settings.keys)?;
        tell!("{} can be used", path.display());
    }
    Ok(())
}
