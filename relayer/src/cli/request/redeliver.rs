//! `oraculum request redeliver`: calls a consumer again whose callback failed.

use alloy::primitives::{Address, B256};
use clap::Args;
use serde::Serialize;

use super::chain::ChainArgs;
use crate::{
    cli::{CommandResult, print_json, request_id, tell},
    client::redeliver,
};

/// Deliver an answer whose callback failed, with more gas if need be.
///
/// Anybody may until the answer's vesting block, 600 blocks after it by default; after that only the contract that asked.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oraculum request redeliver 0x5c50… --gas-limit 300000")]
pub(super) struct RedeliverArgs {
    /// The request's id.
    #[arg(value_parser = request_id)]
    id: B256,
    /// Gas of the callback [default: what the request asked for, which is the least].
    #[arg(long, value_name = "GAS")]
    gas_limit: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    chain: ChainArgs,
}

impl RedeliverArgs {
    /// Runs the command.
    pub(super) async fn run(&self) -> CommandResult {
        let connection = self.chain.connect().await?;
        let account = self.chain.account(&connection)?;
        let id = self.id;
        let done = redeliver(&account, connection.coordinator, id, self.gas_limit).await?;
        let (consumer, gas_limit, transaction) = (done.consumer, done.gas_limit, done.transaction);
        if self.json {
            return print_json(&Report { id, consumer, gas_limit, transaction, gas_used: done.gas_used });
        }
        tell!("{consumer} has its answer to {id} (transaction {transaction})");
        Ok(())
    }
}

/// What `request redeliver --json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    id: B256,
    consumer: Address,
    gas_limit: u32,
    transaction: B256,
    gas_used: u64,
}
