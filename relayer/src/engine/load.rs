//! Models that are loaded: checked, opened, and probed.

use std::sync::Arc;

use alloy::primitives::{B256, Bytes};
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use super::{
    EngineError, Inference, LoadError, OnnxEngine, StartError,
    backends::ort::{
        runtime::Runtime,
        session,
        worker::{Limits, Worker},
    },
    profile::{Device, reference_version},
};
use crate::{
    model::{
        Model, Probe,
        graph::{self, Signature, proto},
    },
    protocol::{
        Outcome, OutputFormat,
        agreement::{Verdict, compare},
        card::Agreement,
        cast::{self, BadInput, ModelTensor},
    },
};

/// What to load.
#[derive(Clone, Debug)]
pub struct Source {
    /// The id under which it is run.
    pub id: B256,
    file: Arc<[u8]>,
    file_hash: B256,
    card: Option<CardLimits>,
}

/// What a card adds to a file.
#[derive(Clone, Debug)]
struct CardLimits {
    agreement: Vec<Agreement>,
    max_input_bytes: u32,
    max_output_bytes: u32,
    profile: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
    probes: Vec<Probe>,
}

impl Source {
    /// A model with its card; reads the file, and checks it against the card.
    pub fn card(model: &Model) -> Result<Self, LoadError> {
        let names = |ports: &[crate::model::DetailsPort]| ports.iter().map(|port| port.name.clone()).collect();
        Ok(Self {
            id: model.id,
            file: model.read_file()?.into(),
            file_hash: model.card.file_hash,
            card: Some(CardLimits {
                agreement: model.card.agreement.clone(),
                max_input_bytes: model.card.max_input_bytes,
                max_output_bytes: model.card.max_output_bytes,
                profile: model.profile.clone(),
                inputs: names(&model.details.inputs),
                outputs: names(&model.details.outputs),
                probes: model.details.probes.clone(),
            }),
        })
    }

    /// A bare ONNX file, known by its own hash.
    pub fn file(file: Vec<u8>) -> Self {
        let hash = B256::from_slice(&Sha256::digest(&file));
        Self { id: hash, file: file.into(), file_hash: hash, card: None }
    }
}

/// A model that can be run.
pub struct LoadedModel {
    /// Its id: the card's, or of a bare file the file's.
    pub id: B256,
    /// Its inputs and outputs.
    pub signature: Arc<Signature>,
    /// Whether a GPU was preferred and this model does not run on it.
    pub fallback: bool,
    pub(super) file_hash: B256,
    pub(super) max_output_bytes: u32,
    pub(super) worker: Worker,
    /// The runtime's version on which the card's disputes are judged; of a bare file, any.
    pub(super) reference_version: Option<String>,
    max_input_bytes: u32,
    agreement: Vec<Agreement>,
    probes: Vec<Probe>,
    file: Arc<[u8]>,
    on_reference: bool,
    /// A session on the processor, opened when another one's failure is to be confirmed.
    reference: OnceCell<Worker>,
}

impl LoadedModel {
    pub(super) async fn open(engine: &OnnxEngine, source: Source) -> Result<Self, LoadError> {
        let signature = Arc::new(graph::inspect(&source.file)?);
        if let Some(card) = &source.card {
            check_card(card, &signature)?;
        }
        let open = |targets: Vec<Device>| {
            let (file, signature) = (source.file.clone(), signature.clone());
            async move { Worker::start(engine.runtime, file, signature, &targets, engine.limits).await }
        };
        let mut on_reference = engine.targets == [Device::Cpu];
        let mut fallback = false;
        let worker = match open(engine.targets.clone()).await {
            Err(error) if engine.may_fall_back && !on_reference => {
                tracing::warn!(model = %source.id, %error, "the GPU cannot run this model: it runs on the processor");
                (on_reference, fallback) = (true, true);
                open(vec![Device::Cpu]).await?
            }
            result => result?,
        };
        let card = source.card;
        Ok(Self {
            id: source.id,
            signature,
            fallback,
            file_hash: source.file_hash,
            max_input_bytes: card.as_ref().map_or(u32::MAX, |card| card.max_input_bytes),
            max_output_bytes: card.as_ref().map_or(u32::MAX, |card| card.max_output_bytes),
            reference_version: card.as_ref().and_then(|card| reference_version(&card.profile)).map(str::to_owned),
            agreement: card.as_ref().map(|card| card.agreement.clone()).unwrap_or_default(),
            probes: card.map(|card| card.probes).unwrap_or_default(),
            worker,
            file: source.file,
            on_reference,
            reference: OnceCell::new(),
        })
    }

    /// Whether the model runs on the processor in the first place.
    pub(super) fn is_on_reference(&self) -> bool {
        self.on_reference
    }

    /// Reads packed tensors as this model's inputs.
    pub(super) fn read(&self, input: &Bytes, format: OutputFormat) -> Result<Vec<ModelTensor>, BadInput> {
        if input.len() > self.max_input_bytes as usize {
            return Err(BadInput::TooLong { length: input.len(), max: self.max_input_bytes });
        }
        cast::check_mask(format.mask, self.signature.outputs.len())?;
        cast::to_inputs(&self.signature.inputs, input)
    }

    /// A session on the processor.
    pub(super) async fn reference(&self, engine: &OnnxEngine) -> Result<&Worker, EngineError> {
        let start = || {
            let (file, signature) = (self.file.clone(), self.signature.clone());
            async move { Worker::start(engine.runtime, file, signature, &[Device::Cpu], engine.limits).await }
        };
        self.reference.get_or_try_init(start).await.map_err(|error| EngineError::Runtime(error.to_string()))
    }

    /// Runs the card's probes; an output beyond the card's tolerance is an error.
    pub(super) async fn probe(&self, engine: &OnnxEngine) -> Result<(), LoadError> {
        for (index, probe) in self.probes.iter().enumerate() {
            let Inference { outcome, output, .. } = engine
                .infer(self, probe.input.clone(), OutputFormat::NATIVE)
                .await
                .map_err(|error| LoadError::ProbeFailed { index, error })?;
            let verdict = compare(&output, &probe.output, &self.agreement, OutputFormat::NATIVE);
            if outcome != Outcome::Ok || verdict == Verdict::Disagree {
                let found = if outcome == Outcome::Ok { output.to_string() } else { outcome.to_string() };
                return Err(LoadError::Probe { index, found });
            }
        }
        Ok(())
    }
}

fn check_card(card: &CardLimits, signature: &Signature) -> Result<(), LoadError> {
    let (rules, outputs) = (card.agreement.len(), signature.outputs.len());
    if rules != outputs {
        return Err(LoadError::AgreementCount { rules, outputs });
    }
    if reference_version(&card.profile).is_none() {
        return Err(LoadError::UnknownProfile(card.profile.clone()));
    }
    for (described, ports) in [(&card.inputs, &signature.inputs), (&card.outputs, &signature.outputs)] {
        if !described.iter().eq(ports.iter().map(|port| &port.name)) {
            let names: Vec<_> = ports.iter().map(|port| port.name.as_str()).collect();
            return Err(LoadError::DetailsDiffer(format!("{described:?}, where the model has {names:?}")));
        }
    }
    Ok(())
}

/// Opens a session of the smallest model on every device.
pub(super) async fn try_devices(runtime: &'static Runtime, devices: &[u32], limits: Limits) -> Result<(), StartError> {
    let failed = |device, reason| StartError::Cuda { device, reason };
    let first = devices.first().copied().unwrap_or_default();
    if !session::has_cuda(runtime) {
        return Err(failed(first, format!("{} comes without CUDA", runtime.path.display())));
    }
    let file = smallest_model();
    let signature = graph::inspect(&file).map_err(|error| failed(first, error.to_string()))?;
    let (file, signature): (Arc<[u8]>, _) = (file.into(), Arc::new(signature));
    for device in devices {
        let worker = Worker::start(runtime, file.clone(), signature.clone(), &[Device::Cuda(*device)], limits).await;
        let worker = worker.map_err(|error| failed(*device, error.to_string()))?;
        let input = ModelTensor { shape: vec![1], elements: cast::Elements::F32(vec![1.0]) };
        let done = worker.run(vec![input], vec![0]).await.map_err(|error| failed(*device, error.to_string()))?;
        done.result.map_err(|error| failed(*device, format!("{error:?}")))?;
    }
    Ok(())
}

/// y = x + x
fn smallest_model() -> Vec<u8> {
    let dims = vec![proto::Dimension { size: Some(proto::Size::Value(1)) }];
    let tensor = proto::TensorType { elem_type: 1, shape: Some(proto::Shape { dim: dims }) };
    let port = |name: &str| proto::ValueInfo {
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
        input: vec![port("x")],
        output: vec![port("y")],
        ..Default::default()
    };
    let opset = proto::OperatorSet { domain: String::new(), version: 13 };
    proto::Model { ir_version: 8, graph: Some(graph), opset_import: vec![opset], functions: vec![] }.encode_to_vec()
}
