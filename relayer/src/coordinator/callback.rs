//! The coordinator's call of a consumer, tried again to learn why it failed: the chain keeps only that it did.

use alloy::{
    primitives::{Address, B256, Bytes},
    sol_types::SolCall,
};

use super::{abi::InferenceConsumer, explain};
use crate::{
    chain::{Call, ChainError},
    protocol::Outcome,
};

/// Gas of a transaction without data.
const BASE_GAS: u64 = 21_000;
/// Gas of a token of calldata, and of the least that it costs (EIP-7623). A byte is 4 tokens, a zero byte 1.
const TOKEN_GAS: u64 = 4;
const TOKEN_FLOOR_GAS: u64 = 10;

/// An answer on its way to its consumer.
#[derive(Clone, Debug)]
pub struct Callback {
    /// The coordinator, which calls.
    pub coordinator: Address,
    /// The contract that asked.
    pub consumer: Address,
    /// The request's id.
    pub id: B256,
    /// What was found.
    pub outcome: Outcome,
    /// Packed tensors; empty unless `Ok`.
    pub output: Bytes,
    /// Gas of the callback.
    pub gas_limit: u32,
}

impl Callback {
    /// The same call as one that can be tried.
    #[must_use]
    pub fn call(&self) -> Call {
        let call = InferenceConsumer::onInferenceCall {
            requestId: self.id,
            outcome: self.outcome as u8,
            output: self.output.clone(),
        };
        let data: Bytes = call.abi_encode().into();
        let gas = intrinsic_gas(&data, self.gas_limit.into());
        Call { from: Some(self.coordinator), to: Some(self.consumer), data, gas: Some(gas), block: None }
    }

    /// The reason of a failure, in words; `None` if the endpoint failed, which tells nothing of the callback.
    #[must_use]
    pub fn failure(&self, error: &ChainError) -> Option<String> {
        match error {
            ChainError::Reverted(data) => Some(explain(data)),
            ChainError::OutOfGas(_) => Some(format!("it needs more than its {} gas", self.gas_limit)),
            _ => None,
        }
    }
}

/// The gas limit with which a call has `gas` to run, at least.
fn intrinsic_gas(data: &[u8], gas: u64) -> u64 {
    let tokens: u64 = data.iter().map(|byte| if *byte == 0 { 1 } else { 4 }).sum();
    (BASE_GAS + TOKEN_GAS * tokens + gas).max(BASE_GAS + TOKEN_FLOOR_GAS * tokens)
}
