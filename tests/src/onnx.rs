//! ONNX files with weights that checks and figures make for themselves.

use prost::Message;
use rand::{Rng, SeedableRng, rngs::SmallRng};

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSet>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSet {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Weights>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<oraculum::model::graph::proto::ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<oraculum::model::graph::proto::ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, repeated, tag = "8")]
    ints: Vec<i64>,
    #[prost(int64, tag = "3")]
    i: i64,
    /// 2 is a number, 7 a list of numbers.
    #[prost(int32, tag = "20")]
    r#type: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Weights {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

const FLOAT: i32 = 1;
const INT64: i32 = 7;

fn node(op_type: &str, input: &[&str], output: &str, attribute: Vec<Attribute>) -> Node {
    let input = input.iter().map(|name| (*name).to_owned()).collect();
    Node { input, output: vec![output.to_owned()], op_type: op_type.to_owned(), attribute }
}

fn numbers(name: &str, ints: &[i64]) -> Attribute {
    Attribute { name: name.to_owned(), ints: ints.to_vec(), i: 0, r#type: 7 }
}

fn number(name: &str, i: i64) -> Attribute {
    Attribute { name: name.to_owned(), ints: Vec::new(), i, r#type: 2 }
}

fn port(name: &str, elem_type: i32, shape: &[i64]) -> oraculum::model::graph::proto::ValueInfo {
    use oraculum::model::graph::proto::{Dimension, Shape, Size, TensorType, Type, ValueInfo};
    let dim = shape.iter().map(|size| Dimension { size: (*size >= 0).then_some(Size::Value(*size)) }).collect();
    let tensor = TensorType { elem_type, shape: Some(Shape { dim }) };
    ValueInfo { name: name.to_owned(), r#type: Some(Type { tensor: Some(tensor), ..Default::default() }) }
}

/// Weights of a shape, small and always the same.
fn weights(name: &str, dims: &[i64]) -> Weights {
    let count: i64 = dims.iter().product();
    let seed = name.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let mut random = SmallRng::seed_from_u64(seed);
    let raw_data = (0..count).flat_map(|_| random.random_range(-0.1f32..0.1).to_le_bytes()).collect();
    Weights { dims: dims.to_vec(), data_type: FLOAT, name: name.to_owned(), raw_data }
}

fn model(graph: Graph) -> Vec<u8> {
    let opset_import = vec![OperatorSet { domain: String::new(), version: 17 }];
    Model { ir_version: 8, graph: Some(graph), opset_import }.encode_to_vec()
}

/// Convolutions over images `[-1, 3, size, size]` named `image`, and two products at the end: `scores`, `[-1, 10]`.
#[must_use]
pub fn network(size: i64) -> Vec<u8> {
    const WIDE: i64 = 64;
    let conv = |input: &str, weights: &str, output: &str| {
        node("Conv", &[input, weights], output, vec![numbers("kernel_shape", &[3, 3]), numbers("pads", &[1, 1, 1, 1])])
    };
    let nodes = vec![
        conv("image", "c1", "a1"),
        node("Relu", &["a1"], "r1", vec![]),
        node("MaxPool", &["r1"], "p1", vec![numbers("kernel_shape", &[2, 2]), numbers("strides", &[2, 2])]),
        conv("p1", "c2", "a2"),
        node("Relu", &["a2"], "r2", vec![]),
        node("GlobalAveragePool", &["r2"], "g", vec![]),
        node("Flatten", &["g"], "f", vec![number("axis", 1)]),
        node("MatMul", &["f", "m1"], "h", vec![]),
        node("Tanh", &["h"], "t", vec![]),
        node("MatMul", &["t", "m2"], "s", vec![]),
        node("Softmax", &["s"], "scores", vec![number("axis", 1)]),
    ];
    model(Graph {
        node: nodes,
        name: "network".to_owned(),
        initializer: vec![
            weights("c1", &[32, 3, 3, 3]),
            weights("c2", &[WIDE, 32, 3, 3]),
            weights("m1", &[WIDE, 256]),
            weights("m2", &[256, 10]),
        ],
        input: vec![port("image", FLOAT, &[-1, 3, size, size])],
        output: vec![port("scores", FLOAT, &[-1, 10])],
    })
}

/// Fills as many numbers as its input `shape` says, and adds them up.
#[must_use]
pub fn filler() -> Vec<u8> {
    let nodes = vec![
        node("ConstantOfShape", &["shape"], "a", vec![]),
        node("ReduceSum", &["a"], "y", vec![number("keepdims", 1)]),
    ];
    model(Graph {
        node: nodes,
        name: "filler".to_owned(),
        initializer: vec![],
        input: vec![port("shape", INT64, &[1])],
        output: vec![port("y", FLOAT, &[1])],
    })
}

/// Gives its four numbers another shape, which fails for all but four.
#[must_use]
pub fn reshape() -> Vec<u8> {
    model(Graph {
        node: vec![node("Reshape", &["x", "shape"], "y", vec![])],
        name: "reshape".to_owned(),
        initializer: vec![],
        input: vec![port("x", FLOAT, &[4]), port("shape", INT64, &[1])],
        output: vec![port("y", FLOAT, &[-1])],
    })
}

/// A product of `x`, `[1, 8192]`, with `megabytes` MiB of weights: `y`.
#[must_use]
pub fn product(megabytes: i64) -> Vec<u8> {
    const WIDE: i64 = 8_192;
    let columns = (megabytes << 20) / 4 / WIDE;
    model(Graph {
        node: vec![node("MatMul", &["x", "w"], "y", vec![])],
        name: "product".to_owned(),
        initializer: vec![weights("w", &[WIDE, columns])],
        input: vec![port("x", FLOAT, &[1, WIDE])],
        output: vec![port("y", FLOAT, &[1, columns])],
    })
}
