//! Result of each item of a batch, found in one `eth_call`.

use alloy::{
    primitives::{Address, Bytes},
    sol_types::{SolCall, SolConstructor, SolValue},
};

use super::abi::{self, InferenceCoordinator as Coordinator};

/// Creation code whose `eth_call` shows how each item of a batch would end by itself; it always reverts, with what
/// [`endings`] reads. `batch` is calldata of `fulfill_batch`.
#[must_use]
pub fn probe(coordinator: Address, batch: &[u8]) -> Bytes {
    let items = Coordinator::fulfillBatchCall::abi_decode(batch).map(|call| call.fulfillments).unwrap_or_default();
    let calls = items.into_iter().map(|fulfillment| Coordinator::fulfillCall { fulfillment }.abi_encode().into());
    let arguments = abi::Probe::constructorCall { target: coordinator, calls: calls.collect() }.abi_encode();
    [abi::Probe::BYTECODE.as_ref(), &arguments].concat().into()
}

/// Reads what a probe reverts with: for each item `None` if it would be answered, else its revert data. `None` for data
/// that is no probe's.
#[must_use]
pub fn endings(data: &[u8]) -> Option<Vec<Option<Bytes>>> {
    let endings = <Vec<(bool, Bytes)>>::abi_decode(data).ok()?;
    Some(endings.into_iter().map(|(success, answer)| (!success).then_some(answer)).collect())
}
