//! `oraculum node`: what a node's owner does. All but `status` moves money or rights, so it needs the owner's key, which the
//! running node never has.

mod activate;
mod keys;
mod status;

use std::path::{Path, PathBuf};

use alloy::primitives::{Address, B256, U256};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{CommandResult, as_text, print_json, tell};
use crate::{
    client::{
        Account, Client, OwnedSeats, Seat, Unpaid, balance_of, claim_pay, register_node, release_seat, resolve_model,
        signing_key, withdraw,
    },
    config::{FILE_NAME, Settings},
    keys::{PasswordSource, TypedPasswords},
    text::eth,
};

type Error = Box<dyn std::error::Error + Send + Sync>;

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
    /// A file with the keystores' password; else it is taken from ORACULUM_PASSWORD, the configuration or the terminal.
    #[arg(long, global = true, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[arg(skip)]
    typed: TypedPasswords,
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
    /// If the owner has a seat on a model already, that seat is made live with the node's present key, and no other is taken.
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
    /// Revoke the node's signing key at once, and take it off every seat that has it, requests in flight included.
    ///
    /// Bonds and pay stay the owner's. A revoked key is never registered again; `rekey` makes another. Run this again if a seat
    /// was joined meanwhile.
    #[command(after_help = "Example (a key that leaked is replaced):\n  oraculum node revoke\n  oraculum node rekey")]
    Revoke {
        /// Send the transaction from the signing key itself, which then needs ETH for it, in place of the owner's.
        #[arg(long)]
        by_key: bool,
    },
    /// Make a new signing key, register it, give it to every seat, and put it into the place of the old keystore.
    ///
    /// The old keystore stays beside the new one, under another name. Each seat rests for the activation delay and is then made
    /// live again; requests that it was drawn for before are left to others. Restart the node at once: its journal goes on with
    /// the new key. If this command is broken off, the same command goes on.
    #[command(after_help = "Example:\n  oraculum node rekey")]
    Rekey {
        /// Where others reach the node over HTTP; public [default: as it was registered last].
        #[arg(long)]
        uri: Option<String>,
        /// Do not wait for the activation delay; `join` makes the seats live later.
        #[arg(long)]
        no_wait: bool,
    },
    /// Show the node's keys and their money, its seats and bonds, and what can be claimed. Needs no key.
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
        let owner = || self.owner(&settings, &client);
        match &self.command {
            NodeCommand::Register { uri } => register(&self, &settings, &owner()?, uri).await,
            NodeCommand::Join { models, no_wait } => join(&self, &settings, &owner()?, models, *no_wait).await,
            NodeCommand::Leave { model } => leave(&self, &settings, &owner()?, model).await,
            NodeCommand::Revoke { by_key } => keys::revoke(&self, &settings, &client, *by_key).await,
            NodeCommand::Rekey { uri, no_wait } => {
                keys::rekey(&self, &settings, &owner()?, uri.as_deref(), *no_wait).await
            }
            NodeCommand::Status => status::run(&settings, &client, self.json).await,
            NodeCommand::Claim { withdraw } => claim(&self, &settings, &owner()?, *withdraw).await,
        }
    }

    fn passwords<'a>(&'a self, settings: &'a Settings) -> PasswordSource<'a> {
        PasswordSource { argument: self.password_file.as_deref(), config: settings.keys.password_file.as_deref() }
    }

    fn owner(&self, settings: &Settings, client: &Client) -> Result<Account, Error> {
        let beside = self.config.parent().unwrap_or(Path::new("")).join("keys/owner.json");
        let path = self.keystore.as_ref().unwrap_or(&beside);
        let (key, _) = self.typed.open(path, self.passwords(settings))?;
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

/// What `register --json` prints.
#[derive(Serialize)]
struct Registered {
    owner: Address,
    signer: Address,
    transaction: B256,
}

async fn register(args: &NodeArgs, settings: &Settings, owner: &Account, uri: &str) -> CommandResult {
    let (key, _) = args.typed.open(&settings.keys.signer, args.passwords(settings))?;
    let transaction = register_node(owner, settings.chain.coordinator, &key, uri).await?;
    let (owner, signer) = (owner.address(), key.address());
    if args.json {
        return print_json(&Registered { owner, signer, transaction });
    }
    tell!("{signer} answers for {owner} (transaction {transaction})");
    Ok(())
}

/// What `join --json` and `leave --json` print.
#[derive(Serialize)]
struct ChangedSeats {
    seats: Vec<Seat>,
}

async fn join(
    args: &NodeArgs,
    settings: &Settings,
    owner: &Account,
    models: &[String],
    no_wait: bool,
) -> CommandResult {
    let (client, coordinator) = (owner.client(), settings.chain.coordinator);
    let signer = signing_key(client, coordinator, owner.address()).await?;
    let signer =
        signer.ok_or_else(|| format!("{} has no signing key; run `oraculum node register` first", owner.address()))?;
    let owned = OwnedSeats::read(client, settings).await?;
    let mut joined = Vec::new();
    for name in models {
        let model = resolve_model(client, coordinator, name).await?;
        for seat in owned.join(owner, signer, model).await? {
            if let Some(bond) = seat.paid {
                tell!("seat {} on {name} with a bond of {} ETH", seat.index, eth(bond));
            }
            joined.push(seat);
        }
    }
    let mut seats = Vec::new();
    for seat in joined {
        seats.push(activate::activate(owner, settings, seat.model, seat.index, no_wait).await?);
    }
    if args.json {
        return print_json(&ChangedSeats { seats });
    }
    activate::tell_activated(settings, &seats);
    Ok(())
}

async fn leave(args: &NodeArgs, settings: &Settings, owner: &Account, name: &str) -> CommandResult {
    let client = owner.client();
    let model = resolve_model(client, settings.chain.coordinator, name).await?;
    let owned = OwnedSeats::read(client, settings).await?;
    let seats = owned.leave(owner, model).await?;
    if seats.is_empty() {
        return Err(format!("{} has no seat on {name} that could leave", owner.address()).into());
    }
    if args.json {
        return print_json(&ChangedSeats { seats });
    }
    for seat in seats {
        tell!(
            "seat {} on {name} answers no request from block {} on; `oraculum node claim` collects its bond {} blocks later",
            seat.index,
            seat.until,
            owned.parameters.exitDelay
        );
    }
    Ok(())
}

/// What `claim --json` prints. Amounts are wei, as texts.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClaimReport {
    /// Number of answers whose pay was claimed.
    claimed: usize,
    #[serde(serialize_with = "as_text")]
    claimed_wei: U256,
    /// Number of seats that were released.
    released: usize,
    #[serde(serialize_with = "as_text")]
    withdrawn_wei: U256,
    /// Balance in the coordinator after all this.
    #[serde(serialize_with = "as_text")]
    balance_wei: U256,
}

async fn claim(args: &NodeArgs, settings: &Settings, owner: &Account, withdraws: bool) -> CommandResult {
    let (client, coordinator) = (owner.client(), settings.chain.coordinator);
    let owned = OwnedSeats::read(client, settings).await?;
    let unpaid = Unpaid::read(client, settings, &owned).await?;
    let mut released = 0;
    for seat in owned.seats.iter().filter(|seat| seat.is_leaving()) {
        match release_seat(owner, coordinator, seat).await {
            Ok(()) => released += 1,
            Err(error) => tell!("seat {} on {} keeps its bond for now: {error}", seat.index, seat.model),
        }
    }
    claim_pay(owner, coordinator, &unpaid.claimable).await?;
    let balance = balance_of(client, coordinator, owner.address()).await?;
    let withdrawn_wei = if withdraws { balance } else { U256::ZERO };
    if !withdrawn_wei.is_zero() {
        withdraw(owner, coordinator, withdrawn_wei).await?;
    }
    let report = ClaimReport {
        claimed: unpaid.claimable.len(),
        claimed_wei: unpaid.claimable_wei(),
        released,
        withdrawn_wei,
        balance_wei: balance - withdrawn_wei,
    };
    if args.json {
        return print_json(&report);
    }
    let withdrawn = match report.withdrawn_wei {
        U256::ZERO => String::new(),
        wei => format!(", {} ETH went to the owner", eth(wei)),
    };
    tell!(
        "claimed {} ETH for {} answers, released {released} seats; the balance is {} ETH{withdrawn}",
        eth(report.claimed_wei),
        report.claimed,
        eth(report.balance_wei),
    );
    Ok(())
}

#[cfg(test)]
mod tests;
