//! A transaction as its sender signed it.

use std::time::Instant;

use alloy::{
    consensus::{Transaction, TxEnvelope, transaction::SignerRecoverable},
    eips::eip2718::Decodable2718,
    primitives::{Address, B256, Bytes},
    sol_types::SolCall,
};
use oraculum::protocol::statement::Domain;

use crate::{
    abi::InferenceCoordinator::{Request, claimCall, fulfillBatchCall, fulfillCall},
    deployment::request_id,
};

/// A signed transaction that passed through the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its hash.
    pub hash: B256,
    /// Its sender.
    pub from: Address,
    /// Its nonce.
    pub nonce: u64,
    /// Wei per gas at most.
    pub max_fee: u128,
    /// Wei per gas for the block's producer.
    pub max_priority_fee: u128,
    /// Its gas limit.
    pub gas_limit: u64,
    /// Its calldata.
    pub input: Bytes,
    /// When it came.
    pub at: Instant,
}

/// What a transaction of a node is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aim {
    /// It answers these requests, in ascending order of their ids.
    Answer(Vec<B256>),
    /// It claims pay for so many answers.
    Claim(usize),
    /// It only uses its nonce.
    Cancel,
    /// Anything else.
    Other,
}

impl Sent {
    /// Reads a raw transaction; `None` if it is none.
    pub(super) fn read(raw: Bytes) -> Option<Self> {
        let envelope = TxEnvelope::decode_2718_exact(&raw).ok()?;
        Some(Self {
            hash: *envelope.tx_hash(),
            from: envelope.recover_signer().ok()?,
            nonce: envelope.nonce(),
            max_fee: envelope.max_fee_per_gas(),
            max_priority_fee: envelope.max_priority_fee_per_gas().unwrap_or_default(),
            gas_limit: envelope.gas_limit(),
            input: envelope.input().clone(),
            at: Instant::now(),
        })
    }

    /// What it is for, on a deployment.
    #[must_use]
    pub fn aim(&self, domain: Domain) -> Aim {
        aim(&self.input, domain)
    }
}

/// What calldata sent to a deployment is for.
#[must_use]
pub fn aim(input: &[u8], domain: Domain) -> Aim {
    let ids = |requests: Vec<Request>| {
        let mut ids: Vec<B256> = requests.iter().map(|request| request_id(request, domain)).collect();
        ids.sort_unstable();
        Aim::Answer(ids)
    };
    if input.is_empty() {
        Aim::Cancel
    } else if let Ok(call) = fulfillCall::abi_decode(input) {
        ids(vec![call.fulfillment.request])
    } else if let Ok(call) = fulfillBatchCall::abi_decode(input) {
        ids(call.fulfillments.into_iter().map(|one| one.request).collect())
    } else if let Ok(call) = claimCall::abi_decode(input) {
        Aim::Claim(call.results.len())
    } else {
        Aim::Other
    }
}
