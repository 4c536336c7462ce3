//! Why a node does not run.

use std::{path::PathBuf, time::Duration};

use alloy::primitives::Address;

use crate::{
    chain::ChainError,
    config::ConfigError,
    coordinator::ReadError,
    engine::{LoadError, StartError},
    journal::JournalError,
    model::ModelError,
    node::StageError,
};

/// Why a node does not run, or stopped.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum NodeError {
    #[error("{error}; the endpoint was tried for {} s: check `chain.rpc_urls` and whether it runs", .tried.as_secs())]
    Unreachable { error: ChainError, tried: Duration },
    #[error(
        "{endpoint} is on chain {found}, and the configuration says {expected}: correct `chain.rpc_urls` or `chain.chain_id`"
    )]
    WrongChain { endpoint: String, found: u64, expected: u64 },
    #[error("two configurations share {0}: give each file its own")]
    Shared(String),
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    #[error("there is no contract at {0} on this chain: correct `chain.coordinator` or `chain.rpc_urls`")]
    NoContract(Address),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Engine(#[from] StartError),
    #[error("model {name}: {error}")]
    ModelNotLoaded { name: String, error: LoadError },
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("there is no model to serve in {}: `oraculum model add` puts one there, or correct `node.models_dir`", .0.display())]
    NoModel(PathBuf),
    #[error("{0}")]
    Policy(String),
    #[error("cannot serve the status on {address}: {error}; correct `node.status_listen`")]
    Status { address: std::net::SocketAddr, error: std::io::Error },
    #[error(transparent)]
    Stage(#[from] StageError),
}

impl NodeError {
    /// Whether the configuration is wrong, rather than that something does not work now.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::WrongChain { .. }
            | Self::Shared(_)
            | Self::Configuration(_)
            | Self::NoContract(_)
            | Self::Engine(_)
            | Self::ModelNotLoaded { .. }
            | Self::Model(_)
            | Self::NoModel(_)
            | Self::Policy(_)
            | Self::Status { .. }
            | Self::Read(ReadError::NotACoordinator(_))
            | Self::Journal(
                JournalError::Locked(_)
                | JournalError::Foreign { .. }
                | JournalError::Missing(_)
                | JournalError::Folder { .. },
            ) => true,
            Self::Unreachable { .. } | Self::Read(_) | Self::Journal(_) | Self::Stage(_) => false,
        }
    }
}
