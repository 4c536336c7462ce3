//! `oraculum model certify`: which lanes a model may have.

use std::{path::PathBuf, time::Duration};

use alloy::primitives::B256;
use clap::Args;
use oraculum_judge::Lane;
use serde::Serialize;

use super::inspect;
use crate::{
    cli::{CommandResult, inputs::read_file, judge::seconds, named_model::NamedModel, print, print_json_line, tell},
    client::{Certificate, CertificateRequest, Refusal, SMALL_RUN, Spread, certify, shown_share},
    engine::{EngineOptions, OnnxEngine, Provider},
    model::{Model, ModelStore},
    text,
};

/// The model, and what it is tried with.
#[derive(Debug, Args)]
pub(super) struct CertifyArgs {
    /// An ONNX file, a model's folder, or the name or id of a model in the store.
    model: String,
    #[command(flatten)]
    trial: TrialArgs,
    /// Seconds that all of it may take.
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = seconds)]
    time_limit: Duration,
    /// The canonical judge's WebAssembly file; else it is looked for beside the executable and in node_modules.
    #[arg(long, value_name = "FILE", env = "ORACULUM_JUDGE", help_heading = "Engine")]
    judge: Option<PathBuf>,
    /// The ONNX Runtime library, for models that multiply integers; else it is looked for beside the executable and in
    /// node_modules.
    #[arg(long, value_name = "LIBRARY", env = "ORT_DYLIB_PATH", help_heading = "Engine")]
    runtime: Option<PathBuf>,
}

/// What a model is tried with, beside the probes of its card.
#[derive(Clone, Debug, Args)]
pub(super) struct TrialArgs {
    /// Inputs to try the model with, as Open Inference Protocol JSON in a file; repeat it for more.
    #[arg(long, value_name = "FILE")]
    inputs: Vec<PathBuf>,
    /// Random inputs to try, of small sizes.
    #[arg(long, value_name = "NUMBER", default_value = "8", value_parser = clap::value_parser!(u16).range(0..=10_000))]
    runs: u16,
    /// What random inputs follow from [default: another one each time].
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

impl TrialArgs {
    /// Files with inputs, each with its name.
    ///
    /// # Errors
    /// A sentence about a file that cannot be read.
    pub(super) fn inputs(&self) -> Result<Vec<(String, Vec<u8>)>, String> {
        self.inputs.iter().map(|path| Ok((path.display().to_string(), read_file(path)?))).collect()
    }

    /// Number of random inputs.
    pub(super) fn runs(&self) -> usize {
        self.runs.into()
    }

    /// The seed that was typed, or one that nobody chose.
    pub(super) fn seed(&self) -> u64 {
        // Short enough to be typed again.
        self.seed.unwrap_or_else(|| rand::random::<u32>().into())
    }
}

/// What `certify --json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<B256>,
    /// SHA-256 of the file.
    file_hash: B256,
    /// Lane that the card names.
    card_lane: Option<&'static str>,
    lanes: Lanes,
    seed: u64,
    inputs: TriedInputs,
    fuel: Fuel,
    memory_bytes: u64,
    /// What may be in a trace; of a model that was run.
    trace: Option<TraceReport>,
    /// How far the guard's changes move each output, in tolerances; null where no tolerance would do.
    guard: Vec<OutputSpread>,
}

#[derive(Serialize)]
struct Lanes {
    exact: LaneReport,
    tolerance: LaneReport,
}

#[derive(Serialize)]
struct LaneReport {
    allowed: bool,
    refusals: Vec<RefusalReport>,
}

#[derive(Serialize)]
struct RefusalReport {
    code: &'static str,
    reason: String,
}

/// Inputs that were tried.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TriedInputs {
    golden: usize,
    random: usize,
    /// Random ones that the model did not take.
    left_out: usize,
}

/// Instructions of the judge.
#[derive(Serialize)]
struct Fuel {
    load: u64,
    /// Of the run that took most.
    run: u64,
    /// What the profile allows each.
    limit: u64,
}

#[derive(Serialize)]
struct TraceReport {
    candidates: u32,
    published: u32,
    cheap: u32,
    draws: u32,
}

#[derive(Serialize)]
struct OutputSpread {
    output: String,
    rule: String,
    golden: Option<f64>,
    random: Option<f64>,
}

impl CertifyArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// Where there is no certificate; or where the lane that the card names is refused.
    pub(super) async fn run(self, store: &ModelStore, as_json: bool) -> CommandResult {
        let named = NamedModel::find(&self.model, store)?;
        let (file, card) = match &named {
            NamedModel::File(file) => (file.clone(), None),
            NamedModel::Card(model) => (model.onnx(), Some(model.as_ref())),
        };
        let seed = self.trial.seed();
        let request = CertificateRequest {
            file: file.clone(),
            card,
            inputs: self.trial.inputs()?,
            runs: self.trial.runs(),
            seed,
            time_limit: self.time_limit,
        };
        let options =
            EngineOptions { judge: self.judge, runtime: None, provider: Provider::Cpu, ..EngineOptions::default() };
        let engine = OnnxEngine::start(EngineOptions { runtime: self.runtime, ..options }).await?;
        tell!("certifying with --seed {seed}");
        let certificate = certify(&engine, &request, &mut |doing| tell!("  {doing}")).await?;
        let report = CertificateReport::new(&certificate, card, file.sha256(), seed);
        if as_json {
            print_json_line(&report)?;
        } else {
            print(&report.lines(&self.model).join("\n"))?;
        }
        match certificate.is_refused(card.is_some()) {
            false => Ok(()),
            true => Err(refused(&certificate).into()),
        }
    }
}

/// The error's line.
fn refused(certificate: &Certificate) -> String {
    match certificate.card_lane {
        Some(lane) => format!(
            "the {} lane, which the card names, is refused: do what is said above, or make the model anew in another lane",
            name(lane)
        ),
        None => "the model may have no lane: do what is said above".to_owned(),
    }
}

/// A lane as people call it.
fn name(lane: Lane) -> &'static str {
    match lane {
        Lane::Exact => "exact",
        Lane::Tolerance => "tolerance",
    }
}

impl CertificateReport {
    fn new(certificate: &Certificate, card: Option<&Model>, file_hash: B256, seed: u64) -> Self {
        let lane = |lane| LaneReport {
            allowed: certificate.may_have(lane),
            refusals: certificate.refusals_of(lane).map(RefusalReport::from).collect(),
        };
        Self {
            name: card.map(|card| card.name.clone()),
            model_id: card.map(|card| card.id),
            file_hash,
            card_lane: certificate.card_lane.map(name),
            lanes: Lanes { exact: lane(Lane::Exact), tolerance: lane(Lane::Tolerance) },
            seed,
            inputs: TriedInputs {
                golden: certificate.golden,
                random: certificate.random,
                left_out: certificate.left_out,
            },
            fuel: Fuel { load: certificate.load_fuel, run: certificate.run_fuel, limit: certificate.limits.fuel },
            memory_bytes: certificate.memory,
            trace: certificate.proof.map(|proof| TraceReport {
                candidates: proof.candidates,
                published: proof.published,
                cheap: proof.cheap,
                draws: certificate.draws,
            }),
            guard: certificate.spreads.iter().map(OutputSpread::from).collect(),
        }
    }

    /// Whether a reason keeps the model from the exact lane, too.
    fn is_common(&self, refusal: &RefusalReport) -> bool {
        self.lanes.exact.refusals.iter().any(|other| other.reason == refusal.reason)
    }

    fn lines(&self, model: &str) -> Vec<String> {
        let row = |key: &str, value: String| format!("  {key:<11}{value}");
        let title = self.name.as_deref().map_or_else(|| text::escaped(model), ToOwned::to_owned);
        let mut lines = vec![match self.model_id {
            Some(id) => format!("{title}  {id}"),
            None => format!("{title}  {}", self.file_hash),
        }];
        let common = self.lanes.exact.refusals.len();
        for (lane, report) in [("exact", &self.lanes.exact), ("tolerance", &self.lanes.tolerance)] {
            let named = if self.card_lane == Some(lane) { ", which the card names" } else { "" };
            // What keeps a model from the exact lane keeps it from both.
            let told = if lane == "exact" { 0 } else { common };
            let also = match report.refusals.len() {
                _ if told == 0 => "",
                all if all == told => ", for the same",
                _ => ", for the same, and",
            };
            lines.push(row(lane, format!("{}{named}{also}", if report.allowed { "allowed" } else { "refused" })));
            let others = report.refusals.iter().filter(|refusal| told == 0 || !self.is_common(refusal));
            lines.extend(others.map(|refusal| format!("    - {}", refusal.reason)));
        }
        let TriedInputs { golden, random, left_out } = self.inputs;
        let tried = golden + random + left_out;
        let others = if left_out == 0 { String::new() } else { format!("; {left_out} others it does not take") };
        lines.extend((tried > 0).then(|| row("tried", format!("{golden} golden and {random} random inputs{others}"))));
        if golden + random > 0 {
            let Fuel { load, run, limit } = self.fuel;
            lines.push(row("fuel", format!("{run} a run at most and {load} to load, of {limit} each")));
            lines.push(row("memory", format!("{} bytes at most", self.memory_bytes)));
        }
        let need_not = if self.fuel.run < SMALL_RUN { "; so small a run need not be proven" } else { "" };
        lines.extend(self.trace.as_ref().map(|trace| row("trace", format!("{}{need_not}", trace.line()))));
        lines.extend(self.guard.iter().map(|spread| row("guard", spread.line(golden > 0, random > 0))));
        lines
    }
}

impl TraceReport {
    fn line(&self) -> String {
        let Self { candidates, published, cheap, .. } = self;
        let proves = candidates.saturating_sub(*published).saturating_sub(*cheap);
        let values = format!("{proves} of {candidates} values inside prove a run; {cheap} take under half of it");
        match published {
            1 => format!("{values}, 1 is an output"),
            _ => format!("{values}, {published} are outputs"),
        }
    }
}

impl OutputSpread {
    fn line(&self, golden: bool, random: bool) -> String {
        let told =
            |share: Option<f64>, on: &str| format!("{} on {on} inputs", shown_share(share.unwrap_or(f64::INFINITY)));
        let golden = golden.then(|| told(self.golden, "golden"));
        let random = random.then(|| told(self.random, "random"));
        let shares = golden.into_iter().chain(random).collect::<Vec<_>>().join(", ");
        format!("{} ({}): small changes inside take {shares}, of the tolerance", self.output, self.rule)
    }
}

impl From<&Refusal> for RefusalReport {
    fn from(refusal: &Refusal) -> Self {
        Self { code: refusal.code(), reason: text::escaped(&refusal.to_string()) }
    }
}

impl From<&Spread> for OutputSpread {
    fn from(spread: &Spread) -> Self {
        let finite = |share: f64| share.is_finite().then_some(share);
        Self {
            output: spread.output.clone(),
            rule: inspect::agreement(&spread.rule),
            golden: finite(spread.golden),
            random: finite(spread.random),
        }
    }
}
