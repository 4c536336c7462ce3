//! How each item of a batch would end, found in one `eth_call`.

use alloy::{
    primitives::{Address, Bytes},
    sol_types::{SolCall, SolConstructor, SolValue},
};

use super::abi::{self, InferenceCoordinator as Coordinator};

/// What to create in an `eth_call` to learn how each item of a batch would end by itself; it always reverts, and
/// [`endings`] reads with what. `batch` is calldata of `fulfill_batch`.
#[must_use]
pub fn probe(coordinator: Address, batch: &[u8]) -> Bytes {
    let items = Coordinator::fulfillBatchCall::abi_decode(batch).map(|call| call.fulfillments).unwrap_or_default();
    let calls = items.into_iter().map(|fulfillment| Coordinator::fulfillCall { fulfillment }.abi_encode().into());
    let arguments = abi::Probe::constructorCall { target: coordinator, calls: calls.collect() }.abi_encode();
    [abi::Probe::BYTECODE.as_ref(), &arguments].concat().into()
}

/// Reads what a probe reverts with: `None` for an item that would be answered, else its revert data. `None` for all if it
/// is something else.
#[must_use]
pub fn endings(told: &[u8]) -> Option<Vec<Option<Bytes>>> {
    let endings = <Vec<(bool, Bytes)>>::abi_decode(told).ok()?;
    Some(endings.into_iter().map(|(success, answer)| (!success).then_some(answer)).collect())
}
