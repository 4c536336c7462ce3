//! `oraculum model calibrate`: how far this machine is from the judge, and which tolerances would do.

use std::time::Duration;

use alloy::primitives::B256;
use clap::Args;
use oraculum_judge::Profile;
use serde::Serialize;
use serde_json::Value;

use super::{certify::TrialArgs, inspect};
use crate::{
    cli::{CommandResult, infer::EngineArgs, judge::seconds, named_model::NamedModel, print, print_json_line, tell},
    client::{Calibration, CalibrationRequest, Distribution, OutputCalibration, calibrate, shown_share},
    engine::{EngineOptions, Limits, OnnxEngine},
    model::{ModelStore, agreement_json},
    protocol::card::Agreement,
    text,
};

/// The model, what it is tried with, and what runs it.
#[derive(Debug, Args)]
pub(super) struct CalibrateArgs {
    /// An ONNX file, a model's folder, or the name or id of a model in the store.
    model: String,
    #[command(flatten)]
    trial: TrialArgs,
    /// Seconds that the judge's part may take, and a native run.
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = seconds)]
    time_limit: Duration,
    #[command(flatten)]
    engine: EngineArgs,
}

/// What `calibrate --json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CalibrationReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<B256>,
    /// SHA-256 of the file.
    file_hash: B256,
    /// What ran the model natively.
    native: String,
    seed: u64,
    golden: usize,
    random: usize,
    left_out: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_guarded: Option<String>,
    outputs: Vec<OutputReport>,
    /// Whether native runs are within half a tolerance everywhere.
    may_take_a_seat: bool,
    /// What a card in the tolerance lane may say, where all outputs have a rule.
    card: Option<CardProposal>,
}

#[derive(Serialize)]
struct CardProposal {
    profile: String,
    agreement: Vec<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutputReport {
    output: String,
    rule: Value,
    /// Shares of the rule's tolerance; null where no tolerance would do.
    native: Shares,
    guard_golden: Option<f64>,
    guard_random: Option<f64>,
    proposed: Option<Value>,
}

#[derive(Serialize)]
struct Shares {
    count: usize,
    median: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
}

impl CalibrateArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// Where nothing can be compared.
    pub(super) async fn run(self, store: &ModelStore, as_json: bool) -> CommandResult {
        let named = NamedModel::find(&self.model, store)?;
        let (file, card) = match &named {
            NamedModel::File(file) => (file.clone(), None),
            NamedModel::Card(model) => (model.onnx(), Some(model.as_ref())),
        };
        let (seed, time_limit) = (self.trial.seed(), self.time_limit);
        let (inputs, runs) = (self.trial.inputs()?, self.trial.runs());
        let request = CalibrationRequest { file: file.clone(), card, inputs, runs, seed, time_limit };
        let limits = Limits { run: time_limit, load: time_limit, ..Limits::default() };
        let engine = OnnxEngine::start(EngineOptions { limits, ..self.engine.into() }).await?;
        tell!("calibrating with --seed {seed}");
        let calibration = calibrate(&engine, &request, &mut |doing| tell!("  {doing}")).await?;
        let file_hash = file.sha256();
        if as_json {
            return print_json_line(&CalibrationReport {
                name: card.map(|card| card.name.clone()),
                model_id: card.map(|card| card.id),
                file_hash,
                ..CalibrationReport::from((&calibration, seed))
            });
        }
        let title = match card {
            Some(card) => format!("{}  {}", card.name, card.id),
            None => format!("{}  {file_hash}", text::escaped(&self.model)),
        };
        print(&lines(title, &calibration).join("\n"))
    }
}

impl From<(&Calibration, u64)> for CalibrationReport {
    fn from((calibration, seed): (&Calibration, u64)) -> Self {
        Self {
            name: None,
            model_id: None,
            file_hash: B256::ZERO,
            native: calibration.native.clone(),
            seed,
            golden: calibration.golden,
            random: calibration.random,
            left_out: calibration.left_out,
            not_guarded: calibration.not_guarded.clone(),
            outputs: calibration.outputs.iter().map(OutputReport::from).collect(),
            may_take_a_seat: calibration.may_take_a_seat(),
            card: card(calibration),
        }
    }
}

impl From<&OutputCalibration> for OutputReport {
    fn from(output: &OutputCalibration) -> Self {
        let finite = |share: f64| share.is_finite().then_some(share);
        let Distribution { count, median, p99, max } = output.native;
        Self {
            output: output.output.clone(),
            rule: agreement_json(&output.rule),
            native: Shares { count, median: finite(median), p99: finite(p99), max: finite(max) },
            guard_golden: finite(output.guard_golden),
            guard_random: finite(output.guard_random),
            proposed: output.proposed.as_ref().map(agreement_json),
        }
    }
}

fn card(calibration: &Calibration) -> Option<CardProposal> {
    let agreement = calibration.agreement()?.iter().map(agreement_json).collect();
    Some(CardProposal { profile: Profile::TOLERANCE.to_string(), agreement })
}

fn lines(title: String, calibration: &Calibration) -> Vec<String> {
    let Calibration { native, golden, random, left_out, not_guarded, outputs } = calibration;
    let row = |key: &str, value: String| format!("  {key:<11}{value}");
    let mut lines = vec![title, row("native", native.clone())];
    let others = if *left_out == 0 { String::new() } else { format!("; {left_out} others it does not take") };
    lines.push(row("tried", format!("{golden} golden and {random} random inputs{others}")));
    for output in outputs {
        let Distribution { count, median, p99, max } = output.native;
        let [median, p99, max] = [median, p99, max].map(shown_share);
        lines.push(row("output", format!("{} ({})", output.output, inspect::agreement(&output.rule))));
        lines.push(format!(
            "    native runs differ by: median {median}, p99 {p99}, max {max} of the tolerance ({count} values)"
        ));
        if not_guarded.is_none() {
            let golden = (*golden > 0).then(|| format!("{} on golden inputs", shown_share(output.guard_golden)));
            let random = (*random > 0).then(|| format!("{} on random inputs", shown_share(output.guard_random)));
            let shares = golden.into_iter().chain(random).collect::<Vec<_>>().join(", ");
            lines.push(format!("    small changes inside differ by: {shares}"));
        }
        lines.push(match &output.proposed {
            Some(rule) => format!("    proposed: {}", inspect::agreement(rule)),
            None if output.rule == Agreement::Exact => {
                "    proposed: nothing, for it must be equal and is made of rounded numbers: leave it out, or take the exact lane".to_owned()
            }
            None => "    proposed: nothing, for no tolerance would do: take the exact lane, which needs none".to_owned(),
        });
    }
    if let Some(reason) = not_guarded {
        lines.push(row("guard", format!("not asked, so there is no room for it: {reason}")));
    }
    lines.push(row(
        "seat",
        match calibration.may_take_a_seat() {
            true => "this machine is within half a tolerance, so it may serve the model natively".to_owned(),
            false => {
                "this machine is beyond half a tolerance: do not serve the model natively under this rule".to_owned()
            }
        },
    ));
    if let Some(CardProposal { agreement, .. }) = card(calibration) {
        lines.push(row("card.json", format!("\"agreement\": {}", Value::Array(agreement))));
    }
    lines
}
