//! How jobs end, on the chain and for this node.

use alloy::primitives::{B256, Bytes};
use serde::{Deserialize, Serialize};

use crate::{chain::BlockRef, protocol::Outcome};

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
        /// Whether one of the seats is ours.
        ours: bool,
    },
    /// The escrow went back.
    Refunded,
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
        /// Fee and submit fee.
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
    /// The deadline passed while its model had too much to do.
    #[error("its deadline passed at block {deadline} while the model had {ahead} other requests to run")]
    Overloaded {
        /// The last block in which it could be answered.
        deadline: u64,
        /// How many requests for the model were being run, or could still be in time.
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
    /// The request ended on the chain, in a block that is final.
    #[serde(alias = "confirmed")]
    Finalized {
        /// The block in which the request ended.
        at: BlockRef,
        /// The transaction that ended it, where the log names one.
        transaction: Option<B256>,
        /// How the request ended.
        ending: Resolution,
    },
    /// Passed over, with the reason.
    Skipped {
        /// Why this node passed it over.
        reason: Skip,
    },
    /// Could not be answered by this node.
    Failed {
        /// What went wrong.
        reason: String,
    },
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
