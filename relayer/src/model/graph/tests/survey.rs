//! Nesting, casts of bits, what runs take, and long sums.

use super::*;
use crate::model::graph::{
    Shapes,
    effort::{self, Proof},
    proto::Function,
    sums::{self, LongSum},
    survey::{Survey, survey},
};

fn decoded(file: &[u8]) -> Model {
    decode(file).unwrap()
}

fn branch(inner: Graph) -> Node {
    Node { attribute: vec![attribute(inner)], ..node("If", &["x"], &["y"]) }
}

fn holder(nodes: Vec<Node>) -> Graph {
    graph(nodes, vec![port("x", 1, &[1])], vec![port("y", 1, &[1])])
}

/// The names of two chains of functions, each calling the next.
fn chain(length: usize) -> Vec<u8> {
    let level = |place: usize| function(&format!("f{place}"), vec![local(&format!("f{}", place + 1))]);
    let mut functions: Vec<Function> = (0..length).map(level).collect();
    functions.push(function(&format!("f{length}"), vec![node("Relu", &["x"], &["y"])]));
    model(holder(vec![local("f0")]), functions)
}

/// Walked without a limit, such a file would end the process: each call takes some stack.
#[test]
fn functions_that_call_each_other_in_a_long_row_are_refused() {
    assert_eq!(refusal(&chain(100_000)), Refused::DeepFunctions);
    assert!(inspect(&chain(90)).is_ok());
    assert_eq!(refusals(&chain(100_000)), [Refused::DeepFunctions]);
}

#[test]
fn all_refusals_of_a_file_are_told_each_once() {
    let nodes = || {
        vec![
            node("RandomNormal", &[], &["a"]),
            Node { domain: "com.example".into(), ..node("Oracle", &["x"], &["b"]) },
            branch(holder(vec![node("RandomNormal", &[], &["c"]), node("Dropout", &["x", "ratio", "train"], &["d"])])),
        ]
    };
    let mut holder = holder(nodes());
    holder.initializer.push(at("../w"));
    let random = Refused::RandomOperator { operator: "RandomNormal".into() };
    assert_eq!(
        refusals(&model(holder, vec![])),
        [
            Refused::ExternalPath { tensor: "w".into(), location: "../w".into() },
            random.clone(),
            Refused::CustomOperator { domain: "com.example".into(), operator: "Oracle".into() },
            Refused::TrainingDropout { training: "train".into() },
        ]
    );
    // The first alone ends the walk that decides whether a file is run.
    assert_eq!(refusal(&one_node(node("RandomNormal", &[], &["y"]))), random);
    let many = (0..100).map(|place| Node { domain: format!("d{place}"), ..node("Op", &["x"], &["y"]) }).collect();
    assert_eq!(refusals(&model(super::super::tests::graph(many, vec![], vec![port("y", 1, &[1])]), vec![])).len(), 16);
    assert!(refusals(&one_node(node("Relu", &["x"], &["y"]))).is_empty());
    assert!(matches!(refusals(b"text")[..], [Refused::NotOnnx(_)] | [Refused::Foreign(_)]));
    assert_eq!(refusals(&bad("no-outputs.onnx")), [Refused::NoOutputs]);
}

#[test]
fn graphs_within_graphs_are_counted_and_those_of_functions_where_they_are_called() {
    let depth = |file: &[u8]| survey(&decoded(file), &|_| None).depth;
    let nested =
        |levels| (0..levels).fold(holder(vec![node("Relu", &["x"], &["y"])]), |inner, _| holder(vec![branch(inner)]));
    assert_eq!([0, 1, 8, 9].map(|levels| depth(&model(nested(levels), vec![]))), [0, 1, 8, 9]);
    let called = function("f", vec![branch(nested(3))]);
    assert_eq!(depth(&model(holder(vec![branch(holder(vec![local("f")]))]), vec![called.clone()])), 5);
    assert_eq!(depth(&model(nested(0), vec![called])), 0);
}

#[test]
fn the_bits_of_floats_are_found_wherever_they_become_integers() {
    let cast = |name: &str| node("BitCast", &[name], &["y"]);
    let types = |name: &str| match name {
        "float" => Some(1),
        "integer" => Some(6),
        _ => None,
    };
    let found = |nodes: Vec<Node>, functions| survey(&decoded(&model(holder(nodes), functions)), &types).bit_casts;
    let made = |name: &str| node("Cast", &["x"], &[name]);
    // An input of the model, values that nodes make, and one of which nothing is known.
    assert_eq!(found(vec![cast("x")], vec![]), ["x"]);
    assert_eq!(found(vec![made("float"), cast("float")], vec![]), ["float"]);
    assert_eq!(found(vec![made("unknown"), cast("unknown")], vec![]), ["unknown"]);
    assert!(found(vec![made("integer"), cast("integer")], vec![]).is_empty());
    // Within a branch the name of an integer around it is that; a value of its own is not known.
    assert!(found(vec![made("integer"), branch(holder(vec![cast("integer")]))], vec![]).is_empty());
    assert_eq!(
        found(vec![made("integer"), branch(holder(vec![made("integer"), cast("integer")]))], vec![]),
        ["integer"]
    );
    assert_eq!(found(vec![local("f")], vec![function("f", vec![made("integer"), cast("integer")])]), ["integer"]);
    let elsewhere = Node { domain: "local".into(), ..cast("x") };
    assert_eq!(survey(&decoded(&model(holder(vec![elsewhere]), vec![])), &types), Survey::default());
}

fn shapes(all: &[(&'static str, &[u64])]) -> Shapes<'static> {
    all.iter().map(|(name, shape)| (*name, shape.to_vec())).collect()
}

#[test]
fn a_value_is_cheap_that_takes_less_than_half_of_a_run() {
    // a to d cost the same; e needs b and d, which share a.
    let nodes = vec![
        node("Relu", &["x"], &["a"]),
        node("Relu", &["a"], &["b"]),
        node("Relu", &["a"], &["c"]),
        node("Relu", &["c"], &["d"]),
        node("Add", &["b", "d"], &["y"]),
    ];
    let graph = holder(nodes);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let all = names(&["a", "b", "c", "d", "y"]);
    let proof = effort::proof(&graph, &[10, 10, 10, 10, 10], &all);
    // Of 50, d takes 30 and y all; y is published.
    assert_eq!(proof, Proof { candidates: 5, published: 1, cheap: 3 });
    assert!(!proof.suffices());
    let proof = effort::proof(&graph, &[30, 5, 5, 5, 5], &all);
    assert_eq!(proof, Proof { candidates: 5, published: 1, cheap: 0 });
    assert!(proof.suffices());
    assert!(effort::proof(&graph, &[30, 5, 5, 5, 5], &[]).suffices());
    // What no node makes proves nothing; neither does a value before the work.
    assert_eq!(effort::proof(&graph, &[1, 1, 1, 1, 1], &names(&["x"])).cheap, 1);
    assert_eq!(effort::proof(&graph, &[1, 1, 1, 1, 100], &all).cheap, 4);
}

#[test]
fn values_of_nodes_in_any_order_are_added_up_with_all_that_they_need() {
    let graph = holder(vec![node("Relu", &["b"], &["y"]), node("Relu", &["a"], &["b"]), node("Relu", &["x"], &["a"])]);
    let names = ["a", "b"].map(str::to_owned);
    assert_eq!(effort::proof(&graph, &[1, 10, 10], &names).cheap, 1);
    // Such a file is not run, and must not be walked without end either.
    let circle = holder(vec![node("Relu", &["b"], &["a"]), node("Relu", &["a"], &["b"])]);
    assert_eq!(effort::proof(&circle, &[1, 1], &names).candidates, 2);
}

#[test]
fn a_branch_needs_what_it_takes_from_around_it() {
    let nodes = vec![node("Relu", &["x"], &["a"]), branch(holder(vec![node("Neg", &["a"], &["y"])]))];
    let proof = effort::proof(&graph(nodes, vec![], vec![]), &[100, 1], &["y".to_owned()]);
    assert_eq!(proof.cheap, 0);
}

#[test]
fn what_does_not_follow_from_shapes_takes_the_rest_of_a_run() {
    let product = node("MatMul", &["x", "w"], &["a"]);
    let loops = Node { op_type: "Loop".into(), input: vec!["x".into()], ..branch(holder(vec![])) };
    let graph = holder(vec![product, loops, node("Reshape", &["a", "s"], &["b"])]);
    let shapes = shapes(&[("x", &[10, 1_000]), ("w", &[1_000, 10]), ("a", &[10, 10]), ("b", &[100])]);
    let costs = effort::costs(&graph, &shapes, 10_000_000);
    // Two operations a multiplication, what is moved, and something for each node.
    assert_eq!(costs[0], 200_000 + 20_100 + 2_000);
    assert_eq!(costs[2], 200 + 2_000);
    assert_eq!(costs.iter().sum::<u64>(), 10_000_000);
}

#[test]
fn what_no_input_reaches_takes_nothing_for_anybody_can_keep_it() {
    let nodes = vec![
        node("MatMul", &["w", "w"], &["c"]),
        node("MatMul", &["c", "w"], &["d"]),
        node("MatMul", &["x", "d"], &["a"]),
        branch(holder(vec![node("Neg", &["a"], &["z"])])),
    ];
    let mut graph = holder(nodes);
    let weight = |name: &str| Tensor { name: name.into(), dims: vec![1_000, 1_000], ..Tensor::default() };
    graph.initializer = vec![weight("w")];
    let square = [1_000, 1_000];
    let shapes =
        shapes(&[("w", &square), ("c", &square), ("d", &square), ("x", &[1, 1_000]), ("a", &[1, 1_000]), ("y", &[1])]);
    let costs = effort::costs(&graph, &shapes, 1_000);
    assert_eq!(costs[..2], [0, 0]);
    assert!(costs[2] > 2_000_000 && costs[3] > 0, "{costs:?}");
    // With the constants, whose work is a thousand times as much, `a` would prove nothing.
    let proof = effort::proof(&graph, &costs, &["a".to_owned()]);
    assert_eq!(proof, Proof { candidates: 1, published: 0, cheap: 0 });
    // A weight that is listed among the inputs is no input.
    graph.input.push(port("w", 1, &[1_000, 1_000]));
    assert_eq!(effort::costs(&graph, &shapes, 1_000)[..2], [0, 0]);
}

#[test]
fn a_long_sum_within_a_branch_or_loop_is_found_and_so_is_one_of_unknown_length() {
    let found = |inner: Vec<Node>, weights: Vec<Tensor>| {
        let body = Graph { initializer: weights, ..graph(inner, vec![port("s", 1, &[])], vec![port("z", 1, &[])]) };
        let nodes = vec![Node { output: vec!["y".into()], input: vec!["x".into()], ..branch(body) }];
        let sums = sums::long_sums(&holder(nodes), &shapes(&[("x", &[70_000]), ("short", &[4])]), &|_| true);
        sums.into_iter().map(|sum| (sum.operator, sum.value, sum.length)).collect::<Vec<_>>()
    };
    let told = |length| vec![("ReduceSum".to_owned(), "z".to_owned(), length)];
    assert_eq!(found(vec![node("ReduceSum", &["s"], &["z"])], vec![]), told(None));
    assert!(found(vec![node("ReduceSum", &["short"], &["z"])], vec![]).is_empty());
    // Weights tell how long the rows of the other factor are, and what is bounded shows no sum.
    let weights = |rows| vec![Tensor { name: "w".into(), dims: vec![rows, 2], data_type: 1, ..Tensor::default() }];
    let product = || vec![node("Neg", &["s"], &["n"]), node("MatMul", &["n", "w"], &["z"])];
    assert!(found(product(), weights(1_000)).is_empty());
    let long = ("MatMul".to_owned(), "z".to_owned(), Some(70_000));
    assert_eq!(found(product(), weights(70_000)), [long]);
    assert!(found(vec![node("ReduceSum", &["s"], &["r"]), node("Tanh", &["r"], &["z"])], vec![]).is_empty());
}

#[test]
fn a_long_sum_is_found_where_its_result_is_an_output() {
    let found = |nodes: Vec<Node>, all: &[(&'static str, &[u64])]| {
        let floats = |name: &str| name != "i";
        sums::long_sums(&holder(nodes), &shapes(all), &floats)
    };
    let sum = |nodes: Vec<Node>| found(nodes, &[("x", &[70_000]), ("s", &[1]), ("y", &[1])]);
    let long = |value: &str, operator: &str, length| {
        vec![LongSum { operator: operator.into(), value: value.into(), length: Some(length), output: "y".into() }]
    };
    assert_eq!(sum(vec![node("ReduceSum", &["x"], &["y"])]), long("y", "ReduceSum", 70_000));
    let after = |operator: &str| vec![node("ReduceMean", &["x"], &["s"]), node(operator, &["s"], &["y"])];
    assert_eq!(sum(after("Mul")), long("s", "ReduceMean", 70_000));
    // What is bounded is no longer as large as the sum.
    assert!(sum(after("Sigmoid")).is_empty());
    // An integer shows no rounding.
    assert!(sum(vec![node("ReduceSum", &["x"], &["i"]), node("Gather", &["x", "i"], &["y"])]).is_empty());
    let short = [("x", &[65_536][..]), ("y", &[1])];
    assert!(found(vec![node("ReduceSum", &["x"], &["y"])], &short).is_empty());
    let factors = [("x", &[2, 70_000][..]), ("w", &[70_000, 3]), ("y", &[2, 3])];
    assert_eq!(found(vec![node("MatMul", &["x", "w"], &["y"])], &factors), long("y", "MatMul", 70_000));
    let turned = Node { attribute: vec![number("transA", 1)], ..node("Gemm", &["x", "w"], &["y"]) };
    let all = [("x", &[70_000, 2][..]), ("w", &[70_000, 3]), ("y", &[2, 3])];
    assert_eq!(found(vec![turned], &all), long("y", "Gemm", 70_000));
    let kernel = [("x", &[1, 512, 16, 16][..]), ("w", &[8, 512, 16, 16]), ("y", &[1, 8, 1, 1])];
    assert_eq!(found(vec![node("Conv", &["x", "w"], &["y"])], &kernel), long("y", "Conv", 131_072));
}
