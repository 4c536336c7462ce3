//! A whole deployment on a local chain, for development and tests: Anvil, the coordinator with short parameters, models,
//! nodes with live seats, the example consumers, and money. Its keys are known to everybody.

mod anvil;
pub mod consumers;
mod deploy;
mod keys;
mod models;
pub mod running;
pub mod serve;
mod state;

pub use anvil::{Anvil, AnvilOptions, CHAIN_ID, DevAccount, Fork, HOST};
pub use deploy::{Consumers, DeployOptions, DeployedModel, Deployment, NodeAddresses, SEAT_BOND, deploy, parameters};
pub use keys::{NodeKeys, deployer, user};
pub use state::SavedState;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use alloy::primitives::{Address, address};

use crate::client::AccountError;

/// Where the coordinator is on a fresh local chain: the first contract of Anvil's first account.
pub const COORDINATOR: Address = address!("5FbDB2315678afecb367f032d93F642f64180aa3");
/// The port of `oraculum dev`, unless another is asked for.
pub const PORT: u16 = 8545;

/// Why there is no local deployment.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum DevError {
    #[error("there is no anvil: run ./scripts/setup in the project, or install Foundry")]
    NoAnvil,
    #[error("anvil does not start: {reason}")]
    AnvilStart { reason: String },
    #[error(
        "port {port} of {host} is taken, perhaps by another `oraculum dev`: choose one with --port, or --port 0 for any free one"
    )]
    PortTaken { host: IpAddr, port: u16 },
    #[error("cannot {doing} the state file {}: {reason}", path.display())]
    State { doing: &'static str, path: PathBuf, reason: String },
    #[error("the state file {} cannot go on: {reason}", path.display())]
    StaleState { path: PathBuf, reason: String },
    #[error(transparent)]
    Journal(#[from] crate::journal::JournalError),
    #[error("there are no models in {}: name a folder of models with --models", path.display())]
    NoModels { path: PathBuf },
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    #[error("cannot deploy {what}: {error}")]
    Deploy { what: String, error: AccountError },
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Configuration(#[from] crate::config::ConfigError),
    #[error("cannot sign: {0}")]
    Signing(#[from] alloy::signers::Error),
}

/// The nearest file or folder of a relative path in this folder, the binary's, or one above either.
pub fn find_upward(relative: &Path) -> Option<PathBuf> {
    let starts = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    starts
        .iter()
        .flatten()
        .flat_map(|start| start.ancestors())
        .map(|folder| folder.join(relative))
        .find(|path| path.exists())
}
