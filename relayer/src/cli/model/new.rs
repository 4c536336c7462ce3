//! `oraculum model new`: a model of an ONNX file.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{RuntimeArg, added};
use crate::{
    cli::{CommandResult, inputs::read_file, tell},
    client::{ModelLane, ModelRecipe, new_model},
    model::{ModelFile, ModelStore},
};

/// The file, and what it does not say.
#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// The ONNX file.
    file: PathBuf,
    /// The model's name [default: the file's name, with /v1].
    #[arg(long)]
    name: Option<String>,
    /// The terms under which the model may be used.
    #[arg(long, value_name = "TEXT")]
    licence: Option<String>,
    /// Inputs that the model is probed with, as Open Inference Protocol JSON in a file; repeat it for more.
    #[arg(long, value_name = "FILE")]
    inputs: Vec<PathBuf>,
    /// Names of an output's elements, in their order, with commas between.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    labels: Vec<String>,
    /// What answers, and what decides about answers.
    #[arg(long, value_enum, default_value_t = LaneArg::Exact)]
    lane: LaneArg,
    /// What the model is for, in a sentence.
    #[arg(long, value_name = "TEXT")]
    task: Option<String>,
    /// Take the place of the model with this name.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    runtime: RuntimeArg,
}

/// What answers for a model, as it is typed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LaneArg {
    /// The canonical judge answers, with the same bytes on every machine.
    Exact,
    /// Native ONNX Runtime or a GPU answers, and the judge decides within a tolerance.
    Tolerance,
    /// Native ONNX Runtime or a GPU answers, and nothing decides: for models that the judge cannot load.
    Native,
}

impl From<LaneArg> for ModelLane {
    fn from(typed: LaneArg) -> Self {
        match typed {
            LaneArg::Exact => Self::Exact,
            LaneArg::Tolerance => Self::Tolerance,
            LaneArg::Native => Self::Native,
        }
    }
}

impl NewArgs {
    /// Makes the model, and puts it into a store.
    pub(super) async fn run(self, store: &ModelStore, as_json: bool) -> CommandResult {
        let inputs = self.inputs.iter().map(|path| Ok((path.display().to_string(), read_file(path)?)));
        let recipe = ModelRecipe {
            name: self.name.unwrap_or_else(|| default_name(&self.file)),
            file: ModelFile::of_path(&self.file)?,
            task: self.task.unwrap_or_default(),
            licence: self.licence.unwrap_or_default(),
            labels: self.labels,
            inputs: inputs.collect::<Result<_, String>>()?,
            lane: self.lane.into(),
        };
        let random = recipe.inputs.is_empty();
        let licensed = !recipe.licence.is_empty();
        let model = new_model(&self.runtime.engine().await?, store, recipe, self.replace).await?;
        if random && !as_json {
            let probes = model.details.probes.len();
            tell!("its {probes} probes are random numbers: give some of its real inputs with --inputs for better ones");
        }
        if !licensed && !as_json {
            tell!("it has no licence: say with --licence under which terms others may use it");
        }
        added(&model, as_json)
    }
}

/// A name for the model of a file: `Wine Quality.onnx` is `wine-quality/v1`. Of `model.onnx`, which says nothing, the folder's
/// name is taken.
fn default_name(file: &Path) -> String {
    let name = |path: &Path| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
        let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c) { c } else { '-' };
        stem.chars().map(plain).collect::<String>().trim_matches(['-', '.']).to_owned()
    };
    let folder = || file.canonicalize().ok()?.parent().map(name).filter(|name| !name.is_empty());
    let stem = match name(file) {
        stem if stem == "model" => folder().unwrap_or(stem),
        stem => stem,
    };
    // A name that is too long is cut: at one byte for each character.
    format!("{}/v1", &stem[..stem.len().min(61)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_after_its_file() {
        for (file, expected) in [
            ("/nowhere/Wine Quality.onnx", "wine-quality/v1"),
            ("wine_2.1.onnx", "wine_2.1/v1"),
            (".hidden.onnx", "hidden/v1"),
            ("größe.onnx", "gr--e/v1"),
            ("/nowhere/model.onnx", "model/v1"),
        ] {
            assert_eq!(default_name(Path::new(file)), expected);
        }
        let long = default_name(Path::new(&format!("{}.onnx", "x".repeat(100))));
        assert!(crate::model::is_model_name(&long), "{long}");
    }

    #[test]
    fn a_file_called_model_is_named_after_its_folder() {
        let folder = tempfile::Builder::new().prefix("wine").tempdir().unwrap();
        let file = folder.path().join("model.onnx");
        std::fs::write(&file, "").unwrap();
        assert!(default_name(&file).starts_with("wine"));
    }
}
