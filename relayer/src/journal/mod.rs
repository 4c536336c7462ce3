//! What the node must not forget between two runs, behind a narrow trait.
//!
//! The chain is the truth: everything here can be found again by scanning it from the deployment block. The journal
//! makes that unnecessary, and remembers the signed transactions that may be in somebody's pool. Every write is one
//! [`Batch`], all or nothing.

mod changes;
mod index;
pub mod memory;
mod signing;
pub mod store;

pub use index::{Position, View};
pub use signing::{RecordSignedError, SigningLimits, SigningRefused};
pub use store::{Record, SledJournal};

use std::ops::Range;

use alloy::primitives::{Address, B256, Bytes};
use serde::{Deserialize, Serialize};

use crate::{
    chain::BlockRef,
    domain::{Claim, Entry, InvalidTransition, Job, SignedAnswer, Task, TrackedTransaction, Transition},
};

/// The version of the layout, and of exported lines.
pub const VERSION: u32 = 6;
/// The first version whose exported lines were like today's.
const FIRST_LINES: u32 = 3;

/// The deployment that a journal is written for, and the key that signs at present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The chain's id.
    pub chain_id: u64,
    /// Address of the coordinator.
    pub coordinator: Address,
    /// The address of the key that signs answers. It may change: what was signed is on record whichever key did.
    pub signer: Address,
}

impl Identity {
    /// Whether both are of one deployment.
    fn is_deployment_of(&self, other: &Self) -> bool {
        (self.chain_id, self.coordinator) == (other.chain_id, other.coordinator)
    }
}

/// Writes that happen together or not at all.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    /// The new cursor: the last block whose logs are in the journal.
    pub cursor: Option<BlockRef>,
    /// Blocks to remember, for finding the common ancestor after a reorganisation.
    pub recent_blocks: Vec<BlockRef>,
    /// Numbers of remembered blocks to forget.
    pub recent_blocks_gone: Vec<u64>,
    /// New jobs with their input bytes.
    pub seen: Vec<(Task, Bytes)>,
    /// Jobs whose request vanished from the chain.
    pub vanished: Vec<B256>,
    /// Moves of jobs, in order.
    pub moves: Vec<(B256, Transition)>,
    /// Transactions to write. To one that is there, attempts are only ever added; for another under the same nonce, list
    /// the nonce in `transactions_gone`, too.
    pub transactions: Vec<TrackedTransaction>,
    /// Senders and nonces whose transaction is to be forgotten, before those of this batch are written.
    pub transactions_gone: Vec<(Address, u64)>,
    /// Claims to write.
    pub claims: Vec<Claim>,
    /// Claims to forget.
    pub claims_gone: Vec<B256>,
    /// Amounts to add to the ledger.
    pub booked: Vec<Entry>,
}

/// Number of times that something happened to jobs of a model since the journal was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCount {
    /// Id of the model.
    pub model: B256,
    /// `seen`, or a label of [`Transition::labels`].
    pub event: &'static str,
    /// The reason, of those labels; empty for most events.
    pub reason: &'static str,
    /// Number of times.
    pub count: u64,
}

impl EventCount {
    fn list(counts: &changes::EventCounts) -> Vec<Self> {
        counts.iter().map(|(&(model, event, reason), &count)| Self { model, event, reason, count }).collect()
    }
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has the journal open.
    #[error("the journal in {0} is in use by another process: stop it, or give this one another `node.data_dir`")]
    Locked(String),
    /// The journal was written for another deployment.
    #[error(
        "the journal in {path} belongs to the coordinator {} on chain {}: give this node another `node.data_dir`",
        found.coordinator, found.chain_id
    )]
    Foreign {
        /// The journal's folder.
        path: String,
        /// What the journal was written for.
        found: Box<Identity>,
    },
    /// The folder has no journal.
    #[error("there is no journal in {0}: has the node run with this `node.data_dir`?")]
    Missing(String),
    /// The folder has a journal already.
    #[error("there is a journal in {0} already: move its folder `db`, and `db-old` if there is one, away first")]
    Exists(String),
    /// A later version wrote the journal.
    #[error(
        "the journal in {path} has layout {found}, and this version knows none after {VERSION}: run the version that wrote it, or \
         delete the folder `db` in there to scan the chain anew"
    )]
    Newer {
        /// The journal's folder.
        path: String,
        /// The journal's layout.
        found: u32,
    },
    /// An exported journal cannot be written or read.
    #[error("line {line} of the exported journal: {reason}")]
    Lines {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with the line.
        reason: String,
    },
    /// A journal or its lines have a second record of the same thing.
    #[error("there is more than one record of {0}")]
    Twice(String),
    /// Lost power took a commit's line and left a part of what it wrote.
    #[error("the journal has only a part of its commit {0}: lost power took the rest")]
    Torn(u64),
    /// The disk or the database failed.
    #[error("the journal failed: {0}")]
    Store(#[from] sled::Error),
    /// A record cannot be read.
    #[error("the journal holds a record that cannot be read: {0}")]
    Record(#[from] serde_json::Error),
    /// The folder cannot be made, moved or synced.
    #[error("the journal's folder {path}: {source}")]
    Folder {
        /// Path of the folder or file.
        path: String,
        /// The operating system's error.
        source: std::io::Error,
    },
}

/// Durable memory. All methods are quick: nothing here waits for the disk but `sync`, and what writes while the journal is
/// brought to the disk, for a moment.
pub trait Journal: Send + Sync + 'static {
    /// Writes a batch. Moves that a job's state does not allow are left out and returned; so are moves
    /// of unknown jobs. If a `Sent` move is refused, so is the whole batch.
    ///
    /// A kill takes nothing of it. Lost power may take the last moments, which the chain tells again.
    ///
    /// # Errors
    /// `Record` or `Folder`; nothing is written then. After `Store` nothing more can be committed until the journal is opened
    /// again, and the batch may be there then.
    fn commit(&self, batch: &Batch) -> Result<Vec<(B256, InvalidTransition)>, JournalError>;
    /// Remembers an answer before its signature leaves the process. Once this has returned `Ok`, another answer to the
    /// request in the same block is refused for ever; the same answer is taken again.
    ///
    /// A kill takes no record. Lost power may take the last ones, and then costs only answers: whatever may have been signed
    /// and forgotten is refused. It does not wait for the disk but at the first answer after a sync.
    ///
    /// # Errors
    /// `Refused` if the answer must not be signed. `Journal` if the journal fails, and then it must not be signed either.
    fn record_signed(&self, answer: &SignedAnswer) -> Result<(), RecordSignedError>;
    /// The signed answers that are remembered, by deadline.
    ///
    /// # Errors
    /// `Store`.
    fn signed_answers(&self) -> Result<Vec<SignedAnswer>, JournalError>;
    /// Forgets signed answers, some thousands at most, of requests that cannot be answered any more: those whose deadline
    /// is the block `last_final` or an earlier one.
    ///
    /// # Errors
    /// `Store` or `Record`.
    fn prune_signed(&self, last_final: u64) -> Result<(), JournalError>;
    /// Says that the cursor is the chain's head. After records of signed answers may have been lost, everything up to that
    /// block counts as perhaps signed, and nothing after it.
    ///
    /// # Errors
    /// `Store`, `Record` or `Folder`.
    fn caught_up(&self) -> Result<(), JournalError>;
    /// The last block whose logs are in the journal.
    ///
    /// # Errors
    /// `Store` or `Record`.
    fn cursor(&self) -> Result<Option<BlockRef>, JournalError>;
    /// The remembered blocks, ascending by number.
    ///
    /// # Errors
    /// `Store` or `Record`.
    fn recent_blocks(&self) -> Result<Vec<BlockRef>, JournalError>;
    /// The job of a request.
    ///
    /// # Errors
    /// `Store` or `Record`.
    fn job(&self, id: B256) -> Result<Option<Job>, JournalError>;
    /// At most `limit` places of a view from the half-open `range`, in order.
    ///
    /// # Errors
    /// `Store`.
    fn walk(&self, view: View, range: Range<Position>, limit: usize) -> Result<Vec<Position>, JournalError>;
    /// At most `limit` places of a view from `range`, from its end on.
    ///
    /// # Errors
    /// `Store`.
    fn walk_back(&self, view: View, range: Range<Position>, limit: usize) -> Result<Vec<Position>, JournalError>;
    /// Number of records in a view. Costs nothing.
    fn count(&self, view: View) -> usize;
    /// At most `limit` open jobs of a model from `range`, by the last block in which they can be answered.
    ///
    /// # Errors
    /// `Store`.
    fn due(&self, model: B256, range: Range<Position>, limit: usize) -> Result<Vec<Position>, JournalError>;
    /// The models that have open jobs, with the number of those. Costs nothing.
    fn waiting(&self) -> Vec<(B256, usize)>;
    /// Counts of what happened to jobs since the journal was opened. Costs nothing.
    fn event_counts(&self) -> Vec<EventCount>;
    /// The input bytes of a job that is not closed.
    ///
    /// # Errors
    /// `Store`.
    fn input(&self, id: B256) -> Result<Option<Bytes>, JournalError>;
    /// The transactions that are not final, by sender and nonce.
    ///
    /// # Errors
    /// `Store` or `Record`.
    fn transactions(&self) -> Result<Vec<TrackedTransaction>, JournalError>;
    /// The same with `raw` of every attempt empty: a journal that keeps the signed bytes apart need not read them.
    ///
    /// # Errors
    /// `Store` or `Record`.
    fn transactions_without_bytes(&self) -> Result<Vec<TrackedTransaction>, JournalError> {
        let mut transactions = self.transactions()?;
        let attempts = transactions.iter_mut().flat_map(|transaction| &mut transaction.attempts);
        attempts.for_each(|attempt| attempt.raw.clear());
        Ok(transactions)
    }
    /// The claim of a request's pay.
    ///
    /// # Errors
    /// `Store` or `Record`.
    fn claim(&self, id: B256) -> Result<Option<Claim>, JournalError>;
    /// The ledger's entries from an hour since 1970 on, ascending by hour.
    ///
    /// # Errors
    /// `Store` or `Record`.
    fn ledger(&self, from_hour: u64) -> Result<Vec<Entry>, JournalError>;
    /// Forgets all but the transactions, the signed answers and the ledger, for a scan from the deployment block.
    ///
    /// # Errors
    /// `Store`.
    fn clear(&self) -> Result<(), JournalError>;
    /// Puts everything on the disk itself.
    ///
    /// # Errors
    /// `Store` or `Folder`.
    fn sync(&self) -> Result<(), JournalError>;
}

#[cfg(test)]
mod tests;
