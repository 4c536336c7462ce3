//! Transactions that the node sends: one nonce, what it is for, and all its signed forms.

use alloy::primitives::{Address, B256, Bytes};
use serde::{Deserialize, Serialize};

use crate::chain::Receipt;

/// What a transaction is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Purpose {
    /// Answers requests: one, or a batch.
    Answer {
        /// The answers, in the order of the call. Never empty.
        items: Vec<AnswerRef>,
    },
    /// Claims the pay of requests.
    Claim {
        /// Their ids, in the order of the call.
        ids: Vec<B256>,
    },
    /// Fills a nonce, no more: a transfer of nothing to its sender.
    Cancel,
}

/// An answer in a transaction, by the request that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerRef {
    /// Id of the request.
    pub id: B256,
    /// Hash of the request's block, which is part of what was signed.
    pub block: B256,
}

/// One signed form of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Hash of the signed bytes.
    pub hash: B256,
    /// Signed bytes (EIP-2718), which are broadcast again as they are.
    pub raw: Bytes,
    /// Gas limit.
    pub gas: u64,
    /// Base fee and priority fee together at most, wei per gas.
    pub max_fee: u128,
    /// Priority fee at most, wei per gas. Journals have it under an older name.
    #[serde(rename = "tip")]
    pub max_priority_fee: u128,
    /// Height of the head when the attempt was written down, and broadcast for the first time.
    pub at: u64,
}

/// One nonce of one sender, and all signed forms under it; one of them at most is mined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedTransaction {
    /// Account that pays for the transaction.
    pub sender: Address,
    /// Nonce of `sender`.
    pub nonce: u64,
    /// Purpose of the last attempt; those before it may have had another.
    pub purpose: Purpose,
    /// Signed forms; the last one counts. Never empty.
    pub attempts: Vec<Attempt>,
    /// Receipt of the attempt that was mined; `None` while none was.
    pub mined: Option<Receipt>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_of_an_older_journal_reads_and_is_written_as_it_was() {
        let hash = B256::repeat_byte(1);
        let stored = format!(r#"{{"hash":"{hash}","raw":"0x02","gas":3,"max_fee":5,"tip":4,"at":6}}"#);
        let attempt = Attempt { hash, raw: vec![2].into(), gas: 3, max_fee: 5, max_priority_fee: 4, at: 6 };
        assert_eq!(serde_json::from_str::<Attempt>(&stored).unwrap(), attempt);
        assert_eq!(serde_json::to_string(&attempt).unwrap(), stored);
    }
}
