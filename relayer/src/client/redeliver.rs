//! Delivers an answer whose callback failed.

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    providers::Provider,
    rpc::types::TransactionRequest,
    sol_types::{SolCall, SolEvent},
};

use super::{
    Account, AccountError, Client, RequestError,
    ask::find_event,
    refund::{find_log, find_request},
};
use crate::{
    chain::{Call, ChainError},
    coordinator::{Callback, abi::InferenceCoordinator as Coordinator, words},
    protocol::{answer::Announced, request::Request},
};

/// A delivery that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redelivery {
    /// The contract that has its answer now.
    pub consumer: Address,
    /// The gas that its callback could use.
    pub gas_limit: u32,
    /// The transaction that did it.
    pub transaction: B256,
    /// Gas used by that transaction.
    pub gas_used: u64,
}

/// Calls the consumer of an answered request again, with the gas that it asked for or with `gas_limit`. Nothing is sent if
/// the callback would fail again.
///
/// # Errors
/// `NotFound` for a request that is unknown or too old, `Unanswered`, `CallbackFails` with the reason; `Account` with what
/// the coordinator refuses, such as a caller that is not the consumer after vesting; `Event` or `NoEvent`.
pub async fn redeliver(
    account: &Account,
    coordinator: Address,
    id: B256,
    gas_limit: Option<u32>,
) -> Result<Redelivery, RequestError> {
    let client = account.client();
    let unreadable = |reason: String| RequestError::Event { coordinator, reason };
    let request = find_request(client, coordinator, id).await?;
    let parsed = Request::from_words(&words(&request)).map_err(|error| unreadable(error.to_string()))?;
    let log = find_log(client, coordinator, id, Coordinator::Fulfilled::SIGNATURE_HASH).await?;
    let log = log.ok_or(RequestError::Unanswered { id })?;
    let event = Coordinator::Fulfilled::decode_log_data(log.data()).map_err(|error| unreadable(error.to_string()))?;
    let Announced { outcome, seats, output } =
        Announced::decode(&event.answer).map_err(|error| unreadable(error.to_string()))?;
    let gas_limit = gas_limit.unwrap_or(parsed.callback_gas_limit);
    let result = Coordinator::Result {
        request,
        outcome: outcome as u8,
        outputCommitment: keccak256(&output),
        seats,
        fulfilledAt: log.block_number.unwrap_or_default(),
    };
    let call = Coordinator::redeliverCall { result, output: output.clone(), gasLimit: gas_limit };

    let tried = TransactionRequest::default().from(account.address()).to(coordinator).input(call.abi_encode().into());
    let tried = client.ask(client.provider().call(tried)).await?;
    let delivered = Coordinator::redeliverCall::abi_decode_returns(&tried).map_err(|_| {
        AccountError::NotACoordinator { address: coordinator, call: Coordinator::redeliverCall::SIGNATURE }
    })?;
    let consumer = parsed.consumer;
    if !delivered {
        let callback = Callback { coordinator, consumer, id, outcome, output, gas_limit };
        return Err(RequestError::CallbackFails { consumer, reason: why(client, &callback).await });
    }
    let receipt = account.call(coordinator, &call, U256::ZERO).await?;
    let (transaction, gas_used) = (receipt.transaction_hash, receipt.gas_used);
    if find_event::<Coordinator::DeliveryFailed>(receipt.logs(), coordinator).is_some() {
        let reason = format!("it failed in the transaction {transaction}, though not when it was tried before");
        return Err(RequestError::CallbackFails { consumer, reason });
    }
    Ok(Redelivery { consumer, gas_limit, transaction, gas_used })
}

/// Why a callback fails now, in words.
async fn why(client: &Client, callback: &Callback) -> String {
    let Call { from, to, data, gas, .. } = callback.call();
    let mut call = TransactionRequest::default().input(data.into());
    (call.from, call.to, call.gas) = (from, to.map(Into::into), gas);
    let error = match client.ask(client.provider().call(call)).await {
        Err(AccountError::Reverted { data }) => ChainError::Reverted(data),
        Err(AccountError::Refused { reason, .. }) => reason,
        _ => return "its reason could not be read".into(),
    };
    callback.failure(&error).unwrap_or_else(|| "its reason could not be read".into())
}
