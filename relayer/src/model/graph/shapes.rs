//! Shapes of the tensors within a graph, as far as its operators tell them, with every open size as 1.
//!
//! What is not known here is not guessed: the sizes of a `Reshape` are values, which the file's reader skips, so such a
//! tensor has a shape only where the file declares a fixed one.

use std::collections::HashMap;

use super::proto::{self, Attribute, Graph, Node, ValueInfo};

/// Shapes by the names of tensors.
pub type Shapes<'a> = HashMap<&'a str, Vec<u64>>;

/// Operators that give a tensor of their first input's shape.
const SAME: &str = " Abs Acos Asin Atan BatchNormalization BiasGelu Cast Ceil Celu Clip Cos Dropout Elu Erf Exp FastGelu Floor Gelu \
    GroupNormalization HardSigmoid HardSwish Hardmax Identity InstanceNormalization LRN LayerNormalization LeakyRelu Log \
    LogSoftmax LpNormalization Mish Neg Normalizer Not PRelu QuickGelu RMSNormalization Reciprocal Relu Round Scaler Selu \
    Sigmoid Sign Sin SkipLayerNormalization Softmax Softplus Softsign Sqrt StringNormalizer Swish Tan Tanh ThresholdedRelu \
    Trilu DequantizeLinear QuantizeLinear DynamicQuantizeLinear ";
/// Operators that give a tensor of their inputs' shape, broadcast.
const BROADCAST: &str = " Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min \
    Mod Mul Or Pow QLinearAdd QLinearMul Sub Sum Where Xor ";

/// Whether a list of operators has one.
pub(super) fn has(list: &str, operator: &str) -> bool {
    list.split_whitespace().any(|name| name == operator)
}

/// Whether an operator computes each element of its output once, from few others.
pub(super) fn is_elementwise(operator: &str) -> bool {
    has(SAME, operator) || has(BROADCAST, operator)
}

/// The shapes of a main graph's tensors.
pub(super) fn of(graph: &Graph) -> Shapes<'_> {
    let mut shapes = Shapes::new();
    for tensor in &graph.initializer {
        if let Some(shape) = tensor.dims.iter().map(|dim| u64::try_from(*dim).ok()).collect() {
            shapes.insert(&tensor.name, shape);
        }
    }
    for input in &graph.input {
        if let Some(shape) = declared(input, Some(1)) {
            shapes.entry(&input.name).or_insert(shape);
        }
    }
    let fixed: Shapes<'_> = graph
        .value_info
        .iter()
        .chain(&graph.output)
        .filter_map(|info| Some((info.name.as_str(), declared(info, None)?)))
        .collect();
    for node in &graph.node {
        let inferred = infer(node, &shapes);
        for (index, output) in node.output.iter().enumerate().filter(|(_, output)| !output.is_empty()) {
            let own = inferred.as_ref().filter(|_| index == 0).or_else(|| fixed.get(output.as_str()));
            if let Some(shape) = own.cloned() {
                shapes.insert(output, shape);
            }
        }
    }
    shapes
}

/// The declared shape; a size that is open becomes `open`, or makes the whole unknown.
fn declared(info: &ValueInfo, open: Option<u64>) -> Option<Vec<u64>> {
    let shape = info.r#type.as_ref()?.tensor.as_ref()?.shape.as_ref()?;
    let size = |dim: &proto::Dimension| match dim.size {
        Some(proto::Size::Value(size)) => u64::try_from(size).ok(),
        _ => open,
    };
    shape.dim.iter().map(size).collect()
}

/// An attribute of a node.
fn attribute<'a>(node: &'a Node, name: &str) -> Option<&'a Attribute> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

pub(super) fn number(node: &Node, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |attribute| attribute.i)
}

/// A list of a node's as sizes; `default` for each of `count` where it has none.
fn sizes(node: &Node, name: &str, default: u64, count: usize) -> Option<Vec<u64>> {
    match attribute(node, name) {
        Some(attribute) => attribute.ints.iter().map(|size| u64::try_from(*size).ok()).collect(),
        None => Some(vec![default; count]),
    }
}

/// An axis as a place in a list of `rank`.
fn axis(number: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    usize::try_from(if number < 0 { number + rank } else { number }).ok()
}

/// The shape of a node's first output.
pub(super) fn infer(node: &Node, shapes: &Shapes<'_>) -> Option<Vec<u64>> {
    let input = |index: usize| shapes.get(node.input.get(index)?.as_str());
    let operator = node.op_type.as_str();
    if has(SAME, operator) {
        return input(0).cloned();
    }
    if has(BROADCAST, operator) {
        // The scales and zero points of a quantized one are scalars.
        let known = (0..node.input.len()).map(input).collect::<Option<Vec<_>>>()?;
        return known.into_iter().try_fold(Vec::new(), |shape, other| broadcast(&shape, other));
    }
    match operator {
        "MatMul" | "MatMulInteger" | "FusedMatMul" => {
            let swap = |name, shape: &[u64]| transposed(number(node, name, 0) != 0, shape);
            let (a, b) = (swap("transA", input(0)?), swap("transB", input(1)?));
            let (rows, columns) = (a.get(..a.len().checked_sub(1)?)?, b.last()?);
            if b.len() < 2 {
                return Some(rows.to_vec());
            }
            let batch = broadcast(&a[..a.len().saturating_sub(2)], &b[..b.len() - 2])?;
            Some([&batch[..], rows.last().map_or(&[][..], std::slice::from_ref), &[*columns]].concat())
        }
        "Gemm" => {
            let (a, b) = (input(0)?, input(1)?);
            let row = a.get(usize::from(number(node, "transA", 0) != 0))?;
            Some(vec![*row, *b.get(usize::from(number(node, "transB", 0) == 0))?])
        }
        "Conv" | "ConvInteger" => window(node, input(0)?, input(1)?.get(2..)?, Some(*input(1)?.first()?)),
        "MaxPool" | "AveragePool" | "LpPool" => window(node, input(0)?, &sizes(node, "kernel_shape", 1, 0)?, None),
        "GlobalAveragePool" | "GlobalMaxPool" => {
            let shape = input(0)?;
            Some((0..shape.len()).map(|index| if index < 2 { shape[index] } else { 1 }).collect())
        }
        "Flatten" => {
            let shape = input(0)?;
            let (before, behind) = shape.split_at_checked(axis(number(node, "axis", 1), shape.len())?)?;
            Some(vec![volume(before), volume(behind)])
        }
        "Transpose" => {
            let shape = input(0)?;
            match attribute(node, "perm") {
                Some(perm) => perm.ints.iter().map(|from| shape.get(axis(*from, shape.len())?).copied()).collect(),
                None => Some(shape.iter().rev().copied().collect()),
            }
        }
        "Concat" => {
            let mut shape = input(0)?.clone();
            let at = axis(attribute(node, "axis")?.i, shape.len())?;
            for index in 1..node.input.len() {
                let more = *input(index)?.get(at)?;
                let size = shape.get_mut(at)?;
                *size = size.checked_add(more)?;
            }
            Some(shape)
        }
        "Gather" => {
            let (data, indices) = (input(0)?, input(1)?);
            let (before, behind) = data.split_at_checked(axis(number(node, "axis", 0), data.len())?)?;
            Some([before, indices, behind.get(1..)?].concat())
        }
        _ => None,
    }
}

/// The output of a convolution or pool over the axes behind the second, where the file says all about its borders.
fn window(node: &Node, input: &[u64], kernel: &[u64], channels: Option<u64>) -> Option<Vec<u64>> {
    let (ends, space) = input.split_at_checked(2)?;
    let axes = space.len();
    let (strides, dilations) = (sizes(node, "strides", 1, axes)?, sizes(node, "dilations", 1, axes)?);
    let pads = sizes(node, "pads", 0, 2 * axes)?;
    let same = attribute(node, "auto_pad").is_some_and(|pad| pad.s.starts_with(b"SAME"));
    if kernel.len() != axes || number(node, "ceil_mode", 0) != 0 {
        return None;
    }
    let size = |axis: usize| {
        let stride = *strides.get(axis).filter(|stride| **stride > 0)?;
        if same {
            return Some(space[axis].div_ceil(stride));
        }
        let reach = dilations.get(axis)?.checked_mul(kernel[axis].checked_sub(1)?)?.checked_add(1)?;
        let padded = space[axis].checked_add(*pads.get(axis)?)?.checked_add(*pads.get(axis + axes)?)?;
        (padded.checked_sub(reach)? / stride).checked_add(1)
    };
    let mut shape = vec![ends[0], channels.unwrap_or(ends[1])];
    shape.extend((0..axes).map(size).collect::<Option<Vec<_>>>()?);
    Some(shape)
}

pub(super) fn transposed(swap: bool, shape: &[u64]) -> Vec<u64> {
    let mut shape = shape.to_vec();
    if let (true, [.., a, b]) = (swap, &mut shape[..]) {
        std::mem::swap(a, b);
    }
    shape
}

/// The shape of two that are broadcast to one, as numpy does.
fn broadcast(a: &[u64], b: &[u64]) -> Option<Vec<u64>> {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let mut shape = long.to_vec();
    for (size, other) in shape.iter_mut().rev().zip(short.iter().rev()) {
        match (*size, *other) {
            (size, other) if size == other => {}
            (_, 1) => {}
            (1, other) => *size = other,
            _ => return None,
        }
    }
    Some(shape)
}

/// The number of elements of a shape, at most 2⁶⁴ − 1.
pub(super) fn volume(shape: &[u64]) -> u64 {
    shape.iter().fold(1, |count, size| u64::saturating_mul(count, *size))
}

/// Floating-point operations of a node: two for each multiplication with its addition; `None` where shapes do not tell.
pub(super) fn operations(node: &Node, shapes: &Shapes<'_>) -> Option<u64> {
    /// Operators that move elements, or read what is in shapes.
    const MOVES: &str = " Cast Concat Constant ConstantOfShape Expand Flatten Gather GatherElements GatherND Identity Pad Reshape \
        Shape Slice Split Squeeze Tile Transpose Unsqueeze ";
    let operator = node.op_type.as_str();
    if has(MOVES, operator) {
        return Some(0);
    }
    let input = |index: usize| shapes.get(node.input.get(index)?.as_str());
    let count = volume(shapes.get(node.output.first()?.as_str())?);
    let each = match operator {
        "MatMul" | "MatMulInteger" | "FusedMatMul" | "Gemm" => {
            let swapped = operator != "MatMul" && number(node, "transA", 0) != 0;
            transposed(swapped, input(0)?).last()?.saturating_mul(2)
        }
        // The second input's axes are: output channels, input channels of a group, kernel.
        "Conv" | "ConvInteger" => volume(input(1)?.get(1..)?).saturating_mul(2),
        "MaxPool" | "AveragePool" | "LpPool" => volume(&sizes(node, "kernel_shape", 1, 0)?),
        "GlobalAveragePool" | "GlobalMaxPool" => volume(input(0)?.get(2..)?),
        elementwise if is_elementwise(elementwise) => 1,
        _ => return None,
    };
    Some(count.saturating_mul(each))
}
