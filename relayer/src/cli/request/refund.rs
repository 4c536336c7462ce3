//! `oraculum request --refund`: takes the fee of an unanswered request back.

use alloy::{
    primitives::{Address, B256, U256, utils::format_ether},
    providers::Provider,
    rpc::types::Filter,
    sol_types::SolEvent,
};
use serde_json::json;

use super::find;
use crate::{
    cli::{CommandResult, print_json},
    client::Account,
    coordinator::abi::InferenceCoordinator as Coordinator,
};

/// Blocks that logs are asked for at once when a past request is looked up.
const PAGE: u64 = 2000;
/// How far back a request to refund is looked for: the longest deadline, twice.
const REACH: u64 = 16_000;

/// Finds a request's words in the logs, newest first, and credits its escrow to its refund account.
pub(super) async fn run(account: &Account, coordinator: Address, id: B256, json: bool) -> CommandResult {
    let client = account.client();
    let head = client.ask(client.provider().get_block_number()).await?;
    let mut to = head;
    let request = loop {
        let from = to.saturating_sub(PAGE - 1);
        let filter = Filter::new()
            .address(coordinator)
            .event_signature(Coordinator::Requested::SIGNATURE_HASH)
            .topic1(id)
            .from_block(from)
            .to_block(to);
        let logs = client.ask(client.provider().get_logs(&filter)).await?;
        if let Some(log) = logs.first() {
            break Coordinator::Requested::decode_log_data(log.data())?.request;
        }
        if from == 0 || head - from >= REACH {
            return Err(format!("there is no request {id} at {coordinator} in the last {REACH} blocks").into());
        }
        to = from - 1;
    };
    let receipt = account.call(coordinator, &Coordinator::refundCall { r: request }, U256::ZERO).await?;
    let event = find::<Coordinator::Refunded>(receipt.logs(), coordinator).ok_or("nothing was refunded")?;
    let (to, amount) = (event.account, event.amount);
    if json {
        return print_json(&json!({
            "id": id, "account": to, "wei": amount.to_string(), "transaction": receipt.transaction_hash,
        }));
    }
    eprintln!("{} ETH are credited to the balance of {to} in the coordinator", format_ether(amount));
    Ok(())
}
