//! Finds the `oraculum dev` that a command is about, where nothing else is named.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{CommandResult, exit::Mistyped};
use crate::{
    chain::Endpoint,
    config::{FILE_NAME, Settings},
    dev::running::RunningDev,
};

/// The `oraculum dev` behind an endpoint, or the only one that runs if none is named. `None` if there is none.
///
/// # Errors
/// `Mistyped` if several run and none is named.
pub(super) fn find(endpoint: Option<&Endpoint>) -> Result<Option<RunningDev>, Mistyped> {
    let mut all = RunningDev::find_all();
    if let Some(endpoint) = endpoint {
        return Ok(all.into_iter().find(|running| running.is_behind(endpoint)));
    }
    if all.len() > 1 {
        let urls: Vec<&str> = all.iter().map(|running| running.deployment.rpc_url.as_str()).collect();
        return Err(Mistyped(format!(
            "several `oraculum dev` run here; choose one with --rpc-url: {}",
            urls.join(", ")
        )));
    }
    Ok(all.pop())
}

/// Whose journal is read.
#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    /// The node's configuration file [default: oraculum.toml in this folder, else the node of the running `oraculum dev`].
    #[arg(long, global = true, value_name = "FILE", env = "ORACULUM_CONFIG")]
    config: Option<PathBuf>,
    /// The node of the `oraculum dev` at this endpoint.
    #[arg(long, global = true, value_name = "URL", conflicts_with = "config")]
    rpc_url: Option<Endpoint>,
}

/// Where a node's files are.
#[derive(Debug)]
pub(super) struct NodeFolders {
    /// The folder of its journal.
    pub(super) data_dir: PathBuf,
    /// The folder of its models.
    pub(super) models_dir: PathBuf,
}

impl NodeArgs {
    /// Finds the node's folders.
    ///
    /// # Errors
    /// `Mistyped` if several `oraculum dev` run, or none at the endpoint; `ConfigError` for the file.
    pub(super) fn folders(&self) -> CommandResult<NodeFolders> {
        let by_default = Path::new(FILE_NAME);
        if self.config.is_none() && (self.rpc_url.is_some() || !by_default.exists()) {
            match (find(self.rpc_url.as_ref())?, &self.rpc_url) {
                (Some(RunningDev { deployment, data_dir, .. }), _) => {
                    return Ok(NodeFolders { data_dir, models_dir: deployment.models_dir });
                }
                (None, Some(url)) => return Err(Mistyped(format!("no `oraculum dev` runs at {url}")).into()),
                (None, None) => {}
            }
        }
        let settings = Settings::load(self.config.as_deref().unwrap_or(by_default))?;
        Ok(NodeFolders { data_dir: settings.node.data_dir, models_dir: settings.node.models_dir })
    }
}
