//! What a run of a model takes, node by node, and which of its values are cheap to compute without the rest.
//!
//! All of it is an estimate, in instructions of the judge: one for each floating-point operation of the nodes whose work
//! follows from shapes; the rest of what the run took goes to the others.

use std::collections::{HashMap, HashSet};

use super::{
    proto::{Graph, Node},
    shapes::{self, Shapes, volume},
};

/// Instructions that any node takes.
const NODE: u64 = 2_000;
/// Instructions of a function such as the exponential, for each element.
const FUNCTION: u64 = 16;
/// Operators that compute such functions.
const FUNCTIONS: &str = " Acos Acosh Asin Asinh Atan Atanh Celu Cos Cosh Elu Erf Exp FastGelu Gelu HardSwish Log LogSoftmax Mish Pow QuickGelu \
    Selu Sigmoid Sin Sinh Softmax Softplus Swish Tan Tanh ";
/// Operators of ONNX whose work follows from the sizes of what goes in and comes out: some instructions an element.
const PASSES: &str = " ArgMax ArgMin Compress CumSum DepthToSpace IsInf IsNaN MaxRoiPool NonZero OneHot ReduceL1 ReduceL2 ReduceLogSum \
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Resize ReverseSequence Scatter \
    ScatterElements ScatterND SpaceToDepth TopK Trilu ";

/// Candidates of a trace, sorted by whether they prove that a model was run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Values that a trace may have.
    pub candidates: u32,
    /// Those that are outputs of the model, which everybody sees.
    pub published: u32,
    /// Those among the others that take less than half of a run.
    pub cheap: u32,
}

impl Proof {
    /// Whether at least half of the candidates are neither.
    #[must_use]
    pub fn suffices(self) -> bool {
        let neither = self.candidates.saturating_sub(self.published).saturating_sub(self.cheap);
        2 * u64::from(neither) >= u64::from(self.candidates)
    }
}

/// What each node of a graph takes, by the shapes of a run that took `fuel` instructions. What no input reaches takes nothing:
/// whoever has run it once can keep its results.
#[must_use]
pub fn costs(graph: &Graph, shapes: &Shapes<'_>, fuel: u64) -> Vec<u64> {
    let known: Vec<Option<u64>> = graph.node.iter().map(|node| cost(node, shapes)).collect();
    let counted = known.iter().flatten().fold(0, |sum: u64, cost| sum.saturating_add(*cost));
    let unknown = known.iter().filter(|cost| cost.is_none()).count() as u64;
    let each = fuel.saturating_sub(counted).checked_div(unknown).unwrap_or_default().max(NODE);
    let reached = reached(graph);
    known.into_iter().zip(reached).map(|(cost, reached)| if reached { cost.unwrap_or(each) } else { 0 }).collect()
}

/// Whether an input of the graph reaches each node.
fn reached(graph: &Graph) -> Vec<bool> {
    let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
    let weights: HashSet<&str> = graph.initializer.iter().chain(sparse).map(|tensor| tensor.name.as_str()).collect();
    let inputs = graph.input.iter().map(|input| input.name.as_str()).filter(|name| !weights.contains(name));
    let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, node) in graph.node.iter().enumerate() {
        reads(node).into_iter().for_each(|name| readers.entry(name).or_default().push(place));
    }
    let (mut reached, mut open) = (vec![false; graph.node.len()], inputs.collect::<Vec<_>>());
    while let Some(name) = open.pop() {
        for place in readers.remove(name).unwrap_or_default() {
            if !reached[place] {
                reached[place] = true;
                open.extend(graph.node[place].output.iter().map(String::as_str).filter(|name| !name.is_empty()));
            }
        }
    }
    reached
}

/// What a node takes; `None` where that does not follow from shapes.
fn cost(node: &Node, shapes: &Shapes<'_>) -> Option<u64> {
    let has_graph = node.attribute.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty());
    if has_graph {
        return None;
    }
    let operator = node.op_type.as_str();
    let size = |name: &String| shapes.get(name.as_str()).map_or(0, |shape| volume(shape));
    let moved = node.input.iter().chain(&node.output).fold(0, |sum: u64, name| sum.saturating_add(size(name)));
    let work = if shapes::has(FUNCTIONS, operator) {
        volume(shapes.get(node.output.first()?.as_str())?).saturating_mul(FUNCTION)
    } else if shapes::has(PASSES, operator) {
        moved.saturating_mul(4)
    } else {
        shapes::operations(node, shapes)?
    };
    Some(NODE.saturating_add(moved).saturating_add(work))
}

/// Sorts the candidates of a trace, each the name of a value that a node of the graph makes.
#[must_use]
pub fn proof(graph: &Graph, costs: &[u64], candidates: &[String]) -> Proof {
    let total = costs.iter().fold(0u64, |sum, cost| sum.saturating_add(*cost));
    let makers = makers(graph);
    let light = light(graph, costs, &makers, total);
    let outputs: HashSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let mut proof = Proof::default();
    for name in candidates {
        proof.candidates += 1;
        if outputs.contains(name.as_str()) {
            proof.published += 1;
        } else if makers.get(name.as_str()).is_none_or(|node| light[*node]) {
            proof.cheap += 1;
        }
    }
    proof
}

/// The node that makes each value of a graph.
fn makers(graph: &Graph) -> HashMap<&str, usize> {
    let mut makers = HashMap::new();
    for (place, node) in graph.node.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            makers.entry(name.as_str()).or_insert(place);
        }
    }
    makers
}

/// Nodes that are looked at in all to add up what others need; what is not added up by then counts as cheap.
const MAX_VISITS: usize = 50_000_000;

/// Whether each node can be computed, with all that it needs, for less than half of a total.
fn light(graph: &Graph, costs: &[u64], makers: &HashMap<&str, usize>, total: u64) -> Vec<bool> {
    let needs: Vec<Vec<usize>> = graph
        .node
        .iter()
        .map(|node| {
            let mut needs: Vec<usize> = reads(node).into_iter().filter_map(|name| makers.get(name).copied()).collect();
            needs.sort_unstable();
            needs.dedup();
            needs
        })
        .collect();
    let is_light = |cost: u64| cost < total.div_ceil(2);
    // What each node takes with all that it needs; `None` from half of the total on.
    let mut all: Vec<Option<u64>> = Vec::with_capacity(needs.len());
    let mut adder = Adder { needs: &needs, costs, seen: vec![0; needs.len()], sums: 0, visits: MAX_VISITS };
    for place in 0..needs.len() {
        let with_all = match &needs[place][..] {
            [] => Some(costs[place]),
            // What is not sorted is added up, as it is.
            [only] if *only < place => all[*only].map(|before| before.saturating_add(costs[place])),
            several if several.iter().any(|need| *need < place && all[*need].is_none()) => None,
            _ => adder.sum(place, &is_light),
        };
        all.push(with_all.filter(|cost| is_light(*cost)));
    }
    all.into_iter().map(|cost| cost.is_some()).collect()
}

/// Adds up what nodes take with all that they need.
struct Adder<'a> {
    needs: &'a [Vec<usize>],
    costs: &'a [u64],
    /// The last sum that each node was in.
    seen: Vec<usize>,
    sums: usize,
    /// Visits that are left.
    visits: usize,
}

impl Adder<'_> {
    /// What a node takes with all that it needs; `None` once it is not light.
    fn sum(&mut self, place: usize, is_light: &dyn Fn(u64) -> bool) -> Option<u64> {
        self.sums += 1;
        self.seen[place] = self.sums;
        let (mut open, mut sum) = (vec![place], 0u64);
        while let Some(node) = open.pop() {
            sum = sum.saturating_add(self.costs[node]);
            if !is_light(sum) {
                return None;
            }
            for need in &self.needs[node] {
                if self.seen[*need] != self.sums {
                    self.seen[*need] = self.sums;
                    open.push(*need);
                }
            }
            self.visits = self.visits.saturating_sub(1);
            if self.visits == 0 {
                return Some(sum);
            }
        }
        Some(sum)
    }
}

/// Names that a node reads: its inputs, and what its graphs take from around them.
pub(super) fn reads(node: &Node) -> HashSet<&str> {
    let mut names: HashSet<&str> = node.input.iter().map(String::as_str).collect();
    for graph in node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)) {
        let own: HashSet<&str> = (graph.initializer.iter().map(|tensor| tensor.name.as_str()))
            .chain(graph.input.iter().map(|value| value.name.as_str()))
            .chain(graph.node.iter().flat_map(|node| &node.output).map(String::as_str))
            .collect();
        let taken = graph.node.iter().flat_map(reads).chain(graph.output.iter().map(|value| value.name.as_str()));
        names.extend(taken.filter(|name| !own.contains(name)));
    }
    names.remove("");
    names
}
