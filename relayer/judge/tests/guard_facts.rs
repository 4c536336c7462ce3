//! What the guard tells certification of a model.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests end where something is not as they need it")]

// Other tests use the rest of it.
#[allow(dead_code, reason = "shared by tests that need different parts")]
#[path = "support/graph.rs"]
mod graph;

use graph::{
    Attribute::{self, Graph as Body, Int},
    BOOL, F32, Graph, I64,
};
use oraculum_judge::{Guard, Weights};

const U8: i64 = 2;
const I8: i64 = 3;

#[test]
fn products_of_unsigned_and_signed_integers_are_named_and_others_are_not() {
    let products = |a: i64, b: i64| {
        let mut graph = Graph::default();
        let (x, y) = (graph.input("x", a, &[1, 4]), graph.input("y", b, &[4, 1]));
        let product = graph.node("MatMulInteger", &[&x, &y], &[]);
        graph.output(&product, 6, &[1, 1]);
        Guard::of(&graph.file()).unwrap().mixed_products().to_vec()
    };
    assert_eq!(products(U8, I8), ["MatMulInteger MatMulInteger of v1"]);
    for (a, b) in [(U8, U8), (I8, I8), (I8, U8)] {
        assert!(products(a, b).is_empty(), "{a} by {b}");
    }
    let mut graph = Graph::default();
    let (x, scale) = (graph.input("x", U8, &[1, 4]), graph.floats(&[1], &[0.1]));
    let (zero, w, signed) =
        (graph.constant(U8, &[1], &[0]), graph.constant(I8, &[4, 1], &[1, 2, 3, 4]), graph.constant(I8, &[1], &[0]));
    let inputs = [&x, &scale, &zero, &w, &scale, &signed, &scale, &zero].map(String::as_str);
    let product = graph.node("QLinearMatMul", &inputs, &[]);
    graph.output(&product, U8, &[1, 1]);
    let file = graph.file();
    let guard = Guard::of(&file).unwrap();
    // It rounds within, though only integers come out.
    assert_eq!((guard.mixed_products().len(), guard.rounded()), (1, &[true][..]));
}

/// Whether the output of a node is rounded, where x is FP32 and e is eˣ.
fn rounded(op: &str, input: &str, elem: i64, attributes: &[Attribute<'_>]) -> bool {
    let mut graph = Graph::default();
    graph.input("x", F32, &[4]);
    // Its name is `v1`.
    graph.node("Exp", &["x"], &[]);
    let made = graph.node(op, &[input], attributes);
    graph.output(&made, elem, &[-1]);
    Guard::of(&graph.file()).unwrap().rounded()[0]
}

#[test]
fn an_output_is_rounded_where_any_value_on_its_way_is() {
    for (op, elem) in [("Identity", F32), ("Exp", F32), ("ArgMax", I64), ("IsNaN", BOOL), ("Floor", F32)] {
        assert!(rounded(op, "v1", elem, &[]), "{op}");
    }
    assert!(rounded("Cast", "v1", I64, &[Int("to", I64)]));
    for (op, elem) in [("Identity", F32), ("ArgMax", I64), ("IsNaN", BOOL), ("Neg", F32)] {
        assert!(!rounded(op, "x", elem, &[]), "{op}");
    }
    // What is asked of a rounded value is its size.
    assert!(!rounded("Shape", "v1", I64, &[]));
}

/// Whether the output of a chain of nodes is rounded that ends with one of these, each its operator and further inputs; it
/// begins with eˣ or x itself.
fn chained(from_rounded: bool, chain: &[(&str, &[&str])], elem: i64) -> bool {
    let mut graph = Graph::default();
    graph.input("x", F32, &[4]);
    graph.input("condition", BOOL, &[4]);
    graph.input("n", I64, &[1]);
    let zero = graph.floats(&[4], &[0.0; 4]);
    let mut last = if from_rounded { graph.node("Exp", &["x"], &[]) } else { "x".to_owned() };
    for (op, more) in chain {
        let inputs: Vec<&str> = more
            .iter()
            .map(|name| {
                if *name == "LAST" {
                    &last
                } else if *name == "ZERO" {
                    &zero
                } else {
                    *name
                }
            })
            .collect();
        let attributes = match *op {
            "Cast" => vec![Int("to", I64)],
            "ReduceSum" | "ReduceMax" => vec![Int("keepdims", 1)],
            _ => vec![],
        };
        last = graph.node(op, &inputs, &attributes);
    }
    graph.output(&last, elem, &[-1]);
    Guard::of(&graph.file()).unwrap().rounded()[0]
}

#[test]
fn a_size_is_rounded_where_rounded_values_decide_it_and_nowhere_else() {
    let chains: [&[(&str, &[&str])]; 6] = [
        &[("Greater", &["LAST", "ZERO"]), ("NonZero", &["LAST"])],
        &[("Greater", &["LAST", "ZERO"]), ("Compress", &["x", "LAST"])],
        &[("Unique", &["LAST"])],
        &[("Cast", &["LAST"]), ("Expand", &["x", "LAST"])],
        &[("Cast", &["LAST"]), ("Tile", &["x", "LAST"]), ("Identity", &["LAST"])],
        &[("Cast", &["LAST"]), ("ConstantOfShape", &["LAST"])],
    ];
    for chain in chains {
        for size in ["Shape", "Size"] {
            let chain = [chain, &[(size, &["LAST"][..])]].concat();
            assert!(chained(true, &chain, I64), "{chain:?}");
            assert!(!chained(false, &chain, I64), "{chain:?}");
        }
        // So are the elements, whatever they are.
        assert!(
            chained(true, &[chain, &[("Shape", &["LAST"][..]), ("ReduceMax", &["LAST"][..])]].concat(), I64),
            "{chain:?}"
        );
    }
    // Where it is data that is rounded, the sizes are not.
    for chain in [[("Expand", &["LAST", "n"][..])], [("Compress", &["LAST", "condition"][..])]] {
        assert!(!chained(true, &[&chain[..], &[("Shape", &["LAST"][..])]].concat(), I64), "{chain:?}");
    }
}

#[test]
fn a_loop_whose_end_a_rounded_value_decides_gives_rounded_sizes() {
    let sized = |op: &str| {
        let mut body = Graph::within("body");
        body.input("step", I64, &[]);
        body.input("going", BOOL, &[]);
        body.input("state", F32, &[]);
        let zero = body.floats(&[], &[1.0]);
        let state = body.node(op, &["state"], &[]);
        let going = body.node("Less", &[&state, &zero], &[]);
        body.output(&going, BOOL, &[]);
        body.output(&state, F32, &[]);
        body.output("step", I64, &[]);
        let mut graph = Graph::default();
        graph.input("x", F32, &[]);
        let made = graph.nodes("Loop", &["", "", "x"], 2, &[Body("body", &body)]);
        let shape = graph.node("Shape", &[&made[1]], &[]);
        graph.output(&shape, I64, &[1]);
        Guard::of(&graph.file()).unwrap().rounded()[0]
    };
    assert!(sized("Exp"));
    assert!(!sized("Neg"));
}

#[test]
fn operators_that_work_in_floats_and_give_integers_only_round() {
    let rounded = |op: &str, inputs: &[(i64, &[i64])], attributes: &[Attribute<'_>], elem: i64| {
        let mut graph = Graph::default();
        let names: Vec<String> = inputs
            .iter()
            .enumerate()
            .map(|(place, (elem, dims))| graph.input(&format!("x{place}"), *elem, dims))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let made = graph.node(op, &names, attributes);
        graph.output(&made, elem, &[-1]);
        Guard::of(&graph.file()).unwrap().rounded()[0]
    };
    assert!(rounded("NonMaxSuppression", &[(F32, &[1, 4, 4]), (F32, &[1, 1, 4])], &[], I64));
    assert!(rounded("Pow", &[(I64, &[4]), (F32, &[1])], &[], I64));
    assert!(!rounded("Pow", &[(I64, &[4]), (I64, &[1])], &[], I64));
    assert!(rounded("ReduceLogSum", &[(I64, &[4])], &[], I64));
    for window in ["HannWindow", "HammingWindow", "BlackmanWindow"] {
        assert!(rounded(window, &[(I64, &[])], &[Int("output_datatype", I64)], I64), "{window}");
    }
}

#[test]
fn an_output_of_a_branch_is_rounded_where_the_branch_or_what_it_takes_is() {
    let branches = |inner: &dyn Fn(&mut Graph) -> String| {
        let branch = |prefix| {
            let mut branch = Graph::within(prefix);
            let made = inner(&mut branch);
            branch.output(&made, F32, &[4]);
            branch
        };
        let (one, other) = (branch("one"), branch("other"));
        let mut graph = Graph::default();
        let going = graph.input("going", BOOL, &[]);
        graph.input("x", F32, &[4]);
        graph.node("Exp", &["x"], &[]);
        let made = graph.node("If", &[&going], &[Body("then_branch", &one), Body("else_branch", &other)]);
        graph.output(&made, F32, &[4]);
        Guard::of(&graph.file()).unwrap().rounded()[0]
    };
    assert!(branches(&|branch| branch.node("Exp", &["x"], &[])));
    assert!(branches(&|branch| branch.node("Identity", &["v1"], &[])));
    assert!(!branches(&|branch| branch.node("Identity", &["x"], &[])));
}

#[test]
fn the_runs_of_a_verdict_are_eight_and_one_without_jitter() {
    assert_eq!(Guard::runs(Weights::Plain), [0]);
    let mut all = [Guard::runs(Weights::Plus), Guard::runs(Weights::Minus)].concat();
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3, 4, 5, 6, 7, 8]);
}
