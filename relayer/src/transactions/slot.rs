//! One nonce of one key, from the moment it is written down until it is final. Each state is a type that says what it may
//! do, and its moves consume it.
//!
//! ```text
//! Pending ──mined──▶ Mined ──settle──▶ Final
//!    ▲ └─again─┐       │
//!    └─────────┴─────reorged
//! ```

use alloy::{
    consensus::{Transaction, TxEnvelope},
    eips::eip2718::Decodable2718,
    primitives::{Address, B256, Bytes, U256},
};

use crate::{
    chain::Receipt,
    domain::{AnswerRef, Attempt, ChainHead, Purpose, TrackedTransaction},
};

/// A transaction without nonce and fees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) purpose: Purpose,
    pub(crate) to: Address,
    pub(crate) data: Bytes,
    pub(crate) gas: u64,
}

/// Written down, and in the pool as far as we can see to it. All its attempts may still be mined.
#[derive(Debug, Clone)]
pub(super) struct Pending(TrackedTransaction);

/// In a block that can still be reorganised.
#[derive(Debug, Clone)]
pub(super) struct Mined {
    slot: TrackedTransaction,
    /// The attempt that was mined.
    hash: B256,
    receipt: Receipt,
    /// The jobs that it was to answer and did not, once the logs of its block are known.
    pub(super) left_out: Option<Vec<B256>>,
}

/// Nothing changes it any more.
#[derive(Debug)]
pub(super) struct Final {
    pub(super) slot: TrackedTransaction,
    pub(super) receipt: Receipt,
}

/// A slot that is not final.
#[derive(Debug, Clone)]
pub(super) enum TxState {
    Pending(Pending),
    Mined(Mined),
}

/// Bytes of a signed transaction around its calldata, at most.
const ENVELOPE: usize = 160;

impl Draft {
    /// What it may cost at most, wei; `data_fee` is what a byte costs besides gas.
    pub(super) fn bound(&self, max_fee: u128, data_fee: u128) -> U256 {
        U256::from(self.gas) * U256::from(max_fee) + U256::from(self.data.len() + ENVELOPE) * U256::from(data_fee)
    }
}

impl Pending {
    pub(super) fn new(sender: Address, nonce: u64, draft: Draft, attempt: Attempt) -> Self {
        Self(TrackedTransaction { sender, nonce, purpose: draft.purpose, attempts: vec![attempt], mined: None })
    }

    /// Another attempt under the same nonce, with other fees or to another purpose.
    pub(super) fn again(mut self, draft: Draft, attempt: Attempt) -> Self {
        self.0.attempts.push(attempt);
        Self(TrackedTransaction { purpose: draft.purpose, ..self.0 })
    }

    pub(super) fn mined(self, hash: B256, receipt: Receipt) -> Mined {
        Mined { slot: TrackedTransaction { mined: Some(receipt), ..self.0 }, hash, receipt, left_out: None }
    }

    pub(super) fn slot(&self) -> &TrackedTransaction {
        &self.0
    }

    /// The attempt that counts, which is broadcast.
    pub(super) fn current(&self) -> Option<&Attempt> {
        self.0.attempts.last()
    }

    /// What the attempt that counts was made of; `None` if its bytes are none of ours.
    pub(super) fn draft(&self) -> Option<Draft> {
        let (to, data) = said(self.current()?)?;
        Some(Draft { purpose: self.0.purpose.clone(), to, data, gas: self.current()?.gas })
    }

    /// What it may cost at most, wei, whichever attempt is mined; `data_fee` is what a byte costs besides gas.
    pub(super) fn bound(&self, data_fee: u128) -> U256 {
        let gas = |attempt: &Attempt| U256::from(attempt.gas) * U256::from(attempt.max_fee);
        let bytes = |attempt: &Attempt| U256::from(attempt.raw.len()) * U256::from(data_fee);
        self.0.attempts.iter().map(|attempt| gas(attempt) + bytes(attempt)).max().unwrap_or_default()
    }
}

impl Mined {
    /// Its block may be gone: the receipt is asked for again.
    pub(super) fn reorged(self) -> Pending {
        Pending(TrackedTransaction { mined: None, ..self.slot })
    }

    /// Final if its block is, else what it was.
    pub(super) fn finalize(self, tip: &ChainHead) -> Result<Final, Box<Self>> {
        if tip.is_final(self.receipt.block.number) {
            Ok(Final { slot: self.slot, receipt: self.receipt })
        } else {
            Err(Box::new(self))
        }
    }

    pub(super) fn slot(&self) -> &TrackedTransaction {
        &self.slot
    }

    pub(super) fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    pub(super) fn hash(&self) -> B256 {
        self.hash
    }

    /// Whether what was mined does what the slot is for: an attempt of before it got another purpose does not.
    pub(super) fn is_to_purpose(&self) -> bool {
        let mined = self.slot.attempts.iter().find(|attempt| attempt.hash == self.hash);
        mined.and_then(said).is_some_and(|mined| self.slot.attempts.last().and_then(said) == Some(mined))
    }
}

/// Where an attempt goes, and its calldata.
pub(super) fn said(attempt: &Attempt) -> Option<(Address, Bytes)> {
    let transaction = TxEnvelope::decode_2718(&mut attempt.raw.as_ref()).ok()?;
    Some((transaction.to()?, transaction.input().clone()))
}

impl TxState {
    /// As the journal has it, but for its receipt, which is asked for again: a reorganisation that the watcher took in may
    /// not have been heard of here before the process ended.
    pub(super) fn load(slot: TrackedTransaction) -> Self {
        Self::Pending(Pending(TrackedTransaction { mined: None, ..slot }))
    }

    pub(super) fn pending(&self) -> Option<&Pending> {
        match self {
            Self::Pending(pending) => Some(pending),
            Self::Mined(_) => None,
        }
    }

    /// What it is, unless it is known what it came to.
    pub(super) fn unjudged(&self) -> Option<&TrackedTransaction> {
        match self {
            Self::Pending(pending) => Some(pending.slot()),
            Self::Mined(mined) => mined.left_out.is_none().then(|| mined.slot()),
        }
    }

    /// What it costs, or may cost at most while that is open, wei.
    pub(super) fn bound(&self, data_fee: u128) -> U256 {
        match self {
            Self::Pending(pending) => pending.bound(data_fee),
            Self::Mined(mined) => U256::from(mined.receipt.cost()),
        }
    }

    /// Whether it has answered an item, or may yet.
    pub(super) fn carries(&self, item: &AnswerRef) -> bool {
        let (slot, left_out) = match self {
            Self::Pending(pending) => (pending.slot(), None),
            Self::Mined(mined) => (mined.slot(), mined.left_out.as_ref()),
        };
        matches!(&slot.purpose, Purpose::Answer { items } if items.contains(item))
            && left_out.is_none_or(|left_out| !left_out.contains(&item.id))
    }

    /// Whether one of its attempts has a hash.
    pub(super) fn is_transaction(slot: &TrackedTransaction, hash: B256) -> bool {
        slot.attempts.iter().any(|attempt| attempt.hash == hash)
    }
}
