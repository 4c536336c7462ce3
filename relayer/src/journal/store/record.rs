//! What a journal holds, one record after another: lines of an export, and what a rewritten journal is made of.

use alloy::primitives::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    chain::BlockRef,
    domain::{Claim, Entry, Job, SignedAnswer, TrackedTransaction},
    journal::{Identity, SigningLimits},
};

/// One line of an exported journal. The first is `Journal`; the others come in any order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// Whose the journal is, and the version of the lines.
    Journal {
        /// The layout's version, [`VERSION`](crate::journal::VERSION) in new exports.
        version: u32,
        /// What the journal was written for.
        identity: Identity,
    },
    /// The last block whose logs were taken in.
    Cursor(BlockRef),
    /// A remembered block.
    #[serde(alias = "ring")]
    RecentBlock(BlockRef),
    /// A job.
    Job {
        /// The job in its state.
        job: Box<Job>,
        /// Its input, if it is not closed.
        input: Option<Bytes>,
    },
    /// A transaction that is not final.
    #[serde(alias = "slot")]
    TrackedTransaction(Box<TrackedTransaction>),
    /// Pay to be claimed.
    Claim(Box<Claim>),
    /// A line of the ledger.
    Entry(Entry),
    /// An answer that was signed.
    SignedAnswer(SignedAnswer),
    /// What is known of signed answers without a record.
    SigningLimits(SigningLimits),
}
