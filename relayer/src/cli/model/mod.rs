//! `oraculum model`: the models that this machine can serve, and making them known to a coordinator.

mod register;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{CommandResult, print};
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
    /// Copies a model's folder into the store on this machine, once everything in it is checked.
    ///
    /// No chain hears of it: `register` makes a model known to a coordinator.
    #[command(after_help = "Example:
  oraculum model add ./downloads/iris")]
    Add {
        /// A folder with card.json, details.json and the ONNX file.
        folder: PathBuf,
    },
    /// Makes a model of the store known to the coordinator, and claims its name.
    ///
    /// Anybody may register a model; its id is the hash of its card, so nobody can register another under it.
    #[command(after_help = "Example:
  oraculum model register iris/v1 --uri https://models.example.org/iris")]
    Register(register::RegisterArgs),
    /// Lists the models in the store.
    #[command(after_help = "Example:
  oraculum model list --json")]
    List,
    /// Checks a model and says what it is.
    #[command(after_help = "Example:
  oraculum model inspect iris")]
    Inspect {
        /// The model's folder name, its name, or its id.
        model: String,
    },
}

impl ModelArgs {
    /// Runs the command.
    pub(super) async fn run(self) -> CommandResult {
        let store = ModelStore::new(self.models.as_deref().unwrap_or(Path::new("onnx-models")));
        match self.command {
            ModelCommand::Add { folder } => {
                let model = store.add(&folder)?;
                if self.json {
                    return print(&describe(&model).to_string());
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
            Ok(model) => describe(model),
            Err(error) => json!({ "folder": store.root().join(&summary.folder), "error": error.to_string() }),
        });
        return print(&Value::Array(rows.collect()).to_string());
    }
    if models.is_empty() {
        eprintln!("There are no models in {}: add one with `oraculum model add FOLDER`.", store.root().display());
    }
    for summary in models {
        match summary.model {
            Ok(model) => print(&format!("{:<16} {}  {}", model.name, model.id, model.details.task))?,
            Err(error) => eprintln!("{}: {error}", summary.folder),
        }
    }
    Ok(())
}

fn inspect(store: &ModelStore, name: &str, as_json: bool) -> CommandResult {
    let model = store.open(name)?;
    let file = model.read_file()?;
    let signature = graph::inspect(&file)?;
    if as_json {
        let ports =
            |ports: &[crate::protocol::cast::TensorSpec]| ports.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut all = describe(&model);
        all["fileHash"] = json!(model.card.file_hash);
        all["fileBytes"] = json!(file.len());
        all["profile"] = json!(model.profile);
        all["inputs"] = json!(ports(&signature.inputs));
        all["outputs"] = json!(ports(&signature.outputs));
        all["agreement"] = model.card.agreement.iter().map(|rule| json!(agreement(rule))).collect();
        all["maxInputBytes"] = json!(model.card.max_input_bytes);
        all["maxOutputBytes"] = json!(model.card.max_output_bytes);
        all["probes"] = json!(model.details.probes.len());
        all["licence"] = json!(model.details.licence);
        return print(&all.to_string());
    }
    let mut lines = vec![
        format!("{}  {}", model.name, model.id),
        format!("  {}", model.details.task),
        format!("  file       {} ({} bytes, SHA-256 as the card says)", model.file.display(), file.len()),
        format!("  profile    {}", model.profile),
    ];
    lines.extend(signature.inputs.iter().map(|port| format!("  input      {port}")));
    let rules = model.card.agreement.iter().map(agreement).chain(std::iter::repeat("no rule".into()));
    lines.extend(signature.outputs.iter().zip(rules).map(|(port, rule)| format!("  output     {port}, {rule}")));
    lines.push(format!("  limits     {} bytes in, {} out", model.card.max_input_bytes, model.card.max_output_bytes));
    lines.push(format!("  probes     {}", model.details.probes.len()));
    lines.push(format!("  licence    {}", model.details.licence));
    print(&lines.join("\n"))
}

fn describe(model: &Model) -> Value {
    json!({ "name": model.name, "modelId": model.id, "folder": model.folder, "task": model.details.task })
}

fn agreement(rule: &Agreement) -> String {
    match rule {
        Agreement::Exact => "equal".into(),
        Agreement::Elementwise { atol, rtol } => format!("within {atol} + {rtol}·|value|"),
        Agreement::Argmax { gap } => format!("same winner, by at least {gap}"),
    }
}
