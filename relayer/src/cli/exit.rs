//! What a command's exit code says.

use std::error::Error;

use crate::{
    chain::ChainError,
    client::{AccountError, ExampleError, NewModelError, Origin},
    config::ConfigError,
    coordinator::ReadError,
    engine::{EngineError, ExamineError, LoadError, StartError},
    journal::JournalError,
    keys::KeyError,
    model::ModelError,
    node::StageError,
    supervisor::NodeError,
};

/// The table in `oraculum --help` and the guide.
pub(super) const TABLE: &str = "Exit codes:
  0  done; a node that was told to end has ended
  1  failed, or the answer is no
  2  typed wrongly
  3  the configuration cannot be used
  4  a keystore or its password
  5  the chain: an endpoint, the deployment, a transaction
  6  the journal
  7  a model, or the engine that runs it
  8  the chain was reorganised deeper than `chain.reorg_depth`
  9  the node's stages keep failing";

/// What was typed makes no sense, which only the command itself could tell.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Mistyped(pub(super) String);

/// Why a command failed. The number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    Failed = 1,
    Mistyped = 2,
    Configuration = 3,
    Keys = 4,
    Chain = 5,
    Journal = 6,
    Engine = 7,
    Reorganised = 8,
    Stages = 9,
}

impl Exit {
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(exit) = Self::known(error) {
                return exit;
            }
            next = error.source();
        }
        Self::Failed
    }

    fn known(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(error) = error.downcast_ref::<NodeError>() {
            return Some(Self::node(error));
        }
        if let Some(error) = error.downcast_ref::<StageError>() {
            return Some(Self::stage(error));
        }
        if let Some(error) = error.downcast_ref::<NewModelError>() {
            return Some(match error {
                NewModelError::Name(_) | NewModelError::Labels { .. } | NewModelError::EmptyLabel => Self::Mistyped,
                _ => Self::Engine,
            });
        }
        if let Some(error) = error.downcast_ref::<ExampleError>() {
            return Some(match error {
                // The card is to blame.
                ExampleError::Input { origin: Origin::Probe(_), .. } => Self::Engine,
                ExampleError::Input { .. } | ExampleError::File { .. } => Self::Mistyped,
            });
        }
        let is_engine = error.is::<StartError>()
            || error.is::<LoadError>()
            || error.is::<EngineError>()
            || error.is::<ExamineError>();
        if error.is::<Mistyped>() {
            Some(Self::Mistyped)
        } else if error.is::<ConfigError>() {
            Some(Self::Configuration)
        } else if error.is::<KeyError>() {
            Some(Self::Keys)
        } else if error.is::<AccountError>() || error.is::<ChainError>() || error.is::<ReadError>() {
            Some(Self::Chain)
        } else if error.is::<JournalError>() {
            Some(Self::Journal)
        } else if is_engine || error.is::<ModelError>() {
            Some(Self::Engine)
        } else {
            None
        }
    }

    fn node(error: &NodeError) -> Self {
        match error {
            NodeError::Unreachable { .. }
            | NodeError::WrongChain { .. }
            | NodeError::NoContract(_)
            | NodeError::Read(_) => Self::Chain,
            NodeError::Journal(_) => Self::Journal,
            NodeError::Engine(_) | NodeError::ModelNotLoaded { .. } | NodeError::Model(_) | NodeError::NoModel(_) => {
                Self::Engine
            }
            NodeError::Configuration(_) | NodeError::Shared(_) | NodeError::Policy(_) | NodeError::Status { .. } => {
                Self::Configuration
            }
            NodeError::Stage(error) => Self::stage(error),
        }
    }

    fn stage(error: &StageError) -> Self {
        match error {
            StageError::Journal(_) => Self::Journal,
            StageError::Read(_) => Self::Chain,
            StageError::Signer(_) | StageError::SenderGone(_) => Self::Keys,
            StageError::ReorgTooDeep { .. } => Self::Reorganised,
            StageError::Gone(_) => Self::Stages,
        }
    }
}
