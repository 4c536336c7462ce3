//! Raw EIP-1559 transactions.

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::Encodable2718,
    primitives::{Bytes, TxKind, U256},
    signers::{SignerSync, local::PrivateKeySigner},
};

use super::slot::Draft;
use crate::{domain::Attempt, pricing::Fees};

/// What a transaction says, apart from fees.
pub(crate) struct Raw {
    pub(crate) chain_id: u64,
    pub(crate) nonce: u64,
    pub(crate) to: TxKind,
    pub(crate) value: U256,
    pub(crate) data: Bytes,
    pub(crate) gas: u64,
}

/// Signs a transaction: its hash and its bytes.
pub(crate) fn sign_raw(
    signer: &PrivateKeySigner,
    raw: Raw,
    fees: Fees,
) -> Result<(alloy::primitives::B256, Bytes), alloy::signers::Error> {
    let tx = TxEip1559 {
        chain_id: raw.chain_id,
        nonce: raw.nonce,
        gas_limit: raw.gas,
        max_fee_per_gas: fees.max_fee,
        max_priority_fee_per_gas: fees.priority_fee.min(fees.max_fee),
        to: raw.to,
        value: raw.value,
        access_list: Default::default(),
        input: raw.data,
    };
    let signature = signer.sign_hash_sync(&tx.signature_hash())?;
    let signed = tx.into_signed(signature);
    let hash = *signed.hash();
    Ok((hash, TxEnvelope::from(signed).encoded_2718().into()))
}

/// An attempt of a draft under a nonce, made at height `at`.
pub(super) fn attempt(
    key: &PrivateKeySigner,
    chain_id: u64,
    nonce: u64,
    draft: &Draft,
    fees: Fees,
    at: u64,
) -> Result<Attempt, alloy::signers::Error> {
    let raw = Raw {
        chain_id,
        nonce,
        to: TxKind::Call(draft.to),
        value: U256::ZERO,
        data: draft.data.clone(),
        gas: draft.gas,
    };
    let (hash, raw) = sign_raw(key, raw, fees)?;
    Ok(Attempt { hash, raw, gas: draft.gas, max_fee: fees.max_fee, tip: fees.priority_fee, at })
}
