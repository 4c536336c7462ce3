//! `oraculum health`: whether the node of a configuration answers, for whatever watches its process.

use std::path::PathBuf;

use clap::Args;

use super::{CommandResult, print};
use crate::{
    api::RunningNode,
    config::{FILE_NAME, Settings},
};

/// Say whether a node can answer requests now; exit code 1 and the reasons if not.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  oraculum health\n  oraculum health --live")]
pub(super) struct HealthArgs {
    /// Only whether its process runs and can be reached.
    #[arg(long)]
    live: bool,
    /// The configuration file; several where one node serves several chains.
    #[arg(long, value_name = "FILE", env = "ORACULUM_CONFIG", default_value = FILE_NAME)]
    config: Vec<PathBuf>,
}

impl HealthArgs {
    /// Runs the command.
    pub(super) async fn run(self) -> CommandResult {
        for settings in Settings::load_all(&self.config)? {
            let data_dir = &settings.node.data_dir;
            let none =
                || format!("no node with a status address runs on {}; `oraculum run` starts one", data_dir.display());
            let node = RunningNode::find(data_dir).await?.ok_or_else(none)?;
            if self.live {
                continue;
            }
            let readiness = node.readiness().await?;
            if !readiness.ready {
                return Err(format!("the node is not ready: {}", readiness.reasons.join("; ")).into());
            }
        }
        print(if self.live { "live" } else { "ready" })
    }
}
