//! Small models, written out by hand.

use prost::Message;

use crate::model::graph::proto::*;

pub(crate) fn node(op_type: &str, input: &[&str], output: &[&str]) -> Node {
    let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Node { op_type: op_type.into(), input: own(input), output: own(output), ..Default::default() }
}

/// A port of an ONNX element type; negative dimensions are dynamic.
pub(crate) fn port(name: &str, elem_type: i32, shape: &[i64]) -> ValueInfo {
    let dim = |size: &i64| Dimension { size: (*size >= 0).then_some(Size::Value(*size)) };
    let tensor = TensorType { elem_type, shape: Some(Shape { dim: shape.iter().map(dim).collect() }) };
    ValueInfo { name: name.into(), r#type: Some(Type { tensor: Some(tensor), ..Default::default() }) }
}

pub(crate) fn graph(node: Vec<Node>, input: Vec<ValueInfo>, output: Vec<ValueInfo>) -> Graph {
    Graph { node, name: "test".into(), input, output, ..Default::default() }
}

pub(crate) fn attribute(graph: Graph) -> Attribute {
    Attribute { name: "body".into(), g: Some(graph), r#type: 5, ..Default::default() }
}

/// An attribute that is a number.
pub(crate) fn number(name: &str, i: i64) -> Attribute {
    Attribute { name: name.into(), i, r#type: 2, ..Default::default() }
}

pub(crate) fn model(graph: Graph, functions: Vec<Function>) -> Vec<u8> {
    let opset = |domain: &str, version| OperatorSet { domain: domain.into(), version };
    let opset_import = vec![opset("", 17), opset("local", 1)];
    Model { ir_version: 8, graph: Some(graph), opset_import, functions }.encode_to_vec()
}
