//! What happens to a job, and which state allows it.

use alloy::primitives::{Address, B256};

use super::{CloseReason, Closed, Included, Job, JobState, Resolution, Seen, Sent, Skip};
use crate::chain::BlockRef;

/// What happens to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// A transaction with its answer is about to be broadcast. Refused if the request is in another block by now.
    Sent {
        /// The block whose hash was signed.
        block: B256,
        /// Who pays for the transaction.
        sender: Address,
        /// The transaction's nonce.
        nonce: u64,
        /// Hash of the transaction's first attempt.
        hash: B256,
    },
    /// The request ended on the chain.
    Included {
        /// The block in which it ended.
        at: BlockRef,
        /// The transaction that ended it, where the log names one.
        transaction: Option<B256>,
        /// How the request ended.
        ending: Resolution,
    },
    /// What ended the request, or carried its answer, is gone from the chain.
    Reopened,
    /// The block in which the request ended is final.
    Finalized,
    /// This node passes the job over.
    Skipped(Skip),
    /// This node cannot answer, for the reason given.
    Failed(String),
}

impl Transition {
    /// The labels under which metrics count it: what happened, and why.
    #[must_use]
    pub fn labels(&self) -> (&'static str, &'static str) {
        match self {
            Self::Sent { .. } => ("sent", ""),
            Self::Included { ending: Resolution::Fulfilled { ours: true, .. }, .. } => ("answered", ""),
            Self::Included { ending: Resolution::Fulfilled { ours: false, .. }, .. } => ("yielded", ""),
            Self::Included { ending: Resolution::Refunded, .. } => ("refunded", ""),
            Self::Reopened => ("reopened", ""),
            Self::Finalized => ("finalized", ""),
            Self::Skipped(reason) => ("skipped", reason.label()),
            Self::Failed(_) => ("failed", ""),
        }
    }
}

/// Why a transition was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTransition {
    /// The state of the job does not allow it.
    #[error("the job is {0} already")]
    From(JobState),
    /// There is no such job.
    #[error("the job is unknown")]
    UnknownJob,
}

impl Job {
    /// The job after a transition.
    ///
    /// # Errors
    /// `From` if the job's state does not allow it; the journal then keeps the job as it is.
    pub fn apply(self, transition: Transition) -> Result<Self, InvalidTransition> {
        let state = self.state();
        match (self, transition) {
            (Self::Seen(Seen { task }), Transition::Sent { block, sender, nonce, hash }) if task.block.hash == block => {
                Ok(Self::Sent(Sent { task, sender, nonce, hash }))
            }
            (Self::Seen(Seen { task }), Transition::Included { at, transaction, ending }) => {
                Ok(Self::Included(Included { task, at, transaction, ending, sent: None }))
            }
            (Self::Sent(Sent { task, sender, nonce, .. }), Transition::Included { at, transaction, ending }) => {
                Ok(Self::Included(Included { task, at, transaction, ending, sent: Some((sender, nonce)) }))
            }
            // What this node passed over, another may answer; that is worth nothing to us but the record.
            (
                Self::Closed(Closed { task, end: CloseReason::Skipped { .. } | CloseReason::Failed { .. } }),
                Transition::Included { at, transaction, ending },
            ) => Ok(Self::Included(Included { task, at, transaction, ending, sent: None })),
            // After a reorganisation the answer is found anew: our transaction may be dropped or no longer valid.
            (
                Self::Sent(Sent { task, .. })
                | Self::Included(Included { task, .. })
                // Deeper than the operator's confirmations.
                | Self::Closed(Closed { task, end: CloseReason::Finalized { .. } }),
                Transition::Reopened,
            ) => Ok(Self::Seen(Seen { task })),
            (Self::Included(Included { task, at, transaction, ending, .. }), Transition::Finalized) => {
                Ok(Self::Closed(Closed { task, end: CloseReason::Finalized { at, transaction, ending } }))
            }
            (Self::Seen(Seen { task }), Transition::Skipped(reason)) => {
                Ok(Self::Closed(Closed { task, end: CloseReason::Skipped { reason } }))
            }
            (Self::Seen(Seen { task }) | Self::Sent(Sent { task, .. }), Transition::Failed(reason)) => {
                Ok(Self::Closed(Closed { task, end: CloseReason::Failed { reason } }))
            }
            _ => Err(InvalidTransition::From(state)),
        }
    }
}
