//! `oraculum model register`: makes a model known to a coordinator. Anybody may; it costs gas and no more.

use std::path::{Path, PathBuf};

use alloy::primitives::B256;
use clap::Args;
use serde::Serialize;

use crate::{
    cli::{CommandResult, print_json_line, tell},
    client::{Account, Client, ModelRegistration, Naming, register_model},
    config::{FILE_NAME, Settings},
    keys::{self, PasswordSource},
    model::ModelStore,
};

/// What is registered, where, and who pays.
#[derive(Debug, Args)]
pub(super) struct RegisterArgs {
    /// The model's folder name, its name, or its id.
    model: String,
    /// Where others can fetch the model's folder; public, and no more than a hint.
    #[arg(long, default_value = "")]
    uri: String,
    /// Do not claim the model's name, by which requests and nodes can find it.
    #[arg(long)]
    no_name: bool,
    /// Point the name to this model if it is this account's and points to another.
    #[arg(long, conflicts_with = "no_name")]
    repoint: bool,
    /// The configuration that names chain and coordinator.
    #[arg(long, value_name = "FILE", env = "ORACULUM_CONFIG", default_value = FILE_NAME)]
    config: PathBuf,
    /// The keystore of any account with gas [default: keys/owner.json beside the configuration].
    #[arg(long, value_name = "FILE")]
    keystore: Option<PathBuf>,
    /// A file with the keystore's password; else ORACULUM_PASSWORD, the configuration or the terminal gives it.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// What `register --json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Registered {
    name: String,
    model_id: B256,
    /// Whether the model is new to the coordinator.
    registered: bool,
    /// Whether the name was claimed or moved.
    named: bool,
    transactions: Vec<B256>,
}

impl RegisterArgs {
    /// Registers the model of a store; without one, of the configuration's `node.models_dir`.
    pub(super) async fn run(self, models: Option<PathBuf>, as_json: bool) -> CommandResult {
        let settings = Settings::load(&self.config)?;
        let coordinator = settings.chain.coordinator;
        let model = ModelStore::new(models.unwrap_or(settings.node.models_dir)).open(&self.model)?;
        let chain = &settings.chain;
        let client = Client::connect_any(&chain.rpc_urls, Some(chain.chain_id), &chain.trust()?).await?;
        client.expect_contract(coordinator).await?;
        let beside = self.config.parent().unwrap_or(Path::new("")).join("keys/owner.json");
        let source =
            PasswordSource { argument: self.password_file.as_deref(), config: settings.keys.password_file.as_deref() };
        let account = Account::new(client, keys::open(self.keystore.as_ref().unwrap_or(&beside), source)?);
        let naming = match (self.no_name, self.repoint) {
            (true, _) => Naming::Leave,
            (false, false) => Naming::Claim,
            (false, true) => Naming::Repoint,
        };
        let done = register_model(&account, coordinator, &model, self.uri, naming).await?;
        if as_json {
            let ModelRegistration { registered, named, transactions } = done;
            return print_json_line(&Registered {
                name: model.name,
                model_id: model.id,
                registered,
                named,
                transactions,
            });
        }
        let what = if done.registered { "is registered" } else { "was registered already" };
        let name = if done.named { format!(", by the name `{}`", model.name) } else { String::new() };
        tell!("{} {what} with {coordinator}{name}", model.id);
        Ok(())
    }
}
