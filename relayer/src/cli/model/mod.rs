//! `oraculum model`: the models that this machine can serve, and making them known to a coordinator.

mod register;

use std::path::{Path, PathBuf};

use alloy::primitives::B256;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{CommandResult, print, print_json_line, tell};
use crate::{
    model::{Model, ModelStore, graph},
    protocol::card::Agreement,
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
    /// Copy a model's folder into the store on this machine, once everything in it is checked.
    ///
    /// No chain hears of it: `register` makes a model known to a coordinator.
    #[command(after_help = "Example:
  oraculum model add ./downloads/iris")]
    Add {
        /// A folder with card.json, details.json and the ONNX file.
        folder: PathBuf,
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
    /// Check a model and show what it is.
    #[command(after_help = "Example:
  oraculum model inspect iris")]
    Inspect {
        /// The model's folder name, its name, or its id.
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

/// What `inspect --json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ModelReport {
    #[serde(flatten)]
    summary: ModelSummary,
    /// SHA-256 of the file.
    file_hash: B256,
    file_bytes: usize,
    profile: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
    /// By which rule two answers agree, for each output.
    agreement: Vec<String>,
    max_input_bytes: u32,
    max_output_bytes: u32,
    /// Number of probes.
    probes: usize,
    licence: String,
}

impl ModelArgs {
    /// Runs the command.
    pub(super) async fn run(self) -> CommandResult {
        let store = ModelStore::new(self.models.as_deref().unwrap_or(Path::new("onnx-models")));
        match self.command {
            ModelCommand::Add { folder } => {
                let model = store.add(&folder)?;
                if self.json {
                    return print_json_line(&ModelSummary::from(&model));
                }
                print(&format!("{} is in {}\n{}", model.name, model.folder.display(), model.id))
            }
            ModelCommand::Register(args) => args.run(self.models, self.json).await,
            ModelCommand::List => list(&store, self.json),
            ModelCommand::Inspect { model } => inspect(&store, &model, self.json),
        }
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
        tell!("There are no models in {}: add one with `oraculum model add FOLDER`.", store.root().display());
    }
    for summary in models {
        match summary.model {
            Ok(model) => print(&format!("{:<16} {}  {}", model.name, model.id, model.details.task))?,
            Err(error) => tell!("{}: {error}", summary.folder),
        }
    }
    Ok(())
}

fn inspect(store: &ModelStore, name: &str, as_json: bool) -> CommandResult {
    let model = store.open(name)?;
    let file = model.read_file()?;
    let signature = graph::inspect(&file)?;
    let report = ModelReport {
        summary: (&model).into(),
        file_hash: model.card.file_hash,
        file_bytes: file.len(),
        profile: model.profile.clone(),
        inputs: signature.inputs.iter().map(ToString::to_string).collect(),
        outputs: signature.outputs.iter().map(ToString::to_string).collect(),
        agreement: model.card.agreement.iter().map(agreement).collect(),
        max_input_bytes: model.card.max_input_bytes,
        max_output_bytes: model.card.max_output_bytes,
        probes: model.details.probes.len(),
        licence: model.details.licence.clone(),
    };
    if as_json {
        return print_json_line(&report);
    }
    let mut lines = vec![
        format!("{}  {}", report.summary.name, report.summary.model_id),
        format!("  {}", report.summary.task),
        format!("  file       {} ({} bytes, SHA-256 as the card says)", model.file.display(), report.file_bytes),
        format!("  profile    {}", report.profile),
    ];
    lines.extend(report.inputs.iter().map(|input| format!("  input      {input}")));
    let rules = report.agreement.iter().map(String::as_str).chain(std::iter::repeat("no rule"));
    lines.extend(report.outputs.iter().zip(rules).map(|(output, rule)| format!("  output     {output}, {rule}")));
    lines.push(format!("  limits     {} bytes in, {} out", report.max_input_bytes, report.max_output_bytes));
    lines.push(format!("  probes     {}", report.probes));
    lines.push(format!("  licence    {}", report.licence));
    print(&lines.join("\n"))
}

fn agreement(rule: &Agreement) -> String {
    match rule {
        Agreement::Exact => "equal".into(),
        Agreement::Elementwise { atol, rtol } => format!("within {atol} + {rtol}·|value|"),
        Agreement::Argmax { gap } => format!("same winner, by at least {gap}"),
    }
}
