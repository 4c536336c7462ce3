//! The contents that an ONNX file may have, judged before a runtime sees it.

mod constants;
mod contents;
mod domains;
pub mod effort;
mod external;
mod judge;
mod operators;
mod ports;
pub mod proto;
mod refused;
mod shapes;
pub mod sums;
pub mod survey;
mod weight;

pub use contents::Contents;
pub use external::is_within;
pub use ports::{OutputSpec, Port, PortKind, Signature};
pub use refused::{MAX_NODES, Refused, zipmap};
pub use shapes::Shapes;

use std::collections::{BTreeSet, HashSet};

use prost::Message;

use self::{
    judge::{Judge, training},
    proto::{Graph, Model, Node},
};
use crate::{model::foreign, protocol::cast::TensorSpec};

/// Judges a file, and reads its inputs and outputs.
///
/// # Errors
/// Every variant of `Refused`.
pub fn inspect(file: &[u8]) -> Result<Signature, Refused> {
    let model = decode(file)?;
    let graph = model.graph.as_ref().ok_or_else(|| without_graph(file))?;
    let mut judge = Judge::new(inactive(file, graph));
    judge.functions(&model.functions)?;
    judge.graph(graph)?;
    signature(graph, judge.external)
}

/// All reasons for which a file is not run, each once; a file has more at most than are told.
#[must_use]
pub fn refusals(file: &[u8]) -> Vec<Refused> {
    let model = match decode(file) {
        Ok(model) => model,
        Err(refused) => return vec![refused],
    };
    let Some(graph) = &model.graph else { return vec![without_graph(file)] };
    let mut judge = Judge::collecting(inactive(file, graph));
    let judged = judge.functions(&model.functions).and_then(|()| judge.graph(graph));
    let (mut refusals, external) = judge.into_parts();
    refusals.extend(judged.err());
    refusals.extend(signature(graph, external).err());
    refusals
}

/// Reads what a file says of itself; its weights are skipped.
///
/// # Errors
/// `Refused::NotOnnx` or `Foreign`; `TooManyParts` for a file that would take too much memory.
pub fn decode(file: &[u8]) -> Result<Model, Refused> {
    weight::check(file)?;
    Model::decode(file).map_err(|error| not_onnx(file, error.to_string()))
}

fn without_graph(file: &[u8]) -> Refused {
    not_onnx(file, "there is no graph in it".to_owned())
}

fn not_onnx(file: &[u8], reason: String) -> Refused {
    foreign::recognise(file).map_or(Refused::NotOnnx(reason), Refused::Foreign)
}

/// Nodes of the main graph that would train, were an input of theirs not the constant `false`.
fn inactive(file: &[u8], graph: &Graph) -> HashSet<*const Node> {
    let off = constants::all_false(file, graph, &graph.node.iter().filter_map(training).collect());
    let inactive = graph.node.iter().filter(|node| training(node).is_some_and(|name| off.contains(name)));
    inactive.map(std::ptr::from_ref).collect()
}

/// Inputs and outputs of a graph, whose weights lie in the files `external` as well.
fn signature(graph: &Graph, external: BTreeSet<String>) -> Result<Signature, Refused> {
    let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
    let weights: HashSet<_> = graph.initializer.iter().chain(sparse).map(|tensor| tensor.name.as_str()).collect();
    let inputs = graph.input.iter().filter(|input| !weights.contains(input.name.as_str()));
    let (input_ports, inputs) = ports::read(inputs)?;
    let (output_ports, outputs) = ports::read(graph.output.iter())?;
    let inputs = inputs.into_iter().map(required).collect::<Result<_, _>>()?;
    if outputs.iter().any(|output| matches!(output, OutputSpec::Tensor(_))) {
        let external = external.into_iter().collect();
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
