//! What is in a model, and what a run of it takes.

use super::*;
use crate::model::graph::proto::OperatorSet;

fn weights(name: &str, data_type: i32, dims: &[i64]) -> Tensor {
    Tensor { name: name.into(), data_type, dims: dims.to_vec(), ..Default::default() }
}

fn numbers(name: &str, ints: &[i64]) -> Attribute {
    Attribute { name: name.into(), ints: ints.to_vec(), r#type: 7, ..Default::default() }
}

fn with(node: Node, attribute: Vec<Attribute>) -> Node {
    Node { attribute, ..node }
}

fn contents(graph: Graph) -> Contents {
    let opset_import = vec![OperatorSet { domain: String::new(), version: 17 }];
    let file = proto::Model { ir_version: 8, graph: Some(graph), opset_import, functions: vec![] };
    Contents::read(&file.encode_to_vec()).unwrap()
}

/// A small network for images, its numbers computed by hand.
#[test]
fn weights_and_operations_are_counted() {
    let nodes = vec![
        with(node("Conv", &["x", "kernel"], &["a"]), vec![numbers("pads", &[1, 1, 1, 1]), numbers("strides", &[2, 2])]),
        node("Relu", &["a"], &["b"]),
        with(node("MaxPool", &["b"], &["c"]), vec![numbers("kernel_shape", &[2, 2]), numbers("strides", &[2, 2])]),
        node("Flatten", &["c"], &["d"]),
        with(node("Gemm", &["d", "matrix", "bias"], &["y"]), vec![number("transB", 1)]),
    ];
    let mut network = graph(nodes, vec![port("x", 1, &[-1, 3, 8, 8])], vec![port("y", 1, &[-1, 5])]);
    network.initializer =
        vec![weights("kernel", 1, &[6, 3, 3, 3]), weights("matrix", 1, &[5, 24]), weights("bias", 10, &[5])];
    let told = contents(network);
    assert_eq!(told.opsets, [("ai.onnx".to_owned(), 17)].into());
    assert_eq!(told.operators.values().sum::<u64>(), 5);
    assert_eq!((told.parameters, told.weight_bytes), (162 + 120 + 5, 4 * (162 + 120) + 2 * 5));
    // 6 × 4 × 4 elements of 27 products each, as many maxima of 0, 6 × 2 × 2 maxima of four, 5 elements of 24 products.
    assert_eq!(told.flops, 2 * 96 * 27 + 96 + 24 * 4 + 2 * 5 * 24);
    assert!(told.uncounted.is_empty() && told.unknown_shapes == 0 && told.open_sizes);
    // The image and what the convolution makes of it, which the rectifier then has beside its own.
    assert_eq!(told.activation_bytes, 4 * (192 + 96));
}

#[test]
fn matrices_of_any_rank_are_multiplied_where_their_shapes_are_known() {
    let product = |a: &[i64], b: &[i64]| {
        let nodes = vec![node("MatMul", &["a", "b"], &["y"]), node("Add", &["y", "y"], &["z"])];
        let told = contents(graph(nodes, vec![port("a", 1, a), port("b", 1, b)], vec![port("z", 1, &[-1])]));
        (told.flops, told.uncounted.len())
    };
    assert_eq!(product(&[2, 3], &[3, 4]), (2 * 2 * 4 * 3 + 8, 0));
    assert_eq!(product(&[7, 1, 2, 3], &[5, 3, 4]), (7 * 5 * (2 * 2 * 4 * 3 + 8), 0));
    assert_eq!(product(&[3], &[3, 4]), (2 * 4 * 3 + 4, 0));
    assert_eq!(product(&[2, 3], &[3]), (2 * 2 * 3 + 2, 0));
    // Batches that do not go together have no shape, nor has what comes of it.
    assert_eq!(product(&[7, 2, 3], &[5, 3, 4]), (0, 2));
}

#[test]
fn what_is_not_known_is_told() {
    let inner = graph(vec![node("Sin", &["x"], &["s"])], vec![], vec![]);
    let nodes = vec![
        with(node("Loop", &["x"], &["a"]), vec![attribute(inner)]),
        Node { domain: "com.microsoft".into(), ..node("Attention", &["a"], &["b"]) },
        node("Relu", &["b"], &["y"]),
        node("Relu", &["x"], &["z"]),
    ];
    let told = contents(graph(nodes, vec![port("x", 1, &[3])], vec![port("y", 1, &[]), port("z", 1, &[3])]));
    let named = |names: &[(&str, u64)]| names.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    assert_eq!(told.operators, named(&[("Loop", 1), ("Sin", 1), ("com.microsoft.Attention", 1), ("Relu", 2)]));
    // What the outputs declare is known, and so is what is done to get there.
    assert_eq!(told.uncounted, named(&[("Loop", 1), ("com.microsoft.Attention", 1)]));
    assert_eq!((told.flops, told.unknown_shapes, told.open_sizes), (4, 2, false));
}

/// F15: sizes that no machine has make no number go round.
#[test]
fn sizes_without_end_are_counted_to_the_end() {
    let vast = i64::MAX;
    let nodes = vec![
        node("MatMul", &["a", "a"], &["b"]),
        with(node("Concat", &["a", "a", "a"], &["c"]), vec![number("axis", -1)]),
        with(node("Conv", &["k", "k"], &["d"]), vec![numbers("pads", &[vast; 4]), numbers("strides", &[1, 0])]),
    ];
    let kernel = port("k", 1, &[vast, vast, vast, vast]);
    let told = contents(graph(nodes, vec![port("a", 1, &[vast, vast]), kernel], vec![port("b", 1, &[vast, vast])]));
    assert_eq!((told.flops, told.activation_bytes), (u64::MAX, u64::MAX));
}
