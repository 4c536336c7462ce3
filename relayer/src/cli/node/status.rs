//! `oraculum node status`: what a node's owner has, and is to be paid.

use alloy::{
    primitives::{Address, U256, utils::format_ether},
    providers::Provider,
};
use serde::Serialize;

use crate::{
    cli::{CommandResult, as_text, model_names, print, print_json},
    client::{Client, OwnedSeats, Seat, Unpaid, balance_of, signing_key},
    config::Settings,
};

/// What `status --json` prints. Amounts are wei, as texts.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusReport {
    owner: Address,
    /// The key that signs answers; null if the owner is not registered.
    signer: Option<Address>,
    /// The last block when all this was read.
    block: u64,
    seats: Vec<Seat>,
    /// Sum of the seats' bonds.
    #[serde(serialize_with = "as_text")]
    bond_wei: U256,
    /// Balance in the coordinator.
    #[serde(serialize_with = "as_text")]
    balance_wei: U256,
    #[serde(serialize_with = "as_text")]
    claimable_wei: U256,
    /// Number of answers whose pay can be claimed.
    claimable: usize,
    #[serde(serialize_with = "as_text")]
    vesting_wei: U256,
    /// Balance of the owner's account.
    #[serde(serialize_with = "as_text")]
    account_wei: U256,
}

/// Runs the command.
pub(super) async fn run(settings: &Settings, client: &Client, as_json: bool) -> CommandResult {
    let (owner, coordinator) = (settings.node.owner, settings.chain.coordinator);
    let owned = OwnedSeats::read(client, settings).await?;
    let unpaid = Unpaid::read(client, settings, &owned).await?;
    let report = StatusReport {
        owner,
        signer: signing_key(client, coordinator, owner).await?,
        block: owned.head,
        bond_wei: owned.seats.iter().map(|seat| seat.bond).sum(),
        balance_wei: balance_of(client, coordinator, owner).await?,
        claimable_wei: unpaid.claimable_wei(),
        claimable: unpaid.claimable.len(),
        vesting_wei: unpaid.vesting,
        account_wei: client.ask(client.provider().get_balance(owner)).await?,
        seats: owned.seats,
    };
    if as_json { print_json(&report) } else { print_status(&report, settings) }
}

fn print_status(report: &StatusReport, settings: &Settings) -> CommandResult {
    let names = model_names(&settings.node.models_dir);
    let mut lines = vec![format!("owner      {}, {} ETH", report.owner, format_ether(report.account_wei))];
    lines.push(match report.signer {
        None => "signer     none; `oraculum node register` sets one".to_owned(),
        Some(signer) => format!("signer     {signer}"),
    });
    for seat in &report.seats {
        let name = names.get(&seat.model).cloned().unwrap_or_else(|| seat.model.to_string());
        lines.push(format!(
            "seat       {} on {name}: {}, bond {} ETH",
            seat.index,
            seat.state(report.block, report.signer.unwrap_or_default()),
            format_ether(seat.bond)
        ));
    }
    if report.seats.is_empty() {
        lines.push("seats      none; `oraculum node join MODEL` takes one".to_owned());
    }
    lines.push(format!("balance    {} ETH in the coordinator", format_ether(report.balance_wei)));
    lines.push(format!(
        "claimable  {} ETH for {} answers; {} ETH still vest",
        format_ether(report.claimable_wei),
        report.claimable,
        format_ether(report.vesting_wei)
    ));
    print(&lines.join("\n"))
}
