//! Constants of a file that decide whether an operator may be run. The other messages skip their values, which may be
//! gigabytes; here only the tensors that are asked for are read.

use std::collections::{HashMap, HashSet};

use prost::{
    Message,
    bytes::Buf,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

use super::proto::{Attribute, Graph, Node, Tensor};

/// `ModelProto.graph`, `GraphProto.node` and `.initializer`, `NodeProto.attribute`, `AttributeProto.t`.
const GRAPH: u32 = 7;
const NODE: u32 = 1;
const INITIALIZER: u32 = 5;
const ATTRIBUTE: u32 = 5;
const VALUE: u32 = 5;
/// `TensorProto.DataType.BOOL`.
const BOOL: i32 = 9;
/// Bytes that a tensor of one element has at most, with its name.
const MAX_SCALAR: usize = 4096;

/// A tensor with its values.
#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(int32, repeated, tag = "5")]
    int32_data: Vec<i32>,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

impl Scalar {
    fn is_false(bytes: &[u8]) -> bool {
        let Some(scalar) =
            Some(bytes).filter(|bytes| bytes.len() <= MAX_SCALAR).and_then(|bytes| Self::decode(bytes).ok())
        else {
            return false;
        };
        let one = scalar.dims.iter().all(|dim| *dim == 1);
        // In one of the two places and not in both.
        one && scalar.data_type == BOOL
            && matches!((&scalar.int32_data[..], &scalar.raw_data[..]), ([0], []) | ([], [0]))
    }
}

/// Those of the names that stand, in a model's main graph, for nothing but the constant `false`: an initializer or a `Constant`.
pub(super) fn all_false(file: &[u8], graph: &Graph, names: &HashSet<&str>) -> HashSet<String> {
    if names.is_empty() {
        return HashSet::new();
    }
    // What is defined twice is for the runtime to read as it likes.
    let mut definitions: HashMap<&str, usize> = HashMap::new();
    let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
    let weights = graph.initializer.iter().chain(sparse).map(|tensor| &tensor.name);
    for name in weights.chain(graph.node.iter().flat_map(|node| &node.output)) {
        *definitions.entry(name).or_default() += 1;
    }
    let mut constants = Vec::new();
    for graph in parts(file, GRAPH) {
        let named = |tensor| Some((Tensor::decode(tensor).ok()?.name, tensor));
        constants.extend(parts(graph, INITIALIZER).into_iter().filter_map(named));
        constants.extend(parts(graph, NODE).into_iter().filter_map(constant));
    }
    let known = |name: &str| names.contains(name) && definitions.get(name) == Some(&1);
    let constants = constants.into_iter().filter(|(name, tensor)| known(name) && Scalar::is_false(tensor));
    constants.map(|(name, _)| name).collect()
}

/// The output of a `Constant` node, and its tensor.
fn constant(bytes: &[u8]) -> Option<(String, &[u8])> {
    let node = Node::decode(bytes).ok()?;
    let standard = matches!(node.domain.as_str(), "" | "ai.onnx");
    let [output] = &node.output[..] else { return None };
    if node.op_type != "Constant" || !standard {
        return None;
    }
    let value = |bytes: &&[u8]| Attribute::decode(*bytes).is_ok_and(|attribute| attribute.name == "value");
    let attribute = parts(bytes, ATTRIBUTE).into_iter().find(value)?;
    Some((output.clone(), parts(attribute, VALUE).into_iter().next()?))
}

/// The contents of a message's fields of a number that are messages themselves, as far as the message can be read.
fn parts(message: &[u8], number: u32) -> Vec<&[u8]> {
    let mut rest = message;
    let mut found = Vec::new();
    while rest.has_remaining() {
        let Ok((tag, wire)) = decode_key(&mut rest) else { break };
        if tag == number && wire == WireType::LengthDelimited {
            let length = decode_varint(&mut rest).ok().and_then(|length| usize::try_from(length).ok());
            let Some((part, behind)) = length.and_then(|length| rest.split_at_checked(length)) else { break };
            found.push(part);
            rest = behind;
        } else if skip_field(wire, tag, &mut rest, DecodeContext::default()).is_err() {
            break;
        }
    }
    found
}
