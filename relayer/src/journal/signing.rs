//! What may be signed: the rules by which a journal takes a [`SignedAnswer`], alike for every journal.

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};

use super::JournalError;
use crate::domain::SignedAnswer;

/// Records of signed answers that one call forgets at most.
pub(super) const PRUNE_BATCH: usize = 4_096;

/// Why an answer must not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningRefused {
    /// The key signed another answer to the request in this block.
    #[error("this key signed another answer to it already (digest {signed}; this one has {digest})")]
    AnotherAnswer {
        /// Digest of the answer that was signed.
        signed: B256,
        /// Digest of the answer that is refused.
        digest: B256,
    },
    /// The deadline is in a final block: the request cannot be answered any more, and what was signed is forgotten.
    #[error("its deadline, block {deadline}, is final")]
    Expired {
        /// The last block in which the request could be fulfilled.
        deadline: u64,
    },
    /// Power was lost, or the journal was begun anew, after something was signed: another answer to a request of this age
    /// may have been signed and forgotten.
    #[error("the journal may have forgotten what was signed for requests up to block {until}")]
    Forgotten {
        /// The last block whose requests may be concerned; `u64::MAX` until the node has caught up with the chain.
        until: u64,
    },
}

/// Why what is to be signed was not remembered.
#[derive(Debug, thiserror::Error)]
pub enum RecordSignedError {
    /// The answer must not be signed.
    #[error(transparent)]
    Refused(#[from] SigningRefused),
    /// The journal failed: whether the answer is remembered is unknown, and it must not be signed now.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// What a journal knows of signed answers that it has no record of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningLimits {
    /// Whether records may be lost up to a block that is not known before the node has caught up with the chain.
    pub unknown: bool,
    /// The last block whose requests may have answers that were signed and forgotten.
    pub forgotten: Option<u64>,
    /// Records are pruned of requests whose deadline is this block or an earlier one.
    pub pruned: Option<u64>,
}

impl SigningLimits {
    /// Whether an answer is new, or the one that is `signed` for its request and block.
    pub(super) fn check(&self, answer: &SignedAnswer, signed: Option<B256>) -> Result<bool, SigningRefused> {
        let SignedAnswer { block, digest, deadline, .. } = *answer;
        if let Some(signed) = signed {
            let same = signed == digest;
            return if same { Ok(false) } else { Err(SigningRefused::AnotherAnswer { signed, digest }) };
        }
        if self.pruned.is_some_and(|last| deadline <= last) {
            return Err(SigningRefused::Expired { deadline });
        }
        let forgotten = if self.unknown { Some(u64::MAX) } else { self.forgotten };
        match forgotten {
            Some(until) if block.number <= until => Err(SigningRefused::Forgotten { until }),
            _ => Ok(true),
        }
    }

    /// The limits once the chain is known up to its head: nothing was signed for later blocks.
    pub(super) fn caught_up(self, cursor: Option<u64>) -> Self {
        let forgotten = if self.unknown { self.forgotten.max(cursor) } else { self.forgotten };
        Self { unknown: false, forgotten, ..self }
    }

    /// The limits after what cannot be answered any more, up to a block, was forgotten.
    pub(super) fn pruned_to(self, last: u64) -> Self {
        Self { pruned: self.pruned.max(Some(last)), ..self }
    }
}
