//! The backend that a model goes to, by its card. Each is started when the first model needs it.

use std::sync::Arc;

use oraculum_judge::{Lane, Limits, ONNX_RUNTIME, Profile};
use tokio::sync::OnceCell;

use super::{
    backend::Backend,
    backends::{
        canonical::{JudgeBackend, files::JudgeFiles},
        child::Program,
        ort::{OrtBackend, OrtProcesses, runtime::Library},
    },
    devices::{Devices, EngineOptions, Provider},
    error::{LoadError, StartError},
    memory::Memory,
    profile::{Device, Reference},
};

/// A backend, and the devices on which it opens sessions of a model.
#[derive(Clone)]
pub(super) struct Home {
    pub backend: Arc<dyn Backend>,
    /// Version of ONNX Runtime in it.
    pub runtime: String,
    /// One session is opened on each; never empty.
    pub devices: Vec<Device>,
}

/// Where a model is served, and where a failure there is confirmed.
pub(super) struct Homes {
    pub serving: Home,
    /// Home that is tried where the model does not open in `serving`.
    pub fallback: Option<Home>,
    pub reference: Home,
}

/// ONNX Runtime on this machine.
pub(super) struct Native {
    pub backend: Arc<dyn Backend>,
    /// Version of ONNX Runtime.
    pub runtime: String,
    pub devices: Devices,
}

/// The backends of an engine.
pub(super) struct Backends {
    options: EngineOptions,
    /// What all sessions hold.
    pub memory: Arc<Memory>,
    native: OnceCell<Native>,
    judge: OnceCell<(Program, Arc<JudgeFiles>)>,
}

impl Backends {
    /// Starts none yet, unless a GPU or a library is asked for: whether it can be used decides about the start.
    ///
    /// # Errors
    /// Every variant of `StartError`.
    pub(super) async fn start(options: EngineOptions) -> Result<Self, StartError> {
        let is_asked_for = options.provider != Provider::Cpu || options.runtime.is_some();
        let memory = Arc::new(Memory::new(options.memory, options.gpu_memory));
        let backends = Self { options, memory, native: OnceCell::new(), judge: OnceCell::new() };
        if is_asked_for {
            backends.native().await?;
        }
        Ok(backends)
    }

    #[cfg(test)]
    pub(super) fn over(native: Native, options: EngineOptions) -> Self {
        let memory = Arc::new(Memory::new(options.memory, options.gpu_memory));
        Self { options, memory, native: OnceCell::new_with(Some(native)), judge: OnceCell::new() }
    }

    /// ONNX Runtime on this machine, which the first call looks for.
    ///
    /// # Errors
    /// `StartError::Runtime` where the runtime cannot be used, `Process` where no process can be started; `NoDevice` or `Cuda`
    /// where the hardware that is asked for cannot be used.
    pub(super) async fn native(&self) -> Result<&Native, StartError> {
        let start = async {
            let library = Library::find(self.options.runtime.as_deref())?;
            let backend: Arc<dyn Backend> = if self.options.trust_models {
                Arc::new(OrtBackend::new(library.load()?))
            } else {
                let program = Program::find(self.options.worker.as_deref());
                let program = program.map_err(|error| StartError::Process(error.to_string()))?;
                let memory = self.memory.of_a_process();
                Arc::new(OrtProcesses { program, library: library.clone(), memory })
            };
            let devices = Devices::choose(&backend, &library, &self.options).await?;
            let Library { path, version } = library;
            tracing::info!(runtime = %version, path = %path.display(), devices = ?devices.preferred, "ONNX Runtime is found");
            Ok(Native { backend, runtime: version, devices })
        };
        self.native.get_or_try_init(|| start).await
    }

    /// ONNX Runtime, if a model has needed it.
    pub(super) fn started_native(&self) -> Option<&Native> {
        self.native.get()
    }

    async fn judge(&self, limits: Limits) -> Result<Home, LoadError> {
        let find = async {
            let files = JudgeFiles::find(self.options.judge.as_deref())?;
            let program = Program::find(self.options.worker.as_deref());
            let program = program.map_err(|error| LoadError::Process(error.to_string()))?;
            tracing::debug!(wasm = %files.wasm.display(), cache = %files.cache.display(), "the canonical judge is found");
            Ok::<_, LoadError>((program, Arc::new(files)))
        };
        let (program, files) = self.judge.get_or_try_init(|| find).await?.clone();
        let backend = Arc::new(JudgeBackend { program, files, limits });
        Ok(Home { backend, runtime: ONNX_RUNTIME.to_owned(), devices: vec![Device::Judge] })
    }

    /// Where a model goes whose outputs are judged so; those of a bare file are not.
    ///
    /// # Errors
    /// `LoadError::Start` where ONNX Runtime or its hardware cannot be used, `JudgeFiles` or `Process` where the judge cannot.
    pub(super) async fn of(&self, judged_by: Option<&Reference>) -> Result<Homes, LoadError> {
        if let Some(Reference::Judge(Profile { lane: Lane::Exact, limits })) = judged_by {
            let judge = self.judge(*limits).await?;
            return Ok(Homes { serving: judge.clone(), fallback: None, reference: judge });
        }
        let Native { backend, runtime, devices } = self.native().await?;
        let on = |devices: Vec<Device>| Home { backend: backend.clone(), runtime: runtime.clone(), devices };
        let processor = on(vec![Device::Cpu]);
        let reference = match judged_by {
            Some(Reference::Judge(Profile { limits, .. })) => self.judge(*limits).await?,
            _ => processor.clone(),
        };
        let fallback = (devices.may_fall_back && !devices.are_reference()).then_some(processor);
        Ok(Homes { serving: on(devices.preferred.clone()), fallback, reference })
    }
}
