//! What certification asks of a model beside its rewrite, which none of this changes.

use super::{node::Node, operators::elem};

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

/// Whether a node makes integers by arithmetic of floats, within it.
pub(super) fn quantizes(node: &Node<'_>) -> bool {
    node.op == "QuantizeLinear" || node.op.starts_with("QLinear")
}
