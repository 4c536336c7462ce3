//! What certification asks of a model beside its rewrite, which none of this changes.

use super::{
    known::{Known, Rounded, is_float},
    node::Node,
    operators::elem,
};

/// What a node's outputs hang on, where `graphs` is what its graphs give, and `rounds` whether it rounds itself.
pub(super) fn rounded(node: &Node<'_>, inputs: &[Option<Known>], graphs: Rounded, rounds: bool) -> Rounded {
    let all = inputs.iter().flatten().map(|known| known.rounded).fold(graphs, Rounded::or);
    let decides = |(place, known): (usize, &Option<Known>)| {
        decides_size(node.op, place) && known.as_ref().is_some_and(|known| known.rounded.any())
    };
    // Any state of a loop may end it.
    let decided = if node.op == "Loop" { all.any() } else { inputs.iter().enumerate().any(decides) };
    // Which boxes are left follows from areas, which are computed.
    let sizes = all.sizes || decided || rounds && node.op == "NonMaxSuppression";
    // Of a value only the sizes count in a shape.
    let elements = if matches!(node.op, "Shape" | "Size") { all.sizes } else { rounds || all.elements || sizes };
    Rounded { elements, sizes }
}

/// Whether the elements of an input decide how many a node gives.
fn decides_size(op: &str, place: usize) -> bool {
    match op {
        "NonMaxSuppression" | "Range" => true,
        "BlackmanWindow" | "ConstantOfShape" | "HammingWindow" | "HannWindow" | "If" | "NonZero" | "StringSplit"
        | "Unique" => place == 0,
        "AffineGrid" | "CenterCropPad" | "Compress" | "Expand" | "OneHot" | "Reshape" | "SequenceAt"
        | "SequenceErase" | "Split" | "SplitToSequence" | "Squeeze" | "Tile" | "TopK" | "Unsqueeze" | "Upsample" => {
            place == 1
        }
        "MaxUnpool" | "SequenceInsert" => place == 2,
        "Pad" | "STFT" => matches!(place, 1 | 3),
        "MelWeightMatrix" => place < 2,
        "Col2Im" | "DFT" | "Resize" | "Slice" => place > 0,
        _ => op.starts_with("Reduce") && place == 1,
    }
}

/// Places of the two factors of a product of integers; `None` for another operator.
fn factors(op: &str) -> Option<(usize, usize)> {
    match op {
        "ConvInteger" | "MatMulInteger" => Some((0, 1)),
        "QLinearConv" | "QLinearMatMul" => Some((0, 3)),
        _ => None,
    }
}

/// Whether a node multiplies unsigned integers of eight bits with signed ones, by the element types of its inputs.
pub(super) fn is_mixed_product(node: &Node<'_>, inputs: &[Option<i64>]) -> bool {
    let elem = |place: usize| inputs.get(place).copied().flatten();
    factors(node.op).is_some_and(|(a, b)| elem(a) == Some(elem::UINT8) && elem(b) == Some(elem::INT8))
}

/// A node as a message may name it.
pub(super) fn named(node: &Node<'_>) -> String {
    match node.name {
        "" => format!("{} of {}", node.op, node.output.first().copied().unwrap_or_default()),
        name => format!("{} {name}", node.op),
    }
}

/// Whether a node makes integers, or labels, by arithmetic of floats within it, by the element types of its inputs.
pub(super) fn quantizes(node: &Node<'_>, inputs: &[Option<i64>]) -> bool {
    let float = |place: usize| inputs.get(place).copied().flatten().is_some_and(is_float);
    match node.op {
        "QuantizeLinear" | "NonMaxSuppression" | "MelWeightMatrix" => true,
        "BlackmanWindow" | "HammingWindow" | "HannWindow" => true,
        // Logarithms and roots of integers are integers.
        "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" => true,
        "Pow" => float(1),
        op => op.starts_with("QLinear") || op.ends_with("Classifier"),
    }
}
