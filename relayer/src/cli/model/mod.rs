//! `oraculum model`: the models that this machine can serve, and making them known to a coordinator.

mod calibrate;
mod certify;
mod inspect;
mod new;
mod register;
mod trial;

use std::path::{Path, PathBuf};

use alloy::primitives::B256;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use super::{CommandResult, print, print_json_line, tell};
use crate::{
    engine::{EngineOptions, OnnxEngine, Provider, Source, StartError},
    model::{Model, ModelStore, Summary},
    oip::{self, OipTensor},
    text,
};

/// The models that this machine can serve.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  oraculum model list")]
pub(super) struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
    /// The folder of models [default: onnx-models; of `register`, the configuration's node.models_dir].
    #[arg(long, global = true, value_name = "FOLDER", env = "ORACULUM_MODELS")]
    models: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// Copy a model's folder into the store on this machine, once everything in it is checked and its probes have run.
    ///
    /// No chain hears of it: `register` makes a model known to a coordinator.
    #[command(after_help = "Example:
  oraculum model add ./downloads/iris")]
    Add {
        /// A folder with card.json, details.json and the ONNX file.
        folder: PathBuf,
        /// Take the place of the model with this folder's or this model's name.
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        runtime: RuntimeArg,
    },
    /// Make a model of an ONNX file: its folder in the store, with card, details and probes.
    ///
    /// The model is run to make its probes: on given inputs, or on random numbers of its shapes.
    #[command(after_help = "Examples:
  oraculum model new wine.onnx
  oraculum model new wine.onnx --name wine/v1 --labels red,white --inputs example.json --licence MIT")]
    New(new::NewArgs),
    /// Measure how far this machine's own runs of a model are from the judge's, and propose tolerances.
    ///
    /// Golden inputs, which are the card's probes and given ones, and random ones are run natively and in the canonical judge.
    #[command(after_help = "Examples:
  oraculum model calibrate wine/v1
  oraculum model calibrate ./wine.onnx --inputs example.json --runs 100 --provider cuda")]
    Calibrate(calibrate::CalibrateArgs),
    /// Say which lanes a model may have, and why not the others.
    ///
    /// The model is run in the canonical judge, in a process of its own: on its probes and given inputs, and on random ones.
    /// Exit code 1 says that the lane of its card is refused or, of a bare file, that it may have none.
    #[command(after_help = "Examples:
  oraculum model certify wine/v1
  oraculum model certify ./wine.onnx --inputs example.json --runs 100 --seed 1")]
    Certify(certify::CertifyArgs),
    /// Remove a model from the store on this machine. A node that runs serves it until it ends.
    #[command(after_help = "Example:
  oraculum model remove wine/v1")]
    Remove {
        /// The model's folder name, its name, or its id.
        model: String,
    },
    /// Make a model of the store known to the coordinator, and claim its name.
    ///
    /// Anybody may register a model; its id is the hash of its card, so nobody can register another under it.
    #[command(after_help = "Example:
  oraculum model register iris/v1 --uri https://models.example.org/iris")]
    Register(register::RegisterArgs),
    /// List the models in the store.
    #[command(after_help = "Example:
  oraculum model list --json")]
    List,
    /// Check a model and show what it is: ports, operators, weights, and what a run takes.
    #[command(after_help = "Examples:
  oraculum model inspect iris
  oraculum model inspect ./wine.onnx --json")]
    Inspect {
        /// An ONNX file, a model's folder, or the name or id of a model in the store.
        model: String,
    },
}

/// What `add --json` prints, and `list --json` for each model.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ModelSummary {
    name: String,
    model_id: B256,
    folder: PathBuf,
    task: String,
}

impl From<&Model> for ModelSummary {
    fn from(model: &Model) -> Self {
        let Model { name, id, folder, details, .. } = model;
        Self { name: name.clone(), model_id: *id, folder: folder.clone(), task: details.task.clone() }
    }
}

/// A line of `list --json`: a model, or a folder that holds none that can be used.
#[derive(Serialize)]
#[serde(untagged)]
enum ListedModel {
    Usable(ModelSummary),
    Unusable { folder: PathBuf, error: String },
}

/// A line of `list`: name, id, purpose and labels.
fn listed(model: &Model) -> String {
    let labels = match &model.details.labels[..] {
        [] => String::new(),
        labels => format!(" [{}]", text::cut(&labels.join(", "), 60)),
    };
    format!("{:<16} {}  {}{labels}", model.name, model.id, text::shown(&model.details.task))
}

impl ModelArgs {
    /// Runs the command.
    pub(super) async fn run(self) -> CommandResult {
        let store = ModelStore::new(self.models.as_deref().unwrap_or(Path::new("onnx-models")));
        match self.command {
            ModelCommand::Add { folder, replace, runtime } => {
                let staged = store.stage(&folder)?;
                runtime.engine().await?.load(Source::card(&staged.model)).await?;
                added(&staged.install(replace)?, self.json)
            }
            ModelCommand::New(args) => args.run(&store, self.json).await,
            ModelCommand::Calibrate(args) => args.run(&store, self.json).await,
            ModelCommand::Certify(args) => args.run(&store, self.json).await,
            ModelCommand::Remove { model } => remove(&store, &model, self.json),
            ModelCommand::Register(args) => args.run(self.models, self.json).await,
            ModelCommand::List => list(&store, self.json),
            ModelCommand::Inspect { model } => inspect::run(&store, &model, self.json),
        }
    }
}

/// The ONNX Runtime library that models are tried with, on the processor.
#[derive(Debug, Args)]
struct RuntimeArg {
    /// The ONNX Runtime library; else it is looked for beside the executable and in node_modules.
    #[arg(long, value_name = "LIBRARY", env = "ORT_DYLIB_PATH", help_heading = "Engine")]
    runtime: Option<PathBuf>,
}

impl RuntimeArg {
    async fn engine(self) -> Result<OnnxEngine, StartError> {
        let options = EngineOptions { runtime: self.runtime, provider: Provider::Cpu, ..EngineOptions::default() };
        OnnxEngine::start(options).await
    }
}

/// Tells of a model that is in the store now, and what comes next.
fn added(model: &Model, as_json: bool) -> CommandResult {
    if as_json {
        return print_json_line(&ModelSummary::from(model));
    }
    let name = &model.name;
    tell!("{name} is in {}", model.folder.display());
    print(&format!("{name}  {}", model.id))?;
    tell!("`oraculum dev` serves it, and takes it within seconds where it runs already. To ask it there:");
    tell!("  oraculum request --model {name}{}", example(model).unwrap_or_else(|| " --inputs FILE".to_owned()));
    Ok(())
}

/// The first probe's inputs as flags, where they are short enough to be typed.
fn example(model: &Model) -> Option<String> {
    let names = model.details.inputs.iter().map(|spec| spec.name.as_str());
    let tensors = oip::unpack_outputs(&model.details.probes.first()?.input, names).ok()?;
    let mut flags = String::new();
    for OipTensor { shape, data, .. } in &tensors {
        let json = nested(data.as_array()?, shape).to_string();
        // Quotes and escapes are for a shell to take apart.
        if json.contains(['\'', '\\']) || text::escaped(&json) != json {
            return None;
        }
        flags += &format!(" --input '{json}'");
    }
    (flags.len() <= 120).then_some(flags)
}

/// Elements as arrays that are nested like a shape.
fn nested(elements: &[Value], shape: &[u32]) -> Value {
    match shape {
        [] => elements.first().cloned().unwrap_or_default(),
        [_, inner @ ..] => {
            let row = inner.iter().map(|dim| *dim as usize).product::<usize>().max(1);
            elements.chunks(row).map(|row| nested(row, inner)).collect()
        }
    }
}

fn remove(store: &ModelStore, name: &str, as_json: bool) -> CommandResult {
    let Summary { folder, model } = store.remove(name)?;
    if as_json {
        return print_json_line(&match &model {
            Ok(model) => ListedModel::Usable(model.into()),
            Err(error) => ListedModel::Unusable { folder: store.root().join(&folder), error: error.to_string() },
        });
    }
    tell!("{} is removed", store.root().join(&folder).display());
    match model {
        Ok(model) => print(&format!("{}  {}", model.name, model.id)),
        Err(_) => Ok(()),
    }
}

fn list(store: &ModelStore, as_json: bool) -> CommandResult {
    let models = store.list()?;
    if as_json {
        let rows = models.iter().map(|summary| match &summary.model {
            Ok(model) => ListedModel::Usable(model.into()),
            Err(error) => {
                ListedModel::Unusable { folder: store.root().join(&summary.folder), error: error.to_string() }
            }
        });
        return print_json_line(&rows.collect::<Vec<_>>());
    }
    if models.is_empty() {
        tell!("There are no models in {}: `oraculum model new FILE.onnx` makes one.", store.root().display());
    }
    for summary in models {
        match summary.model {
            Ok(model) => print(&listed(&model))?,
            Err(error) => tell!("{}: {error}", summary.folder),
        }
    }
    Ok(())
}
