//! `oraculum model certify`: which lanes a model may have.

use std::{path::PathBuf, time::Duration};

use alloy::primitives::B256;
use clap::Args;
use oraculum_judge::Lane;
use serde::Serialize;

use super::{
    inspect,
    trial::{Share, TrialArgs, TriedInputs},
};
use crate::{
    cli::{CommandResult, judge::seconds, named_model::NamedModel, print, print_json_line, tell},
    client::{Certificate, Refusal, SMALL_RUN, Spread, TrialRequest, certify, shown_share},
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
    /// Of the run that took most, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    /// What may be in a trace; of a model that was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<TraceReport>,
    /// How far the guard's changes move each output, in tolerances; "infinite" where no tolerance would do.
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

/// Instructions of the judge.
#[derive(Serialize)]
struct Fuel {
    /// Of a model that the judge loads.
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<u64>,
    /// Of the run that took most, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<u64>,
    /// What the profile allows each.
    limit: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TraceReport {
    candidates: u32,
    published: u32,
    cheap: u32,
    draws: u32,
    /// Whether runs are so small that they need not be proven.
    small: bool,
    /// Whether larger inputs may be asked for than those that were tried, all of which chance chose.
    open_sizes: bool,
}

#[derive(Serialize)]
struct OutputSpread {
    output: String,
    rule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    golden: Option<Share>,
    #[serde(skip_serializing_if = "Option::is_none")]
    random: Option<Share>,
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
        let request = TrialRequest {
            file: file.clone(),
            card,
            inputs: self.trial.inputs()?,
            runs: self.trial.runs(),
            seed,
            time_limit: self.time_limit,
        };
        let engine = OnnxEngine::start(EngineOptions {
            judge: self.judge,
            runtime: self.runtime,
            provider: Provider::Cpu,
            ..EngineOptions::default()
        })
        .await?;
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
        let inputs = TriedInputs::from(&certificate.tried);
        let has_run = inputs.golden + inputs.random > 0;
        Self {
            name: card.map(|card| card.name.clone()),
            model_id: card.map(|card| card.id),
            file_hash,
            card_lane: certificate.card_lane.map(name),
            lanes: Lanes { exact: lane(Lane::Exact), tolerance: lane(Lane::Tolerance) },
            seed,
            inputs,
            fuel: Fuel {
                load: (certificate.load_fuel > 0).then_some(certificate.load_fuel),
                run: has_run.then_some(certificate.run_fuel),
                limit: certificate.limits.fuel,
            },
            memory_bytes: has_run.then_some(certificate.memory),
            trace: certificate.proof.map(|proof| TraceReport {
                candidates: proof.candidates,
                published: proof.published,
                cheap: proof.cheap,
                draws: certificate.draws,
                small: certificate.run_fuel < SMALL_RUN,
                open_sizes: certificate.open_sizes,
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
        lines.extend((self.model_id.is_some() && self.card_lane.is_none()).then(|| {
            row("card", "names no lane: native ONNX Runtime answers, and nothing decides in a dispute".to_owned())
        }));
        lines.extend(self.inputs.line().map(|line| row("tried", line)));
        let Fuel { load, run, limit } = self.fuel;
        if let (Some(load), Some(run), Some(memory)) = (load, run, self.memory_bytes) {
            lines.push(row("fuel", format!("{run} a run at most and {load} to load, of {limit} each")));
            lines.push(row("memory", format!("{memory} bytes at most")));
        }
        lines.extend(self.trace.as_ref().map(|trace| row("trace", trace.line())));
        lines.extend(self.guard.iter().map(|spread| row("guard", spread.line())));
        lines
    }
}

impl TraceReport {
    fn line(&self) -> String {
        let small = match (self.small, self.open_sizes) {
            (false, _) => "",
            (true, false) => "; so small a run need not be proven",
            (true, true) => {
                "; so small a run need not be proven, but one of larger inputs may have to be: give such with --inputs"
            }
        };
        format!("{}{small}", self.values())
    }

    fn values(&self) -> String {
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
    fn line(&self) -> String {
        let told =
            |share: Option<Share>, on: &str| share.map(|share| format!("{} on {on} inputs", shown_share(share.0)));
        let shares = told(self.golden, "golden").into_iter().chain(told(self.random, "random"));
        let shares = shares.collect::<Vec<_>>().join(", ");
        format!("{} ({}): small changes inside take {shares}", self.output, self.rule)
    }
}

impl From<&Refusal> for RefusalReport {
    fn from(refusal: &Refusal) -> Self {
        Self { code: refusal.code(), reason: text::escaped(&refusal.to_string()) }
    }
}

impl From<&Spread> for OutputSpread {
    fn from(spread: &Spread) -> Self {
        Self {
            output: spread.output.clone(),
            rule: inspect::agreement(&spread.rule),
            golden: spread.golden.map(Share),
            random: spread.random.map(Share),
        }
    }
}
