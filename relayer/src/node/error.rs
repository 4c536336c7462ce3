//! Why a stage ends.

use alloy::primitives::Address;

use crate::{coordinator::ReadError, journal::JournalError, keys::SignError};

/// Why a stage ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The coordinator cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A signer refuses for good. Trying again does not help.
    #[error("cannot sign: {0}")]
    Signer(#[from] SignError),
    /// The journal holds transactions of a key that this node does not have.
    #[error(
        "the journal holds unfinished transactions of {0}: keep its keystore in `keys.senders` until they are final"
    )]
    SenderGone(Address),
    /// A stage panicked, or another stage ended.
    #[error("the {0} ended unexpectedly")]
    Gone(&'static str),
    /// A reorganisation goes back behind all blocks that are remembered. Trying again does not help.
    #[error(
        "the chain was reorganised deeper than `chain.reorg_depth`: it has another block {oldest} than the journal, \
         which ends at block {cursor}. Check that the endpoints are right; if they are, delete `db` in `node.data_dir` to scan the \
         chain anew, and raise `chain.reorg_depth` if the chain may do so again"
    )]
    ReorgTooDeep {
        /// The oldest block that is remembered.
        oldest: u64,
        /// The last block taken in.
        cursor: u64,
    },
}

impl StageError {
    /// Tells whether building the stages anew cannot help.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        match self {
            // After it, a journal takes nothing until it is opened again, which only another process does.
            Self::Journal(JournalError::Store(_)) => true,
            Self::Read(ReadError::NotACoordinator(_)) | Self::ReorgTooDeep { .. } => true,
            Self::Signer(error) => !error.is_retryable(),
            Self::Journal(_) | Self::Read(_) | Self::SenderGone(_) | Self::Gone(_) => false,
        }
    }
}
