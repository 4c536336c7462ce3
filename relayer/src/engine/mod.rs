//! Running models: the `Engine` that stages ask, over whatever backend runs them.
//!
//! What anybody can reproduce from a model and a request is an `Outcome`; everything else is an `EngineError`, and no
//! answer can be signed for it.
//!
//! ```text
//! OnnxEngine ──▶ LoadedModel::infer ──▶ Sessions ──▶ Backend, Session (the seam) ──▶ backends/
//!  by id         cards, casts,          queue, time     loads and runs one model       canonical, ort
//!                reference, outcomes    limits, reopening
//! ```

mod backend;
mod backends;
mod device;
mod devices;
mod error;
mod examination;
mod homes;
mod infer;
mod judgement;
mod libraries;
mod load;
mod memory;
mod profile;
mod providers;
mod sessions;

pub(crate) use backends::child::worker;
pub use backends::{
    canonical::{
        examination::Examiner,
        files::{JUDGE_CACHE_VARIABLE, JudgeFiles, JudgeFilesError},
    },
    child::sandbox::Abilities,
    ort::runtime,
};
pub use devices::{EngineOptions, smallest_model};
pub use error::{EngineError, Fault, LoadError, StartError};
pub use examination::{Draws, ExamineError, JitterSign, JitteredRun, LoadFailure, ModelFacts, PlainRun, RunFailure};
pub use infer::Inference;
pub use judgement::{GuardReport, Trace};
pub use libraries::{Driver, Found, Gpu, Library, Needs, Opened};
pub use load::{LoadedModel, Source};
pub(crate) use profile::Reference;
pub use profile::{Device, ExecutionProfile, SETTINGS};
pub use providers::{
    ArenaGrowth, ConvolutionSearch, CudaOptions, PluginOptions, Provider, ProviderOptions, TensorrtOptions,
};
pub use sessions::Limits;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use alloy::primitives::{B256, Bytes};
use futures::future::BoxFuture;

use self::homes::Backends;
use crate::{
    model::ModelFile,
    protocol::{OutputFormat, cast::NotFinite},
};

/// Something that runs models.
pub trait Engine: Send + Sync {
    /// Runs a model on packed tensors and writes its outputs in a format. Dropping the future cancels the run.
    fn run(&self, model: B256, input: Bytes, format: OutputFormat) -> BoxFuture<'_, Result<Inference, EngineError>>;

    /// Readies a model that is likely to be asked for within milliseconds, if it has nothing to do: what the machine's caches
    /// have lost since its last run is most of the time that a small model takes.
    fn warm_up(&self, _model: B256) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The engine: loaded models, each with its own sessions and queue.
pub struct OnnxEngine {
    backends: Backends,
    limits: Limits,
    models: RwLock<HashMap<B256, Arc<LoadedModel>>>,
    /// Held while a model is loaded: two that ask for the same one load it once.
    loading: tokio::sync::Mutex<()>,
}

impl OnnxEngine {
    /// Tries the hardware, if it is not the processor, and the library, if one is named; what else models need is loaded with the
    /// first that does.
    ///
    /// # Errors
    /// `StartError::Runtime` where the runtime cannot be loaded; `NoDevice` or `Device` where the hardware that is asked for
    /// cannot be used.
    pub async fn start(options: EngineOptions) -> Result<Self, StartError> {
        let limits = options.limits;
        let (models, loading) = Default::default();
        Ok(Self { backends: Backends::start(options).await?, limits, models, loading })
    }

    /// An engine over a backend that stands for ONNX Runtime in this process.
    #[cfg(test)]
    fn over(native: homes::Native, options: EngineOptions) -> Self {
        let (models, loading) = Default::default();
        Self { limits: options.limits, backends: Backends::over(native, options), models, loading }
    }

    /// Version of ONNX Runtime on this machine, which is looked for.
    ///
    /// # Errors
    /// Every variant of `StartError`.
    pub async fn native_version(&self) -> Result<&str, StartError> {
        Ok(&self.backends.native().await?.runtime)
    }

    /// Number of sessions that a model has at most: one on each device.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.backends.started_native().map_or(1, |native| native.devices.preferred.len())
    }

    /// Loads a model, and runs its probes. Loading it again changes nothing.
    ///
    /// # Errors
    /// Every variant of `LoadError`.
    pub async fn load(&self, source: Source) -> Result<Arc<LoadedModel>, LoadError> {
        let _loading = self.loading.lock().await;
        if let Some(loaded) = self.model(source.id) {
            return Ok(loaded);
        }
        let loaded = Arc::new(LoadedModel::open(&self.backends, self.limits, source).await?);
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
        loaded.infer(input, OutputFormat { mask, ..OutputFormat::NATIVE }, NotFinite::Kept, None).await
    }

    /// Judges: runs a model in the canonical judge, in a session that has run nothing before, with the trace that a seed
    /// draws. Of a card in the tolerance lane, the guard says whether the outputs allow a verdict.
    ///
    /// # Errors
    /// Every variant of `EngineError`; `NotJudged` for a model that nothing judges.
    pub async fn judge(
        &self,
        model: B256,
        input: Bytes,
        format: OutputFormat,
        trace: Option<B256>,
    ) -> Result<Inference, EngineError> {
        let loaded = self.model(model).ok_or(EngineError::UnknownModel(model))?;
        let judgement = loaded.judgement(format, trace).ok_or(EngineError::NotJudged)?;
        loaded.infer(input, format, NotFinite::Refused, Some(judgement)).await
    }

    /// Begins to examine a model in a process of the canonical judge, which may use `limits`; all of it may take `time`.
    ///
    /// # Errors
    /// `ExamineError::Load` where the file cannot be read or the judge cannot be used.
    pub async fn examine(
        &self,
        file: &ModelFile,
        limits: oraculum_judge::Limits,
        time: Duration,
    ) -> Result<Examiner, ExamineError> {
        let (program, files) = self.backends.judge_files().await?;
        Examiner::open((program, files), file, limits, time).await
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
            loaded.infer(input, format, NotFinite::Refused, None).await
        })
    }

    fn warm_up(&self, model: B256) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Some(loaded) = self.model(model) {
                loaded.warm_up().await;
            }
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
