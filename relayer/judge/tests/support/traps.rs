//! Ten models whose answer is the machine's: made so that rounding, or the machine's way with NaNs, decides.

use oraculum_judge::{DType, Data, Judge, Limits, Tensor};

use super::{
    f32s,
    graph::{
        Attribute::{Graph as Body, Int},
        BOOL, F32, Graph, I32, I64,
    },
    steps::tensor,
};

const X: [f32; 6] = [0.1, 0.7, 0.3, 0.9, 0.57, 0.21];

/// A name, a file, and inputs on which machines part.
pub(crate) type Trap = (&'static str, Vec<u8>, Vec<Tensor>);

/// A graph with the input X.
fn start() -> (Graph, String) {
    let mut graph = Graph::default();
    let x = graph.input("x", F32, &[1, 6]);
    (graph, x)
}

fn finish(name: &'static str, mut graph: Graph, result: &str, elem: i64, dims: &[i64]) -> Trap {
    graph.output(result, elem, dims);
    (name, graph.file(), vec![tensor(&[1, 6], &X)])
}

/// The sum of the square roots of the input, and the judge's value of it.
fn sum(judge: &Judge) -> (Graph, String, f32) {
    let (mut graph, x) = start();
    let roots = graph.node("Sqrt", &[&x], &[]);
    let axis = graph.ints(&[1], &[1]);
    let sum = graph.node("ReduceSum", &[&roots, &axis], &[]);
    let (_, file, inputs) = finish("", graph.clone(), &sum, F32, &[1, 1]);
    let outputs = judge.load(&file, Limits::DEFAULT).unwrap().run_all(&inputs).unwrap();
    (graph, sum, f32s(&outputs[0])[0])
}

pub(crate) fn all(judge: &Judge) -> Vec<Trap> {
    let mut traps = vec![sums(), cancellation(), chaos(), tie(), residue(), nan()];
    let edge = |op: &str| {
        let (mut graph, sum, value) = sum(judge);
        let edge = graph.floats(&[1], &[value]);
        let result = graph.node(op, &[&sum, &edge], &[]);
        (graph, sum, result, value)
    };
    let (mut graph, sum, above, _) = edge("Greater");
    let (yes, no) = (graph.floats(&[1], &[1.0]), graph.floats(&[1], &[0.0]));
    let chosen = graph.node("Where", &[&above, &yes, &no], &[]);
    traps.push(finish("step", graph.clone(), &chosen, F32, &[1, 1]));
    // The tenth: how many values there are is rounding's choice.
    let flat = graph.ints(&[1], &[-1]);
    let row = graph.node("Reshape", &[&above, &flat], &[]);
    let taken = graph.node("Compress", &[&sum, &row], &[Int("axis", 0)]);
    traps.push(finish("length", graph, &taken, F32, &[-1, 1]));
    let (mut graph, _, above, _) = edge("Sub");
    let floor = graph.node("Floor", &[&above], &[]);
    traps.push(finish("floor", graph, &floor, F32, &[1, 1]));
    // 2.5 steps of the scale.
    let (mut graph, sum, _, value) = edge("Sub");
    let (scale, zero) = (graph.floats(&[], &[value / 2.5]), graph.constant(2, &[], &[3]));
    let quantized = graph.node("QuantizeLinear", &[&sum, &scale, &zero], &[]);
    let back = graph.node("DequantizeLinear", &[&quantized, &scale, &zero], &[]);
    traps.push(finish("half of a quantum", graph, &back, F32, &[1, 1]));
    traps
}

fn sums() -> Trap {
    let (mut graph, x) = start();
    let (axis, ones) = (graph.ints(&[1], &[1]), graph.floats(&[6, 1], &[1.0; 6]));
    let (one, other) = (graph.node("ReduceSum", &[&x, &axis], &[]), graph.node("MatMul", &[&x, &ones], &[]));
    let (rest, million) = (graph.node("Sub", &[&one, &other], &[]), graph.floats(&[1], &[1e6]));
    let result = graph.node("Mul", &[&rest, &million], &[]);
    finish("difference of equal sums", graph, &result, F32, &[1, 1])
}

fn cancellation() -> Trap {
    let (mut graph, x) = start();
    let (large, again) = (graph.floats(&[1], &[1e8]), graph.floats(&[1], &[1e8]));
    let sum = graph.node("Add", &[&x, &large], &[]);
    let result = graph.node("Sub", &[&sum, &again], &[]);
    finish("a large number there and back", graph, &result, F32, &[1, 6])
}

/// The logistic map, fifty times, in a loop.
fn chaos() -> Trap {
    let (mut graph, x) = start();
    let (turns, going) = (graph.ints(&[], &[50]), graph.constant(BOOL, &[], &[1]));
    let (rate, one) = (graph.floats(&[1], &[3.9]), graph.floats(&[1], &[1.0]));
    let mut body = Graph::within("inner ");
    body.input("step", I64, &[]);
    body.input("going", BOOL, &[]);
    let state = body.input("state", F32, &[1, 6]);
    let rest = body.node("Sub", &[&one, &state], &[]);
    let product = body.node("Mul", &[&state, &rest], &[]);
    // The rate is the outer graph's.
    let next = body.node("Mul", &[&product, &rate], &[]);
    let still = body.node("Identity", &["going"], &[]);
    body.output(&still, BOOL, &[]);
    body.output(&next, F32, &[1, 6]);
    let result = graph.node("Loop", &[&turns, &going, &x], &[Body("body", &body)]);
    finish("logistic map", graph, &result, F32, &[1, 6])
}

/// The largest of a sum and the same sum in another order.
fn tie() -> Trap {
    let (mut graph, x) = start();
    let (order, axis) = (graph.ints(&[6], &[3, 1, 5, 0, 2, 4]), graph.ints(&[1], &[1]));
    let other = graph.node("Gather", &[&x, &order], &[Int("axis", 1)]);
    let sums = [x, other].map(|values| {
        let powers = graph.node("Exp", &[&values], &[]);
        graph.node("ReduceSum", &[&powers, &axis], &[])
    });
    let both = graph.node("Concat", &[&sums[0], &sums[1]], &[Int("axis", 1)]);
    let result = graph.node("ArgMax", &[&both], &[Int("axis", 1)]);
    finish("tie", graph, &result, I64, &[1, 1])
}

/// What is left of a product where it is not rounded before a sum.
fn residue() -> Trap {
    let (mut graph, x) = start();
    let factor = graph.floats(&[1, 6], &[1.1, 2.3, 0.7, 1.9, 3.3, 0.9]);
    let (one, other) = (graph.node("Mul", &[&x, &factor], &[]), graph.node("Mul", &[&factor, &x], &[]));
    let (rest, much) = (graph.node("Sub", &[&one, &other], &[]), graph.floats(&[1], &[1e12]));
    let result = graph.node("Mul", &[&rest, &much], &[]);
    finish("residue of a product", graph, &result, F32, &[1, 6])
}

fn nan() -> Trap {
    let (mut graph, x) = start();
    let infinite = graph.floats(&[1], &[f32::INFINITY]);
    let product = graph.node("Mul", &[&x, &infinite], &[]);
    let none = graph.node("Sub", &[&product, &product], &[]);
    let result = graph.node("Cast", &[&none], &[Int("to", I32)]);
    finish("cast of a NaN", graph, &result, I32, &[1, 6])
}

/// Elements of type i32.
pub(crate) fn i32s(tensor: &Tensor) -> Vec<i32> {
    let Data::Bytes(bytes) = tensor.data() else { panic!("strings") };
    assert_eq!(tensor.dtype(), DType::I32);
    bytes.as_chunks::<4>().0.iter().map(|word| i32::from_le_bytes(*word)).collect()
}
