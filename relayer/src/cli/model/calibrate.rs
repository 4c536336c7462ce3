//! `oraculum model calibrate`: how far this machine is from the judge, and which tolerances would do.

use std::time::Duration;

use alloy::primitives::B256;
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::{
    inspect,
    trial::{Share, TrialArgs, TriedInputs},
};
use crate::{
    cli::{CommandResult, infer::EngineArgs, judge::seconds, named_model::NamedModel, print, print_json_line, tell},
    client::{Calibration, Distribution, GuardAnswer, NoRule, OutputCalibration, TrialRequest, calibrate, shown_share},
    engine::{EngineOptions, Limits, OnnxEngine},
    model::{Model, ModelStore, agreement_json},
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
    #[serde(flatten)]
    tried: TriedInputs,
    /// Why the guard was not asked, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_guarded: Option<String>,
    /// What the guard says, if no tolerance would keep it silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    guard_speaks: Option<String>,
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
    /// Shares of the rule's tolerance; "infinite" where no tolerance would do.
    native: Shares,
    #[serde(skip_serializing_if = "Option::is_none")]
    guard_golden: Option<Share>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guard_random: Option<Share>,
    proposed: Option<Value>,
    /// Why no rule is proposed, if none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_proposed: Option<String>,
}

#[derive(Serialize)]
struct Shares {
    count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    median: Option<Share>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99: Option<Share>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<Share>,
}

impl CalibrateArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// Where nothing can be compared; or where this machine must not serve the model natively.
    pub(super) async fn run(self, store: &ModelStore, as_json: bool) -> CommandResult {
        let named = NamedModel::find(&self.model, store)?;
        let (file, card) = match &named {
            NamedModel::File(file) => (file.clone(), None),
            NamedModel::Card(model) => (model.onnx(), Some(model.as_ref())),
        };
        let (seed, time_limit) = (self.trial.seed(), self.time_limit);
        let (inputs, runs) = (self.trial.inputs()?, self.trial.runs());
        let request = TrialRequest { file: file.clone(), card, inputs, runs, seed, time_limit };
        let limits = Limits { run: time_limit, load: time_limit, ..Limits::default() };
        let engine = OnnxEngine::start(EngineOptions { limits, ..self.engine.into() }).await?;
        tell!("calibrating with --seed {seed}");
        let calibration = calibrate(&engine, &request, &mut |doing| tell!("  {doing}")).await?;
        let file_hash = file.sha256();
        if as_json {
            print_json_line(&CalibrationReport::new(&calibration, card, file_hash, seed))?;
            return seated(&calibration);
        }
        let title = match card {
            Some(card) => format!("{}  {}", card.name, card.id),
            None => format!("{}  {file_hash}", text::escaped(&self.model)),
        };
        print(&lines(title, &calibration).join("\n"))?;
        seated(&calibration)
    }
}

/// Whether this machine may serve the model natively.
///
/// # Errors
/// Where it must not.
fn seated(calibration: &Calibration) -> CommandResult {
    match calibration.may_take_a_seat() {
        true => Ok(()),
        false => Err(BEYOND.into()),
    }
}

/// What is said of a machine that must not serve a model.
const BEYOND: &str = "this machine is beyond half a tolerance: do not serve the model natively under this rule";

impl CalibrationReport {
    fn new(calibration: &Calibration, card: Option<&Model>, file_hash: B256, seed: u64) -> Self {
        Self {
            name: card.map(|card| card.name.clone()),
            model_id: card.map(|card| card.id),
            file_hash,
            native: calibration.native.clone(),
            seed,
            tried: TriedInputs::from(&calibration.tried),
            not_guarded: match &calibration.guard {
                GuardAnswer::NotAsked(reason) => Some(reason.clone()),
                GuardAnswer::Measured | GuardAnswer::Speaks(..) => None,
            },
            guard_speaks: match &calibration.guard {
                GuardAnswer::Speaks(origin, reason) => Some(format!("on {origin}: {reason}")),
                GuardAnswer::Measured | GuardAnswer::NotAsked(_) => None,
            },
            outputs: calibration.outputs.iter().map(OutputReport::from).collect(),
            may_take_a_seat: calibration.may_take_a_seat(),
            card: proposal(calibration),
        }
    }
}

impl From<&OutputCalibration> for OutputReport {
    fn from(output: &OutputCalibration) -> Self {
        let Distribution { count, median, p99, max } = output.native;
        let measured = |share: f64| (count > 0).then_some(Share(share));
        Self {
            output: output.output.clone(),
            rule: agreement_json(&output.rule),
            native: Shares { count, median: measured(median), p99: measured(p99), max: measured(max) },
            guard_golden: output.guard_golden.map(Share),
            guard_random: output.guard_random.map(Share),
            proposed: output.proposed.as_ref().ok().map(agreement_json),
            not_proposed: output.proposed.err().map(|reason| reason.to_string()),
        }
    }
}

fn proposal(calibration: &Calibration) -> Option<CardProposal> {
    let (profile, rules) = calibration.card()?;
    Some(CardProposal { profile: profile.to_string(), agreement: rules.iter().map(agreement_json).collect() })
}

fn lines(title: String, calibration: &Calibration) -> Vec<String> {
    let Calibration { native, tried, guard, outputs, .. } = calibration;
    let row = |key: &str, value: String| format!("  {key:<11}{value}");
    let mut lines = vec![title, row("native", native.clone())];
    lines.extend(TriedInputs::from(tried).line().map(|line| row("tried", line)));
    for output in outputs {
        let Distribution { count, median, p99, max } = output.native;
        let [median, p99, max] = [median, p99, max].map(shown_share);
        lines.push(row("output", format!("{} ({})", output.output, inspect::agreement(&output.rule))));
        lines.push(match count {
            0 => "    native runs have no values to compare".to_owned(),
            _ => format!("    native runs differ by: median {median}, p99 {p99}, max {max} ({count} values)"),
        });
        let told = |share: Option<f64>, on: &str| share.map(|share| format!("{} on {on} inputs", shown_share(share)));
        let shares: Vec<_> =
            told(output.guard_golden, "golden").into_iter().chain(told(output.guard_random, "random")).collect();
        lines
            .extend((!shares.is_empty()).then(|| format!("    small changes inside differ by: {}", shares.join(", "))));
        lines.push(match &output.proposed {
            Ok(rule) => format!("    proposed: {}", inspect::agreement(rule)),
            Err(reason) => format!("    proposed: nothing, for {reason}: {}", remedy(*reason)),
        });
    }
    match guard {
        GuardAnswer::Measured => {}
        GuardAnswer::NotAsked(reason) => {
            lines.push(row("guard", format!("not asked, so the model may not have the tolerance lane: {reason}")));
        }
        GuardAnswer::Speaks(origin, reason) => lines.push(row(
            "guard",
            format!(
                "speaks on {origin} whatever the tolerance, so the model may not have the tolerance lane: {reason}"
            ),
        )),
    }
    lines.push(row(
        "seat",
        match calibration.may_take_a_seat() {
            true => "this machine is within half a tolerance, so it may serve the model natively".to_owned(),
            false => BEYOND.to_owned(),
        },
    ));
    if let Some(CardProposal { profile, agreement }) = proposal(calibration) {
        lines.push(row("card.json", format!("\"profile\": \"{profile}\"")));
        lines.push(row("card.json", format!("\"agreement\": {}", Value::Array(agreement))));
    }
    lines
}

/// What to do about an output that has no rule.
fn remedy(reason: NoRule) -> &'static str {
    match reason {
        NoRule::Beyond | NoRule::TooWide => "take the exact lane, which needs none",
        NoRule::Differs | NoRule::Rounded => "leave it out, or take the exact lane",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::Tried, protocol::card::Agreement};

    fn calibration(max: f64) -> Calibration {
        let output = OutputCalibration {
            output: "y".to_owned(),
            rule: Agreement::Exact,
            native: Distribution { count: 1, median: max, p99: max, max },
            guard_golden: Some(max),
            guard_random: None,
            proposed: if max.is_finite() { Ok(Agreement::Exact) } else { Err(NoRule::Beyond) },
        };
        let tried = Tried { golden: 1, ..Tried::default() };
        let limits = oraculum_judge::Limits::DEFAULT;
        Calibration { native: "n".to_owned(), limits, tried, guard: GuardAnswer::Measured, outputs: vec![output] }
    }

    #[test]
    fn a_machine_that_must_not_serve_ends_the_command_with_an_error() {
        assert!(seated(&calibration(0.5)).is_ok());
        assert!(seated(&calibration(0.6)).is_err());
    }

    #[test]
    fn what_no_tolerance_allows_is_a_sentence_and_what_was_not_measured_is_left_out() {
        let beyond = calibration(f64::INFINITY);
        let told = lines("y".to_owned(), &beyond).join("\n");
        assert!(told.contains("max more than any tolerance (1 values)"), "{told}");
        assert!(told.contains("runs differ in what no tolerance allows: take the exact lane"), "{told}");
        assert!(!told.contains("card.json"), "{told}");
        let report = serde_json::to_value(CalibrationReport::new(&beyond, None, B256::ZERO, 1)).unwrap();
        assert_eq!(report["outputs"][0]["native"]["max"], "infinite");
        assert_eq!(report["outputs"][0].get("guardRandom"), None);
        let told = lines("y".to_owned(), &calibration(0.1)).join("\n");
        assert!(told.contains("card.json  \"profile\": \"lane=tolerance;guard=1;"), "{told}");
    }
}
