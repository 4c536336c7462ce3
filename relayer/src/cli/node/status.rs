//! `oraculum node status`: what a node's owner has, and is to be paid.

use std::path::PathBuf;

use alloy::{
    primitives::{Address, U256},
    providers::Provider,
};
use serde::Serialize;

use crate::{
    cli::{CommandResult, as_text, model_names, print, print_json},
    client::{AccountError, Client, OwnedSeats, Seat, Unpaid, balance_of, signing_key},
    config::Settings,
    keys,
    text::eth,
};

/// What `status --json` prints. Amounts are wei, as texts.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusReport {
    owner: Address,
    /// The key that signs answers; null if the owner is not registered.
    signer: Option<Address>,
    /// The key in the keystore `keys.signer`; null if the file does not name it.
    keystore: Option<Address>,
    senders: Vec<Sender>,
    /// The last block when all this was read.
    block: u64,
    seats: Vec<OwnSeat>,
    /// The bond of one more seat.
    #[serde(serialize_with = "as_text")]
    next_bond_wei: U256,
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

/// An account that pays for gas.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sender {
    keystore: PathBuf,
    /// Null if the keystore cannot be read, or does not name it.
    address: Option<Address>,
    #[serde(serialize_with = "as_text")]
    balance_wei: U256,
}

/// A seat, and what it does for its owner.
#[derive(Serialize)]
struct OwnSeat {
    #[serde(flatten)]
    seat: Seat,
    /// Whether it is drawn for the requests of the next block.
    draws: bool,
    revoked: bool,
}

impl OwnSeat {
    fn new(seat: Seat, head: u64) -> Self {
        Self { draws: seat.is_drawn(head + 1), revoked: seat.signer.is_zero(), seat }
    }
}

async fn senders(settings: &Settings, client: &Client) -> Result<Vec<Sender>, AccountError> {
    let mut senders = Vec::new();
    for keystore in settings.keys.senders.clone() {
        // Another user's file, perhaps: the rest of the status is told all the same.
        let address = keys::address_of(&keystore).ok().flatten();
        let balance_wei = match address {
            Some(address) => client.ask(client.provider().get_balance(address)).await?,
            None => U256::ZERO,
        };
        senders.push(Sender { keystore, address, balance_wei });
    }
    Ok(senders)
}

/// Runs the command.
pub(super) async fn run(settings: &Settings, client: &Client, as_json: bool) -> CommandResult {
    let (owner, coordinator) = (settings.node.owner, settings.chain.coordinator);
    let owned = OwnedSeats::read(client, settings).await?;
    let unpaid = Unpaid::read(client, settings, &owned).await?;
    let report = StatusReport {
        owner,
        signer: signing_key(client, coordinator, owner).await?,
        keystore: keys::address_of(&settings.keys.signer).ok().flatten(),
        senders: senders(settings, client).await?,
        block: owned.head,
        next_bond_wei: owned.bond(),
        bond_wei: owned.seats.iter().map(|seat| seat.bond).sum(),
        balance_wei: balance_of(client, coordinator, owner).await?,
        claimable_wei: unpaid.claimable_wei(),
        claimable: unpaid.claimable.len(),
        vesting_wei: unpaid.vesting,
        account_wei: client.ask(client.provider().get_balance(owner)).await?,
        seats: owned.seats.into_iter().map(|seat| OwnSeat::new(seat, owned.head)).collect(),
    };
    if as_json { print_json(&report) } else { print_status(&report, settings) }
}

fn print_status(report: &StatusReport, settings: &Settings) -> CommandResult {
    let names = model_names(&settings.node.models_dir);
    let mut lines = vec![format!("owner      {}, {} ETH", report.owner, eth(report.account_wei))];
    lines.push(signer_line(report));
    for sender in &report.senders {
        lines.push(match sender.address {
            Some(address) if sender.balance_wei.is_zero() => {
                format!("sender     {address}, 0 ETH; send it money, for it pays for gas")
            }
            Some(address) => format!("sender     {address}, {} ETH", eth(sender.balance_wei)),
            None => format!("sender     unknown: {} cannot be read, or does not say", sender.keystore.display()),
        });
    }
    for OwnSeat { seat, draws, .. } in &report.seats {
        let name = names.get(&seat.model).cloned().unwrap_or_else(|| seat.model.to_string());
        lines.push(format!(
            "seat       {} on {name}: {}; {}, {}; bond {} ETH",
            seat.index,
            seat.state(report.block, report.signer.unwrap_or_default()),
            if *draws { "is drawn" } else { "is not drawn" },
            if seat.live { "counts" } else { "does not count" },
            eth(seat.bond)
        ));
    }
    if report.seats.is_empty() {
        lines.push("seats      none; `oraculum node join MODEL` takes one".to_owned());
    }
    let enough = if report.account_wei > report.next_bond_wei { "" } else { ", which is not enough" };
    lines.push(format!(
        "next seat  needs a bond of {} ETH; the owner has {} ETH{enough}",
        eth(report.next_bond_wei),
        eth(report.account_wei)
    ));
    lines.push(format!("balance    {} ETH in the coordinator", eth(report.balance_wei)));
    lines.push(format!(
        "claimable  {} ETH for {} answers; {} ETH still vest",
        eth(report.claimable_wei),
        report.claimable,
        eth(report.vesting_wei)
    ));
    print(&lines.join("\n"))
}

fn signer_line(report: &StatusReport) -> String {
    match (report.signer, report.keystore) {
        (None, _) if report.seats.iter().any(|seat| seat.revoked) => {
            "signer     revoked; `oraculum node rekey` makes another".to_owned()
        }
        (None, _) => "signer     none; `oraculum node register` sets one".to_owned(),
        (Some(signer), Some(keystore)) if signer != keystore => {
            format!("signer     {signer}, but the keystore holds {keystore}; `oraculum node register` sets that one")
        }
        (Some(signer), _) => format!("signer     {signer}"),
    }
}
