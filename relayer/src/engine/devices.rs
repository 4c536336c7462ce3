//! Devices that models run on: what an operator's choice comes to on this machine.

use std::{path::PathBuf, sync::Arc};

use prost::Message;
use tokio::task::spawn_blocking;

use super::{
    backend::{Backend, RunRequest},
    backends::ort::{OrtHost, runtime::Library},
    error::{LoadError, StartError},
    libraries::Needs,
    memory::Memory,
    profile::Device,
    providers::{Execution, Provider, ProviderOptions},
    sessions::{Limits, Sessions, Terms},
};
use crate::{
    model::{
        ModelFile,
        graph::{self, proto},
    },
    protocol::cast::{self, ModelTensor},
    text,
};

/// Options of an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The ONNX Runtime library; else it is looked for.
    pub runtime: Option<PathBuf>,
    /// The canonical judge's WebAssembly file; else it is looked for.
    pub judge: Option<PathBuf>,
    /// Program that is started as the process of a model; else this one. It takes the argument `worker`.
    pub worker: Option<PathBuf>,
    /// Hardware that is to run models.
    pub provider: Provider,
    /// Numbers of the provider's devices to run on; every model gets a session on each.
    pub devices: Vec<u32>,
    /// Options of the providers.
    pub providers: ProviderOptions,
    /// Whether the processor may run the part of a model that its device does not take.
    pub partial: bool,
    /// Whether ONNX Runtime runs models in this process, which one that crashes brings down.
    pub trust_models: bool,
    /// Bytes of memory for models; 0 for three quarters of the machine's.
    pub memory: u64,
    /// Bytes of each GPU's memory for models; 0 for all.
    pub gpu_memory: u64,
    /// Time limits, and the length of a model's queue.
    pub limits: Limits,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            runtime: None,
            judge: None,
            worker: None,
            provider: Provider::default(),
            devices: vec![0],
            providers: ProviderOptions::default(),
            partial: false,
            trust_models: false,
            memory: 0,
            gpu_memory: 0,
            limits: Limits::default(),
        }
    }
}

/// The devices that models are opened on.
#[derive(Debug)]
pub(super) struct Devices {
    /// Every model gets a session on each; never empty.
    pub preferred: Vec<Device>,
    /// What sessions on them are opened with.
    pub execution: Execution,
    /// Whether a GPU was preferred and none is used.
    pub fallback: bool,
    /// Whether a model that the preferred devices cannot run may run on the processor.
    pub may_fall_back: bool,
}

impl Devices {
    /// The processor, as it was asked for.
    pub(super) fn processor() -> Self {
        Self { preferred: vec![Device::Cpu], execution: Execution::default(), fallback: false, may_fall_back: false }
    }

    /// Tries the hardware that was asked for.
    ///
    /// # Errors
    /// `StartError::NoDevice` where a device is asked for and none is named; `StartError::Device` where only a device will do and
    /// it cannot be used.
    pub(super) async fn choose(host: &OrtHost, options: &EngineOptions) -> Result<Self, StartError> {
        if options.provider == Provider::Cpu {
            return Ok(Self::processor());
        }
        let preferred: Vec<_> = options.devices.iter().map(|number| options.provider.device(*number)).collect();
        let Some(first) = preferred.first() else { return Err(StartError::NoDevice) };
        let may_fall_back = options.provider == Provider::Auto;
        let needs = needs(host.library(), options).await;
        let execution = Execution { preload: needs.preload(), options: options.providers.clone(), partial: false };
        let memory = Arc::new(Memory::new(options.memory, options.gpu_memory));
        let terms = Terms { limits: options.limits, memory, pinned: false };
        let tried = match prepare(host, *first, execution).await {
            Ok(execution) => try_all(host, &preferred, &execution, &terms).await.map(|()| execution),
            Err(reason) => Err((*first, reason)),
        };
        match tried {
            Ok(execution) => Ok(Self { preferred, execution, fallback: false, may_fall_back }),
            Err((device, reason)) => {
                // The runtime names the first piece only that it misses, and not where to get it.
                let error = StartError::Device { device, reason: needs.told().unwrap_or(reason) };
                if !may_fall_back {
                    return Err(error);
                }
                tracing::warn!(%error, "no GPU can be used: models run on the processor");
                Ok(Self { fallback: true, may_fall_back, ..Self::processor() })
            }
        }
    }

    /// Whether models run on the processor in the first place.
    pub(super) fn are_reference(&self) -> bool {
        self.preferred == [Device::Cpu]
    }
}

/// What the provider needs of this machine.
async fn needs(library: &Library, options: &EngineOptions) -> Needs {
    let (provider, plugin) = (options.provider, options.providers.plugin.library.clone());
    let library = library.path.clone();
    spawn_blocking(move || Needs::of(provider, &library, plugin.as_deref())).await.unwrap_or_default()
}

/// Makes the provider ready; what sessions are opened with then.
async fn prepare(host: &OrtHost, device: Device, execution: Execution) -> Result<Execution, String> {
    let host = host.clone();
    let prepared = spawn_blocking(move || host.prepare(device, execution));
    prepared.await.unwrap_or_else(|error| Err(error.to_string()))
}

/// Runs the smallest model on every device; the first that fails, and why.
async fn try_all(
    host: &OrtHost,
    devices: &[Device],
    execution: &Execution,
    terms: &Terms,
) -> Result<(), (Device, String)> {
    let backend = host.backend(execution.clone());
    for device in devices {
        try_one(backend.clone(), *device, terms.clone()).await.map_err(|reason| (*device, reason))?;
    }
    Ok(())
}

async fn try_one(backend: Arc<dyn Backend>, device: Device, terms: Terms) -> Result<(), String> {
    let bytes = smallest_model();
    let signature = graph::inspect(&bytes).map_err(|error| error.to_string())?;
    let file = ModelFile::in_memory(bytes);
    let opened = file.open().map_err(|error| error.to_string())?;
    let sessions = Sessions::open(backend, file, &opened, Arc::new(signature), &[device], terms).await;
    // That it is ONNX Runtime which does not load the model is not what matters here.
    let sessions = sessions.map_err(|error| match error {
        LoadError::Session(reason) => text::one_line(&reason),
        error => error.to_string(),
    })?;
    let input = ModelTensor { shape: vec![1], elements: cast::Elements::F32(vec![1.0]) };
    let request = RunRequest { inputs: vec![input], wanted: vec![0], judgement: None };
    let report = sessions.run(request).await.map_err(|error| error.to_string())?.report;
    report.result.map(drop).map_err(|failure| format!("{failure:?}"))
}

/// An ONNX file that doubles a number: y = x + x, of one FP32 each.
#[must_use]
pub fn smallest_model() -> Vec<u8> {
    let dims = vec![proto::Dimension { size: Some(proto::Size::Value(1)) }];
    let tensor = proto::TensorType { elem_type: 1, shape: Some(proto::Shape { dim: dims }) };
    let value = |name: &str| proto::ValueInfo {
        name: name.into(),
        r#type: Some(proto::Type { tensor: Some(tensor.clone()), ..Default::default() }),
    };
    let node = proto::Node {
        input: vec!["x".into(), "x".into()],
        output: vec!["y".into()],
        op_type: "Add".into(),
        ..Default::default()
    };
    let graph = proto::Graph {
        node: vec![node],
        name: "double".into(),
        input: vec![value("x")],
        output: vec![value("y")],
        ..Default::default()
    };
    let opset = proto::OperatorSet { domain: String::new(), version: 13 };
    proto::Model { ir_version: 8, graph: Some(graph), opset_import: vec![opset], functions: vec![] }.encode_to_vec()
}
