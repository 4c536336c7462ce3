//! Sums of many numbers whose results are answers: the guard's small changes are hardly larger than what native runs round
//! differently there.

use std::collections::{HashMap, HashSet};

use super::{
    effort::reads,
    proto::{Graph, Node, Tensor},
    shapes::{self, Shapes, volume},
    survey,
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
    /// Numbers that are summed for each element of it; `None` where that does not follow from shapes, within a branch or loop.
    pub length: Option<u64>,
    /// Name of the output.
    pub output: String,
}

impl LongSum {
    /// What is longer than others; unknown lengths may be any.
    fn rank(&self) -> u64 {
        self.length.unwrap_or(u64::MAX)
    }
}

/// The longest sum of more than `MAX_SUMMED` floats on the way to each output that shows its result, by the shapes of a run;
/// within branches and loops also one whose length no shape tells. `is_float` tells whether a value is a float.
#[must_use]
pub fn long_sums(graph: &Graph, shapes: &Shapes<'_>, is_float: &dyn Fn(&str) -> bool) -> Vec<LongSum> {
    let outputs = graph.output.iter().filter(|output| is_float(&output.name));
    outputs.filter_map(|output| longest(graph, &output.name, &output.name, shapes, is_float, false)).collect()
}

/// The longest sum on the way to a value of a graph that the output shows; `within` says whether the graph is a node's.
fn longest<'g>(
    graph: &'g Graph,
    value: &'g str,
    output: &str,
    shapes: &Shapes<'g>,
    is_float: &dyn Fn(&str) -> bool,
    within: bool,
) -> Option<LongSum> {
    let mut makers: HashMap<&str, &Node> = HashMap::new();
    for node in &graph.node {
        node.output.iter().for_each(|name| {
            makers.entry(name).or_insert(node);
        });
    }
    let (mut seen, mut open) = (HashSet::from([value]), vec![value]);
    let mut walked: HashSet<*const Node> = HashSet::new();
    let mut longest: Option<LongSum> = None;
    let mut found = |sum: LongSum| {
        if longest.as_ref().is_none_or(|other| other.rank() < sum.rank()) {
            longest = Some(sum);
        }
    };
    while let Some(value) = open.pop() {
        let Some(node) = makers.get(value).copied() else { continue };
        if shapes::has(BOUNDED, &node.op_type) {
            continue;
        }
        let length = summed(node, shapes).filter(|length| match length {
            Some(length) => *length > MAX_SUMMED,
            // Of a run's own values shapes are known as far as anybody needs them.
            None => within,
        });
        if let Some(length) = length {
            let (operator, value) = (node.op_type.clone(), value.to_owned());
            found(LongSum { operator, value, length, output: output.to_owned() });
        }
        if walked.insert(std::ptr::from_ref(node)) {
            bodies(node).filter_map(|body| longest_within(body, output, shapes, is_float)).for_each(&mut found);
        }
        open.extend(reads(node).into_iter().filter(|name| is_float(name) && seen.insert(name)));
    }
    longest
}

fn bodies(node: &Node) -> impl Iterator<Item = &Graph> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

/// The longest sum on the way to what a node's graph gives.
fn longest_within<'g>(
    body: &'g Graph,
    output: &str,
    around: &Shapes<'g>,
    is_float: &dyn Fn(&str) -> bool,
) -> Option<LongSum> {
    let mut shapes = around.clone();
    let mut own: HashMap<&str, bool> = HashMap::new();
    // Of values within nobody knows the types: they are taken for floats.
    let made = body.node.iter().flat_map(|node| &node.output).map(String::as_str);
    own.extend(body.input.iter().map(|input| input.name.as_str()).chain(made).map(|name| (name, true)));
    own.extend(body.initializer.iter().map(|tensor| (tensor.name.as_str(), survey::is_float(tensor.data_type))));
    own.keys().for_each(|name| drop(shapes.remove(name)));
    let sizes = |tensor: &Tensor| tensor.dims.iter().map(|dim| u64::try_from(*dim).ok()).collect::<Option<Vec<_>>>();
    shapes.extend(body.initializer.iter().filter_map(|tensor| Some((tensor.name.as_str(), sizes(tensor)?))));
    for node in &body.node {
        let constant = || node.attribute.iter().find_map(|attribute| sizes(attribute.t.as_ref()?));
        let shape = if node.op_type == "Constant" { constant() } else { shapes::infer(node, &shapes) };
        if let (Some(name), Some(shape)) = (node.output.first(), shape) {
            shapes.insert(name, shape);
        }
    }
    let is_float = |name: &str| own.get(name).copied().unwrap_or_else(|| is_float(name));
    let outputs = body.output.iter().filter(|value| is_float(&value.name));
    let sums = outputs.filter_map(|value| longest(body, &value.name, output, &shapes, &is_float, true));
    sums.max_by_key(LongSum::rank)
}

/// Numbers that a node adds up for an element of its output, the inner `None` where shapes do not tell; `None` for a node that
/// adds up none.
fn summed(node: &Node, shapes: &Shapes<'_>) -> Option<Option<u64>> {
    let shape = |index: usize| shapes.get(node.input.get(index)?.as_str());
    let size = |index: usize| shape(index).map(|shape| volume(shape));
    let made = || shapes.get(node.output.first()?.as_str()).map(|shape| volume(shape).max(1));
    let turned = |name: &str| shapes::number(node, name, 0) != 0;
    // Rows of the second factor are as long as columns of the first.
    let rows = |index: usize, turned: bool| {
        let shape = shapes::transposed(turned, shape(index)?);
        shape.get(shape.len().saturating_sub(2)).copied()
    };
    Some(match node.op_type.as_str() {
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMean" | "ReduceProd" | "ReduceSum"
        | "ReduceSumSquare" | "GlobalAveragePool" | "GlobalLpPool" => {
            size(0).and_then(|size| Some(size / made()?)).or_else(|| size(0).filter(|size| *size <= MAX_SUMMED))
        }
        "MatMul" => shape(0).and_then(|shape| shape.last().copied()).or_else(|| rows(1, false)),
        "Gemm" | "FusedGemm" | "FusedMatMul" => {
            let first = shape(0).and_then(|shape| shapes::transposed(turned("transA"), shape).last().copied());
            first.or_else(|| rows(1, turned("transB")))
        }
        "Conv" | "FusedConv" => shape(1).map(|kernel| volume(kernel.get(1..).unwrap_or_default())),
        "ConvTranspose" => shape(1).map(|kernel| volume(kernel) / kernel.get(1).copied().unwrap_or(1).max(1)),
        "Einsum" => size(0).map(|first| first.min(size(1).unwrap_or(u64::MAX))).or_else(|| size(1)),
        "CumProd" | "CumSum" | "DFT" | "STFT" => shape(0).and_then(|shape| shape.iter().copied().max()),
        _ => return None,
    })
}
