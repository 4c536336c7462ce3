//! `oraculum request`: asks a model from the command line, waits, and prints the answer.

mod input;
mod refund;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use alloy::{
    primitives::{
        Address, B256, Bytes, U256,
        aliases::U96,
        utils::{ParseUnits, parse_units},
    },
    providers::Provider,
    rpc::types::{Filter, Log, TransactionReceipt},
    signers::local::PrivateKeySigner,
    sol_types::SolEvent,
};
use clap::Args;
use serde_json::{Value, json};

use super::{CommandResult, print, print_json};
use crate::{
    chain::{Endpoint, RootCertificates},
    client::{Account, Client},
    coordinator::abi::InferenceCoordinator as Coordinator,
    dev,
    keys::{self, PasswordSource},
    model::{Details, ModelStore},
    oip,
    protocol::{Outcome, OutputFormat},
};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Ask a model on-chain, wait, and print the answer.
///
/// Without further options it talks to `oraculum dev`, with the key that everybody knows there.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  oraculum request --model iris/v1 --input '[[5.1,3.5,1.4,0.2]]' --json
  oraculum request --model iris/v1 --input '[[5.1,3.5,1.4,0.2]]' --fee 0.001 --keystore keys/user.json \\
    --rpc-url https://rpc.example.org --coordinator 0x5FbDB2315678afecb367f032d93F642f64180aa3
  oraculum request --refund 0x3d2f…   (takes the fee back after the deadline)")]
pub(super) struct RequestArgs {
    /// The model: a name, or an id, which nobody can move.
    #[arg(long, required_unless_present = "refund")]
    model: Option<String>,
    /// One input as nested JSON arrays of the model's shape; repeat it for each input, in the model's order.
    #[arg(long, value_name = "JSON", conflicts_with_all = ["input_json", "input_hex"])]
    input: Vec<String>,
    /// A file with the inputs as Open Inference Protocol tensors; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "input_hex")]
    input_json: Option<PathBuf>,
    /// The inputs as packed tensors in hexadecimal; needs no description of the model.
    #[arg(long, value_name = "HEX")]
    input_hex: Option<Bytes>,
    /// The folder of models, which describes their inputs and outputs.
    #[arg(long, value_name = "FOLDER", env = "ORACULUM_MODELS", default_value = "onnx-models")]
    models: PathBuf,
    /// Instead of asking: credit the fee of a request that nobody answered to its refund account.
    #[arg(long, value_name = "REQUEST", conflicts_with_all = ["model", "input", "input_json", "input_hex"],
        value_parser = super::request_id)]
    refund: Option<B256>,
    #[command(flatten)]
    terms: TermArgs,
    #[command(flatten)]
    chain: ChainArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Terms")]
struct TermArgs {
    /// ETH for the node; needed on real chains, 0.0001 on a local one.
    #[arg(long, value_name = "ETH", value_parser = parse_eth)]
    fee: Option<U96>,
    /// Draw the fee from the caller's balance in the coordinator instead of sending it along.
    #[arg(long)]
    prepaid: bool,
    /// Bytes of each element of a float output, as signed fixed-point: 1, 2, 4, 8 or 16; 0 keeps floats.
    #[arg(long, default_value_t = 4)]
    width: u8,
    /// Decimals of that fixed-point.
    #[arg(long, default_value_t = 6)]
    decimals: u8,
    /// Which outputs, as a bit mask (1 is the first); 0 means all.
    #[arg(long, default_value_t = 0)]
    mask: u16,
    /// Blocks in which an answer may come, 2 to 8000.
    #[arg(long, value_name = "BLOCKS", default_value_t = 300)]
    deadline: u16,
    /// Seconds to wait for the answer; the request stays open after.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Chain")]
struct ChainArgs {
    /// The endpoint: http, https, ws or wss; of several, joined by commas, the first that answers.
    #[arg(
        long,
        env = "ORACULUM_CHAIN_RPC_URLS",
        hide_env_values = true,
        value_delimiter = ',',
        default_value = "http://127.0.0.1:8545"
    )]
    rpc_url: Vec<Endpoint>,
    /// The coordinator's address.
    #[arg(long, env = "ORACULUM_CHAIN_COORDINATOR", default_value_t = dev::COORDINATOR)]
    coordinator: Address,
    /// The keystore of the account that asks and pays; not needed on a local development chain.
    #[arg(long, value_name = "FILE")]
    keystore: Option<PathBuf>,
    /// A file with the keystore's password; else ORACULUM_PASSWORD or the terminal gives it.
    #[arg(long, value_name = "FILE", requires = "keystore")]
    password_file: Option<PathBuf>,
}

/// A request that was made.
struct Asked {
    id: B256,
    block: u64,
    receipt: TransactionReceipt,
    terms: OutputFormat,
    deadline: u64,
}

/// An answer that came.
struct Answered {
    outcome: Outcome,
    output: Bytes,
    block: u64,
    receipt: TransactionReceipt,
    took: Duration,
}

impl RequestArgs {
    /// Runs the command.
    pub(super) async fn run(self) -> CommandResult {
        // Everything that can be wrong with what was typed, before anything else.
        let terms = OutputFormat { width: self.terms.width, decimals: self.terms.decimals, mask: self.terms.mask };
        if !terms.is_valid() {
            return Err("--width is 1, 2, 4, 8 or 16 with up to 36 --decimals, or 0 with --decimals 0".into());
        }
        let client = Client::connect_any(&self.chain.rpc_url, None, &RootCertificates::default()).await?;
        client.expect_contract(self.chain.coordinator).await?;
        let local = client.chain_id() == dev::CHAIN_ID && is_loopback(client.endpoint());
        if let Some(id) = self.refund {
            let account = Account::new(client, self.chain.key(local)?);
            return refund::run(&account, self.chain.coordinator, id, self.json).await;
        }
        let fee = match self.terms.fee {
            Some(fee) => fee,
            None if local => U96::from(100_000_000_000_000u64),
            None => {
                return Err("this is no local chain, so say with --fee how much ETH to pay, such as --fee 0.001".into());
            }
        };

        let name = self.model.as_deref().unwrap_or_default();
        let id = model_id(&client, self.chain.coordinator, name).await?;
        let details = ModelStore::new(&self.models).open(&id.to_string()).map(|model| model.details);
        let input = match (&self.input_hex, &details) {
            (Some(packed), _) => packed.clone(),
            (None, Ok(details)) => self.packed_input(details)?,
            (None, Err(error)) => {
                return Err(
                    format!("{error}; name its folder with --models, or give packed tensors with --input-hex").into()
                );
            }
        };

        let account = Account::new(client, self.chain.key(local)?);
        let ask = Coordinator::Ask {
            modelId: id,
            refundTo: account.address(),
            token: Address::ZERO,
            fee,
            submitFee: U96::ZERO,
            valueAtRisk: U96::ZERO,
            callbackGasLimit: 0,
            deadlineBlocks: self.terms.deadline,
            outputMask: terms.mask,
            outputWidth: terms.width,
            outputDecimals: terms.decimals,
            quorum: 1,
            level: 0,
            inputKind: 0,
        };
        let value = if self.terms.prepaid { U256::ZERO } else { U256::from(fee) };
        let asked = self.ask(&account, ask, input, value, terms).await?;
        let answered = self.wait(&account, &asked).await?;
        self.report(name, id, details.as_ref().ok(), &asked, &answered)?;
        match answered.outcome {
            Outcome::Ok => Ok(()),
            Outcome::BadInput => {
                Err("the model cannot take this input (BadInput); the answer is signed and paid".into())
            }
            Outcome::Unrepresentable => {
                Err("the output does not fit the asked format (Unrepresentable): try a larger \
                --width or fewer --decimals; the answer is signed and paid"
                    .into())
            }
        }
    }

    fn packed_input(&self, details: &Details) -> Result<Bytes, Error> {
        match &self.input_json {
            Some(file) => Ok(input::from_file(file, details)?),
            None => Ok(input::from_arrays(&self.input, details)?),
        }
    }

    async fn ask(
        &self,
        account: &Account,
        ask: Coordinator::Ask,
        input: Bytes,
        value: U256,
        terms: OutputFormat,
    ) -> Result<Asked, Error> {
        let call = Coordinator::requestCall { ask, input };
        let receipt = account.call(self.chain.coordinator, &call, value).await?;
        let id = find::<Coordinator::Requested>(receipt.logs(), self.chain.coordinator)
            .map(|event| event.requestId)
            .ok_or("the coordinator took the request without a word of it; is it a coordinator?")?;
        let block = receipt.block_number.unwrap_or_default();
        if !self.json {
            eprintln!("request {id} is in block {block} (transaction {})", receipt.transaction_hash);
        }
        Ok(Asked { id, block, receipt, terms, deadline: block + u64::from(self.terms.deadline) })
    }

    async fn wait(&self, account: &Account, asked: &Asked) -> Result<Answered, Error> {
        let (client, began) = (account.client(), Instant::now());
        let filter = Filter::new()
            .address(self.chain.coordinator)
            .event_signature(Coordinator::Fulfilled::SIGNATURE_HASH)
            .topic1(asked.id)
            .from_block(asked.block);
        let mut pause = Duration::from_millis(10);
        loop {
            if let Some(log) = client.ask(client.provider().get_logs(&filter)).await?.first() {
                let event = Coordinator::Fulfilled::decode_log_data(log.data())?;
                let receipt = client.receipt(log.transaction_hash.unwrap_or_default()).await?;
                return Ok(Answered {
                    outcome: Outcome::try_from(event.outcome)?,
                    output: event.output,
                    block: log.block_number.unwrap_or_default(),
                    receipt,
                    took: began.elapsed(),
                });
            }
            let head = client.ask(client.provider().get_block_number()).await?;
            if head > asked.deadline || began.elapsed() > Duration::from_secs(self.terms.timeout) {
                let what = if head > asked.deadline { "nobody answered before the deadline" } else { "no answer yet" };
                return Err(format!(
                    "{what}: request {}, now block {head}, deadline block {}; after the deadline \
                     `oraculum request --refund {}` takes the fee back",
                    asked.id, asked.deadline, asked.id
                )
                .into());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_millis(500));
        }
    }

    fn report(
        &self,
        name: &str,
        model: B256,
        details: Option<&Details>,
        asked: &Asked,
        answered: &Answered,
    ) -> CommandResult {
        let outputs = match answered.outcome {
            Outcome::Ok => Some(named_outputs(&answered.output, asked.terms, details)?),
            _ => None,
        };
        let blocks = answered.block.saturating_sub(asked.block);
        if self.json {
            return print_json(&json!({
                "id": asked.id,
                "model": name,
                "modelId": model,
                "outcome": answered.outcome.to_string(),
                "outputs": outputs,
                "output": answered.output,
                "requestBlock": asked.block,
                "fulfilledBlock": answered.block,
                "blocksWaited": blocks,
                "milliseconds": answered.took.as_millis() as u64,
                "transaction": asked.receipt.transaction_hash,
                "fulfillment": answered.receipt.transaction_hash,
                "gas": { "request": asked.receipt.gas_used, "fulfillment": answered.receipt.gas_used },
            }));
        }
        eprintln!(
            "{} in block {}, {blocks} after the request ({} ms, transaction {}); gas {} to ask, {} to answer",
            answered.outcome,
            answered.block,
            answered.took.as_millis(),
            answered.receipt.transaction_hash,
            asked.receipt.gas_used,
            answered.receipt.gas_used
        );
        for output in outputs.iter().flat_map(|outputs| outputs.as_array()).flatten() {
            print(&format!("{} {}: {}", output["name"].as_str().unwrap_or_default(), output["shape"], output["data"]))?;
        }
        Ok(())
    }
}

impl ChainArgs {
    fn key(&self, local: bool) -> Result<PrivateKeySigner, Error> {
        match &self.keystore {
            Some(path) => {
                let source = PasswordSource { argument: self.password_file.as_deref(), config: None };
                Ok(keys::open(path, source)?)
            }
            None if local => Ok(dev::user()),
            None => Err("this is no local development chain, so name the account that pays with --keystore".into()),
        }
    }
}

/// The id of a model by its name on-chain, or as it is.
pub(super) async fn model_id(client: &Client, coordinator: Address, name: &str) -> Result<B256, Error> {
    if let Ok(id) = name.parse::<B256>() {
        return Ok(id);
    }
    let found = client.read(coordinator, &Coordinator::resolveCall { name: name.to_owned() }).await?;
    if found.modelId.is_zero() {
        return Err(
            format!("no model has the name `{name}` at the coordinator {coordinator}; give a name or an id").into()
        );
    }
    Ok(found.modelId)
}

/// The outputs as Open Inference Protocol tensors, with the model's names where they are known.
fn named_outputs(output: &Bytes, format: OutputFormat, details: Option<&Details>) -> Result<Value, Error> {
    let names: Vec<String> = match details {
        Some(details) => {
            let wanted = details.outputs.iter().enumerate().filter(|(index, _)| format.wants(*index));
            wanted.map(|(_, port)| port.name.clone()).collect()
        }
        None => (0..16).filter(|index| format.wants(*index)).map(|index| format!("output{index}")).collect(),
    };
    Ok(serde_json::to_value(oip::unpack_outputs(output, names.iter().map(String::as_str))?.outputs)?)
}

fn find<E: SolEvent>(logs: &[Log], coordinator: Address) -> Option<E> {
    logs.iter()
        .filter(|log| log.address() == coordinator)
        .find_map(|log| E::decode_log(&log.inner).ok())
        .map(|log| log.data)
}

/// Reads ETH as a decimal number, exactly.
fn parse_eth(text: &str) -> Result<U96, String> {
    let wrong = || format!("`{text}` is no amount of ETH; write a decimal number such as 0.001");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 18 {
        return Err(wrong());
    }
    match parse_units(text, "ether") {
        Ok(ParseUnits::U256(wei)) if wei < U256::from(1) << 96 => Ok(U96::from(wei)),
        _ => Err(wrong()),
    }
}

fn is_loopback(endpoint: &Endpoint) -> bool {
    match endpoint.url().host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests;
