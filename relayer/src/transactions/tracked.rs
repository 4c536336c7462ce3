//! One nonce of one key, from the moment it is reserved until its transaction is final. Each state is a type that says what it
//! may do, and its moves consume it.
//!
//! ```text
//! Reserved ──signed──▶ Pending ──mined──▶ Mined ──finalize──▶ Final
//!    │                ▲ ▲ └─again─┐         │
//!    └─▶ nonce is free │ └─────────┴──────reorged
//!                      └─▶ Foreign ──▶ forgotten, or mined after all
//! ```
//!
//! A reservation is in memory only: after a crash its nonce is free. From `Pending` on, everything is in the journal.

use alloy::{
    consensus::{Transaction, TxEnvelope},
    eips::eip2718::Decodable2718,
    primitives::{Address, B256, Bytes, U256},
};
use tokio::time::Instant;

use super::candidate::{TxCandidate, TxId, Unsigned, answers};
use crate::{
    chain::Receipt,
    domain::{AnswerRef, Attempt, ChainHead, Purpose, TrackedTransaction},
};

/// In the journal, and in the pool as far as we can see to it. All its attempts may still be mined.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    transaction: TrackedTransaction,
    /// Another attempt, which is being signed.
    pub(super) replacement: Option<Unsigned>,
}

/// In a block that can still be reorganised.
#[derive(Debug, Clone)]
pub(super) struct Mined {
    transaction: TrackedTransaction,
    /// Hash of the attempt that was mined.
    hash: B256,
    receipt: Receipt,
    /// The jobs that it was to answer and did not, once the logs of its block are known.
    pub(super) left_out: Option<Vec<B256>>,
    /// Whether the watcher took in the receipt's block, or one so long ago that it does not remember.
    pub(super) on_chain: bool,
}

/// Its nonce is used, and for a while no endpoint has had a receipt of any of its attempts: a foreign transaction seems to
/// have taken it. Its jobs are open; only when what used the nonce is final is it certain that there is nothing to book.
#[derive(Debug, Clone)]
pub(super) struct Foreign {
    pending: Pending,
    /// The head's height when it was first believed: what used the nonce is no higher.
    pub(super) used_by: u64,
}

/// Nothing changes it any more.
#[derive(Debug)]
pub(super) struct Final {
    pub(super) transaction: TrackedTransaction,
    pub(super) receipt: Receipt,
}

/// The state of a nonce that is not final.
#[derive(Debug, Clone)]
pub(super) enum TxState {
    /// The nonce is given, and its first attempt is being signed.
    Reserved(Unsigned),
    Pending(Pending),
    Mined(Mined),
    Foreign(Foreign),
}

/// A nonce that is used on chain while none of its attempts has a receipt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Missing {
    pub(super) since: Instant,
    /// Whether the account is read again: the first reading may have been of a fork that is no more.
    pub(super) in_doubt: bool,
}

/// All that is known of one nonce. What is beside the state can be lost, and goes with the entry.
#[derive(Debug, Clone)]
pub(super) struct Tracked {
    pub(super) state: TxState,
    /// When the current attempt was made.
    pub(super) attempted: Instant,
    /// Whether its receipt is being read.
    pub(super) receipt_asked: bool,
    pub(super) missing: Option<Missing>,
    /// Since when it has nothing to do.
    pub(super) idle_since: Option<Instant>,
    /// The highest base fee, wei per gas, since the endpoint called its fee too low.
    pub(super) fee_too_low: Option<u128>,
    /// Whether a pool called an attempt cheaper than one that it holds under the nonce.
    pub(super) outbid: bool,
    /// Height at which a pool was found to hold one of its attempts: only from then on does waiting say that it pays too little.
    pub(super) in_pool: Option<u64>,
    /// Why no endpoint took it when it was broadcast last.
    pub(super) refused: Option<String>,
}

impl Pending {
    pub(super) fn new(id: TxId, purpose: Purpose, attempt: Attempt) -> Self {
        let TxId { account: sender, nonce } = id;
        let transaction = TrackedTransaction { sender, nonce, purpose, attempts: vec![attempt], mined: None };
        Self { transaction, replacement: None }
    }

    /// Another attempt under the same nonce, with other fees or to another purpose.
    pub(super) fn again(mut self, purpose: Purpose, attempt: Attempt) -> Self {
        self.transaction.attempts.push(attempt);
        Self { transaction: TrackedTransaction { purpose, ..self.transaction }, replacement: None }
    }

    /// Another transaction seems to have its nonce, in a block no higher than `height`.
    pub(super) fn foreign(self, height: u64) -> Foreign {
        Foreign { pending: Self { replacement: None, ..self }, used_by: height }
    }

    pub(super) fn mined(self, hash: B256, receipt: Receipt) -> Mined {
        let transaction = TrackedTransaction { mined: Some(receipt), ..self.transaction };
        Mined { transaction, hash, receipt, left_out: None, on_chain: false }
    }

    pub(super) fn transaction(&self) -> &TrackedTransaction {
        &self.transaction
    }

    /// The attempt that counts, which is broadcast.
    pub(super) fn current(&self) -> Option<&Attempt> {
        self.transaction.attempts.last()
    }

    /// What the attempt that counts was made of; `None` if its bytes are none of ours.
    pub(super) fn candidate(&self) -> Option<TxCandidate> {
        let (to, data) = content(self.current()?)?;
        Some(TxCandidate { purpose: self.transaction.purpose.clone(), to, data, gas: self.current()?.gas })
    }

    /// What it may cost at most, wei, whichever attempt is mined; `data_fee` is what a byte costs besides gas.
    pub(super) fn bound(&self, data_fee: u128) -> U256 {
        let gas = |attempt: &Attempt| U256::from(attempt.gas) * U256::from(attempt.max_fee);
        let bytes = |attempt: &Attempt| U256::from(attempt.raw.len()) * U256::from(data_fee);
        let signed = self.transaction.attempts.iter().map(|attempt| gas(attempt) + bytes(attempt));
        signed.chain(self.replacement.iter().map(|unsigned| unsigned.bound(data_fee))).max().unwrap_or_default()
    }
}

impl Foreign {
    /// What it is if its nonce is its own after all.
    pub(super) fn pending(self) -> Pending {
        self.pending
    }
}

impl Mined {
    /// Its block may be gone: the receipt is asked for again.
    pub(super) fn reorged(self) -> Pending {
        Pending { transaction: TrackedTransaction { mined: None, ..self.transaction }, replacement: None }
    }

    pub(super) fn is_final(&self, head: &ChainHead) -> bool {
        head.is_final(self.receipt.block.number)
    }

    /// Its block is final.
    pub(super) fn finalize(self) -> Final {
        Final { transaction: self.transaction, receipt: self.receipt }
    }

    pub(super) fn transaction(&self) -> &TrackedTransaction {
        &self.transaction
    }

    pub(super) fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    pub(super) fn hash(&self) -> B256 {
        self.hash
    }

    /// Whether what was mined is what the nonce is for, where it was meant to be: an attempt of before the nonce got another
    /// purpose is not, nor one that a reorganisation brought into a block no higher than the head at which it was tried. A
    /// seat's rank, for one, may not answer in a block that low.
    pub(super) fn is_to_purpose(&self) -> bool {
        let attempts = &self.transaction.attempts;
        let Some(mined) = attempts.iter().find(|attempt| attempt.hash == self.hash) else { return false };
        let content_of_last = attempts.last().and_then(content);
        mined.at < self.receipt.block.number && content_of_last.is_some() && content(mined) == content_of_last
    }
}

/// Where an attempt goes, and its calldata.
pub(super) fn content(attempt: &Attempt) -> Option<(Address, Bytes)> {
    let transaction = TxEnvelope::decode_2718(&mut attempt.raw.as_ref()).ok()?;
    Some((transaction.to()?, transaction.input().clone()))
}

/// Whether one of a transaction's attempts has a hash.
pub(super) fn has_attempt(transaction: &TrackedTransaction, hash: B256) -> bool {
    transaction.attempts.iter().any(|attempt| attempt.hash == hash)
}

impl TxState {
    pub(super) fn pending(&self) -> Option<&Pending> {
        match self {
            Self::Pending(pending) => Some(pending),
            Self::Reserved(_) | Self::Mined(_) | Self::Foreign(_) => None,
        }
    }

    pub(super) fn mined(&self) -> Option<&Mined> {
        match self {
            Self::Mined(mined) => Some(mined),
            Self::Reserved(_) | Self::Pending(_) | Self::Foreign(_) => None,
        }
    }

    /// What was signed under a nonce whose receipt is looked for.
    pub(super) fn without_receipt(&self) -> Option<&TrackedTransaction> {
        match self {
            Self::Pending(pending) | Self::Foreign(Foreign { pending, .. }) => Some(pending.transaction()),
            Self::Reserved(_) | Self::Mined(_) => None,
        }
    }

    /// What is signed and in the journal, unless it is known what it came to.
    pub(super) fn unjudged(&self) -> Option<&TrackedTransaction> {
        match self {
            Self::Reserved(_) | Self::Foreign(_) => None,
            Self::Pending(pending) => Some(pending.transaction()),
            Self::Mined(mined) => mined.left_out.is_none().then(|| mined.transaction()),
        }
    }

    /// What it costs, or may cost at most while that is open, wei.
    pub(super) fn bound(&self, data_fee: u128) -> U256 {
        match self {
            Self::Reserved(unsigned) => unsigned.bound(data_fee),
            Self::Pending(pending) | Self::Foreign(Foreign { pending, .. }) => pending.bound(data_fee),
            Self::Mined(mined) => U256::from(mined.receipt.cost()),
        }
    }

    /// What it is for, and what an attempt that is being signed is for.
    pub(super) fn purposes(&self) -> impl Iterator<Item = &Purpose> {
        let (now, next) = match self {
            Self::Reserved(unsigned) => (None, Some(unsigned)),
            Self::Pending(pending) => (Some(&pending.transaction.purpose), pending.replacement.as_ref()),
            Self::Mined(mined) => (Some(&mined.transaction.purpose), None),
            Self::Foreign(_) => (None, None),
        };
        now.into_iter().chain(next.map(|unsigned| &unsigned.candidate.purpose))
    }

    /// Whether it has answered an item, or may yet.
    pub(super) fn carries(&self, item: &AnswerRef) -> bool {
        let left_out = match self {
            Self::Mined(mined) => mined.left_out.as_ref(),
            Self::Reserved(_) | Self::Pending(_) | Self::Foreign(_) => None,
        };
        self.purposes().any(|purpose| answers(purpose).contains(item))
            && left_out.is_none_or(|left_out| !left_out.contains(&item.id))
    }
}

impl Tracked {
    pub(super) fn new(state: TxState) -> Self {
        let attempted = Instant::now();
        Self {
            state,
            attempted,
            receipt_asked: false,
            missing: None,
            idle_since: None,
            fee_too_low: None,
            outbid: false,
            in_pool: None,
            refused: None,
        }
    }

    /// As the journal has it, but for its receipt, which is asked for again: a reorganisation that the watcher took in may
    /// not have been heard of here before the process ended.
    pub(super) fn load(transaction: TrackedTransaction) -> Self {
        let transaction = TrackedTransaction { mined: None, ..transaction };
        Self::new(TxState::Pending(Pending { transaction, replacement: None }))
    }

    /// The same nonce in another state.
    pub(super) fn with(self, state: TxState) -> Self {
        Self { state, ..self }
    }

    /// Takes note that a pool holds the current attempt at a height.
    pub(super) fn taken(&mut self, height: u64) {
        let refused = self.refused.take().is_some();
        if self.in_pool.is_none() || refused {
            (self.in_pool, self.attempted) = (Some(height), Instant::now());
        }
    }

    pub(super) fn is_in_flight(&self) -> bool {
        matches!(self.state, TxState::Reserved(_) | TxState::Pending(_))
    }

    /// Its nonce may not be used: what was believed for want of a receipt is forgotten.
    pub(super) fn trust_again(&mut self) {
        self.missing = None;
        if let TxState::Foreign(foreign) = &self.state {
            self.state = TxState::Pending(foreign.clone().pending());
        }
    }
}
