//! Models that are loaded: read, checked against their cards, opened and probed.

use std::sync::Arc;

use alloy::primitives::B256;
use tokio::{sync::OnceCell, task::spawn_blocking};

use super::{
    backend::Backend,
    devices::Devices,
    error::LoadError,
    profile::{Device, reference_version},
    sessions::{Limits, Sessions},
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
    card: Option<CardLimits>,
}

/// Limits and rules that a card adds to a file.
#[derive(Clone, Debug)]
struct CardLimits {
    agreement: Vec<Agreement>,
    max_input_bytes: u32,
    max_output_bytes: u32,
    profile: String,
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
            card: Some(CardLimits {
                agreement: model.card.agreement.clone(),
                max_input_bytes: model.card.max_input_bytes,
                max_output_bytes: model.card.max_output_bytes,
                profile: model.profile.clone(),
                inputs: model.details.inputs.clone(),
                outputs: model.details.outputs.clone(),
                probes: model.details.probes.clone(),
            }),
        }
    }

    /// A bare ONNX file, known by its own hash.
    #[must_use]
    pub fn file(file: ModelFile) -> Self {
        Self { id: file.sha256(), file, card: None }
    }
}

/// A model that can be run.
pub struct LoadedModel {
    /// The card's id, or of a bare file its hash.
    pub id: B256,
    /// Inputs and outputs.
    pub signature: Arc<Signature>,
    /// Whether a GPU was preferred and this model does not run on it.
    pub fallback: bool,
    pub(super) file: ModelFile,
    pub(super) max_input_bytes: u32,
    pub(super) max_output_bytes: u32,
    pub(super) agreement: Vec<Agreement>,
    pub(super) probes: Vec<Probe>,
    /// Version of the runtime on which the card's disputes are judged; of a bare file, any.
    pub(super) reference_version: Option<String>,
    pub(super) backend: Arc<dyn Backend>,
    /// Device of the first session.
    pub(super) device: Device,
    pub(super) sessions: Arc<Sessions>,
    limits: Limits,
    /// A session on the processor, opened when another one's failure is to be confirmed.
    reference: OnceCell<Arc<Sessions>>,
}

impl LoadedModel {
    /// Reads and checks a model, and opens its sessions.
    ///
    /// # Errors
    /// `LoadError::Model` or `Refused` for the file; `AgreementCount`, `UnknownProfile` or `DetailsDiffer` for the card;
    /// `Session` or `Timeout` where it does not open.
    pub(super) async fn open(
        backend: Arc<dyn Backend>,
        devices: &Devices,
        limits: Limits,
        source: Source,
    ) -> Result<Self, LoadError> {
        let Source { id, file, card } = source;
        let (opened, signature) = inspect(file.clone()).await?;
        let signature = Arc::new(signature);
        if let Some(card) = &card {
            check_card(card, &signature)?;
        }
        let open = |devices: Vec<Device>| {
            let (backend, file, opened, signature) = (backend.clone(), file.clone(), &opened, signature.clone());
            async move { Sessions::open(backend, file, opened, signature, &devices, limits).await }
        };
        let (sessions, on_reference) = match open(devices.preferred.clone()).await {
            Err(error) if devices.may_fall_back && !devices.are_reference() => {
                tracing::warn!(model = %id, %error, "the GPU cannot run this model: it runs on the processor");
                (open(vec![Device::Cpu]).await?, true)
            }
            sessions => (sessions?, false),
        };
        tracing::debug!(model = %id, bytes = sessions.footprint(), "the model is loaded");
        let preferred = devices.preferred.first().copied().unwrap_or(Device::Cpu);
        Ok(Self {
            id,
            signature,
            fallback: devices.fallback || on_reference,
            file,
            max_input_bytes: card.as_ref().map_or(u32::MAX, |card| card.max_input_bytes),
            max_output_bytes: card.as_ref().map_or(u32::MAX, |card| card.max_output_bytes),
            reference_version: card.as_ref().and_then(|card| reference_version(&card.profile)).map(str::to_owned),
            agreement: card.as_ref().map(|card| card.agreement.clone()).unwrap_or_default(),
            probes: card.map(|card| card.probes).unwrap_or_default(),
            backend,
            device: if on_reference { Device::Cpu } else { preferred },
            sessions,
            limits,
            reference: OnceCell::new(),
        })
    }

    /// SHA-256 of the ONNX file.
    #[must_use]
    pub fn file_hash(&self) -> B256 {
        self.file.sha256()
    }

    /// The sessions on the reference: the model's own, or one that is opened on the processor when it is first needed.
    ///
    /// # Errors
    /// As `open`, where the file was altered or removed since, or no session opens.
    pub(super) async fn reference(&self) -> Result<&Arc<Sessions>, LoadError> {
        let open = async {
            let (opened, _) = inspect(self.file.clone()).await?;
            let (backend, file, signature) = (self.backend.clone(), self.file.clone(), self.signature.clone());
            Sessions::open(backend, file, &opened, signature, &[Device::Cpu], self.limits).await
        };
        self.reference.get_or_try_init(|| open).await
    }
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
    if reference_version(&card.profile).is_none() {
        return Err(LoadError::UnknownProfile(card.profile.clone()));
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
