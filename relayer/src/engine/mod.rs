//! Running models: the `Engine` that stages ask, over whatever backend runs them.
//!
//! What anybody can reproduce from a model and a request is an `Outcome`; everything else is an `EngineError`, and no
//! answer can be signed for it.
//!
//! ```text
//! OnnxEngine ──▶ LoadedModel::infer ──▶ Sessions ──▶ Backend, Session (the seam) ──▶ backends/
//!  by id         cards, casts,          queue, time     loads and runs one model
//!                reference, outcomes    limits, reopening
//! ```

mod backend;
mod backends;
mod devices;
mod error;
mod infer;
mod load;
mod profile;
mod sessions;

pub use backends::ort::runtime;
pub use devices::{EngineOptions, Provider};
pub use error::{EngineError, Fault, LoadError, StartError};
pub use infer::Inference;
pub use load::{LoadedModel, Source};
pub use profile::{Device, ExecutionProfile, SETTINGS, reference_version};
pub use sessions::Limits;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use alloy::primitives::{B256, Bytes};
use futures::future::BoxFuture;

use self::{backend::Backend, backends::ort::OrtBackend, devices::Devices};
use crate::protocol::{OutputFormat, cast::NotFinite};

/// Something that runs models.
pub trait Engine: Send + Sync {
    /// Runs a model on packed tensors and writes its outputs in a format. Dropping the future cancels the run.
    fn run(&self, model: B256, input: Bytes, format: OutputFormat) -> BoxFuture<'_, Result<Inference, EngineError>>;
}

/// The engine: loaded models, each with its own sessions and queue.
pub struct OnnxEngine {
    backend: Arc<dyn Backend>,
    devices: Devices,
    limits: Limits,
    models: RwLock<HashMap<B256, Arc<LoadedModel>>>,
}

impl OnnxEngine {
    /// Loads ONNX Runtime and tries the hardware.
    ///
    /// # Errors
    /// `StartError::Runtime` where the runtime cannot be loaded; `NoDevice` or `Cuda` where the hardware that is asked for
    /// cannot be used.
    pub async fn start(options: EngineOptions) -> Result<Self, StartError> {
        let runtime = runtime::load(options.runtime.as_deref())?;
        let devices = Devices::choose(runtime, &options).await?;
        tracing::info!(
            runtime = %runtime.version, path = %runtime.path.display(), devices = ?devices.preferred, "ONNX Runtime is loaded"
        );
        Ok(Self::over(Arc::new(OrtBackend::new(runtime)), devices, options.limits))
    }

    fn over(backend: Arc<dyn Backend>, devices: Devices, limits: Limits) -> Self {
        Self { backend, devices, limits, models: RwLock::default() }
    }

    /// Version of ONNX Runtime.
    #[must_use]
    pub fn runtime_version(&self) -> &str {
        self.backend.runtime_version()
    }

    /// Number of sessions that a model has: one on each device.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.devices.preferred.len()
    }

    /// Whether a GPU was preferred (`auto`) and is not used.
    #[must_use]
    pub fn provider_fallback(&self) -> bool {
        self.devices.fallback
    }

    /// Loads a model, and runs its probes. Loading it again changes nothing.
    ///
    /// # Errors
    /// Every variant of `LoadError`.
    pub async fn load(&self, source: Source) -> Result<Arc<LoadedModel>, LoadError> {
        if let Some(loaded) = self.model(source.id) {
            return Ok(loaded);
        }
        let loaded = Arc::new(LoadedModel::open(self.backend.clone(), &self.devices, self.limits, source).await?);
        loaded.probe().await?;
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        Ok(models.entry(loaded.id).or_insert(loaded).clone())
    }

    /// Runs a model for people, not contracts: the outputs of a mask in the model's own types, with NaN and infinities.
    ///
    /// # Errors
    /// Every variant of `EngineError` but `InvalidFormat`.
    pub async fn run_off_chain(&self, model: B256, input: Bytes, mask: u16) -> Result<Inference, EngineError> {
        let loaded = self.model(model).ok_or(EngineError::UnknownModel(model))?;
        loaded.infer(input, OutputFormat { mask, ..OutputFormat::NATIVE }, NotFinite::Kept).await
    }

    /// The loaded model with an id.
    #[must_use]
    pub fn model(&self, id: B256) -> Option<Arc<LoadedModel>> {
        self.models.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Ids of the loaded models, in no order.
    #[must_use]
    pub fn models(&self) -> Vec<B256> {
        self.models.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }
}

impl Engine for OnnxEngine {
    fn run(&self, model: B256, input: Bytes, format: OutputFormat) -> BoxFuture<'_, Result<Inference, EngineError>> {
        Box::pin(async move {
            let loaded = self.model(model).ok_or(EngineError::UnknownModel(model))?;
            loaded.infer(input, format, NotFinite::Refused).await
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
