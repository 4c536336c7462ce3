//! What is to be sent, before it is signed.

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::Encodable2718,
    primitives::{Address, Bytes, Signature, TxKind, U256},
};

use crate::{
    domain::{AnswerRef, Attempt, Purpose},
    pricing::Fees,
};

/// Bytes of a signed transaction around its calldata, at most.
const ENVELOPE: usize = 160;

/// The name of a transaction and all its attempts: an account and one of its nonces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TxId {
    pub(crate) account: Address,
    pub(crate) nonce: u64,
}

/// What is to be sent, without nonce and fees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TxCandidate {
    pub(crate) purpose: Purpose,
    pub(crate) to: Address,
    pub(crate) data: Bytes,
    pub(crate) gas: u64,
}

/// A candidate with its fees, as it is being signed.
#[derive(Debug, Clone)]
pub(super) struct Unsigned {
    pub(super) candidate: TxCandidate,
    pub(super) fees: Fees,
}

impl Unsigned {
    /// What it may cost at most, wei; `data_fee` is what a byte costs besides gas.
    pub(super) fn bound(&self, data_fee: u128) -> U256 {
        self.candidate.bound(self.fees.max_fee, data_fee)
    }

    /// The transaction to sign, under a nonce.
    pub(super) fn transaction(&self, chain_id: u64, nonce: u64) -> TxEip1559 {
        TxEip1559 {
            chain_id,
            nonce,
            gas_limit: self.candidate.gas,
            max_fee_per_gas: self.fees.max_fee,
            max_priority_fee_per_gas: self.fees.priority_fee.min(self.fees.max_fee),
            to: TxKind::Call(self.candidate.to),
            value: U256::ZERO,
            access_list: Default::default(),
            input: self.candidate.data.clone(),
        }
    }

    /// The signed form, made at height `at`.
    pub(super) fn attempt(&self, transaction: TxEip1559, signature: Signature, at: u64) -> Attempt {
        let signed = transaction.into_signed(signature);
        let hash = *signed.hash();
        let raw = TxEnvelope::from(signed).encoded_2718().into();
        Attempt {
            hash,
            raw,
            gas: self.candidate.gas,
            max_fee: self.fees.max_fee,
            max_priority_fee: self.fees.priority_fee,
            at,
        }
    }
}

impl TxCandidate {
    /// What it may cost at most, wei; `data_fee` is what a byte costs besides gas.
    pub(super) fn bound(&self, max_fee: u128, data_fee: u128) -> U256 {
        U256::from(self.gas) * U256::from(max_fee) + U256::from(self.data.len() + ENVELOPE) * U256::from(data_fee)
    }
}

/// The answers that are carried to a purpose; none but for `Answer`.
pub(super) fn answers(purpose: &Purpose) -> &[AnswerRef] {
    match purpose {
        Purpose::Answer { items } => items,
        Purpose::Claim { .. } | Purpose::Cancel => &[],
    }
}
