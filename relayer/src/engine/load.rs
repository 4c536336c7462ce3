//! Models that are loaded: read, checked against their cards, opened and probed.

use std::sync::{Arc, OnceLock};

use alloy::primitives::{B256, keccak256};
use oraculum_judge::{Lane, Profile};
use tokio::{sync::OnceCell, task::spawn_blocking};

use super::{
    backend::RunRequest,
    device::{Device, place},
    error::LoadError,
    homes::{Backends, Home, Homes},
    profile::Reference,
    sessions::{Limits, Sessions, Terms},
};
use crate::{
    model::{
        Model, ModelFile, OpenModelFile, Probe,
        graph::{self, OutputSpec, Signature},
    },
    protocol::{
        card::Agreement,
        cast::{TensorSpec, show_shape},
    },
    text,
};

/// Model file to load, with or without a card.
#[derive(Clone, Debug)]
pub struct Source {
    /// Id under which the model is run.
    pub id: B256,
    file: ModelFile,
    /// Profile string by which outputs are judged; of a file without any, nothing is.
    profile: Option<String>,
    /// Rules by which the guard compares, of a card in the tolerance lane.
    guarded: Option<Vec<Agreement>>,
    card: Option<CardLimits>,
    pinned: bool,
}

/// Limits and rules that a card adds to a file.
#[derive(Clone, Debug)]
struct CardLimits {
    agreement: Vec<Agreement>,
    max_input_bytes: u32,
    max_output_bytes: u32,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    probes: Vec<Probe>,
}

impl Source {
    /// A model with its card; its file is read, and checked against the card, when it is loaded.
    #[must_use]
    pub fn card(model: &Model) -> Self {
        Self {
            id: model.id,
            file: model.onnx(),
            profile: Some(model.profile.clone()),
            guarded: guarded(model),
            card: Some(CardLimits::of(model)),
            pinned: false,
        }
    }

    /// The same, but its sessions stay in memory once they are open, whoever else needs it.
    #[must_use]
    pub fn pinned(self) -> Self {
        Self { pinned: true, ..self }
    }

    /// A bare ONNX file, known by its own hash.
    #[must_use]
    pub fn file(file: ModelFile) -> Self {
        Self { id: file.sha256(), file, profile: None, guarded: None, card: None, pinned: false }
    }

    /// A bare ONNX file that is run by the canonical judge, under the limits of most cards.
    #[must_use]
    pub fn judged(file: ModelFile) -> Self {
        Self::judged_within(file, oraculum_judge::Limits::DEFAULT)
    }

    /// A model's file, run by the canonical judge under the limits of its card, whatever lane that has, with the guard where the
    /// lane has one; its probes are not run.
    #[must_use]
    pub fn judged_card(model: &Model) -> Self {
        let limits = model.profile.parse::<Profile>().map_or(oraculum_judge::Limits::DEFAULT, |profile| profile.limits);
        let judged = Self::judged_within(model.onnx(), limits);
        // The same file may be judged by the rules of several cards.
        let id = keccak256([judged.id, model.id].concat());
        let card = CardLimits { probes: Vec::new(), ..CardLimits::of(model) };
        Self { id, guarded: guarded(model), card: Some(card), ..judged }
    }

    fn judged_within(file: ModelFile, limits: oraculum_judge::Limits) -> Self {
        let profile = Profile { lane: Lane::Exact, limits }.to_string();
        // The same file may be loaded natively, too.
        let id = keccak256([file.sha256().as_slice(), profile.as_bytes()].concat());
        Self { id, file, profile: Some(profile), guarded: None, card: None, pinned: false }
    }
}

impl CardLimits {
    fn of(model: &Model) -> Self {
        Self {
            agreement: model.card.agreement.clone(),
            max_input_bytes: model.card.max_input_bytes,
            max_output_bytes: model.card.max_output_bytes,
            inputs: model.details.inputs.clone(),
            outputs: model.details.outputs.clone(),
            probes: model.details.probes.clone(),
        }
    }
}

/// Rules by which the guard compares; `None` for a card of another lane.
fn guarded(model: &Model) -> Option<Vec<Agreement>> {
    let profile = model.profile.parse::<Profile>().ok()?;
    (profile.lane == Lane::Tolerance).then(|| model.card.agreement.clone())
}

/// A model that can be run.
pub struct LoadedModel {
    /// The card's id, or of a bare file its hash.
    pub id: B256,
    /// Inputs and outputs.
    pub signature: Arc<Signature>,
    /// Whether a GPU was preferred and this model does not run on it.
    pub fallback: bool,
    /// Whether the processor runs a part of this model, which its device does not take.
    pub partial: bool,
    /// What the options of its provider add to profile strings.
    pub(super) options: String,
    pub(super) file: ModelFile,
    pub(super) max_input_bytes: u32,
    pub(super) max_output_bytes: u32,
    pub(super) agreement: Vec<Agreement>,
    /// Rules by which the guard compares; `None` where the lane has no guard.
    pub(super) guarded: Option<Vec<Agreement>>,
    pub(super) probes: Vec<Probe>,
    /// What decides about the outputs; of a bare file, nothing does.
    pub(super) judged_by: Option<Reference>,
    /// Version of ONNX Runtime that runs the model.
    pub(super) runtime: String,
    /// Device of the first session.
    pub(super) device: Device,
    pub(super) sessions: Arc<Sessions>,
    reference_home: Home,
    terms: Terms,
    /// Sessions of the reference, opened when a failure elsewhere is to be confirmed.
    reference: OnceCell<Arc<Sessions>>,
    /// A quick run, once the probes have found one.
    pub(super) warm_up: OnceLock<RunRequest>,
}

impl LoadedModel {
    /// Reads and checks a model, and opens its sessions.
    ///
    /// # Errors
    /// `LoadError::Model` or `Refused` for the file; `AgreementCount`, `UnknownProfile` or `DetailsDiffer` for the card;
    /// `Start`, `JudgeFiles`, `Judge` or `Process` where what runs it cannot be used; `Session`, `TooNew`, `Memory` or `Timeout`
    /// where it does not open.
    pub(super) async fn open(backends: &Backends, limits: Limits, source: Source) -> Result<Self, LoadError> {
        let Source { id, file, profile, guarded, card, pinned } = source;
        let terms = Terms { limits, memory: backends.memory.clone(), pinned };
        let (opened, signature) = inspect(file.clone()).await?;
        let signature = Arc::new(signature);
        if let Some(card) = &card {
            check_card(card, &signature)?;
        }
        let judged_by = profile.as_deref().map(Reference::of).transpose()?;
        let Homes { serving, fallbacks, reference: reference_home } = backends.of(judged_by.as_ref()).await?;
        let open = |home: &Home| {
            let Home { backend, devices, .. } = home.clone();
            let (file, opened, signature, terms) = (file.clone(), &opened, signature.clone(), terms.clone());
            async move { Sessions::open(backend, file, opened, signature, &devices, terms).await }
        };
        let (mut opened_at, mut home) = (open(&serving).await, serving);
        for fallback in fallbacks {
            let Err(error) = opened_at else { break };
            let (from, to) = (place(device_of(&home), home.partial), place(device_of(&fallback), fallback.partial));
            tracing::warn!(model = %id, %error, "{from} does not take this model: it is to run on {to}");
            (opened_at, home) = (open(&fallback).await, fallback);
        }
        let sessions = opened_at?;
        if device_of(&home) != Device::Judge && matches!(judged_by, Some(Reference::Judge(_))) {
            // What the judge does not load it cannot judge; it is loaded again when there is something to judge.
            open(&reference_home).await?;
        }
        tracing::debug!(model = %id, bytes = sessions.footprint(), "the model is loaded");
        let device = device_of(&home);
        let is_open = |spec: &TensorSpec| spec.shape.iter().flatten().any(Option::is_none);
        if matches!(device, Device::Tensorrt(_)) && signature.inputs.iter().any(is_open) {
            tracing::warn!(model = %id, "its inputs have open sizes: TensorRT builds anew, for minutes perhaps, in a run whose sizes are new");
        }
        let native = backends.started_native().map(|native| &native.devices);
        let fallback =
            device == Device::Cpu && native.is_some_and(|devices| devices.fallback || !devices.are_reference());
        Ok(Self {
            id,
            signature,
            fallback,
            partial: home.partial,
            options: home.options,
            file,
            max_input_bytes: card.as_ref().map_or(u32::MAX, |card| card.max_input_bytes),
            max_output_bytes: card.as_ref().map_or(u32::MAX, |card| card.max_output_bytes),
            agreement: card.as_ref().map(|card| card.agreement.clone()).unwrap_or_default(),
            guarded,
            probes: card.map(|card| card.probes).unwrap_or_default(),
            judged_by,
            runtime: home.runtime,
            device,
            sessions,
            reference_home,
            terms,
            reference: OnceCell::new(),
            warm_up: OnceLock::new(),
        })
    }

    /// Where the model runs, such as `cuda:0`.
    #[must_use]
    pub fn place(&self) -> String {
        place(self.device, self.partial)
    }

    /// Whether that is elsewhere than was asked for, wholly or in part.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        self.fallback || self.partial
    }

    /// SHA-256 of the ONNX file.
    #[must_use]
    pub fn file_hash(&self) -> B256 {
        self.file.sha256()
    }

    /// Whether the model's own runs decide: they are the judge's, or those of the native reference.
    pub(super) fn is_reference(&self) -> bool {
        self.device == Device::Judge
            || self.device == Device::Cpu && !matches!(self.judged_by, Some(Reference::Judge(_)))
    }

    /// The sessions of the reference, which are opened when they are first needed.
    ///
    /// # Errors
    /// As `open`, where the file was altered or removed since, or no session opens.
    pub(super) async fn reference(&self) -> Result<&Arc<Sessions>, LoadError> {
        let open = async {
            let (opened, _) = inspect(self.file.clone()).await?;
            let Home { backend, devices, .. } = self.reference_home.clone();
            let (file, signature) = (self.file.clone(), self.signature.clone());
            Sessions::open(backend, file, &opened, signature, &devices, self.terms.clone()).await
        };
        self.reference.get_or_try_init(|| open).await
    }
}

fn device_of(home: &Home) -> Device {
    home.devices.first().copied().unwrap_or(Device::Cpu)
}

/// Reads a whole file once, checks its hash and judges its content; nothing of it stays in memory.
async fn inspect(file: ModelFile) -> Result<(OpenModelFile, Signature), LoadError> {
    let inspect = spawn_blocking(move || {
        let opened = file.open()?;
        let signature = graph::inspect(&opened.read()?)?;
        opened.weights(&signature.external)?;
        Ok((opened, signature))
    });
    inspect.await.unwrap_or_else(|error| Err(LoadError::Session(error.to_string())))
}

fn check_card(card: &CardLimits, signature: &Signature) -> Result<(), LoadError> {
    let (rules, outputs) = (card.agreement.len(), signature.outputs.len());
    if rules != outputs {
        return Err(LoadError::AgreementCount { rules, outputs });
    }
    let inputs: Vec<_> = signature.inputs.iter().map(|spec| (spec.name.as_str(), Some(spec))).collect();
    let outputs = signature.outputs.iter().map(|output| match output {
        OutputSpec::Tensor(spec) => (spec.name.as_str(), Some(spec)),
        OutputSpec::Other { name, .. } => (name.as_str(), None),
    });
    check_described("inputs", &card.inputs, &inputs)?;
    check_described("outputs", &card.outputs, &outputs.collect::<Vec<_>>())
}

/// Checks inputs or outputs, the `field` of the details, against those that the file has: each a name, with its type and
/// shape if it is a tensor. A size that the file leaves open may be given by the details.
fn check_described(
    field: &str,
    described: &[TensorSpec],
    actual: &[(&str, Option<&TensorSpec>)],
) -> Result<(), LoadError> {
    let differs = |field: String, found: String, expected: String| LoadError::DetailsDiffer { field, found, expected };
    if described.len() != actual.len() {
        let names: Vec<_> = actual.iter().map(|(name, _)| text::shown(name)).collect();
        let expected = format!("{} ({})", actual.len(), names.join(", "));
        return Err(differs(format!("the number of {field}"), described.len().to_string(), expected));
    }
    for (index, (described, (name, actual))) in described.iter().zip(actual).enumerate() {
        let field = |key: &str| format!("{field}[{index}].{key}");
        if described.name != *name {
            return Err(differs(
                field("name"),
                format!("`{}`", text::shown(&described.name)),
                format!("`{}`", text::shown(name)),
            ));
        }
        let Some(actual) = actual else { continue };
        if described.element != actual.element {
            return Err(differs(field("datatype"), described.element.to_string(), actual.element.to_string()));
        }
        if let (Some(described), Some(actual)) = (&described.shape, &actual.shape) {
            let fits = |(described, actual): (&Option<u64>, &Option<u64>)| actual.is_none() || described == actual;
            if described.len() != actual.len() || !described.iter().zip(actual).all(fits) {
                return Err(differs(field("shape"), show_shape(described), show_shape(actual)));
            }
        }
    }
    Ok(())
}
