//! The contents that an ONNX file may have, judged before a runtime sees it.

mod constants;
mod contents;
mod domains;
mod external;
mod judge;
mod operators;
mod ports;
pub mod proto;
mod refused;
mod shapes;

pub use contents::Contents;
pub use external::is_within;
pub use ports::{OutputSpec, Port, PortKind, Signature};
pub use refused::{MAX_NODES, Refused, zipmap};

use std::collections::HashSet;

use prost::Message;

use self::{
    judge::{Judge, training},
    proto::Model,
};
use crate::{model::foreign, protocol::cast::TensorSpec};

/// Judges a file, and reads its inputs and outputs.
///
/// # Errors
/// Every variant of `Refused`.
pub fn inspect(file: &[u8]) -> Result<Signature, Refused> {
    let not_onnx = |reason: String| foreign::recognise(file).map_or(Refused::NotOnnx(reason), Refused::Foreign);
    let model = Model::decode(file).map_err(|error| not_onnx(error.to_string()))?;
    let graph = model.graph.as_ref().ok_or_else(|| not_onnx("there is no graph in it".into()))?;
    let off = constants::all_false(file, graph, &graph.node.iter().filter_map(training).collect());
    let inactive = graph.node.iter().filter(|node| training(node).is_some_and(|name| off.contains(name)));
    let mut judge = Judge::new(inactive.map(std::ptr::from_ref).collect());
    judge.functions(&model.functions)?;
    judge.graph(graph)?;

    let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
    let weights: HashSet<_> = graph.initializer.iter().chain(sparse).map(|tensor| tensor.name.as_str()).collect();
    let inputs = graph.input.iter().filter(|input| !weights.contains(input.name.as_str()));
    let (input_ports, inputs) = ports::read(inputs)?;
    let (output_ports, outputs) = ports::read(graph.output.iter())?;
    let inputs = inputs.into_iter().map(required).collect::<Result<_, _>>()?;
    if outputs.iter().any(|output| matches!(output, OutputSpec::Tensor(_))) {
        let external = judge.external.into_iter().collect();
        return Ok(Signature { inputs, outputs, input_ports, output_ports, external });
    }
    let refused = outputs.into_iter().find_map(|output| required(output).err());
    Err(refused.unwrap_or(Refused::NoOutputs))
}

/// What must be a tensor, as an input must.
fn required(spec: OutputSpec) -> Result<TensorSpec, Refused> {
    match spec {
        OutputSpec::Tensor(spec) => Ok(spec),
        OutputSpec::Other { name, kind } => Err(Refused::UnsupportedType { tensor: name, kind }),
    }
}

#[cfg(test)]
mod tests;
