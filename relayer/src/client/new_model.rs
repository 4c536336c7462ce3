//! From an ONNX file to a model: what follows from the file, and probes made by running it.

mod limits;

use alloy::primitives::Bytes;
use oraculum_judge::Profile;

use self::limits::{sizes, too_large};
use super::{
    InputError, Ports, input_from_json,
    random::{Inputs, RANGES, RandomError, SIZES, Values, sized},
};
use crate::{
    engine::{Engine, EngineError, LoadError, LoadedModel, OnnxEngine, SETTINGS, Source, StartError},
    model::{
        MAX_BYTES, Model, ModelError, ModelFile, ModelStore, NewModel, Probe,
        graph::{OutputSpec, Refused},
        is_model_name,
    },
    protocol::{
        Outcome, OutputFormat,
        cast::TensorSpec,
        tensor::{self, Tensor, TensorError},
    },
    text,
};

/// Outputs that a card has rules for, at most.
const MAX_OUTPUTS: usize = 16;

/// What a model is to be made of.
#[derive(Clone, Debug)]
pub struct ModelRecipe {
    /// Name, such as `wine/v1`.
    pub name: String,
    /// The ONNX file.
    pub file: ModelFile,
    /// Purpose, in a sentence; may be empty.
    pub task: String,
    /// Terms under which the model may be used; may be empty.
    pub licence: String,
    /// Names of what the elements of an output stand for; none if they have none.
    pub labels: Vec<String>,
    /// Inputs to probe the model with, as Open Inference Protocol JSON, each with what to call it; without any, random
    /// numbers are taken.
    pub inputs: Vec<(String, Vec<u8>)>,
    /// What answers, and what decides about answers.
    pub lane: ModelLane,
}

/// What answers for a model, and what decides about its answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModelLane {
    /// The canonical judge answers, with the same bytes on every machine.
    #[default]
    Exact,
    /// Native ONNX Runtime or a GPU answers, and the judge decides within a tolerance.
    Tolerance,
    /// Native ONNX Runtime or a GPU answers, and nothing decides: for models that the judge cannot load.
    Native,
}

/// Why no model can be made of a file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum NewModelError {
    #[error(
        "`{}` is no name for a model: write --name with 1 to 64 of a–z, 0–9, `.`, `_`, `-` and `/`, such as wine/v1",
        text::shown(.0)
    )]
    Name(String),
    #[error(
        "there are {labels} labels, but no output has {labels} values in a row: the model gives {outputs}; correct --labels"
    )]
    Labels { labels: usize, outputs: String },
    #[error("a label is empty: write --labels with commas between the names, such as red,white")]
    EmptyLabel,
    #[error("the model has {0} outputs, but a card has rules for {MAX_OUTPUTS} at most: export it with fewer")]
    TooManyOutputs(usize),
    #[error(
        "an {what} of this model takes {bytes} bytes, but a contract can pass or get {MAX_BYTES} at most: export the model \
         with smaller ones"
    )]
    TooLarge { what: &'static str, bytes: u64 },
    #[error("the file does not say how many dimensions `{}` has: give an example with --inputs", text::shown(.0))]
    OpenRank(String),
    #[error(
        "the model answers none of the random inputs that were tried ({0}): give inputs that it takes with --inputs"
    )]
    NoProbe(String),
    #[error("the model does not answer --inputs {file}: {reason}")]
    NoAnswer { file: String, reason: String },
    #[error("--inputs {file}: {error}")]
    Input { file: String, error: InputError },
    #[error("{0}")]
    Model(#[from] ModelError),
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error("{0}")]
    Load(#[from] LoadError),
    #[error("{0}")]
    Engine(#[from] EngineError),
    #[error("{0}")]
    Start(#[from] StartError),
    #[error("{0}")]
    Tensor(#[from] TensorError),
}

impl From<RandomError> for NewModelError {
    fn from(error: RandomError) -> Self {
        match error {
            RandomError::OpenRank(input) => Self::OpenRank(input),
            RandomError::TooLarge(bytes) => Self::TooLarge { what: "input", bytes },
            RandomError::Tensor(error) => Self::Tensor(error),
        }
    }
}

/// Makes a model of an ONNX file and puts it into a store; with `replace`, in the place of another of its name.
///
/// # Errors
/// Every variant of `NewModelError`; of `ModelError`, `NameInUse` or `Occupied` where another model has the name.
pub async fn new_model(
    engine: &OnnxEngine,
    store: &ModelStore,
    recipe: ModelRecipe,
    replace: bool,
) -> Result<Model, NewModelError> {
    let ModelRecipe { name, file, task, licence, labels, inputs, lane } = recipe;
    if !is_model_name(&name) {
        return Err(NewModelError::Name(name));
    }
    if labels.iter().any(|label| label.trim().is_empty()) {
        return Err(NewModelError::EmptyLabel);
    }
    let source = if lane == ModelLane::Exact { Source::judged(file.clone()) } else { Source::file(file.clone()) };
    let loaded = engine.load(source).await?;
    let outputs = tensors(&loaded)?;
    check_labels(&labels, &outputs)?;
    too_large("input", &loaded.signature.inputs)?;
    too_large("output", &outputs)?;
    let probes = match inputs.is_empty() {
        true => random_probes(engine, &loaded).await?,
        false => given_probes(engine, &loaded, &inputs).await?,
    };
    let inputs = shaped(&loaded.signature.inputs, &probes, |probe| &probe.input)?;
    let outputs = shaped(&outputs, &probes, |probe| &probe.output)?;
    let max_input_bytes = sizes("input", &inputs, &probes, |probe| &probe.input)?;
    let max_output_bytes = sizes("output", &outputs, &probes, |probe| &probe.output)?;
    let profile = match lane {
        ModelLane::Exact => Profile::EXACT.to_string(),
        ModelLane::Tolerance => Profile::TOLERANCE.to_string(),
        ModelLane::Native => format!("onnxruntime={};{SETTINGS}", engine.native_version().await?),
    };
    let new =
        NewModel { name, task, licence, labels, inputs, outputs, probes, profile, max_input_bytes, max_output_bytes };
    let staged = new.stage(store, &file.open()?)?;
    // As a node will load it: everything is checked once more, and the probes run a second time.
    engine.load(Source::card(&staged.model)).await?;
    Ok(staged.install(replace)?)
}

/// The outputs, all of which must be tensors.
fn tensors(loaded: &LoadedModel) -> Result<Vec<TensorSpec>, NewModelError> {
    let outputs = &loaded.signature.outputs;
    if outputs.len() > MAX_OUTPUTS {
        return Err(NewModelError::TooManyOutputs(outputs.len()));
    }
    let tensor = |output: &OutputSpec| match output {
        OutputSpec::Tensor(spec) => Ok(spec.clone()),
        OutputSpec::Other { name, kind } => {
            Err(Refused::UnsupportedType { tensor: name.clone(), kind: kind.clone() }.into())
        }
    };
    outputs.iter().map(tensor).collect()
}

/// Checks that there is an output which the labels may name.
fn check_labels(labels: &[String], outputs: &[TensorSpec]) -> Result<(), NewModelError> {
    let may_have = |spec: &TensorSpec| {
        let last = spec.shape.as_ref().map(|shape| shape.last().copied().flatten());
        last.flatten().is_none_or(|last| usize::try_from(last) == Ok(labels.len()))
    };
    if labels.is_empty() || outputs.iter().any(may_have) {
        return Ok(());
    }
    let outputs = outputs.iter().map(TensorSpec::to_string).collect::<Vec<_>>().join(", ");
    Err(NewModelError::Labels { labels: labels.len(), outputs })
}

async fn given_probes(
    engine: &OnnxEngine,
    loaded: &LoadedModel,
    inputs: &[(String, Vec<u8>)],
) -> Result<Vec<Probe>, NewModelError> {
    let ports = Ports::from(loaded.signature.as_ref());
    let mut probes = Vec::new();
    for (file, json) in inputs {
        let file = || text::shown(file);
        let input = input_from_json(json, &ports).map_err(|error| NewModelError::Input { file: file(), error })?.packed;
        let probe = probe(engine, loaded, input).await?;
        probes.push(probe.map_err(|reason| NewModelError::NoAnswer { file: file(), reason })?);
    }
    Ok(probes)
}

async fn random_probes(engine: &OnnxEngine, loaded: &LoadedModel) -> Result<Vec<Probe>, NewModelError> {
    let mut random = Inputs::of(loaded.file_hash());
    let mut first_reason = None;
    for range in RANGES {
        let (mut probes, values) = (Vec::new(), Values::within(range));
        for sizes in SIZES {
            let input = random.packed(&loaded.signature.inputs, &sized(sizes), &|_| &values)?;
            if input.len() > MAX_BYTES as usize {
                continue;
            }
            match probe(engine, loaded, input).await? {
                Ok(probe) => probes.push(probe),
                Err(reason) => first_reason = first_reason.or(Some(reason)),
            }
        }
        if !probes.is_empty() {
            return Ok(probes);
        }
    }
    Err(NewModelError::NoProbe(first_reason.unwrap_or_default()))
}

/// Runs a model on an input; a reason where it has no answer to it.
async fn probe(engine: &OnnxEngine, loaded: &LoadedModel, input: Bytes) -> Result<Result<Probe, String>, EngineError> {
    let ran = match engine.run(loaded.id, input.clone(), OutputFormat::NATIVE).await {
        Err(error @ EngineError::Limit(_)) => return Ok(Err(error.to_string())),
        ran => ran?,
    };
    Ok(match ran.outcome {
        Outcome::Ok => Ok(Probe { input, output: ran.output }),
        outcome => {
            Err(ran.failure.map_or(outcome.to_string(), |failure| text::one_line(&format!("{outcome}, {failure}"))))
        }
    })
}

/// The inputs or outputs with a shape each: where the file leaves even the rank open, that of the probes.
fn shaped(
    specs: &[TensorSpec],
    probes: &[Probe],
    side: impl Fn(&Probe) -> &Bytes,
) -> Result<Vec<TensorSpec>, NewModelError> {
    let first: Vec<Tensor> = match probes.first() {
        Some(probe) => tensor::decode(side(probe))?,
        None => Vec::new(),
    };
    let shaped = |(index, spec): (usize, &TensorSpec)| {
        let open = || first.get(index).map(|tensor| vec![None; tensor.shape().len()]);
        let shape = spec.shape.clone().or_else(open).ok_or_else(|| NewModelError::OpenRank(spec.name.clone()))?;
        Ok(TensorSpec { shape: Some(shape), ..spec.clone() })
    };
    specs.iter().enumerate().map(shaped).collect()
}

#[cfg(test)]
mod tests;
