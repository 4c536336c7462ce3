//! `oraculum judge`: one judgement, as every machine makes it.

use std::{path::PathBuf, time::Duration};

use alloy::primitives::B256;
use clap::Args;
use serde::Serialize;

use super::{CommandResult, inputs::InputArgs, named_model::NamedModel, print_json_line, tell};
use crate::{
    client::JsonInput,
    engine::{EngineOptions, GuardReport, Inference, Limits, OnnxEngine, Provider, Source, Trace},
    model::{ModelStore, graph::OutputSpec},
    oip::{self, OipTensor},
    protocol::OutputFormat,
};

/// Runs a model once in the canonical judge, which gives the same bits on every machine, and prints its outputs.
///
/// It runs in a process of its own, in a session that has run nothing before, as in a dispute. The first judgement on a
/// machine compiles the judge, which takes up to a minute. Of a card in the tolerance lane, the guard says whether the outputs
/// allow a verdict about an answer.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  oraculum judge iris/v1 --inputs '[[5.1,3.5,1.4,0.2]]'
  oraculum judge onnx-models/iris/model.onnx --inputs request.json --trace")]
pub(super) struct JudgeArgs {
    /// An ONNX file, a model's folder, or the name or id of a model in the store.
    model: String,
    #[command(flatten)]
    input: InputArgs,
    /// Also print the digest of values from inside the run, which a seed draws.
    #[arg(long, value_name = "SEED", num_args = 0..=1, default_missing_value = NO_SEED)]
    trace: Option<B256>,
    /// The folder of models that names are looked up in.
    #[arg(long, value_name = "FOLDER", env = "ORACULUM_MODELS", default_value = "onnx-models")]
    models: PathBuf,
    /// Seconds that loading may take, and the run.
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    time_limit: Duration,
    /// The canonical judge's WebAssembly file; else it is looked for beside the executable and in node_modules.
    #[arg(long, value_name = "FILE", env = "ORACULUM_JUDGE", help_heading = "Engine")]
    judge: Option<PathBuf>,
}

/// A time limit, as a user writes it.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.001..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "write a number of seconds from 0.001 to 86400".to_owned())
}

/// The seed where none is typed.
const NO_SEED: &str = "0x0000000000000000000000000000000000000000000000000000000000000000";

/// What is printed.
#[derive(Serialize)]
struct Judgement {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    outputs: Vec<OipTensor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<TraceDigest>,
    /// Of a card in the tolerance lane only.
    #[serde(skip_serializing_if = "Option::is_none")]
    guard: Option<Guard>,
}

/// What the guard says.
#[derive(Serialize)]
struct Guard {
    /// Whether no verdict is allowed.
    speaks: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize)]
struct TraceDigest {
    seed: B256,
    /// Bytes that it covers.
    bytes: usize,
    digest: B256,
}

impl JudgeArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// The model's, the engine's or the inputs'; the outcome, where it is no output; or where the guard speaks.
    pub(super) async fn run(self) -> CommandResult {
        let limits = Limits { run: self.time_limit, load: self.time_limit, ..Limits::default() };
        let options = EngineOptions { judge: self.judge, provider: Provider::Cpu, limits, ..Default::default() };
        let engine = OnnxEngine::start(options).await?;
        let source = match NamedModel::find(&self.model, &ModelStore::new(&self.models))? {
            NamedModel::File(file) => Source::judged(file),
            NamedModel::Card(model) => Source::judged_card(&model),
        };
        let id = source.id;
        let model = engine.load(source).await?;
        let names: Vec<_> = model.signature.outputs.iter().map(OutputSpec::name).collect();
        let JsonInput { packed, mask, id: request_id } = self.input.read(&model.signature.as_ref().into())?;
        let format = OutputFormat { mask, ..OutputFormat::NATIVE };
        let Inference { outcome, output, failure, trace, guard, .. } =
            engine.judge(id, packed, format, self.trace).await?;
        let guard = guard.map(|guard| match guard {
            GuardReport::Silent => {
                tell!("the guard is silent: an answer to these inputs can be judged");
                Guard { speaks: false, reason: None }
            }
            GuardReport::Speaks(reason) => Guard { speaks: true, reason: Some(reason) },
        });
        let speaks = guard.as_ref().and_then(|guard| guard.reason.clone());
        if let Some(failure) = failure {
            return Err(format!("{outcome}: {failure}").into());
        }
        let given = names.into_iter().enumerate().filter(|(position, _)| format.wants(*position)).map(|(_, name)| name);
        let outputs = oip::unpack_outputs(&output, given)?;
        let trace = trace.zip(self.trace).map(|(Trace { bytes, digest, reason }, seed)| {
            if let Some(reason) = reason {
                tell!("the trace is empty: {reason}");
            }
            TraceDigest { seed, bytes: bytes.len(), digest }
        });
        print_json_line(&Judgement { id: request_id, outputs, trace, guard })?;
        speaks.map_or(Ok(()), |reason| Err(format!("no verdict: the guard speaks, for {reason}").into()))
    }
}
