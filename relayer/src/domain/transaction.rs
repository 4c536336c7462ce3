//! Transactions that the node sends: one nonce, what it is for, and all its signed forms.

use alloy::primitives::{Address, B256, Bytes};
use serde::{Deserialize, Serialize};

use crate::chain::Receipt;

/// What a logical transaction is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Purpose {
    /// It answers requests: one, or a batch.
    Answer {
        /// The requests. Never empty.
        items: Vec<AnswerRef>,
    },
    /// It claims the pay of these requests.
    Claim {
        /// The requests.
        ids: Vec<B256>,
    },
    /// It fills its nonce, no more.
    Cancel,
}

/// A request that a transaction answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerRef {
    /// The request.
    pub id: B256,
    /// The hash of its block, which is part of what was signed.
    pub block: B256,
}

/// One signed form of a logical transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its hash.
    pub hash: B256,
    /// The signed bytes, which are broadcast again as they are.
    pub raw: Bytes,
    /// Its gas limit.
    pub gas: u64,
    /// Fee cap, wei per gas.
    pub max_fee: u128,
    /// Tip, wei per gas.
    pub tip: u128,
    /// The head when it was broadcast first.
    pub at: u64,
}

/// A logical transaction: one nonce of one sender, and all its attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedTransaction {
    /// The account that pays for it.
    pub sender: Address,
    /// Its nonce.
    pub nonce: u64,
    /// What it is for.
    pub purpose: Purpose,
    /// Its signed forms, the last one current. Never empty.
    pub attempts: Vec<Attempt>,
    /// Where it was mined.
    pub mined: Option<Receipt>,
}
