//! Raw EIP-1559 transactions.

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::Encodable2718,
    primitives::{Address, Bytes, TxKind, U256},
    signers::{SignerSync, local::PrivateKeySigner},
};

use super::{Draft, Submitter, fees::Fees};
use crate::{
    chain::Chain,
    journal::{Attempt, Journal},
    node::StageError,
};

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
        max_priority_fee_per_gas: fees.tip.min(fees.max_fee),
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

impl<C: Chain, J: Journal> Submitter<C, J> {
    pub(super) fn sign(&self, nonce: u64, to: Address, draft: &Draft, fees: Fees) -> Result<Attempt, StageError> {
        let raw = Raw {
            chain_id: self.node.domain.chain_id,
            nonce,
            to: TxKind::Call(to),
            value: U256::ZERO,
            data: draft.data.clone(),
            gas: draft.gas,
        };
        let (hash, raw) = sign_raw(&self.sender, raw, fees)?;
        let at = self.tip().map_or(0, |tip| tip.header.block.number);
        Ok(Attempt { hash, raw, max_fee: fees.max_fee, tip: fees.tip, at })
    }
}
