//! `oraculum model register`: makes a model known to a coordinator. Anybody may; it costs gas and no more.

use std::path::{Path, PathBuf};

use alloy::primitives::{B256, U256};
use clap::Args;
use serde_json::json;

use crate::{
    cli::{CommandResult, print},
    client::{Account, Client},
    config::{FILE_NAME, Settings},
    coordinator::{self, abi::InferenceCoordinator as Coordinator},
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

impl RegisterArgs {
    /// Registers the model of a store; without one, of the configuration's `node.models_dir`.
    pub(super) async fn run(self, models: Option<PathBuf>, as_json: bool) -> CommandResult {
        let settings = Settings::load(&self.config)?;
        let coordinator = settings.chain.coordinator;
        let model = ModelStore::new(models.unwrap_or(settings.node.models_dir)).open(&self.model)?;
        let chain = &settings.chain;
        let client = Client::connect_any(&chain.rpc_urls, Some(chain.chain_id), &chain.trust()?).await?;
        client.expect_contract(coordinator).await?;
        let known = client.read(coordinator, &Coordinator::modelCall { modelId: model.id }).await?.registered;
        let named = client.read(coordinator, &Coordinator::resolveCall { name: model.name.clone() }).await?;
        let beside = self.config.parent().unwrap_or(Path::new("")).join("keys/owner.json");
        let source =
            PasswordSource { argument: self.password_file.as_deref(), config: settings.keys.password_file.as_deref() };
        let account = Account::new(client, keys::open(self.keystore.as_ref().unwrap_or(&beside), source)?);

        // Before anything is paid for.
        let claims = !self.no_name && named.modelId != model.id;
        if claims && !named.owner.is_zero() {
            let name = &model.name;
            if named.owner != account.address() {
                return Err(format!("the name `{name}` belongs to {}; register with --no-name", named.owner).into());
            }
            if !self.repoint {
                let other = named.modelId;
                return Err(format!("the name `{name}` points to {other}; --repoint moves it to {}", model.id).into());
            }
        }
        let mut transactions: Vec<B256> = Vec::new();
        if !known {
            let call = Coordinator::registerModelCall { card: coordinator::card(&model.card), hint: self.uri };
            transactions.push(account.call(coordinator, &call, U256::ZERO).await?.transaction_hash);
        }
        if claims {
            let call = Coordinator::claimNameCall { name: model.name.clone(), modelId: model.id };
            transactions.push(account.call(coordinator, &call, U256::ZERO).await?.transaction_hash);
        }
        if as_json {
            let result = json!({
                "name": model.name, "modelId": model.id, "registered": !known, "named": claims, "transactions": transactions,
            });
            return print(&result.to_string());
        }
        let what = if known { "was registered already" } else { "is registered" };
        let name = if claims { format!(", by the name `{}`", model.name) } else { String::new() };
        eprintln!("{} {what} with {coordinator}{name}", model.id);
        Ok(())
    }
}
