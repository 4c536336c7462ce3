//! `oraculum request`: asks a model from the command line, waits, and prints the answer.

mod chain;
mod redeliver;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use alloy::primitives::{
    Address, B256, Bytes, U256,
    aliases::U96,
    utils::{ParseUnits, format_ether, parse_units},
};
use clap::{Args, Subcommand};
use serde::Serialize;

use self::chain::ChainArgs;
use super::{CommandResult, as_text, exit::Mistyped, inputs::InputArgs, outputs, print, print_json, tell};
use crate::{
    client::{Account, Answered, Asked, JsonInput, RequestTerms, ask, refund, resolve_model, wait_for_answer},
    model::{Details, ModelError, ModelStore},
    oip::OipTensor,
    protocol::{Outcome, OutputFormat},
};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The fee on a local development chain, where none is named, wei: 0.0001 ETH.
const LOCAL_FEE: u64 = 100_000_000_000_000;

/// The folder of models where neither a flag nor an `oraculum dev` names one.
const MODELS_DIR: &str = "onnx-models";

/// Ask a model on-chain, wait, and print the answer.
///
/// Without further options it talks to `oraculum dev`, with the key that everybody knows there.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  oraculum request --model iris/v1 --input '[[5.1,3.5,1.4,0.2]]' --json
  oraculum request --model iris/v1 --input '[[5.1,3.5,1.4,0.2]]' --fee 0.001 --keystore keys/user.json \\
    --rpc-url https://rpc.example.org --coordinator 0x5FbDB2315678afecb367f032d93F642f64180aa3
  oraculum request --model language/v1 --text 'Wo ist der Bahnhof?'
  oraculum request --refund 0x3d2f…   (takes the fee back after the deadline)
  oraculum request redeliver 0x3d2f… --gas-limit 300000   (after a callback that failed)"
)]
pub(super) struct RequestArgs {
    #[command(subcommand)]
    command: Option<RequestCommand>,
    /// The model, by name or id; nobody can point an id to another model.
    #[arg(long, required_unless_present = "refund")]
    model: Option<String>,
    #[command(flatten)]
    input: InputArgs,
    /// The inputs as packed tensors in hexadecimal; needs no description of the model.
    #[arg(long, value_name = "HEX", conflicts_with_all = ["input", "text"])]
    input_hex: Option<Bytes>,
    /// The folder of models, which describes their inputs and outputs [default: that of the running `oraculum dev`, or
    /// onnx-models].
    #[arg(long, value_name = "FOLDER", env = "ORACULUM_MODELS")]
    models: Option<PathBuf>,
    /// Instead of asking: credit the fee of a request that nobody answered to its refund account.
    #[arg(long, value_name = "REQUEST", conflicts_with_all = ["model", "input", "text", "input_hex"],
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

#[derive(Debug, Subcommand)]
enum RequestCommand {
    Redeliver(redeliver::RedeliverArgs),
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Terms")]
struct TermArgs {
    /// ETH for the node; required on real chains, 0.0001 on a local one.
    #[arg(long, value_name = "ETH", value_parser = parse_eth)]
    fee: Option<U96>,
    /// Take the fee from the caller's balance in the coordinator instead of sending it along.
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
    /// Number of blocks in which an answer may come, 2 to 8000.
    #[arg(long, value_name = "BLOCKS", default_value_t = 300, value_parser = clap::value_parser!(u16).range(2..=8000))]
    deadline: u16,
    /// Seconds to wait for the answer; the request stays open afterwards.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
}

impl RequestArgs {
    /// Runs the command.
    pub(super) async fn run(self) -> CommandResult {
        if let Some(RequestCommand::Redeliver(redeliver)) = &self.command {
            return redeliver.run().await;
        }
        // Everything that can be wrong with what was typed, before anything else.
        let format = OutputFormat { width: self.terms.width, decimals: self.terms.decimals, mask: self.terms.mask };
        if !format.is_valid() {
            let message = "--width is 1, 2, 4, 8 or 16 with up to 36 --decimals, or 0 with --decimals 0";
            return Err(Mistyped(message.into()).into());
        }
        let connection = self.chain.connect().await?;
        let (client, coordinator) = (&connection.client, connection.coordinator);
        if let Some(id) = self.refund {
            return self.take_back(&self.chain.account(&connection)?, coordinator, id).await;
        }
        let fee = match self.terms.fee {
            Some(fee) => fee,
            None if connection.is_local => U96::from(LOCAL_FEE),
            None => {
                let remedy = "this is not a local chain: name the fee in ETH with --fee, such as --fee 0.001";
                return Err(Mistyped(remedy.into()).into());
            }
        };
        let name = self.model.as_deref().unwrap_or_default();
        let model = resolve_model(client, coordinator, name).await?;
        let models_dir = self.models.as_deref().or(connection.models_dir.as_deref()).unwrap_or(Path::new(MODELS_DIR));
        let details = ModelStore::new(models_dir).open(&model.to_string()).map(|model| model.details);
        let JsonInput { packed, mask, .. } = self.packed_input(&details)?;
        // What is typed comes before what a file says.
        let format = OutputFormat { mask: if format.mask == 0 { mask } else { format.mask }, ..format };
        let account = self.chain.account(&connection)?;
        let (prepaid, deadline_blocks) = (self.terms.prepaid, self.terms.deadline);
        let terms = RequestTerms { model, fee, prepaid, format, deadline_blocks };
        let asked = ask(&account, coordinator, terms, packed).await?;
        if !self.json {
            tell!("request {} is in block {} (transaction {})", asked.id, asked.block, asked.transaction);
        }
        let timeout = Duration::from_secs(self.terms.timeout);
        let answered = wait_for_answer(account.client(), coordinator, &asked, timeout).await?;
        let outputs = answered.outputs(details.as_ref().ok())?;
        let labels = details.as_ref().map(|details| details.labels.as_slice()).unwrap_or_default();
        self.report(AnswerReport::new(name, model, &asked, &answered, outputs), labels)?;
        match answered.outcome {
            Outcome::Ok => Ok(()),
            Outcome::BadInput => {
                Err("the model cannot take this input (BadInput); the answer is signed and paid".into())
            }
            Outcome::Unrepresentable => {
                Err("the output does not fit the requested format, or has NaN or infinities, which `oraculum infer` \
                    shows (Unrepresentable): try a larger --width or fewer --decimals; the answer is signed and paid"
                    .into())
            }
        }
    }

    /// The inputs as packed tensors, and the outputs asked for. Without the model's details they can only be given as such.
    fn packed_input(&self, details: &Result<Details, ModelError>) -> Result<JsonInput, Error> {
        let details = match (&self.input_hex, details) {
            (Some(packed), _) => return Ok(JsonInput { packed: packed.clone(), mask: 0, id: None }),
            (None, Ok(details)) => details,
            (None, Err(error)) => {
                let remedy = "name its folder with --models, or give packed tensors with --input-hex";
                return Err(format!("{error}; {remedy}").into());
            }
        };
        self.input.read(&details.into())
    }

    async fn take_back(&self, account: &Account, coordinator: Address, id: B256) -> CommandResult {
        let refund = refund(account, coordinator, id).await?;
        let (account, wei, transaction) = (refund.account, refund.amount, refund.transaction);
        if self.json {
            return print_json(&RefundReport { id, account, wei, transaction });
        }
        tell!("{} ETH are credited to the balance of {account} in the coordinator", format_ether(wei));
        Ok(())
    }

    fn report(&self, report: AnswerReport, labels: &[String]) -> CommandResult {
        if self.json {
            return print_json(&report);
        }
        tell!(
            "{} in block {}, {} after the request ({} ms, transaction {}); gas {} to ask, {} to answer",
            report.outcome,
            report.fulfilled_block,
            report.blocks_waited,
            report.milliseconds,
            report.fulfillment,
            report.gas.request,
            report.gas.fulfillment
        );
        for output in report.outputs.iter().flatten() {
            print(&outputs::lines(output, labels).join("\n"))?;
        }
        Ok(())
    }
}

/// What `request --json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AnswerReport<'a> {
    id: B256,
    model: &'a str,
    model_id: B256,
    outcome: String,
    /// The outputs as Open Inference Protocol tensors; null unless the outcome is `Ok`.
    outputs: Option<Vec<OipTensor>>,
    /// The outputs as they are on chain: packed tensors.
    output: Bytes,
    request_block: u64,
    fulfilled_block: u64,
    blocks_waited: u64,
    milliseconds: u64,
    /// The transaction of the request.
    transaction: B256,
    /// The transaction of the answer.
    fulfillment: B256,
    gas: GasReport,
}

/// Gas used by the two transactions.
#[derive(Serialize)]
struct GasReport {
    request: u64,
    fulfillment: u64,
}

impl<'a> AnswerReport<'a> {
    fn new(
        model: &'a str,
        model_id: B256,
        asked: &Asked,
        answered: &Answered,
        outputs: Option<Vec<OipTensor>>,
    ) -> Self {
        Self {
            id: asked.id,
            model,
            model_id,
            outcome: answered.outcome.to_string(),
            outputs,
            output: answered.output.clone(),
            request_block: asked.block,
            fulfilled_block: answered.block,
            blocks_waited: answered.block.saturating_sub(asked.block),
            milliseconds: u64::try_from(answered.waited.as_millis()).unwrap_or(u64::MAX),
            transaction: asked.transaction,
            fulfillment: answered.transaction,
            gas: GasReport { request: asked.gas_used, fulfillment: answered.gas_used },
        }
    }
}

/// What `request --refund --json` prints.
#[derive(Serialize)]
struct RefundReport {
    id: B256,
    /// The account whose balance in the coordinator the fee is credited to.
    account: Address,
    #[serde(serialize_with = "as_text")]
    wei: U256,
    transaction: B256,
}

/// Reads ETH as a decimal number, exactly.
fn parse_eth(text: &str) -> Result<U96, String> {
    let wrong = || format!("`{text}` is not an amount of ETH; write a decimal number such as 0.001");
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

#[cfg(test)]
mod tests;
