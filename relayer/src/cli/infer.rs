//! `oraculum infer`: one inference off-chain, with the engine that nodes answer with.

use std::path::PathBuf;

use clap::Args;
use tracing::{info, warn};

use super::{CommandResult, inputs::InputArgs, named_model::NamedModel, outputs, print_json_line, tell};
use crate::{
    client::JsonInput,
    engine::{EngineOptions, Inference, OnnxEngine, PluginOptions, Provider, ProviderOptions, Source},
    model::{ModelStore, graph::OutputSpec},
    oip::{self, OipResponse},
    protocol::OutputFormat,
};

/// Runs a model once, off-chain, and prints its outputs.
///
/// Outputs are Open Inference Protocol tensors, and this form is stable. What labels say of them is told on standard error.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  oraculum infer iris/v1 --input '[[5.1,3.5,1.4,0.2]]'
  echo '{\"inputs\":[{\"name\":\"features\",\"shape\":[1,4],\"datatype\":\"FP32\",\"data\":[5.1,3.5,1.4,0.2]}]}' |
    oraculum infer onnx-models/iris/model.onnx --inputs -")]
pub(super) struct InferArgs {
    /// An ONNX file, a model's folder, or the name or id of a model in the store. Of a folder or a name, the card is
    /// checked and its probes are run first.
    model: String,
    #[command(flatten)]
    input: InputArgs,
    /// The folder of models that names are looked up in.
    #[arg(long, value_name = "FOLDER", env = "ORACULUM_MODELS", default_value = "onnx-models")]
    models: PathBuf,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Which hardware is to run models, as it is typed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum ProviderArg {
    /// The processor, always; the reference profile.
    Cpu,
    /// An NVIDIA GPU by CUDA, or the start fails.
    Cuda,
    /// An NVIDIA GPU by TensorRT, or the start fails.
    Tensorrt,
    /// The provider in the library of --plugin, or the start fails.
    Plugin,
    /// A GPU by CUDA if it can be used, else the processor, with a warning.
    Auto,
}

impl From<ProviderArg> for Provider {
    fn from(typed: ProviderArg) -> Self {
        match typed {
            ProviderArg::Cpu => Self::Cpu,
            ProviderArg::Cuda => Self::Cuda,
            ProviderArg::Tensorrt => Self::Tensorrt,
            ProviderArg::Plugin => Self::Plugin,
            ProviderArg::Auto => Self::Auto,
        }
    }
}

/// What models run on.
#[derive(Clone, Debug, Args)]
pub(super) struct ProviderArgs {
    /// What models run on; the processor is the reference on which disputes are judged.
    #[arg(long, value_enum, default_value_t = ProviderArg::Cpu, env = "ORACULUM_PROVIDER", help_heading = "Engine")]
    pub(super) provider: ProviderArg,
    /// The library of an execution provider that is a plugin, for --provider plugin.
    #[arg(long, value_name = "LIBRARY", required_if_eq("provider", "plugin"), help_heading = "Engine")]
    plugin: Option<PathBuf>,
    /// The provider's name, where the library of --plugin has several.
    #[arg(long, value_name = "NAME", requires = "plugin", help_heading = "Engine")]
    plugin_name: Option<String>,
}

impl ProviderArgs {
    /// The provider in a library of its own, if one is named.
    pub(super) fn plugin(&self) -> PluginOptions {
        PluginOptions { library: self.plugin.clone(), name: self.plugin_name.clone(), options: Vec::new() }
    }
}

/// Which library and which hardware run models.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Engine")]
pub(super) struct EngineArgs {
    #[command(flatten)]
    provider: ProviderArgs,
    /// Let the processor run the part of a model that the device has no kernels for.
    #[arg(long)]
    partial: bool,
    /// The devices to run on, by number, separated by commas.
    #[arg(long = "device", value_name = "NUMBER", value_delimiter = ',', default_value = "0")]
    devices: Vec<u32>,
    /// The ONNX Runtime library; else it is looked for beside the executable and in node_modules.
    #[arg(long, value_name = "LIBRARY", env = "ORT_DYLIB_PATH")]
    runtime: Option<PathBuf>,
    /// The canonical judge's WebAssembly file; else it is looked for beside the executable and in node_modules.
    #[arg(long, value_name = "FILE", env = "ORACULUM_JUDGE")]
    judge: Option<PathBuf>,
}

impl From<EngineArgs> for EngineOptions {
    fn from(args: EngineArgs) -> Self {
        let plugin = args.provider.plugin();
        Self {
            runtime: args.runtime,
            judge: args.judge,
            provider: args.provider.provider.into(),
            providers: ProviderOptions { plugin, ..ProviderOptions::default() },
            partial: args.partial,
            devices: args.devices,
            ..Self::default()
        }
    }
}

impl InferArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// The model's, the engine's or the inputs'; or the outcome, where it is no output.
    pub(super) async fn run(self) -> CommandResult {
        let (source, labels) = match NamedModel::find(&self.model, &ModelStore::new(&self.models))? {
            NamedModel::File(file) => (Source::file(file), Vec::new()),
            NamedModel::Card(model) => (Source::card(&model), model.details.labels),
        };
        let engine = OnnxEngine::start(self.engine.into()).await?;
        let id = source.id;
        let model = engine.load(source).await?;
        let names = model.signature.outputs.iter().map(OutputSpec::name);
        let JsonInput { packed, mask, id: request_id } = self.input.read(&model.signature.as_ref().into())?;
        let Inference { outcome, output, failure, profile, queue_time, run_time, .. } =
            engine.run_off_chain(id, packed, mask).await?;
        info!(%profile, ?queue_time, ?run_time, "the model ran");
        if let Some(failure) = failure {
            return Err(format!("{outcome}: {failure}").into());
        }
        let format = OutputFormat { mask, ..OutputFormat::NATIVE };
        let given = names.enumerate().filter(|(position, _)| format.wants(*position)).map(|(_, name)| name);
        let outputs = oip::unpack_outputs(&output, given)?;
        if let Some(output) = outputs.iter().find(|output| !output.is_finite()) {
            warn!(
                output = output.name,
                "there are NaN or infinities: as an answer to a contract this is Unrepresentable"
            );
        }
        for output in outputs.iter().filter(|output| outputs::is_labelled(output, &labels)) {
            tell!("{}", outputs::lines(output, &labels).join("\n"));
        }
        print_json_line(&OipResponse { id: request_id, outputs })
    }
}
