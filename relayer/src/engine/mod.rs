//! Running models: ONNX Runtime behind the `Engine` trait.
//!
//! What anybody can reproduce from a model and a request is an `Outcome`; everything else is an `EngineError`, and no
//! answer can be signed for it.

mod backends;
mod error;
mod load;
mod profile;

pub use backends::ort::{runtime, worker::Limits};
pub use error::{EngineError, LoadError, StartError};
pub use load::{LoadedModel, Source};
pub use profile::{Device, ExecutionProfile, SETTINGS, reference_version};

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use alloy::primitives::{B256, Bytes};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

#[cfg(test)]
use self::backends::ort::session;
use self::{
    backends::ort::{session::RunError, worker::RunReport},
    runtime::Runtime,
};
use crate::protocol::{
    Outcome, OutputFormat,
    cast::{self, BadInput, Failure, ModelTensor, Unrepresentable},
};

/// Something that runs models.
pub trait Engine: Send + Sync {
    /// Runs a model on packed tensors and writes its outputs in a format.
    fn run(&self, model: B256, input: Bytes, format: OutputFormat) -> BoxFuture<'_, Result<Inference, EngineError>>;
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Inference {
    /// What is to be signed.
    pub outcome: Outcome,
    /// Packed tensors; empty unless the outcome is `Ok`.
    pub output: Bytes,
    /// Of another outcome, why.
    pub failure: Option<Failure>,
    /// What it was run with.
    pub profile: ExecutionProfile,
    /// How long the request waited for the session; zero if it never came to one.
    pub queue_time: Duration,
    /// How long the model ran; zero if it did not.
    pub run_time: Duration,
}

/// Which hardware is to run models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The processor, always; the reference profile.
    Cpu,
    /// A GPU, or the start fails.
    Cuda,
    /// A GPU if it can be used, else the processor, with a warning.
    #[default]
    Auto,
}

/// How to start an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The ONNX Runtime library; else it is looked for.
    pub runtime: Option<PathBuf>,
    /// Which hardware is to run models.
    pub provider: Provider,
    /// The GPUs to run on, by number; every model gets a session on each.
    pub devices: Vec<u32>,
    /// How long things may take, and how many may wait.
    pub limits: Limits,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { runtime: None, provider: Provider::default(), devices: vec![0], limits: Limits::default() }
    }
}

/// The engine over ONNX Runtime: loaded models, each with its own sessions and queue.
pub struct OnnxEngine {
    runtime: &'static Runtime,
    /// Where models are tried, the best first.
    targets: Vec<Device>,
    /// Whether a GPU was preferred and is not used.
    fallback: bool,
    /// Whether the processor will do where the targets do not.
    may_fall_back: bool,
    limits: Limits,
    models: RwLock<HashMap<B256, Arc<LoadedModel>>>,
}

impl OnnxEngine {
    /// Loads the runtime and tries the hardware.
    pub async fn start(options: EngineOptions) -> Result<Self, StartError> {
        let runtime = runtime::load(options.runtime.as_deref())?;
        let cuda = || options.devices.iter().map(|device| Device::Cuda(*device)).collect::<Vec<_>>();
        let mut engine = Self {
            runtime,
            targets: vec![Device::Cpu],
            fallback: false,
            may_fall_back: false,
            limits: options.limits,
            models: RwLock::default(),
        };
        if options.provider != Provider::Cpu {
            if options.devices.is_empty() {
                return Err(StartError::NoDevice);
            }
            match load::try_devices(runtime, &options.devices, options.limits).await {
                Ok(()) => engine.targets = cuda(),
                Err(error) if options.provider == Provider::Cuda => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "no GPU can be used: models run on the processor");
                    engine.fallback = true;
                }
            }
            engine.may_fall_back = options.provider == Provider::Auto;
        }
        tracing::info!(
            runtime = %runtime.version, path = %runtime.path.display(), targets = ?engine.targets, "ONNX Runtime is loaded"
        );
        Ok(engine)
    }

    /// The version of ONNX Runtime.
    pub fn runtime_version(&self) -> &str {
        &self.runtime.version
    }

    /// How many sessions a model has: one on each device.
    pub fn sessions(&self) -> usize {
        self.targets.len()
    }

    /// Whether a GPU was preferred (`auto`) and is not used.
    pub fn provider_fallback(&self) -> bool {
        self.fallback
    }

    /// Loads a model, and runs its probes. Loading it again changes nothing.
    pub async fn load(&self, source: Source) -> Result<Arc<LoadedModel>, LoadError> {
        if let Some(loaded) = self.model(source.id) {
            return Ok(loaded);
        }
        let loaded = Arc::new(LoadedModel::open(self, source).await?);
        loaded.probe(self).await?;
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        Ok(models.entry(loaded.id).or_insert(loaded).clone())
    }

    /// A loaded model.
    pub fn model(&self, id: B256) -> Option<Arc<LoadedModel>> {
        self.models.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// The ids of the loaded models.
    pub fn models(&self) -> Vec<B256> {
        self.models.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    async fn infer(&self, model: &LoadedModel, input: Bytes, format: OutputFormat) -> Result<Inference, EngineError> {
        if !format.is_valid() {
            return Err(EngineError::InvalidFormat(format));
        }
        let target = self.targets.first().copied().unwrap_or(Device::Cpu);
        let inputs = match model.read(&input, format) {
            Ok(inputs) => inputs,
            Err(bad) => return Ok(self.finish(model, target, Err(bad.into()), Duration::ZERO, Duration::ZERO)),
        };
        let outputs = model.signature.outputs.len();
        let wanted: Vec<_> = (0..outputs).filter(|output| format.wants(*output)).collect();
        // A run that fails elsewhere is run again on the reference, so its inputs are kept.
        let spare = (!model.is_on_reference()).then(|| inputs.clone());
        let RunReport { result, target, queue_time, run_time } = model.worker.run(inputs, wanted.clone()).await?;
        let result = match result {
            Ok(outputs) => cast::from_outputs(&outputs, format, model.max_output_bytes).map_err(Failure::from),
            Err(RunError::NotTensor { output, reason }) => Err(Unrepresentable::NotTensor { output, reason }.into()),
            Err(RunError::Failed(reason)) => Err(self.confirm(model, spare, wanted, reason).await?.into()),
            Err(error) => return Err(unanswered(error)),
        };
        Ok(self.finish(model, target, result, queue_time, run_time))
    }

    /// Whether a failing run makes a bad input, which only the reference profile can tell.
    async fn confirm(
        &self,
        model: &LoadedModel,
        spare: Option<Vec<ModelTensor>>,
        wanted: Vec<usize>,
        reason: String,
    ) -> Result<BadInput, EngineError> {
        if let Some(reference) = model.reference_version.as_ref().filter(|version| **version != self.runtime.version) {
            let (runtime, reference) = (self.runtime.version.clone(), reference.clone());
            return Err(EngineError::Unconfirmed { runtime, reference, reason });
        }
        let Some(inputs) = spare else { return Ok(BadInput::Run(reason)) };
        let reference = model.reference(self).await?;
        match reference.run(inputs, wanted).await?.result {
            Err(RunError::Failed(reason)) => Ok(BadInput::Run(reason)),
            Err(RunError::NotTensor { .. }) | Ok(_) => {
                Err(EngineError::Device(format!("a run failed that succeeds on the processor: {reason}")))
            }
            Err(error) => Err(unanswered(error)),
        }
    }

    fn finish(
        &self,
        model: &LoadedModel,
        target: Device,
        result: Result<Bytes, Failure>,
        queue_time: Duration,
        run_time: Duration,
    ) -> Inference {
        let profile = ExecutionProfile {
            file_hash: model.file_hash,
            runtime: self.runtime.version.clone(),
            target,
            provider_fallback: self.fallback || model.fallback,
        };
        let (outcome, output, failure) = match result {
            Ok(output) => (Outcome::Ok, output, None),
            Err(failure) => (failure.outcome(), Bytes::new(), Some(failure)),
        };
        Inference { outcome, output, failure, profile, queue_time, run_time }
    }
}

/// A run error that says nothing about the input.
fn unanswered(error: RunError) -> EngineError {
    match error {
        RunError::OutOfMemory(reason) => EngineError::OutOfMemory(reason),
        RunError::Device(reason) => EngineError::Device(reason),
        RunError::Runtime(reason) | RunError::Failed(reason) | RunError::NotTensor { reason, .. } => {
            EngineError::Runtime(reason)
        }
    }
}

impl Engine for OnnxEngine {
    fn run(&self, model: B256, input: Bytes, format: OutputFormat) -> BoxFuture<'_, Result<Inference, EngineError>> {
        Box::pin(async move {
            let loaded = self.model(model).ok_or(EngineError::UnknownModel(model))?;
            self.infer(&loaded, input, format).await
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
