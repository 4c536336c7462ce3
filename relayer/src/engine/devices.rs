//! Devices that models run on: what an operator's choice comes to on this machine.

use std::{path::PathBuf, sync::Arc};

use prost::Message;
use serde::{Deserialize, Serialize};

use super::{
    backend::{Backend, RunRequest},
    backends::ort::runtime::Library,
    error::StartError,
    memory::Memory,
    profile::Device,
    sessions::{Limits, Sessions, Terms},
};
use crate::{
    model::{
        ModelFile,
        graph::{self, proto},
    },
    protocol::cast::{self, ModelTensor},
};

/// Hardware that is to run models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// Options of an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The ONNX Runtime library; else it is looked for.
    pub runtime: Option<PathBuf>,
    /// The canonical judge's WebAssembly file; else it is looked for.
    pub judge: Option<PathBuf>,
    /// Program that is started as the process of a model; else this one. It takes the argument `worker`.
    pub worker: Option<PathBuf>,
    /// Whether ONNX Runtime runs models in this process, which one that crashes brings down.
    pub trust_models: bool,
    /// Bytes of memory for models; 0 for three quarters of the machine's.
    pub memory: u64,
    /// Bytes of each GPU's memory for models; 0 for all.
    pub gpu_memory: u64,
    /// Hardware that is to run models.
    pub provider: Provider,
    /// Numbers of the GPUs to run on; every model gets a session on each.
    pub devices: Vec<u32>,
    /// Time limits, and the length of a model's queue.
    pub limits: Limits,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            runtime: None,
            judge: None,
            worker: None,
            trust_models: false,
            memory: 0,
            gpu_memory: 0,
            provider: Provider::default(),
            devices: vec![0],
            limits: Limits::default(),
        }
    }
}

/// The devices that models are opened on.
#[derive(Debug)]
pub(super) struct Devices {
    /// Every model gets a session on each; never empty.
    pub preferred: Vec<Device>,
    /// Whether a GPU was preferred and none is used.
    pub fallback: bool,
    /// Whether a model that the preferred devices cannot run may run on the processor.
    pub may_fall_back: bool,
}

impl Devices {
    /// Tries the hardware that was asked for.
    ///
    /// # Errors
    /// `StartError::NoDevice` where a GPU is asked for and none is named; `StartError::Cuda` where only a GPU will do and one
    /// cannot be used.
    pub(super) async fn choose(
        backend: &Arc<dyn Backend>,
        library: &Library,
        options: &EngineOptions,
    ) -> Result<Self, StartError> {
        let cpu = Self { preferred: vec![Device::Cpu], fallback: false, may_fall_back: false };
        if options.provider == Provider::Cpu {
            return Ok(cpu);
        }
        if options.devices.is_empty() {
            return Err(StartError::NoDevice);
        }
        let may_fall_back = options.provider == Provider::Auto;
        let memory = Arc::new(Memory::new(0, 0));
        let terms = Terms { limits: options.limits, memory, pinned: false };
        match try_gpus(backend, library, &options.devices, &terms).await {
            Ok(()) => {
                let preferred = options.devices.iter().map(|number| Device::Cuda(*number)).collect();
                Ok(Self { preferred, fallback: false, may_fall_back })
            }
            Err(error) if may_fall_back => {
                tracing::warn!(%error, "no GPU can be used: models run on the processor");
                Ok(Self { fallback: true, may_fall_back, ..cpu })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether models run on the processor in the first place.
    pub(super) fn are_reference(&self) -> bool {
        self.preferred == [Device::Cpu]
    }
}

/// Runs the smallest model on every GPU.
async fn try_gpus(
    backend: &Arc<dyn Backend>,
    library: &Library,
    numbers: &[u32],
    terms: &Terms,
) -> Result<(), StartError> {
    let failed = |device, reason| StartError::Cuda { device, reason };
    let first = numbers.first().copied().unwrap_or_default();
    if !library.has_cuda() {
        return Err(failed(first, format!("{} comes without CUDA", library.path.display())));
    }
    let bytes = smallest_model();
    let signature = graph::inspect(&bytes).map_err(|error| failed(first, error.to_string()))?;
    let (file, signature) = (ModelFile::in_memory(bytes), Arc::new(signature));
    let opened = file.open().map_err(|error| failed(first, error.to_string()))?;
    for number in numbers {
        let failed = |reason: String| failed(*number, reason);
        let devices = [Device::Cuda(*number)];
        let (backend, file, signature) = (backend.clone(), file.clone(), signature.clone());
        let sessions = Sessions::open(backend, file, &opened, signature, &devices, terms.clone()).await;
        let input = ModelTensor { shape: vec![1], elements: cast::Elements::F32(vec![1.0]) };
        let request = RunRequest { inputs: vec![input], wanted: vec![0], judgement: None };
        let ran = sessions.map_err(|error| failed(error.to_string()))?.run(request).await;
        let report = ran.map_err(|error| failed(error.to_string()))?.report;
        report.result.map_err(|failure| failed(format!("{failure:?}")))?;
    }
    Ok(())
}

/// y = x + x
fn smallest_model() -> Vec<u8> {
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
