//! `oraculum node`: what a node's owner does. Each of these moves money or rights, so it needs the owner's key, which the
//! running node never has.

mod survey;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use alloy::{
    primitives::{Address, B256, U256, utils::format_ether},
    providers::Provider,
    signers::SignerSync,
};
use clap::{Args, Subcommand};
use serde_json::json;

use self::survey::{Seat, Survey};
use super::{CommandResult, model_names, print, print_json, request::model_id};
use crate::{
    client::{Account, Client},
    config::{FILE_NAME, Settings},
    coordinator::abi::InferenceCoordinator as Coordinator,
    keys::{self, PasswordSource},
    protocol::statement::Domain,
};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Answers per transaction that claims pay.
const CLAIM_BATCH: usize = 32;

/// Register a node, take and leave seats, see and collect what it earns.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  oraculum node register
  oraculum node join iris/v1
  oraculum node status --json")]
pub(super) struct NodeArgs {
    #[command(subcommand)]
    command: NodeCommand,
    /// The node's configuration.
    #[arg(long, global = true, value_name = "FILE", env = "ORACULUM_CONFIG", default_value = FILE_NAME)]
    config: PathBuf,
    /// The owner's keystore [default: keys/owner.json beside the configuration].
    #[arg(long, global = true, value_name = "FILE")]
    keystore: Option<PathBuf>,
    /// A file with the keystores' password; else ORACULUM_PASSWORD, the configuration or the terminal gives it.
    #[arg(long, global = true, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    /// Make the owner a node with the configured signing key, or give the node that key.
    #[command(after_help = "Example:\n  oraculum node register --uri https://node.example.org")]
    Register {
        /// Where others reach the node over HTTP; public.
        #[arg(long, default_value = "")]
        uri: String,
    },
    /// Take a bonded seat on models, and make it live once its activation delay has passed.
    ///
    /// Of a model on which the owner has a seat already, that seat is made live, with the node's present key.
    #[command(after_help = "Example:\n  oraculum node join iris/v1 digits/v1")]
    Join {
        /// Names or ids of models.
        #[arg(required = true)]
        models: Vec<String>,
        /// Do not wait for the activation delay; the same command makes the seats live later.
        #[arg(long)]
        no_wait: bool,
    },
    /// Announce that the owner's seats on a model leave; `claim` collects their bonds after the exit delay.
    #[command(after_help = "Example:\n  oraculum node leave iris/v1")]
    Leave {
        /// Name or id of the model.
        model: String,
    },
    /// Show the node's key, seats, bonds, balance, and what can be claimed. Needs no key.
    #[command(after_help = "Example:\n  oraculum node status --json")]
    Status,
    /// Collect vested pay and the bonds of seats that have left into the owner's balance in the coordinator.
    #[command(after_help = "Example:\n  oraculum node claim --withdraw")]
    Claim {
        /// Then send the whole balance to the owner's account.
        #[arg(long)]
        withdraw: bool,
    },
}

impl NodeArgs {
    /// Runs the command.
    pub(super) async fn run(self) -> CommandResult {
        let settings = Settings::load(&self.config)?;
        let chain = &settings.chain;
        let client = Client::connect_any(&chain.rpc_urls, Some(chain.chain_id), &chain.trust()?).await?;
        client.expect_contract(settings.chain.coordinator).await?;
        let owner = async || self.owner(&settings, &client);
        match &self.command {
            NodeCommand::Register { uri } => register(&self, &settings, &owner().await?, uri).await,
            NodeCommand::Join { models, no_wait } => join(&self, &settings, &owner().await?, models, *no_wait).await,
            NodeCommand::Leave { model } => leave(&self, &settings, &owner().await?, model).await,
            NodeCommand::Status => status(&self, &settings, &client).await,
            NodeCommand::Claim { withdraw } => claim(&self, &settings, &owner().await?, *withdraw).await,
        }
    }

    fn passwords<'a>(&'a self, settings: &'a Settings) -> PasswordSource<'a> {
        PasswordSource { argument: self.password_file.as_deref(), config: settings.keys.password_file.as_deref() }
    }

    fn owner(&self, settings: &Settings, client: &Client) -> Result<Account, Error> {
        let beside = self.config.parent().unwrap_or(Path::new("")).join("keys/owner.json");
        let path = self.keystore.as_ref().unwrap_or(&beside);
        let key = keys::open(path, self.passwords(settings))?;
        if key.address() != settings.node.owner {
            return Err(format!(
                "the key in {} is {}, but the node's owner is {}; name the owner's keystore with --keystore, or correct \
                 node.owner in {}",
                path.display(),
                key.address(),
                settings.node.owner,
                self.config.display()
            )
            .into());
        }
        Ok(Account::new(client.clone(), key))
    }
}

async fn register(args: &NodeArgs, settings: &Settings, owner: &Account, uri: &str) -> CommandResult {
    let signer = keys::open(&settings.keys.signer, args.passwords(settings))?;
    let coordinator = settings.chain.coordinator;
    let domain = Domain { chain_id: settings.chain.chain_id, coordinator };
    let proof = signer.sign_hash_sync(&domain.signer_digest(owner.address()))?;
    let call = Coordinator::registerNodeCall {
        signer: signer.address(),
        signature: proof.as_bytes().into(),
        uri: uri.to_owned(),
    };
    let receipt = owner.call(coordinator, &call, U256::ZERO).await?;
    if args.json {
        return print_json(&json!({
            "owner": owner.address(), "signer": signer.address(), "transaction": receipt.transaction_hash,
        }));
    }
    eprintln!("{} answers for {} (transaction {})", signer.address(), owner.address(), receipt.transaction_hash);
    Ok(())
}

async fn join(
    args: &NodeArgs,
    settings: &Settings,
    owner: &Account,
    models: &[String],
    no_wait: bool,
) -> CommandResult {
    let (client, coordinator) = (owner.client(), settings.chain.coordinator);
    let signer = client.read(coordinator, &Coordinator::signerOfCall { owner: owner.address() }).await?;
    if signer.is_zero() {
        return Err(format!("{} has no signing key; `oraculum node register` first", owner.address()).into());
    }
    let survey = Survey::new(client, settings).await?;
    let mut joined = Vec::new();
    for name in models {
        let model = model_id(client, coordinator, name).await?;
        let held: Vec<_> = survey.seats.iter().filter(|seat| seat.model == model && !seat.is_leaving()).collect();
        for seat in &held {
            if seat.signer != signer {
                let rekey = Coordinator::rekeySeatCall { modelId: model, index: seat.index };
                owner.call(coordinator, &rekey, U256::ZERO).await?;
            }
            joined.push((model, seat.index));
        }
        if held.is_empty() {
            let bond = survey.bond();
            let call = Coordinator::joinSeatCall { modelId: model, reuse: u32::MAX };
            let receipt = owner.call(coordinator, &call, bond).await?;
            let seat = receipt.logs().iter().find_map(|log| log.log_decode::<Coordinator::SeatJoined>().ok());
            let index = seat.ok_or("the coordinator gave no seat; is it a coordinator?")?.inner.index;
            eprintln!("seat {index} on {name} with a bond of {} ETH", format_ether(bond));
            joined.push((model, index));
        }
    }
    let mut seats = Vec::new();
    for (model, index) in joined {
        if !no_wait {
            activate(owner, coordinator, model, index).await?;
        }
        seats.push(Seat::read(client, coordinator, model, index).await?);
    }
    if args.json {
        return print_json(&json!({ "seats": seats }));
    }
    for seat in seats {
        match seat.live {
            true => eprintln!("seat {} on {} is live", seat.index, seat.model),
            false => eprintln!(
                "seat {} on {}: run this again from block {} to make it live",
                seat.index, seat.model, seat.from
            ),
        }
    }
    Ok(())
}

/// After so long without a block, whoever waits for one is told.
const NO_BLOCKS: Duration = Duration::from_secs(30);

/// Waits for a seat's activation delay, and makes it live.
async fn activate(owner: &Account, coordinator: Address, model: B256, index: u32) -> Result<(), Error> {
    let client = owner.client();
    let seat = Seat::read(client, coordinator, model, index).await?;
    if seat.live {
        return Ok(());
    }
    let mut last = None;
    loop {
        let head = client.ask(client.provider().get_block_number()).await?;
        // The transaction is mined in the next block at the earliest.
        if head + 1 >= seat.from {
            break;
        }
        let (known, since) = *last.get_or_insert_with(|| {
            eprintln!("waiting for block {} to make seat {index} live; this is block {head}", seat.from);
            (head, Instant::now())
        });
        if head != known {
            last = Some((head, Instant::now()));
        } else if since.elapsed() > NO_BLOCKS {
            eprintln!(
                "still block {head}: if nobody makes blocks, as on `oraculum dev` without --block-time, this never ends"
            );
            last = Some((head, Instant::now()));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    owner.call(coordinator, &Coordinator::activateSeatCall { modelId: model, index }, U256::ZERO).await?;
    Ok(())
}

async fn leave(args: &NodeArgs, settings: &Settings, owner: &Account, name: &str) -> CommandResult {
    let (client, coordinator) = (owner.client(), settings.chain.coordinator);
    let model = model_id(client, coordinator, name).await?;
    let survey = Survey::new(client, settings).await?;
    let mut left = Vec::new();
    for seat in survey.seats.iter().filter(|seat| seat.model == model && !seat.is_leaving()) {
        let call = Coordinator::leaveSeatCall { modelId: model, index: seat.index };
        owner.call(coordinator, &call, U256::ZERO).await?;
        left.push(Seat::read(client, coordinator, model, seat.index).await?);
    }
    if left.is_empty() {
        return Err(format!("{} has no seat on {name} that could leave", owner.address()).into());
    }
    if args.json {
        return print_json(&json!({ "seats": left }));
    }
    for seat in left {
        eprintln!(
            "seat {} on {name} answers no request from block {} on; `oraculum node claim` collects its bond {} blocks later",
            seat.index, seat.until, survey.parameters.exitDelay
        );
    }
    Ok(())
}

async fn status(args: &NodeArgs, settings: &Settings, client: &Client) -> CommandResult {
    let (owner, coordinator) = (settings.node.owner, settings.chain.coordinator);
    let survey = Survey::new(client, settings).await?;
    let signer = client.read(coordinator, &Coordinator::signerOfCall { owner }).await?;
    let balance =
        client.read(coordinator, &Coordinator::balanceOfCall { token: Address::ZERO, account: owner }).await?;
    let account = client.ask(client.provider().get_balance(owner)).await?;
    let earnings = survey.earnings(client, settings).await?;
    let names = model_names(settings);
    if args.json {
        return print_json(&json!({
            "owner": owner,
            "signer": (!signer.is_zero()).then_some(signer),
            "block": survey.head,
            "seats": survey.seats,
            "bondWei": survey.seats.iter().map(|seat| seat.bond).sum::<U256>().to_string(),
            "balanceWei": balance.to_string(),
            "claimableWei": earnings.claimable_wei().to_string(),
            "claimable": earnings.claimable.len(),
            "vestingWei": earnings.vesting.to_string(),
            "accountWei": account.to_string(),
        }));
    }
    let mut lines = vec![format!("owner      {owner}, {} ETH", format_ether(account))];
    lines.push(match signer.is_zero() {
        true => "signer     none; `oraculum node register` sets one".to_owned(),
        false => format!("signer     {signer}"),
    });
    for seat in &survey.seats {
        let name = names.get(&seat.model).cloned().unwrap_or_else(|| seat.model.to_string());
        lines.push(format!(
            "seat       {} on {name}: {}, bond {} ETH",
            seat.index,
            seat.state(survey.head, signer),
            format_ether(seat.bond)
        ));
    }
    if survey.seats.is_empty() {
        lines.push("seats      none; `oraculum node join MODEL` takes one".to_owned());
    }
    lines.push(format!("balance    {} ETH in the coordinator", format_ether(balance)));
    lines.push(format!(
        "claimable  {} ETH for {} answers; {} ETH still vest",
        format_ether(earnings.claimable_wei()),
        earnings.claimable.len(),
        format_ether(earnings.vesting)
    ));
    print(&lines.join("\n"))
}

async fn claim(args: &NodeArgs, settings: &Settings, owner: &Account, withdraw: bool) -> CommandResult {
    let (client, coordinator) = (owner.client(), settings.chain.coordinator);
    let survey = Survey::new(client, settings).await?;
    let earnings = survey.earnings(client, settings).await?;
    let mut released = 0;
    for seat in survey.seats.iter().filter(|seat| seat.is_leaving()) {
        let call = Coordinator::releaseSeatCall { modelId: seat.model, index: seat.index };
        match owner.call(coordinator, &call, U256::ZERO).await {
            Ok(_) => released += 1,
            Err(error) => eprintln!("seat {} on {} keeps its bond for now: {error}", seat.index, seat.model),
        }
    }
    for batch in earnings.claimable.chunks(CLAIM_BATCH) {
        let results = batch.iter().map(|answer| answer.result.clone()).collect();
        owner.call(coordinator, &Coordinator::claimCall { results }, U256::ZERO).await?;
    }
    let read = Coordinator::balanceOfCall { token: Address::ZERO, account: owner.address() };
    let balance = client.read(coordinator, &read).await?;
    let withdrawn = if withdraw { balance } else { U256::ZERO };
    if !withdrawn.is_zero() {
        let call = Coordinator::withdrawCall { to: owner.address(), amount: withdrawn };
        owner.call(coordinator, &call, U256::ZERO).await?;
    }
    if args.json {
        return print_json(&json!({
            "claimed": earnings.claimable.len(),
            "claimedWei": earnings.claimable_wei().to_string(),
            "released": released,
            "withdrawnWei": withdrawn.to_string(),
            "balanceWei": (balance - withdrawn).to_string(),
        }));
    }
    eprintln!(
        "claimed {} ETH for {} answers, released {released} seats; the balance is {} ETH{}",
        format_ether(earnings.claimable_wei()),
        earnings.claimable.len(),
        format_ether(balance - withdrawn),
        if withdrawn.is_zero() {
            String::new()
        } else {
            format!(", {} ETH went to the owner", format_ether(withdrawn))
        }
    );
    Ok(())
}

#[cfg(test)]
mod tests;
