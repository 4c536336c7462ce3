//! Sums of many numbers whose results are answers: the guard's small changes are hardly larger than what native runs round
//! differently there.

use std::collections::{HashMap, HashSet};

use super::{
    effort::reads,
    proto::{Graph, Node},
    shapes::{self, Shapes, volume},
};

/// Numbers of a sum at most.
pub const MAX_SUMMED: u64 = 1 << 16;

/// Operators whose results do not grow with what they are made of, or are scaled by their own size.
const BOUNDED: &str = " Cos Erf GroupNormalization HardSigmoid Hardmax InstanceNormalization LRN LayerNormalization \
    LogSoftmax LpNormalization MeanVarianceNormalization RMSNormalization Sigmoid Sign Sin Softmax Softsign Tanh ";

/// A sum whose result is an output, as it is or after operators that keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongSum {
    /// Operator of the node.
    pub operator: String,
    /// Value that the node makes.
    pub value: String,
    /// Numbers that are summed for each element of it.
    pub length: u64,
    /// Name of the output.
    pub output: String,
}

/// The longest sum of more than `MAX_SUMMED` floats on the way to each output that shows its result, by the shapes of a run.
/// `is_float` tells whether a value is a float.
#[must_use]
pub fn long_sums(graph: &Graph, shapes: &Shapes<'_>, is_float: &dyn Fn(&str) -> bool) -> Vec<LongSum> {
    let mut makers: HashMap<&str, &Node> = HashMap::new();
    for node in &graph.node {
        node.output.iter().for_each(|name| {
            makers.entry(name).or_insert(node);
        });
    }
    let outputs = graph.output.iter().filter(|output| is_float(&output.name));
    let longest = outputs.filter_map(|output| {
        let (mut seen, mut open) = (HashSet::from([output.name.as_str()]), vec![output.name.as_str()]);
        let mut longest: Option<LongSum> = None;
        while let Some(value) = open.pop() {
            let Some(node) = makers.get(value) else { continue };
            if shapes::has(BOUNDED, &node.op_type) {
                continue;
            }
            let length = summed(node, shapes).filter(|length| *length > MAX_SUMMED);
            if let Some(length) = length.filter(|length| longest.as_ref().is_none_or(|sum| sum.length < *length)) {
                let (operator, value, output) = (node.op_type.clone(), value.to_owned(), output.name.clone());
                longest = Some(LongSum { operator, value, length, output });
            }
            open.extend(reads(node).into_iter().filter(|name| is_float(name) && seen.insert(name)));
        }
        longest
    });
    longest.collect()
}

/// Numbers that a node adds up for an element of its output; `None` for a node that adds up none.
fn summed(node: &Node, shapes: &Shapes<'_>) -> Option<u64> {
    let shape = |index: usize| shapes.get(node.input.get(index)?.as_str());
    let size = |index: usize| shape(index).map(|shape| volume(shape));
    let made = || shapes.get(node.output.first()?.as_str()).map(|shape| volume(shape).max(1));
    match node.op_type.as_str() {
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMean" | "ReduceProd" | "ReduceSum"
        | "ReduceSumSquare" | "GlobalAveragePool" | "GlobalLpPool" => Some(size(0)? / made()?),
        "MatMul" => shape(0)?.last().copied(),
        "Gemm" | "FusedGemm" | "FusedMatMul" => {
            shapes::transposed(shapes::number(node, "transA", 0) != 0, shape(0)?).last().copied()
        }
        "Conv" | "FusedConv" => shape(1).map(|kernel| volume(kernel.get(1..).unwrap_or_default())),
        "ConvTranspose" => shape(1).map(|kernel| volume(kernel) / kernel.get(1).copied().unwrap_or(1).max(1)),
        "Einsum" => Some(size(0)?.min(size(1).unwrap_or(u64::MAX))),
        "CumProd" | "CumSum" | "DFT" | "STFT" => shape(0)?.iter().copied().max(),
        _ => None,
    }
}
