//! Which chain `oraculum request` talks to, and who asks there.

use std::path::PathBuf;

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use clap::Args;

use crate::{
    chain::{Endpoint, RootCertificates},
    cli::{CommandResult, exit::Mistyped, local},
    client::{Account, Client},
    dev,
    keys::{self, PasswordSource},
    text,
};

#[derive(Debug, Args)]
#[command(next_help_heading = "Chain")]
pub(super) struct ChainArgs {
    /// The endpoint: http, https, ws or wss; of several, joined by commas, the first that answers [default: that of the
    /// running `oraculum dev`].
    #[arg(long, value_name = "URL", env = "ORACULUM_CHAIN_RPC_URLS", hide_env_values = true, value_delimiter = ',')]
    rpc_url: Vec<Endpoint>,
    /// The coordinator's address [default: that of the running `oraculum dev`].
    #[arg(long, value_name = "ADDRESS", env = "ORACULUM_CHAIN_COORDINATOR", value_parser = text::address)]
    coordinator: Option<Address>,
    /// The keystore of the account that asks and pays; not needed on a local development chain.
    #[arg(long, value_name = "FILE")]
    keystore: Option<PathBuf>,
    /// A file with the keystore's password; else it is taken from ORACULUM_PASSWORD or the terminal.
    #[arg(long, value_name = "FILE", requires = "keystore")]
    password_file: Option<PathBuf>,
}

/// A chain with a coordinator.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) coordinator: Address,
    /// Whether it is a development chain on this machine, where nothing costs anything.
    pub(super) is_local: bool,
    /// The models of the `oraculum dev` that it is.
    pub(super) models_dir: Option<PathBuf>,
}

impl ChainArgs {
    /// Connects to the chain that is named, or to that of the running `oraculum dev`.
    ///
    /// # Errors
    /// `Mistyped` if none is named and none or several run; `AccountError` if it cannot be reached, or has no contract there.
    pub(super) async fn connect(&self) -> CommandResult<Connection> {
        let running = local::find(self.rpc_url.first())?;
        let mut endpoints = self.rpc_url.clone();
        if endpoints.is_empty() {
            let none = "no `oraculum dev` runs here: start it, or name a chain with --rpc-url and --coordinator";
            let url = running.as_ref().map(|running| running.deployment.rpc_url.parse());
            endpoints.push(url.ok_or_else(|| Mistyped(none.into()))??);
        }
        let coordinator = self.coordinator.or_else(|| running.as_ref().map(|running| running.deployment.coordinator));
        let coordinator = coordinator.unwrap_or(dev::COORDINATOR);
        let client = Client::connect_any(&endpoints, None, &RootCertificates::default()).await?;
        client.expect_contract(coordinator).await?;
        let is_local = running.is_some() || client.chain_id() == dev::CHAIN_ID && is_loopback(client.endpoint());
        let models_dir = running.map(|running| running.deployment.models_dir);
        Ok(Connection { client, coordinator, is_local, models_dir })
    }

    /// The account that asks: of the keystore, or on a local chain the one whose key everybody knows.
    ///
    /// # Errors
    /// `Mistyped` if a keystore is needed and none is named; `KeyError` if it cannot be opened.
    pub(super) fn account(&self, connection: &Connection) -> CommandResult<Account> {
        Ok(Account::new(connection.client.clone(), self.key(connection.is_local)?))
    }

    fn key(&self, is_local: bool) -> CommandResult<PrivateKeySigner> {
        match &self.keystore {
            Some(path) => {
                let source = PasswordSource { argument: self.password_file.as_deref(), config: None };
                Ok(keys::open(path, source)?)
            }
            None if is_local => Ok(dev::user()),
            None => {
                let remedy =
                    "this is not a local development chain: name the keystore of the account that pays with --keystore";
                Err(Mistyped(remedy.into()).into())
            }
        }
    }
}

pub(super) fn is_loopback(endpoint: &Endpoint) -> bool {
    match endpoint.url().host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
