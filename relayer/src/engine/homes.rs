//! The backend that a model goes to, by its card. Each is started when the first model needs it.

use std::sync::Arc;

use oraculum_judge::{Lane, Limits, ONNX_RUNTIME, Profile};
use tokio::sync::OnceCell;

use super::{
    backend::Backend,
    backends::{
        canonical::{JudgeBackend, files::JudgeFiles},
        child::Program,
        ort::{OrtHost, OrtProcesses, runtime::Library},
    },
    devices::{Devices, EngineOptions},
    error::{LoadError, StartError},
    memory::Memory,
    profile::{Device, Reference},
    providers::{Execution, Provider},
};

/// A backend, and the devices on which it opens sessions of a model.
#[derive(Clone)]
pub(super) struct Home {
    pub backend: Arc<dyn Backend>,
    /// Version of ONNX Runtime in it.
    pub runtime: String,
    /// One session is opened on each; never empty.
    pub devices: Vec<Device>,
    /// Whether the processor runs what the devices do not take of a model.
    pub partial: bool,
    /// What the options of the devices' provider add to profile strings.
    pub options: String,
}

/// Where a model is served, and where a failure there is confirmed.
pub(super) struct Homes {
    pub serving: Home,
    /// Homes that are tried, one after another, where the model does not open in `serving`.
    pub fallbacks: Vec<Home>,
    pub reference: Home,
}

/// ONNX Runtime on this machine.
pub(super) struct Native {
    pub backend: Arc<dyn Backend>,
    /// The same, but the processor runs what a device does not take; if the operator allows it.
    pub partial: Option<Arc<dyn Backend>>,
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
    /// `StartError::Runtime` where the runtime cannot be used, `Process` where no process can be started; `NoDevice` or `Device`
    /// where the hardware that is asked for cannot be used.
    pub(super) async fn native(&self) -> Result<&Native, StartError> {
        let start = async {
            let library = Library::find(self.options.runtime.as_deref())?;
            let Library { path, version } = library.clone();
            let host = if self.options.trust_models {
                OrtHost::Here(library.load()?)
            } else {
                let program = Program::find(self.options.worker.as_deref());
                let program = program.map_err(|error| StartError::Process(error.to_string()))?;
                let (memory, execution) = (self.memory.of_a_process(), Arc::default());
                OrtHost::Processes(OrtProcesses { program, library, memory, execution })
            };
            let devices = Devices::choose(&host, &self.options).await?;
            tracing::info!(runtime = %version, path = %path.display(), devices = ?devices.preferred, "ONNX Runtime is found");
            let partial = self.options.partial && !devices.are_reference();
            let partial = partial.then(|| host.backend(Execution { partial, ..devices.execution.clone() }));
            Ok(Native { backend: host.backend(devices.execution.clone()), partial, runtime: version, devices })
        };
        self.native.get_or_try_init(|| start).await
    }

    /// ONNX Runtime, if a model has needed it.
    pub(super) fn started_native(&self) -> Option<&Native> {
        self.native.get()
    }

    async fn judge(&self, limits: Limits) -> Result<Home, LoadError> {
        let (program, files) = self.judge_files().await?.clone();
        let backend = Arc::new(JudgeBackend { program, files, limits });
        let (runtime, devices, options) = (ONNX_RUNTIME.to_owned(), vec![Device::Judge], String::new());
        Ok(Home { backend, runtime, devices, partial: false, options })
    }

    /// The judge's files, and the program that is started with them.
    ///
    /// # Errors
    /// `LoadError::JudgeFiles` or `Process` where there are none.
    pub(super) async fn judge_files(&self) -> Result<&(Program, Arc<JudgeFiles>), LoadError> {
        let find = async {
            let files = JudgeFiles::find(self.options.judge.as_deref())?;
            let program = Program::find(self.options.worker.as_deref());
            let program = program.map_err(|error| LoadError::Process(error.to_string()))?;
            tracing::debug!(wasm = %files.wasm.display(), cache = %files.cache.display(), "the canonical judge is found");
            Ok::<_, LoadError>((program, Arc::new(files)))
        };
        self.judge.get_or_try_init(|| find).await
    }

    /// Where a model goes whose outputs are judged so; those of a bare file are not.
    ///
    /// # Errors
    /// `LoadError::Start` where ONNX Runtime or its hardware cannot be used, `JudgeFiles` or `Process` where the judge cannot.
    pub(super) async fn of(&self, judged_by: Option<&Reference>) -> Result<Homes, LoadError> {
        if let Some(Reference::Judge(Profile { lane: Lane::Exact, limits })) = judged_by {
            let judge = self.judge(*limits).await?;
            return Ok(Homes { serving: judge.clone(), fallbacks: Vec::new(), reference: judge });
        }
        let Native { backend, partial, runtime, devices } = self.native().await?;
        let on = |on: Vec<Device>| {
            let options = on.first().map(|device| devices.execution.options.in_profile(*device)).unwrap_or_default();
            Home { backend: backend.clone(), runtime: runtime.clone(), devices: on, partial: false, options }
        };
        let processor = on(vec![Device::Cpu]);
        let reference = match judged_by {
            Some(Reference::Judge(Profile { limits, .. })) => self.judge(*limits).await?,
            _ => processor.clone(),
        };
        let serving = on(devices.preferred.clone());
        let partial = partial.iter().map(|backend| Home { backend: backend.clone(), partial: true, ..serving.clone() });
        let processor = (devices.may_fall_back && !devices.are_reference()).then_some(processor);
        let fallbacks = partial.chain(processor).collect();
        Ok(Homes { serving, fallbacks, reference })
    }
}
