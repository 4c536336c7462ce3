//! Models that end in a step, near which their inputs are.

use oraculum_judge::{DType, Judge, Limits, Tensor};

use super::{
    f32s,
    graph::{Attribute::*, BOOL, F32, Graph, I32, I64},
};

/// Numbers of SplitMix64.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Between −1 and 1.
    pub(crate) fn signed(&mut self) -> f32 {
        (self.next() >> 40) as f32 / 8_388_608.0 - 1.0
    }

    pub(crate) fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.signed()).collect()
    }
}

pub(crate) fn tensor(dims: &[u32], values: &[f32]) -> Tensor {
    Tensor::new(DType::F32, dims.to_vec(), values.iter().flat_map(|value| value.to_le_bytes()).collect()).unwrap()
}

pub(crate) const LAYERS: [&str; 6] = ["matmul", "two layers", "gemm, sigmoid", "softmax", "convolution", "functions"];
pub(crate) const STEPS: [&str; 9] = ["floor", "sign", "less", "threshold", "argmax", "round", "top k", "cast", "ceil"];

/// Elements before the step.
const WIDTH: i64 = 8;

/// Real layers, with the name of the values that they end in.
fn layers(kind: usize, numbers: &mut Numbers) -> (Graph, String, Vec<Tensor>) {
    let mut graph = Graph::default();
    let depth = [64, 256, 1_000][numbers.below(3)];
    let scale = 4.0 / (depth as f32).sqrt();
    let mut weights = |graph: &mut Graph, dims: &[i64], scale: f32| {
        let values = numbers.floats(dims.iter().product::<i64>() as usize);
        graph.floats(dims, &values.iter().map(|value| value * scale).collect::<Vec<_>>())
    };
    let dims: Vec<i64> = match kind {
        4 => vec![1, 3, 12, 12],
        5 => vec![1, WIDTH],
        _ => vec![1, depth],
    };
    let x = graph.input("x", F32, &dims);
    let last = match kind {
        0 => {
            let w = weights(&mut graph, &[depth, WIDTH], scale);
            let b = weights(&mut graph, &[WIDTH], 0.5);
            let product = graph.node("MatMul", &[&x, &w], &[]);
            let sum = graph.node("Add", &[&product, &b], &[]);
            graph.node("Relu", &[&sum], &[])
        }
        1 => {
            let (w, v) = (weights(&mut graph, &[depth, 48], scale), weights(&mut graph, &[48, WIDTH], 0.4));
            let b = weights(&mut graph, &[48], 0.5);
            let hidden = graph.node("Gemm", &[&x, &w, &b], &[]);
            let hidden = graph.node("Relu", &[&hidden], &[]);
            graph.node("MatMul", &[&hidden, &v], &[])
        }
        2 => {
            let w = weights(&mut graph, &[WIDTH, depth], scale);
            let b = weights(&mut graph, &[WIDTH], 0.5);
            let sum = graph.node("Gemm", &[&x, &w, &b], &[Int("transB", 1)]);
            graph.node("Sigmoid", &[&sum], &[])
        }
        3 => {
            let w = weights(&mut graph, &[depth, WIDTH], scale);
            let logits = graph.node("MatMul", &[&x, &w], &[]);
            graph.node("Softmax", &[&logits], &[])
        }
        4 => {
            let w = weights(&mut graph, &[WIDTH, 3, 3, 3], 0.5);
            let image = graph.node("Conv", &[&x, &w], &[Ints("pads", &[1, 1, 1, 1])]);
            let image = graph.node("Relu", &[&image], &[]);
            let means = graph.node("GlobalAveragePool", &[&image], &[]);
            graph.node("Flatten", &[&means], &[])
        }
        _ => {
            let wave = graph.node("Tanh", &[&x], &[]);
            let power = graph.node("Exp", &[&wave], &[]);
            graph.node("Erf", &[&power], &[])
        }
    };
    let count = dims.iter().product::<i64>() as usize;
    let input = tensor(&dims.iter().map(|dim| *dim as u32).collect::<Vec<_>>(), &numbers.floats(count));
    (graph, last, vec![input])
}

/// A model of layers and a step, its edge where the judge's own value is, moved by `moved` relative to that.
pub(crate) fn model(judge: &Judge, layer: usize, step: usize, seed: u64, moved: f32) -> (Vec<u8>, Vec<Tensor>) {
    let mut numbers = Numbers(seed);
    let (mut graph, last, inputs) = layers(layer, &mut numbers);
    let mut before = graph.clone();
    before.output(&last, F32, &[1, WIDTH]);
    let values = f32s(&judge.load(&before.file(), Limits::DEFAULT).unwrap().run_all(&inputs).unwrap()[0]);
    let largest = (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap();
    let edge = values[largest] * (1.0 + moved);
    let one = graph.ints(&[1], &[largest as i64]);
    let (value, edge_name) = (graph.node("Gather", &[&last, &one], &[Int("axis", 1)]), graph.floats(&[1], &[edge]));
    let above = |graph: &mut Graph| graph.node("Sub", &[&value, &edge_name], &[]);
    // Makes another element as large as the largest.
    let tied = |graph: &mut Graph| {
        let other = (largest + 1 + seed as usize % (values.len() - 1)) % values.len();
        let shifts: Vec<f32> =
            (0..values.len()).map(|place| if place == other { edge - values[other] } else { 0.0 }).collect();
        let shifts = graph.floats(&[1, WIDTH], &shifts);
        graph.node("Add", &[&last, &shifts], &[])
    };
    let (result, elem) = match STEPS[step] {
        "floor" => {
            let above = above(&mut graph);
            (graph.node("Floor", &[&above], &[]), F32)
        }
        "ceil" => {
            let above = above(&mut graph);
            (graph.node("Ceil", &[&above], &[]), F32)
        }
        "sign" => {
            let above = above(&mut graph);
            (graph.node("Sign", &[&above], &[]), F32)
        }
        "less" => {
            let less = graph.node("Less", &[&value, &edge_name], &[]);
            let (yes, no) = (graph.floats(&[1], &[1.0]), graph.floats(&[1], &[5.0]));
            (graph.node("Where", &[&less, &yes, &no], &[]), F32)
        }
        "threshold" => (graph.node("GreaterOrEqual", &[&value, &edge_name], &[]), BOOL),
        "argmax" => {
            let tied = tied(&mut graph);
            (graph.node("ArgMax", &[&tied], &[Int("axis", 1)]), I64)
        }
        "top k" => {
            let (tied, one) = (tied(&mut graph), graph.ints(&[1], &[1]));
            (graph.nodes("TopK", &[&tied, &one], 2, &[]).remove(1), I64)
        }
        "round" => {
            let (above, half) = (above(&mut graph), graph.floats(&[1], &[0.5]));
            let sum = graph.node("Add", &[&above, &half], &[]);
            (graph.node("Round", &[&sum], &[]), F32)
        }
        _ => {
            let (ratio, three) = (graph.node("Div", &[&value, &edge_name], &[]), graph.floats(&[1], &[3.0]));
            let product = graph.node("Mul", &[&ratio, &three], &[]);
            (graph.node("Cast", &[&product], &[Int("to", I32)]), I32)
        }
    };
    graph.output(&result, elem, &[1, 1]);
    (graph.file(), inputs)
}
