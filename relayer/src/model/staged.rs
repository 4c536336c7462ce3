//! A model on its way into the store: written beside the models, out of sight, until it is put in its place.

use std::{fs, path::Path};

use alloy::primitives::{Address, B256};
use oraculum_judge::{Lane, Profile};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    ListedFile, Model, ModelError, ModelStore, OpenModelFile, OpenWeights, Probe,
    card_file::{CardFile, Rule},
    details,
    graph::{self, OutputSpec},
    sha256,
};
use crate::protocol::{card::Agreement, cast::TensorSpec};

/// A whole model in a hidden folder of the store. Dropped, it is gone.
#[derive(Debug)]
pub struct Staged {
    /// The model, as it can be loaded and tried now.
    pub model: Model,
    store: ModelStore,
    hidden: TempDir,
    /// Name of the folder that it is to have.
    folder: String,
}

/// What a new model's card and details say, beside what follows from the file.
#[derive(Clone, Debug)]
pub struct NewModel {
    /// Name, such as `wine/v1`.
    pub name: String,
    /// Purpose, in a sentence; may be empty.
    pub task: String,
    /// Terms under which the model may be used; may be empty.
    pub licence: String,
    /// Names of what the elements of an output stand for; none if they have none.
    pub labels: Vec<String>,
    /// Inputs, each with a shape.
    pub inputs: Vec<TensorSpec>,
    /// Outputs, each with a shape.
    pub outputs: Vec<TensorSpec>,
    /// Inputs with the outputs that the model gave.
    pub probes: Vec<Probe>,
    /// Reference profile on which it gave them.
    pub profile: String,
    /// Size of an input at most, in bytes.
    pub max_input_bytes: u32,
    /// Size of an output at most, in bytes.
    pub max_output_bytes: u32,
}

/// Name of the ONNX file in a folder that is made here.
const FILE: &str = "model.onnx";
/// Largest differences between two answers' floats: room for another order of sums in float32, and for little else.
const TOLERANCES: (&str, &str) = ("0.00001", "0.0001");

impl NewModel {
    /// Writes the model's folder beside the store's models, with the file and those that hold its weights. Outputs agree exactly
    /// where the profile is of the exact lane; else floats agree within 0.00001 + 0.0001·|value|.
    ///
    /// # Errors
    /// `ModelError::InvalidCard` for a name or limits that cards do not have, `HiddenFolder` for a name that starts with a dot,
    /// `Write` for the store, `Refused` for the file; else as `OpenModelFile::read` and `OpenModelFile::weights`.
    pub fn stage(&self, store: &ModelStore, file: &OpenModelFile) -> Result<Staged, ModelError> {
        let bytes = file.read()?;
        let weights = file.weights(&graph::inspect(&bytes)?.external)?;
        let listed = weights.as_ref().map(OpenWeights::list).transpose()?.unwrap_or_default();
        let path = store.root().join("card.json");
        let details = details::canonical(&self.details(&listed)).map_err(|what| ModelError::Syntax {
            path: path.with_file_name("details.json"),
            reason: what.to_owned(),
        })?;
        let mut card = CardFile {
            name: self.name.clone(),
            file: FILE.to_owned(),
            sha256: sha256(&bytes),
            details: sha256(&details),
            profile: self.profile.clone(),
            agreement: self.outputs.iter().map(|output| self.rule(output)).collect(),
            verifier: Address::ZERO,
            max_input_bytes: self.max_input_bytes,
            max_output_bytes: self.max_output_bytes,
            model_id: B256::ZERO,
        };
        card.model_id = card.without_id(&path)?.model_id();
        let mut json = serde_json::to_vec_pretty(&card)
            .map_err(|error| ModelError::Syntax { path: path.clone(), reason: error.to_string() })?;
        json.push(b'\n');
        let files = [(FILE, &bytes[..]), ("card.json", &json), ("details.json", &details)];
        Staged::write(store, &self.name.replace('/', "-"), &files, weights.as_ref())
    }

    /// The rule for an output: where the judge answers, its bytes; else room for rounding, if there is any.
    fn rule(&self, output: &TensorSpec) -> Rule {
        let exact = self.profile.parse::<Profile>().is_ok_and(|profile| profile.lane == Lane::Exact);
        let rule = if exact { Agreement::Exact } else { default_rule(&OutputSpec::Tensor(output.clone())) };
        Rule::from(&rule)
    }

    fn details(&self, files: &[ListedFile]) -> Value {
        let specs = |specs: &[TensorSpec]| specs.iter().map(metadata).collect::<Vec<_>>();
        let probe = |probe: &Probe| json!({ "input": probe.input, "output": probe.output });
        let mut details = json!({
            "name": self.name,
            "inputs": specs(&self.inputs),
            "outputs": specs(&self.outputs),
            "probes": self.probes.iter().map(probe).collect::<Vec<_>>(),
            "licence": self.licence,
            "task": self.task,
        });
        if !self.labels.is_empty() {
            details["labels"] = json!(self.labels);
        }
        if !files.is_empty() {
            details["files"] = json!(files);
        }
        details
    }
}

/// The rule that a new card outside the exact lane has for an output: floats agree within 0.00001 + 0.0001·|value|, all else
/// is equal.
#[must_use]
pub fn default_rule(output: &OutputSpec) -> Agreement {
    let tolerance = |text: &str| text.parse().unwrap_or_default();
    match output {
        OutputSpec::Tensor(spec) if spec.element.is_float() => {
            Agreement::Elementwise { atol: tolerance(TOLERANCES.0), rtol: tolerance(TOLERANCES.1) }
        }
        _ => Agreement::Exact,
    }
}

fn metadata(spec: &TensorSpec) -> Value {
    let dims = spec.shape.iter().flatten().map(|dim| dim.map_or(json!(-1), |size| json!(size)));
    json!({ "name": spec.name, "datatype": spec.element.to_string(), "shape": dims.collect::<Vec<_>>() })
}

impl Staged {
    /// Writes files into a hidden folder of a store, with copies of those that hold weights, and opens them as a model.
    pub(super) fn write(
        store: &ModelStore,
        folder: &str,
        files: &[(&str, &[u8])],
        weights: Option<&OpenWeights>,
    ) -> Result<Self, ModelError> {
        if folder.starts_with('.') {
            return Err(ModelError::HiddenFolder { path: store.root().join(folder) });
        }
        let hidden = store.hidden(".adding-")?;
        for (name, bytes) in files {
            let path = hidden.path().join(name);
            fs::write(&path, bytes).map_err(|error| ModelError::Write { path: path.clone(), error })?;
        }
        weights.map_or(Ok(()), |weights| weights.copy(hidden.path()))?;
        let model = Model::open(hidden.path())?;
        model.verify()?;
        Ok(Self { model, store: store.clone(), hidden, folder: folder.to_owned() })
    }

    /// Puts the model in its place, where others see all of it at once. With `replace` it takes the place of another model
    /// with its folder's or its own name. Where the very model is there already, nothing changes.
    ///
    /// # Errors
    /// `ModelError::Occupied` or `NameInUse` where another model has the place, `Write` for the store.
    pub fn install(self, replace: bool) -> Result<Model, ModelError> {
        let Self { model, store, hidden, folder } = self;
        let target = store.root().join(&folder);
        let present = Model::open(&target).ok().filter(|present| present.id == model.id && present.name == model.name);
        if let Some(present) = present
            && present.verify().is_ok()
        {
            return Ok(present);
        }
        let namesakes = store.list()?.into_iter().filter(|other| {
            let same_name = other.model.as_ref().is_ok_and(|other| other.name == model.name);
            same_name && other.folder != folder
        });
        let mut others: Vec<_> = namesakes.map(|other| store.root().join(other.folder)).collect();
        if !replace && let Some(path) = others.pop() {
            return Err(ModelError::NameInUse { name: model.name, path });
        }
        if target.exists() {
            if !replace {
                return Err(ModelError::Occupied { path: target });
            }
            others.push(target.clone());
        }
        let moved = |path: &Path, error| ModelError::Write { path: path.to_path_buf(), error };
        let gone = store.hidden(".replaced-")?;
        for (index, other) in others.iter().enumerate() {
            fs::rename(other, gone.path().join(index.to_string())).map_err(|error| moved(other, error))?;
        }
        if let Err(error) = fs::rename(hidden.path(), &target) {
            for (index, other) in others.iter().enumerate() {
                // What cannot be put back either stays in the hidden folder.
                let _ = fs::rename(gone.path().join(index.to_string()), other);
            }
            return Err(moved(&target, error));
        }
        let _ = hidden.keep();
        Model::open(&target)
    }
}
