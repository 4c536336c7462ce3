//! A job's life: what is known of one request, as states whose moves consume the old one.
//!
//! ```text
//! Seen ─▶ Executed ─▶ Attested ─▶ Sent ─▶ Settled ─▶ Closed
//!   └───────────────────────────────────────▲  (another node answered, or the escrow was refunded)
//!   └─▶ Closed (skipped, failed)
//! ```
//!
//! `Executed` and `Attested` live in memory only: running a model again is cheaper than writing its output twice.
//! What the journal keeps is a [`Job`], which changes by [`Transition`]s.

use std::sync::{Arc, Weak};

use alloy::primitives::{Address, B256, Bytes};
use serde::{Deserialize, Serialize};

use crate::{
    chain::BlockRef,
    protocol::{
        Outcome,
        request::Request,
        statement::{CompactSignature, Statement, output_commitment},
    },
};

/// What is asked: a request and the block that holds it. The hash of that block draws the seats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The request's id.
    pub id: B256,
    /// The request.
    pub request: Request,
    /// Its block.
    pub block: BlockRef,
}

/// A request seen on chain that nobody has answered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What is asked.
    pub task: Task,
}

/// The seat that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatAssignment {
    /// Our seat.
    pub seat: u32,
    /// Its rank among the eligible seats.
    pub rank: u32,
    /// How many seats are eligible.
    pub eligible: u32,
    /// The ineligible seats that must be listed, ascending by rank.
    pub holes: Vec<u32>,
}

/// Keeps a job in hand: its model is not run again while a clone of this lives. Whoever gives a job up without a move in
/// the journal need only drop it, and the job's turn comes again.
#[derive(Debug, Clone, Default)]
pub struct Lease(Arc<()>);

impl Lease {
    /// What tells whether the job is still in hand.
    #[must_use]
    pub fn watch(&self) -> Weak<()> {
        Arc::downgrade(&self.0)
    }
}

/// The model ran.
#[derive(Debug, Clone)]
pub struct Executed {
    /// What is asked.
    pub task: Task,
    /// What was found.
    pub outcome: Outcome,
    /// Packed tensors; empty unless `Ok`.
    pub output: Bytes,
    /// Keeps the job in hand.
    pub lease: Lease,
}

/// The answer is signed.
#[derive(Debug, Clone)]
pub struct Attested {
    /// What is asked.
    pub task: Task,
    /// What was found.
    pub outcome: Outcome,
    /// Packed tensors; empty unless `Ok`.
    pub output: Bytes,
    /// The signing key's signature over the statement.
    pub signature: CompactSignature,
    /// Keeps the job in hand.
    pub lease: Lease,
}

impl Seen {
    /// The model ran.
    #[must_use]
    pub fn executed(self, outcome: Outcome, output: Bytes) -> Executed {
        Executed { task: self.task, outcome, output, lease: Lease::default() }
    }
}

impl Executed {
    /// The same, kept in hand by a lease.
    #[must_use]
    pub fn held(self, lease: Lease) -> Self {
        Self { lease, ..self }
    }

    /// What is to be signed.
    #[must_use]
    pub fn statement(&self) -> Statement {
        Statement {
            request_id: self.task.id,
            block_hash: self.task.block.hash,
            // Inline inputs are the packed tensors themselves.
            input_hash: self.task.request.input_hash,
            outcome: self.outcome,
            output_commitment: output_commitment(&self.output),
        }
    }

    /// The statement is signed.
    #[must_use]
    pub fn attested(self, signature: CompactSignature) -> Attested {
        let Self { task, outcome, output, lease } = self;
        Attested { task, outcome, output, signature, lease }
    }
}

/// Our transaction carries the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// What is asked.
    pub task: Task,
    /// The account and nonce under which the transaction's attempts are in the journal.
    pub sender: Address,
    /// See `sender`.
    pub nonce: u64,
    /// The first attempt's hash.
    pub hash: B256,
}

/// How a request ended on chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Resolution {
    /// An answer was recorded.
    Fulfilled {
        /// What was found.
        outcome: Outcome,
        /// keccak256 of the output.
        output_commitment: B256,
        /// The signers' seats, 4 bytes each.
        seats: Bytes,
        /// Whether one of them is ours.
        ours: bool,
    },
    /// The escrow went back.
    Refunded,
}

/// The chain settled it; a reorganisation can still undo that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Included {
    /// What was asked.
    pub task: Task,
    /// The block that settled it.
    pub at: BlockRef,
    /// The transaction that did, where the log names it.
    pub transaction: Option<B256>,
    /// How.
    pub ending: Resolution,
    /// Sender and nonce of our transaction, if we sent one.
    pub sent: Option<(Address, u64)>,
}

/// Why a request is not answered by this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Skip {
    /// None of our seats was drawn, or could be before the deadline.
    #[error("no seat of ours may answer it")]
    NoSeat,
    /// It pays too little.
    #[error("it pays {pays} wei, and this node asks for {asks} wei")]
    Unprofitable {
        /// Pay for an answer of this node, wei.
        #[serde(with = "decimal")]
        pays: u128,
        /// `policy.min_fee`, or what the answer would cost, with the margin.
        #[serde(with = "decimal")]
        asks: u128,
    },
    /// The deadline passed.
    #[error("its deadline passed at block {deadline}")]
    Expired {
        /// The last block in which it could be answered.
        deadline: u64,
    },
    /// Too much work was due before it.
    #[error("the model cannot be run for it before block {deadline}: {ahead} requests are due earlier")]
    Overloaded {
        /// The last block in which it could be answered.
        deadline: u64,
        /// How many requests for the model were to be run before it.
        ahead: u64,
    },
    /// This version does not serve it.
    #[error("not offered: {what}")]
    NotOffered {
        /// What it asks for.
        what: String,
    },
}

impl Skip {
    /// The label under which metrics count it.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoSeat => "no_seat",
            Self::Unprofitable { .. } => "unprofitable",
            Self::Expired { .. } => "expired",
            Self::Overloaded { .. } => "overloaded",
            Self::NotOffered { .. } => "not_offered",
        }
    }
}

/// How a job ended for this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CloseReason {
    /// Settled, at the confirmation depth.
    #[serde(alias = "confirmed")]
    Finalized {
        /// The block that settled it.
        at: BlockRef,
        /// The transaction that did, where the log names it.
        transaction: Option<B256>,
        /// How.
        ending: Resolution,
    },
    /// Passed over, with the reason.
    Skipped {
        /// Why.
        reason: Skip,
    },
    /// Could not be answered by this node.
    Failed {
        /// What went wrong.
        reason: String,
    },
}

/// A job that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// What was asked.
    pub task: Task,
    /// How it ended.
    pub end: CloseReason,
}

/// What the journal keeps of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Job {
    /// To be answered.
    Seen(Seen),
    /// Our transaction is on its way.
    Sent(Sent),
    /// The chain settled it.
    #[serde(alias = "settled")]
    Included(Included),
    /// Over.
    Closed(Closed),
}

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
        /// Its hash.
        hash: B256,
    },
    /// The chain settled it.
    Included {
        /// In this block.
        at: BlockRef,
        /// By this transaction.
        transaction: Option<B256>,
        /// How.
        ending: Resolution,
    },
    /// What settled it, or carried its answer, is gone from the chain.
    Reopened,
    /// What settled it is deep enough.
    Finalized,
    /// This node passes.
    Skipped(Skip),
    /// This node cannot.
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

/// A move that the job's state does not allow, with the state's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the job is {0} already")]
pub struct InvalidTransition(pub &'static str);

impl Job {
    /// What is asked.
    #[must_use]
    pub fn task(&self) -> &Task {
        match self {
            Self::Seen(seen) => &seen.task,
            Self::Sent(sent) => &sent.task,
            Self::Included(settled) => &settled.task,
            Self::Closed(closed) => &closed.task,
        }
    }

    /// The state's name, as the command line shows it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Seen(_) => "seen",
            Self::Sent(_) => "sent",
            Self::Included(_) => "included",
            Self::Closed(Closed { end: CloseReason::Finalized { .. }, .. }) => "finalized",
            Self::Closed(Closed { end: CloseReason::Skipped { .. }, .. }) => "skipped",
            Self::Closed(Closed { end: CloseReason::Failed { .. }, .. }) => "failed",
        }
    }

    /// The block that settled it, if one did.
    #[must_use]
    pub fn included_at(&self) -> Option<BlockRef> {
        match self {
            Self::Included(settled) => Some(settled.at),
            Self::Closed(Closed { end: CloseReason::Finalized { at, .. }, .. }) => Some(*at),
            _ => None,
        }
    }

    /// Whether the job is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }

    /// Makes a move.
    ///
    /// # Errors
    /// `InvalidTransition` where the state does not allow it; the journal then keeps the job as it is.
    pub fn apply(self, step: Transition) -> Result<Self, InvalidTransition> {
        let name = self.name();
        match (self, step) {
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
            _ => Err(InvalidTransition(name)),
        }
    }
}

/// Numbers that JSON, and serde's tagged enums, cannot hold.
mod decimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
