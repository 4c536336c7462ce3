//! What a file is: whether it may be run, whether the judge loads it, and what can be seen of it without inputs.

use oraculum_judge::{Guard, JudgeError, Session};

use super::{Examined, count, shortened};
use crate::{
    engine::backends::{
        canonical::words::explained,
        child::{
            wire::{
                Failure, FailureKind,
                examine::{Facts, Port, TOLD},
            },
            worker::failure,
        },
    },
    model::graph::{
        self, OutputSpec, PortKind, Signature,
        survey::{MAX_DEPTH, Survey, survey},
    },
    protocol::{
        cast::{ElementType, TensorSpec},
        tensor::MAX_TENSORS,
    },
    text,
};

/// Nodes that are named at most.
const MAX_NAMED: usize = 400;

impl Examined {
    /// Reads the file, and loads it unless it is refused anyway.
    ///
    /// # Errors
    /// `FailureKind::Memory` where this machine is at fault.
    pub(super) fn facts(&mut self) -> Result<Facts, Failure> {
        let refusals = graph::refusals(&self.file);
        let signature = match graph::inspect(&self.file) {
            Ok(signature) => signature,
            Err(refused) => {
                let mut refusals: Vec<_> =
                    refusals.iter().map(|refused| text::cut(&refused.to_string(), TOLD)).collect();
                if refusals.is_empty() {
                    refusals.push(text::cut(&refused.to_string(), TOLD));
                }
                return Ok(Facts { refusals, ..Facts::default() });
            }
        };
        let ports = signature.inputs.len().max(signature.outputs.len());
        if ports > MAX_TENSORS {
            let reason = format!(
                "the model has {ports} inputs or outputs, where {MAX_TENSORS} are the most: export it with fewer"
            );
            return Ok(Facts { refusals: vec![reason], ..Facts::default() });
        }
        let model = graph::decode(&self.file).map_err(|refused| failure(FailureKind::Model, refused.to_string()))?;
        let Survey { depth, .. } = survey(&model, &|_| None);
        let mut facts = Facts {
            inputs: signature.inputs.iter().map(port).collect(),
            outputs: signature.outputs.iter().map(output).collect(),
            weights_beside: !signature.external.is_empty(),
            sequences: sequences(&signature),
            depth: count(depth),
            ..Facts::default()
        };
        let can_load = depth <= MAX_DEPTH && !facts.weights_beside && !facts.sequences;
        if can_load {
            match self.judge.load(&self.file, self.limits).and_then(|session| is_same(&session, &signature)) {
                Ok(fuel) => facts.load_fuel = fuel,
                Err(error) => facts.not_loaded = Some(failed(&error)?),
            }
        }
        if can_load && facts.not_loaded.is_none() {
            facts.not_traced = self.types(&model).err().map(|error| failed(&error)).transpose()?;
        }
        let Survey { bit_casts, .. } = survey(&model, &|name| self.elements.get(name).copied());
        facts.bit_casts = bit_casts.iter().map(|name| text::shown(name)).collect();
        match Guard::of(&self.file) {
            Ok(guard) => {
                facts.mixed_products =
                    guard.mixed_products().iter().take(MAX_NAMED).map(|node| text::shown(node)).collect();
                facts.rounded = guard.rounded().to_vec();
            }
            Err(error) => facts.not_guarded = Some(text::cut(&error.to_string(), TOLD)),
        }
        self.model = Some(model);
        Ok(facts)
    }

    /// Finds the candidates of the trace, and the types of values within the model.
    fn types(&mut self, model: &graph::proto::Model) -> Result<(), JudgeError> {
        let candidates = self.judge.candidates(&self.file, self.limits)?;
        self.candidates = candidates.names().to_vec();
        let nodes = model.graph.iter().flat_map(|graph| &graph.node);
        let mut made: Vec<String> =
            nodes.flat_map(|node| &node.output).filter(|name| !name.is_empty()).cloned().collect();
        made.sort_unstable();
        made.dedup();
        let session = self.judge.load_with_outputs(&self.file, &made, self.limits.traced())?;
        let element = |port: &oraculum_judge::Port| Some((port.name.clone(), i32::from(port.dtype?.onnx())));
        self.elements = session.outputs().iter().filter_map(element).collect();
        Ok(())
    }
}

/// Why a model is not loaded.
///
/// # Errors
/// The same, where this machine is at fault.
fn failed(error: &JudgeError) -> Result<Failure, Failure> {
    let failure = shortened(explained(error));
    if error.is_host() { Err(failure) } else { Ok(failure) }
}

/// Checks that the judge reads the ports that the file declares; what loading took.
fn is_same(session: &Session, signature: &Signature) -> Result<u64, JudgeError> {
    let inputs = session
        .inputs()
        .iter()
        .map(|port| port.name.as_str())
        .eq(signature.inputs.iter().map(|spec| spec.name.as_str()));
    let outputs =
        session.outputs().iter().map(|port| port.name.as_str()).eq(signature.outputs.iter().map(OutputSpec::name));
    if inputs && outputs {
        return Ok(session.load_fuel());
    }
    Err(JudgeError::Load("it reads other inputs and outputs than the file declares".to_owned()))
}

fn sequences(signature: &Signature) -> bool {
    let ports = signature.input_ports.iter().chain(&signature.output_ports);
    ports.into_iter().any(|port| matches!(port.kind, PortKind::Sequence(_)))
}

fn port(spec: &TensorSpec) -> Port {
    let dim = |size: &Option<u64>| size.and_then(|size| i64::try_from(size).ok()).unwrap_or(-1);
    Port {
        name: spec.name.clone(),
        element: onnx(spec.element),
        ranked: spec.shape.is_some(),
        dims: spec.shape.iter().flatten().map(dim).collect(),
        kind: String::new(),
    }
}

fn output(output: &OutputSpec) -> Port {
    match output {
        OutputSpec::Tensor(spec) => port(spec),
        OutputSpec::Other { name, kind } => Port { name: name.clone(), kind: kind.clone(), ..Port::default() },
    }
}

/// ONNX's number of an element type.
fn onnx(element: ElementType) -> u32 {
    (1..=u32::from(u8::MAX))
        .find(|number| {
            oraculum_judge::DType::from_onnx(*number).is_some_and(|dtype| dtype.to_string() == element.to_string())
        })
        .unwrap_or_default()
}
