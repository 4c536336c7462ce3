//! Asks a model on chain.

use alloy::{
    primitives::{Address, B256, Bytes, U256, aliases::U96},
    rpc::types::Log,
    sol_types::SolEvent,
};

use super::{Account, AccountError, Client};
use crate::{
    coordinator::abi::InferenceCoordinator as Coordinator,
    protocol::{OutputFormat, UnknownOutcome},
};

/// What a request asks for, and what it pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTerms {
    /// The id of the model.
    pub model: B256,
    /// The fee for the node, wei.
    pub fee: U96,
    /// Whether the fee comes from the caller's balance in the coordinator, instead of being sent along.
    pub prepaid: bool,
    /// The form of the outputs.
    pub format: OutputFormat,
    /// Number of blocks in which an answer may come, after that of the request.
    pub deadline_blocks: u16,
}

/// A request that is on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The request's id.
    pub id: B256,
    /// The block of the request.
    pub block: u64,
    /// The last block in which it can be answered.
    pub deadline: u64,
    /// The form of the outputs.
    pub format: OutputFormat,
    /// The transaction that made the request.
    pub transaction: B256,
    /// Gas used by that transaction.
    pub gas_used: u64,
}

/// Why a request was not made, not answered, or not refunded.
// Not transparent over `AccountError`, so that it stays visible to whoever walks the sources.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum RequestError {
    #[error("{0}")]
    Account(#[from] AccountError),
    #[error("no model has the name `{name}` at the coordinator {coordinator}; give a name or an id")]
    UnknownModel { name: String, coordinator: Address },
    #[error("the transaction {transaction} has no event of a coordinator at {coordinator}; correct the address")]
    NoEvent { transaction: B256, coordinator: Address },
    #[error("an event of {coordinator} cannot be read: {reason}; correct the coordinator's address")]
    Event { coordinator: Address, reason: String },
    #[error("{0}")]
    Outcome(#[from] UnknownOutcome),
    #[error(
        "no answer yet: request {id}, now block {head}, deadline block {deadline}; after the deadline \
         `oraculum request --refund {id}` takes the fee back"
    )]
    NotYet { id: B256, head: u64, deadline: u64 },
    #[error(
        "nobody answered before the deadline: request {id}, now block {head}, deadline block {deadline}; \
         `oraculum request --refund {id}` takes the fee back"
    )]
    Expired { id: B256, head: u64, deadline: u64 },
    #[error("the request {id} has no answer yet, so that there is nothing to deliver")]
    Unanswered { id: B256 },
    #[error(
        "the callback of {consumer} would fail again, so nothing was sent: {reason}; mend the contract's state, or give it more \
         with --gas-limit"
    )]
    CallbackFails { consumer: Address, reason: String },
    #[error("there is no request {id} at {coordinator} in the last {blocks} blocks")]
    NotFound { id: B256, coordinator: Address, blocks: u64 },
}

/// The id of a model: by its name on chain, or the text itself if that is an id.
///
/// # Errors
/// `UnknownModel`, or `Account`.
pub async fn resolve_model(client: &Client, coordinator: Address, name: &str) -> Result<B256, RequestError> {
    if let Ok(id) = name.parse::<B256>() {
        return Ok(id);
    }
    let found = client.read(coordinator, &Coordinator::resolveCall { name: name.to_owned() }).await?;
    if found.modelId.is_zero() {
        return Err(RequestError::UnknownModel { name: name.to_owned(), coordinator });
    }
    Ok(found.modelId)
}

/// Asks a model, and waits until the request is mined. `input` is packed tensors.
///
/// # Errors
/// `Account`, or `NoEvent`.
pub async fn ask(
    account: &Account,
    coordinator: Address,
    terms: RequestTerms,
    input: Bytes,
) -> Result<Asked, RequestError> {
    let RequestTerms { model, fee, prepaid, format, deadline_blocks } = terms;
    let ask = Coordinator::Ask {
        modelId: model,
        refundTo: account.address(),
        token: Address::ZERO,
        fee,
        submitFee: U96::ZERO,
        valueAtRisk: U96::ZERO,
        callbackGasLimit: 0,
        deadlineBlocks: deadline_blocks,
        outputMask: format.mask,
        outputWidth: format.width,
        outputDecimals: format.decimals,
        quorum: 1,
        level: 0,
        inputKind: 0,
    };
    let value = if prepaid { U256::ZERO } else { U256::from(fee) };
    let receipt = account.call(coordinator, &Coordinator::requestCall { ask, input }, value).await?;
    let transaction = receipt.transaction_hash;
    let event = find_event::<Coordinator::Requested>(receipt.logs(), coordinator)
        .ok_or(RequestError::NoEvent { transaction, coordinator })?;
    let block = receipt.block_number.unwrap_or_default();
    Ok(Asked {
        id: event.requestId,
        block,
        deadline: block + u64::from(deadline_blocks),
        format,
        transaction,
        gas_used: receipt.gas_used,
    })
}

/// The first event of a kind among a transaction's logs of the coordinator.
pub(super) fn find_event<E: SolEvent>(logs: &[Log], coordinator: Address) -> Option<E> {
    logs.iter()
        .filter(|log| log.address() == coordinator)
        .find_map(|log| E::decode_log(&log.inner).ok())
        .map(|log| log.data)
}
