//! A job's life: what is known of one request, as states whose moves consume the old one.
//!
//! ```text
//! Seen ─▶ Executed ─▶ Attested ─▶ Sent ─▶ Included ─▶ Closed (finalized)
//!   └───────────────────────────────────────▲  (another node answered, or the escrow was refunded)
//!   └─▶ Closed (skipped, failed)
//! ```
//!
//! `Executed` and `Attested` live in memory only: running a model again is cheaper than writing its output twice.
//! What the journal keeps is a [`Job`], which changes by [`Transition`]s.

mod close_reason;
mod transition;

pub use close_reason::{CloseReason, Resolution, Skip};
pub use transition::{InvalidTransition, Transition};

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, Weak},
};

use alloy::primitives::{Address, B256, Bytes};
use serde::{Deserialize, Serialize};

use super::SignedAnswer;
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
    /// A weak reference that lives while the job is in hand.
    #[must_use]
    pub fn watch(&self) -> Weak<()> {
        Arc::downgrade(&self.0)
    }
}

/// A job whose model ran.
#[derive(Debug, Clone)]
pub struct Executed {
    /// What is asked.
    pub task: Task,
    /// What was found.
    pub outcome: Outcome,
    /// Packed tensors; empty unless `Ok`.
    pub output: Bytes,
    /// Our seat, for which the answer is signed.
    pub seat: u32,
    /// Keeps the job in hand.
    pub lease: Lease,
}

/// A job whose answer is signed.
#[derive(Debug, Clone)]
pub struct Attested {
    /// What is asked.
    pub task: Task,
    /// What was found.
    pub outcome: Outcome,
    /// Packed tensors; empty unless `Ok`.
    pub output: Bytes,
    /// Our seat, for which the answer is signed.
    pub seat: u32,
    /// The signing key's signature over the statement.
    pub signature: CompactSignature,
    /// Keeps the job in hand.
    pub lease: Lease,
}

impl Seen {
    /// The job after its model ran, to be signed for one of our seats.
    #[must_use]
    pub fn executed(self, outcome: Outcome, output: Bytes, seat: u32) -> Executed {
        Executed { task: self.task, outcome, output, seat, lease: Lease::default() }
    }
}

impl Executed {
    /// The same job, kept in hand by a lease.
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
            seat: self.seat,
        }
    }

    /// What is to be remembered before the statement is signed.
    #[must_use]
    pub fn signed_answer(&self) -> SignedAnswer {
        SignedAnswer::new(&self.task, &self.statement())
    }

    /// The statement is signed.
    #[must_use]
    pub fn attested(self, signature: CompactSignature) -> Attested {
        let Self { task, outcome, output, seat, lease } = self;
        Attested { task, outcome, output, seat, signature, lease }
    }
}

/// A job whose answer our transaction carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// What is asked.
    pub task: Task,
    /// The account that pays for the transaction.
    pub sender: Address,
    /// The transaction's nonce: the journal has its attempts under sender and nonce.
    pub nonce: u64,
    /// Hash of the transaction's first attempt.
    pub hash: B256,
}

/// A request that was fulfilled or refunded in a block that a reorganisation can still undo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Included {
    /// What was asked.
    pub task: Task,
    /// The block in which the request ended.
    pub at: BlockRef,
    /// The transaction that ended it, where the log names one.
    pub transaction: Option<B256>,
    /// How the request ended.
    pub ending: Resolution,
    /// Sender and nonce of our transaction, if we sent one.
    pub sent: Option<(Address, u64)>,
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
    /// The request ended on the chain, in a block that is not final.
    #[serde(alias = "settled")]
    Included(Included),
    /// The job is over.
    Closed(Closed),
}

/// The states of a [`Job`]; those of a closed one by its [`CloseReason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// To be answered.
    Seen,
    /// Our transaction carries the answer.
    Sent,
    /// Fulfilled or refunded in a block that is not final.
    Included,
    /// Fulfilled or refunded in a final block.
    Finalized,
    /// Passed over by this node.
    Skipped,
    /// Not to be answered by this node.
    Failed,
}

impl JobState {
    /// All states, in the order of a job's life.
    pub const ALL: [Self; 6] = [Self::Seen, Self::Sent, Self::Included, Self::Finalized, Self::Skipped, Self::Failed];

    /// The state's name, as the command line shows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Sent => "sent",
            Self::Included => "included",
            Self::Finalized => "finalized",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for JobState {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|state| state.name() == name);
        found.ok_or_else(|| format!("`{name}` is not a state: write one of {}", names()))
    }
}

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

    /// The state that the job is in.
    #[must_use]
    pub fn state(&self) -> JobState {
        match self {
            Self::Seen(_) => JobState::Seen,
            Self::Sent(_) => JobState::Sent,
            Self::Included(_) => JobState::Included,
            Self::Closed(Closed { end, .. }) => match end {
                CloseReason::Finalized { .. } => JobState::Finalized,
                CloseReason::Skipped { .. } => JobState::Skipped,
                CloseReason::Failed { .. } => JobState::Failed,
            },
        }
    }

    /// The state's name, as the command line shows it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.state().name()
    }

    /// The block in which the request ended, if it did.
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
}

#[cfg(test)]
mod tests;
