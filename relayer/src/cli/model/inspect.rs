//! `oraculum model inspect`: what a model is, with or without a card.

use std::{collections::BTreeMap, path::Path};

use alloy::primitives::B256;
use serde::Serialize;

use super::ModelSummary;
use crate::{
    cli::{CommandResult, named_model::NamedModel, print, print_json_line},
    model::{
        Model, ModelError, ModelStore,
        graph::{self, Contents},
    },
    protocol::card::Agreement,
    text,
};

/// What `inspect --json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ModelReport {
    /// Of a bare file there is no card to tell of.
    #[serde(flatten)]
    card: Option<CardReport>,
    /// SHA-256 of the file.
    file_hash: B256,
    file_bytes: usize,
    inputs: Vec<String>,
    outputs: Vec<String>,
    #[serde(flatten)]
    contents: Contents,
    /// Files beside the model's own that hold weights, each with its size in bytes.
    files: BTreeMap<String, u64>,
    /// Bytes of weights, and of the tensors that are there at once at most.
    estimated_memory_bytes: u64,
}

/// What the card and the details say.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CardReport {
    #[serde(flatten)]
    summary: ModelSummary,
    profile: String,
    /// By which rule two answers agree, for each output.
    agreement: Vec<String>,
    max_input_bytes: u32,
    max_output_bytes: u32,
    /// Number of probes.
    probes: usize,
    licence: String,
    labels: Vec<String>,
}

impl From<&Model> for CardReport {
    fn from(model: &Model) -> Self {
        Self {
            summary: model.into(),
            profile: model.profile.clone(),
            agreement: model.card.agreement.iter().map(agreement).collect(),
            max_input_bytes: model.card.max_input_bytes,
            max_output_bytes: model.card.max_output_bytes,
            probes: model.details.probes.len(),
            licence: model.details.licence.clone(),
            labels: model.details.labels.clone(),
        }
    }
}

/// Runs the command.
pub(super) fn run(store: &ModelStore, name: &str, as_json: bool) -> CommandResult {
    let (file, model) = match NamedModel::find(name, store)? {
        NamedModel::File(file) => (file, None),
        NamedModel::Card(model) => (model.onnx(), Some(model)),
    };
    let opened = file.open()?;
    let bytes = opened.read()?;
    let signature = graph::inspect(&bytes).map_err(ModelError::from)?;
    let weights = opened.weights(&signature.external)?;
    let files = weights.as_ref().map(|weights| weights.sizes().collect()).unwrap_or_default();
    weights.map_or(Ok(()), |weights| weights.verify())?;
    let contents = Contents::read(&bytes).map_err(ModelError::from)?;
    let report = ModelReport {
        card: model.as_deref().map(CardReport::from),
        file_hash: file.sha256(),
        file_bytes: bytes.len(),
        inputs: signature.inputs.iter().map(ToString::to_string).collect(),
        outputs: signature.outputs.iter().map(ToString::to_string).collect(),
        files,
        estimated_memory_bytes: contents.weight_bytes.saturating_add(contents.activation_bytes),
        contents,
    };
    if as_json {
        return print_json_line(&report);
    }
    let shown = model.as_ref().map_or(Path::new(name), |model| &model.file);
    print(&report.lines(shown).join("\n"))
}

impl ModelReport {
    fn lines(&self, file: &Path) -> Vec<String> {
        let Self { card, contents, .. } = self;
        let row = |key: &str, value: String| format!("  {key:<11}{value}");
        let mut lines = Vec::new();
        match card {
            Some(CardReport { summary, .. }) => {
                lines.push(format!("{}  {}", summary.name, summary.model_id));
                lines.push(format!("  {}", text::shown(&summary.task)));
                let (file, bytes) = (file.display(), self.file_bytes);
                lines.push(row("file", format!("{file} ({bytes} bytes, SHA-256 as the card says)")));
            }
            None => lines.push(format!("{}  {} ({} bytes)", file.display(), self.file_hash, self.file_bytes)),
        }
        let files =
            self.files.iter().map(|(path, size)| row("weights in", format!("{} ({size} bytes)", text::shown(path))));
        lines.extend(files);
        lines.extend(card.iter().map(|card| row("profile", card.profile.clone())));
        lines.extend(self.inputs.iter().map(|input| row("input", input.clone())));
        let mut rules = card.iter().flat_map(|card| &card.agreement);
        lines.extend(self.outputs.iter().map(|output| match (rules.next(), card) {
            (Some(rule), _) => row("output", format!("{output}, {rule}")),
            (None, Some(_)) => row("output", format!("{output}, no rule")),
            (None, None) => row("output", output.clone()),
        }));
        if let Some(card) = card {
            let (most_in, most_out) = (card.max_input_bytes, card.max_output_bytes);
            lines.push(row("limits", format!("{most_in} bytes in, {most_out} out")));
            lines.push(row("probes", card.probes.to_string()));
            if !card.labels.is_empty() {
                lines.push(row("labels", text::escaped(&card.labels.join(", "))));
            }
            lines.push(row("licence", text::shown(&card.licence)));
        }
        let opsets = contents.opsets.iter().map(|(domain, version)| format!("{} {version}", text::shown(domain)));
        let opsets = opsets.collect::<Vec<_>>().join(", ");
        lines.push(row("opsets", format!("{opsets}; file format {}", contents.ir_version)));
        lines.push(row("operators", counts(&contents.operators)));
        let (parameters, bytes) = (contents.parameters, contents.weight_bytes);
        lines.push(row("parameters", format!("{parameters} ({bytes} bytes)")));
        let open = if contents.open_sizes { ", with each open size as 1" } else { "" };
        let unknown = match contents.unknown_shapes {
            0 => String::new(),
            1 => ", without a tensor whose shape is not known".to_owned(),
            unknown => format!(", without {unknown} tensors whose shapes are not known"),
        };
        let memory = self.estimated_memory_bytes;
        lines.push(row("memory", format!("{memory} bytes for weights and one run, estimated{open}{unknown}")));
        let uncounted = match contents.uncounted.is_empty() {
            true => String::new(),
            false => format!(", without {}", counts(&contents.uncounted)),
        };
        lines.push(row("FLOPs", format!("{} a run, estimated{open}{uncounted}", contents.flops)));
        lines
    }
}

/// Operators with their numbers, the most frequent first.
fn counts(operators: &BTreeMap<String, u64>) -> String {
    let mut sorted: Vec<_> = operators.iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    sorted.into_iter().map(|(name, count)| format!("{} {count}", text::shown(name))).collect::<Vec<_>>().join(", ")
}

/// A rule, as people read it.
pub(super) fn agreement(rule: &Agreement) -> String {
    match rule {
        Agreement::Exact => "equal".into(),
        Agreement::Elementwise { atol, rtol } => format!("within {atol} + {rtol}·|value|"),
        Agreement::Argmax { gap } => format!("same winner, by at least {gap}"),
    }
}
