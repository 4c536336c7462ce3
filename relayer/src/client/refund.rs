//! Takes the fee of an unanswered request back, and finds past requests in the logs.

use alloy::{
    primitives::{Address, B256, U256},
    providers::Provider,
    rpc::types::{Filter, Log},
    sol_types::SolEvent,
};

use super::{Account, Client, RequestError, ask::find_event};
use crate::coordinator::{self, abi::InferenceCoordinator as Coordinator};

/// Blocks whose logs are read at once when a past request is looked up.
const LOG_PAGE: u64 = 2_000;
/// Blocks before the head in which a request to refund is looked for: the longest deadline, twice.
const SEARCHED_BLOCKS: u64 = 16_000;

/// A fee that went back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refund {
    /// The account whose balance in the coordinator it is credited to.
    pub account: Address,
    /// The amount, wei.
    pub amount: U256,
    /// The transaction that did it.
    pub transaction: B256,
}

/// Credits the escrow of a request to its refund account. The contract refuses that before the deadline has passed.
///
/// # Errors
/// `NotFound` for a request that is unknown or too old; `Account`, `Event` or `NoEvent`.
pub async fn refund(account: &Account, coordinator: Address, id: B256) -> Result<Refund, RequestError> {
    let request = find_request(account.client(), coordinator, id).await?;
    let receipt = account.call(coordinator, &Coordinator::refundCall { r: request }, U256::ZERO).await?;
    let transaction = receipt.transaction_hash;
    let event = find_event::<Coordinator::Refunded>(receipt.logs(), coordinator)
        .ok_or(RequestError::NoEvent { transaction, coordinator })?;
    Ok(Refund { account: event.account, amount: event.amount, transaction })
}

/// The words of a request, from the logs.
///
/// # Errors
/// `NotFound` for a request that is unknown or too old; `Account` or `Event`.
pub(super) async fn find_request(
    client: &Client,
    coordinator: Address,
    id: B256,
) -> Result<Coordinator::Request, RequestError> {
    let log = find_log(client, coordinator, id, Coordinator::Requested::SIGNATURE_HASH).await?;
    let log = log.ok_or(RequestError::NotFound { id, coordinator, blocks: SEARCHED_BLOCKS })?;
    let event = Coordinator::Requested::decode_log_data(log.data())
        .map_err(|error| RequestError::Event { coordinator, reason: error.to_string() })?;
    Ok(coordinator::request(&event))
}

/// The newest log of a kind about a request, of the last `SEARCHED_BLOCKS`.
///
/// # Errors
/// `Account`.
pub(super) async fn find_log(
    client: &Client,
    coordinator: Address,
    id: B256,
    event: B256,
) -> Result<Option<Log>, RequestError> {
    let head = client.ask(client.provider().get_block_number()).await?;
    let mut to = head;
    loop {
        let from = to.saturating_sub(LOG_PAGE - 1);
        let filter = Filter::new().address(coordinator).event_signature(event).topic1(id).from_block(from).to_block(to);
        let logs = client.ask(client.provider().get_logs(&filter)).await?;
        if let Some(log) = logs.into_iter().next_back() {
            return Ok(Some(log));
        }
        if from == 0 || head - from >= SEARCHED_BLOCKS {
            return Ok(None);
        }
        to = from - 1;
    }
}
