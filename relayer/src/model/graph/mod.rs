//! The contents that an ONNX file may have, judged before a runtime sees it.

mod constants;
pub mod proto;

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use prost::Message;

use self::proto::{Attribute, Graph, Model, Node, SparseTensor, Tensor, ValueInfo};
use crate::{
    model::foreign::{self, Foreign},
    protocol::cast::{ElementType, TensorSpec},
    text,
};

/// Nodes of a model at most, with every function written out where it is called.
pub const MAX_NODES: usize = 1_000_000;

/// What a list of tensors or maps is called.
const SEQUENCE: &str = "a sequence";

/// Domains of the ONNX standard.
const STANDARD_DOMAINS: [&str; 3] = ["", "ai.onnx", "ai.onnx.ml"];
/// Domains in which runtimes have operators of their own; a function must not pass for one of them.
const RESERVED_DOMAINS: [&str; 4] = ["ai.onnx", "com.microsoft", "com.ms", "org.pytorch"];
/// Operators that draw random numbers, but for `Dropout` in training.
const RANDOM: [&str; 6] =
    ["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"];

/// A model's inputs and outputs, in its own order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Tensors that must be fed.
    pub inputs: Vec<TensorSpec>,
    /// What comes out; one at least is a tensor.
    pub outputs: Vec<OutputSpec>,
}

/// An output that a model declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputSpec {
    /// A tensor.
    Tensor(TensorSpec),
    /// Something else, such as the maps of a `ZipMap`: a run may leave it out, and cannot give it.
    Other {
        /// The model's own name for it.
        name: String,
        /// What it is, in words.
        kind: String,
    },
}

impl OutputSpec {
    /// The model's own name for it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Tensor(spec) => &spec.name,
            Self::Other { name, .. } => name,
        }
    }
}

impl fmt::Display for OutputSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(spec) => spec.fmt(f),
            Self::Other { name, kind } => write!(f, "{name}, {kind}: leave it out"),
        }
    }
}

/// Reason for which a file is not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum Refused {
    #[error("not an ONNX file: {0}; if it was one it is damaged or cut off, so fetch it again")]
    NotOnnx(String),
    #[error("not an ONNX file, but {0}")]
    Foreign(Foreign),
    #[error("the model has no outputs: export it with at least one")]
    NoOutputs,
    #[error("the weights `{}` lie in another file: save the model as one file", text::shown(tensor))]
    ExternalData { tensor: String },
    #[error(
        "operator {}.{} is not standard: only those of {STANDARD_DOMAINS:?} are run, so export the model with them",
        text::shown(domain),
        text::shown(operator)
    )]
    CustomOperator { domain: String, operator: String },
    #[error("operator {operator} draws random numbers, so nobody could check its output: export the model without it")]
    RandomOperator { operator: String },
    #[error(
        "operator Dropout is in training unless `{}` is false, which is no constant of the main graph: export the model in \
         evaluation mode, such as with `model.eval()`",
        text::shown(training)
    )]
    TrainingDropout { training: String },
    #[error(
        "function {}.{} takes the name of a runtime's own operators: rename its domain",
        text::shown(domain),
        text::shown(name)
    )]
    ReservedFunction { domain: String, name: String },
    #[error("function {} calls itself: export the model without it", text::shown(name))]
    RecursiveFunction { name: String },
    #[error("more than {MAX_NODES} nodes with functions written out: export a smaller model")]
    TooManyNodes,
    #[error(
        "`{}` is {kind}: only tensors of integers, FP16, BF16, FP32, FP64, BOOL and BYTES can be asked for, so export the model \
         with such{}",
        text::shown(tensor),
        zipmap(kind)
    )]
    UnsupportedType { tensor: String, kind: String },
}

/// The option of exporters that spares classifiers their maps.
#[must_use]
pub fn zipmap(kind: &str) -> &'static str {
    if kind == SEQUENCE { " (if it is a ZipMap, with skl2onnx's `options={'zipmap': False}`)" } else { "" }
}

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
    let inactive = inactive.map(std::ptr::from_ref).collect();
    let mut judge = Judge { functions: HashMap::new(), costs: HashMap::new(), inactive };
    for function in &model.functions {
        let reserved = |prefix: &&str| {
            let rest = function.domain.strip_prefix(*prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if function.domain.is_empty() || RESERVED_DOMAINS.iter().any(reserved) {
            return Err(Refused::ReservedFunction { domain: function.domain.clone(), name: function.name.clone() });
        }
        let key = (function.domain.as_str(), function.name.as_str(), function.overload.as_str());
        judge.functions.insert(key, function);
    }
    // Functions that nothing calls are judged as well: runtimes may read them.
    let names: Vec<_> = judge.functions.keys().copied().collect();
    for name in names {
        judge.function(name)?;
    }
    judge.graph(graph)?;

    let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
    let weights: HashSet<_> = graph.initializer.iter().chain(sparse).map(|tensor| tensor.name.as_str()).collect();
    let inputs = graph.input.iter().filter(|input| !weights.contains(input.name.as_str()));
    let inputs = inputs.map(tensor_spec).collect::<Result<_, _>>()?;
    let mut outputs = Vec::with_capacity(graph.output.len());
    let mut refused = None;
    for output in &graph.output {
        outputs.push(match tensor_spec(output) {
            Ok(spec) => OutputSpec::Tensor(spec),
            Err(Refused::UnsupportedType { tensor: name, kind }) => {
                refused =
                    refused.or_else(|| Some(Refused::UnsupportedType { tensor: name.clone(), kind: kind.clone() }));
                OutputSpec::Other { name, kind }
            }
            Err(error) => return Err(error),
        });
    }
    if outputs.iter().any(|output| matches!(output, OutputSpec::Tensor(_))) {
        return Ok(Signature { inputs, outputs });
    }
    Err(refused.unwrap_or(Refused::NoOutputs))
}

type FunctionName<'a> = (&'a str, &'a str, &'a str);

struct Judge<'a> {
    functions: HashMap<FunctionName<'a>, &'a proto::Function>,
    /// Nodes of each function, written out; `None` while they are being counted.
    costs: HashMap<FunctionName<'a>, Option<usize>>,
    /// Nodes of the main graph that would train, were an input of theirs not the constant `false`.
    inactive: HashSet<*const Node>,
}

impl<'a> Judge<'a> {
    /// Judges a graph; returns the number of its nodes, written out.
    fn graph(&mut self, graph: &'a Graph) -> Result<usize, Refused> {
        graph.initializer.iter().try_for_each(tensor)?;
        graph.sparse_initializer.iter().try_for_each(sparse)?;
        self.nodes(&graph.node)
    }

    fn nodes(&mut self, nodes: &'a [Node]) -> Result<usize, Refused> {
        let mut total = 0usize;
        for node in nodes {
            total = total.saturating_add(self.node(node)?);
            if total > MAX_NODES {
                return Err(Refused::TooManyNodes);
            }
        }
        Ok(total)
    }

    fn node(&mut self, node: &'a Node) -> Result<usize, Refused> {
        let name = (node.domain.as_str(), node.op_type.as_str(), node.overload.as_str());
        let mut cost = 1usize;
        if self.functions.contains_key(&name) {
            cost = cost.saturating_add(self.function(name)?);
        } else if !STANDARD_DOMAINS.contains(&node.domain.as_str()) {
            return Err(Refused::CustomOperator { domain: node.domain.clone(), operator: node.op_type.clone() });
        } else if RANDOM.contains(&node.op_type.as_str()) {
            return Err(Refused::RandomOperator { operator: node.op_type.clone() });
        } else if let Some(training) = training(node).filter(|_| !self.inactive.contains(&std::ptr::from_ref(node))) {
            return Err(Refused::TrainingDropout { training: training.to_owned() });
        }
        for attribute in &node.attribute {
            cost = cost.saturating_add(self.attribute(attribute)?);
        }
        Ok(cost)
    }

    fn attribute(&mut self, attribute: &'a Attribute) -> Result<usize, Refused> {
        attribute.t.iter().chain(&attribute.tensors).try_for_each(tensor)?;
        attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors).try_for_each(sparse)?;
        let mut cost = 0usize;
        for graph in attribute.g.iter().chain(&attribute.graphs) {
            cost = cost.saturating_add(self.graph(graph)?);
        }
        Ok(cost)
    }

    fn function(&mut self, name: FunctionName<'a>) -> Result<usize, Refused> {
        match self.costs.get(&name) {
            Some(Some(cost)) => return Ok(*cost),
            Some(None) => return Err(Refused::RecursiveFunction { name: name.1.to_owned() }),
            None => {}
        }
        let Some(function) = self.functions.get(&name).copied() else { return Ok(0) };
        self.costs.insert(name, None);
        let mut cost = self.nodes(&function.node)?;
        for attribute in &function.attribute_proto {
            cost = cost.saturating_add(self.attribute(attribute)?);
        }
        self.costs.insert(name, Some(cost));
        Ok(cost)
    }
}

/// The input of a Dropout that says whether it drops at random: since opset 12 the third.
fn training(node: &Node) -> Option<&str> {
    node.input.get(2).map(String::as_str).filter(|training| node.op_type == "Dropout" && !training.is_empty())
}

fn tensor(tensor: &Tensor) -> Result<(), Refused> {
    // An entry is refused even where the location says "inside": some runtimes go by the entries alone.
    if tensor.data_location != 0 || !tensor.external_data.is_empty() {
        return Err(Refused::ExternalData { tensor: tensor.name.clone() });
    }
    Ok(())
}

fn sparse(sparse: &SparseTensor) -> Result<(), Refused> {
    sparse.values.iter().chain(&sparse.indices).try_for_each(tensor)
}

/// Reads the declaration of an input or output.
fn tensor_spec(info: &ValueInfo) -> Result<TensorSpec, Refused> {
    let unsupported = |kind: &str| Refused::UnsupportedType { tensor: info.name.clone(), kind: kind.to_owned() };
    let declared = info.r#type.as_ref().ok_or_else(|| unsupported("of no declared type"))?;
    let others = [
        (&declared.sequence, SEQUENCE),
        (&declared.map, "a map"),
        (&declared.optional, "optional"),
        (&declared.sparse_tensor, "a sparse tensor"),
        (&declared.opaque, "opaque"),
    ];
    if let Some((_, kind)) = others.iter().find(|(present, _)| present.is_some()) {
        return Err(unsupported(kind));
    }
    let tensor = declared.tensor.as_ref().ok_or_else(|| unsupported("of no declared type"))?;
    // The enum `TensorProto.DataType`.
    let element = match tensor.elem_type {
        1 => ElementType::F32,
        2 => ElementType::U8,
        3 => ElementType::I8,
        4 => ElementType::U16,
        5 => ElementType::I16,
        6 => ElementType::I32,
        7 => ElementType::I64,
        8 => ElementType::String,
        9 => ElementType::Bool,
        10 => ElementType::F16,
        11 => ElementType::F64,
        12 => ElementType::U32,
        13 => ElementType::U64,
        16 => ElementType::Bf16,
        other => return Err(unsupported(&format!("of ONNX element type {other}"))),
    };
    let size = |dim: &proto::Dimension| match dim.size {
        Some(proto::Size::Value(size)) => u64::try_from(size).ok(),
        _ => None,
    };
    let shape = tensor.shape.as_ref().map(|shape| shape.dim.iter().map(size).collect());
    Ok(TensorSpec { name: info.name.clone(), element, shape })
}

#[cfg(test)]
mod tests;
