//! What is in a model: its operators, its weights, and an estimate of what a run takes.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::{
    proto::{Graph, Node, Tensor},
    refused::Refused,
    shapes::{self, Shapes, volume},
};

/// What is in a model. Estimates are for a run with every open size as 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Contents {
    /// Version of the file format.
    pub ir_version: i64,
    /// Version of each operator set; that of the standard is called `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// Number of nodes by operator, with those of subgraphs; one that is not of the standard with its domain.
    pub operators: BTreeMap<String, u64>,
    /// Elements of all weights.
    pub parameters: u64,
    /// Size of all weights, in bytes, without strings.
    pub weight_bytes: u64,
    /// Size of the tensors that are there at once at most, in bytes, of those whose shapes are known.
    pub activation_bytes: u64,
    /// Number of tensors whose shapes are not known.
    pub unknown_shapes: u64,
    /// Floating-point operations of the nodes that are counted.
    pub flops: u64,
    /// Number of nodes by operator whose operations are not counted: their shapes or their work are not known.
    pub uncounted: BTreeMap<String, u64>,
    /// Whether an input has open sizes, which are taken as 1.
    pub open_sizes: bool,
}

impl Contents {
    /// Reads a file that was judged.
    ///
    /// # Errors
    /// `Refused::NotOnnx` for a file that was not.
    pub fn read(file: &[u8]) -> Result<Self, Refused> {
        let model = super::decode(file)?;
        let graph = model.graph.as_ref().ok_or_else(|| Refused::NotOnnx("there is no graph in it".to_owned()))?;
        let shapes = shapes::of(graph);
        let (mut flops, mut uncounted) = (0u64, BTreeMap::new());
        for node in &graph.node {
            match shapes::operations(node, &shapes) {
                Some(operations) => flops = flops.saturating_add(operations),
                None => *uncounted.entry(name(node)).or_default() += 1,
            }
        }
        let (mut operators, mut weights) = (BTreeMap::new(), Weights::default());
        count(graph, &mut operators, &mut weights);
        for function in &model.functions {
            function.node.iter().for_each(|node| count_node(node, &mut operators, &mut weights));
        }
        let opset = |domain: &str| if domain.is_empty() { "ai.onnx".to_owned() } else { domain.to_owned() };
        let outputs = graph.node.iter().flat_map(|node| &node.output).filter(|output| !output.is_empty());
        let unknown = outputs.filter(|output| !shapes.contains_key(output.as_str())).count();
        Ok(Self {
            ir_version: model.ir_version,
            opsets: model.opset_import.iter().map(|set| (opset(&set.domain), set.version)).collect(),
            operators,
            parameters: weights.elements,
            weight_bytes: weights.bits.div_ceil(8),
            activation_bytes: most_at_once(graph, &shapes),
            unknown_shapes: u64::try_from(unknown).unwrap_or(u64::MAX),
            flops,
            uncounted,
            open_sizes: graph.input.iter().any(is_open),
        })
    }
}

/// An operator's name, with its domain if that is not the standard's.
fn name(node: &Node) -> String {
    match node.domain.as_str() {
        "" | "ai.onnx" => node.op_type.clone(),
        domain => format!("{domain}.{}", node.op_type),
    }
}

/// Whether a port has a size that any number goes for.
fn is_open(info: &super::proto::ValueInfo) -> bool {
    let tensor = info.r#type.as_ref().and_then(|kind| kind.tensor.as_ref());
    let Some(shape) = tensor.and_then(|tensor| tensor.shape.as_ref()) else { return true };
    shape.dim.iter().any(|dim| !matches!(dim.size, Some(super::proto::Size::Value(size)) if size >= 0))
}

#[derive(Default)]
struct Weights {
    elements: u64,
    bits: u64,
}

impl Weights {
    fn add(&mut self, tensor: &Tensor) {
        let sizes: Vec<_> = tensor.dims.iter().map(|dim| u64::try_from(*dim).unwrap_or_default()).collect();
        let elements = volume(&sizes);
        self.elements = self.elements.saturating_add(elements);
        self.bits = self.bits.saturating_add(elements.saturating_mul(bits(tensor.data_type)));
    }
}

/// Bits of an element, by the number of the enum `TensorProto.DataType`; 0 for strings.
fn bits(data_type: i32) -> u64 {
    match data_type {
        2 | 3 | 9 | 17..=20 | 24 => 8,
        4 | 5 | 10 | 16 => 16,
        1 | 6 | 12 => 32,
        7 | 11 | 13 | 14 => 64,
        15 => 128,
        21..=23 => 4,
        25 | 26 => 2,
        _ => 0,
    }
}

fn count(graph: &Graph, operators: &mut BTreeMap<String, u64>, weights: &mut Weights) {
    let sparse = graph.sparse_initializer.iter().flat_map(|sparse| sparse.values.iter().chain(&sparse.indices));
    graph.initializer.iter().chain(sparse).for_each(|tensor| weights.add(tensor));
    graph.node.iter().for_each(|node| count_node(node, operators, weights));
}

fn count_node(node: &Node, operators: &mut BTreeMap<String, u64>, weights: &mut Weights) {
    *operators.entry(name(node)).or_default() += 1;
    for attribute in &node.attribute {
        attribute.t.iter().chain(&attribute.tensors).for_each(|tensor| weights.add(tensor));
        attribute.g.iter().chain(&attribute.graphs).for_each(|graph| count(graph, operators, weights));
    }
}

/// Bytes of the tensors that are there at once at most: each from the node that gives it to the last that takes it. Every
/// element counts four bytes, since the types within a graph are not known.
fn most_at_once(graph: &Graph, shapes: &Shapes<'_>) -> u64 {
    const BYTES: u64 = 4;
    let size = |name: &str| shapes.get(name).map_or(0, |shape| volume(shape).saturating_mul(BYTES));
    let weights: std::collections::HashSet<_> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let mut last = HashMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        last.extend(node.input.iter().chain(&node.output).map(|name| (name.as_str(), index)));
    }
    last.extend(graph.output.iter().map(|output| (output.name.as_str(), usize::MAX)));
    let inputs = graph.input.iter().filter(|input| !weights.contains(input.name.as_str()));
    let mut live: u64 = inputs.map(|input| size(&input.name)).fold(0, u64::saturating_add);
    let mut most = live;
    for (index, node) in graph.node.iter().enumerate() {
        live = node.output.iter().map(|name| size(name)).fold(live, u64::saturating_add);
        most = most.max(live);
        let mut done: Vec<_> = node.input.iter().chain(&node.output).map(String::as_str).collect();
        done.sort_unstable();
        done.dedup();
        let done = done.into_iter().filter(|name| last.get(name) == Some(&index) && !weights.contains(name));
        live = done.map(size).fold(live, u64::saturating_sub);
    }
    most
}
