//! What the guard makes of files: nothing lost, what it cannot guard refused, and no file that brings it down.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests end where something is not as they need it")]

mod support;

use oraculum_judge::{Guard, GuardError, Limits, Weights};
use proptest::prelude::*;
use support::{
    graph::{
        Attribute::{Graph as Body, Int, Text},
        BOOL, F32, Graph, I32, I64, bytes, int,
    },
    judge, model, shipped,
};

fn refusal(file: &[u8]) -> GuardError {
    Guard::of(file).map(|guard| guard.jittered()).unwrap_err()
}

fn of_one(op: &str, elem: i64, attributes: &[support::graph::Attribute<'_>]) -> Graph {
    let mut graph = Graph::default();
    let x = graph.input("x", elem, &[1, 1, 2, 2]);
    let result = graph.node(op, &[&x], attributes);
    graph.output(&result, elem, &[1, 1, 2, 2]);
    graph
}

/// A graph whose branches have branches, `depth` times.
fn nested(depth: usize, inner: &mut dyn FnMut(&mut Graph) -> String) -> Graph {
    const PREFIXES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let mut graph = Graph::within(PREFIXES[depth]);
    let result = if depth == 0 {
        inner(&mut graph)
    } else {
        let (one, other) = (nested(depth - 1, inner), nested_constant(depth));
        graph.node("If", &["going"], &[Body("then_branch", &one), Body("else_branch", &other)])
    };
    graph.output(&result, F32, &[1]);
    graph
}

fn nested_constant(depth: usize) -> Graph {
    const PREFIXES: [&str; 12] = ["aa", "ab", "ac", "ad", "ae", "af", "ag", "ah", "ai", "aj", "ak", "al"];
    let mut graph = Graph::within(PREFIXES[depth]);
    let one = graph.floats(&[1], &[1.0]);
    let same = graph.node("Identity", &[&one], &[]);
    graph.output(&same, F32, &[1]);
    graph
}

fn around(depth: usize, inner: &mut dyn FnMut(&mut Graph) -> String) -> Vec<u8> {
    let mut graph = nested(depth, inner);
    graph.input("going", BOOL, &[]);
    graph.input("x", F32, &[1]);
    graph.file()
}

#[test]
fn fields_that_no_version_of_onnx_has_are_kept() {
    let mut file = of_one("Relu", F32, &[]).file();
    let unknown = bytes(999, b"of a later version");
    // In the model, and in the graph, which protobuf merges.
    file.extend([unknown.clone(), bytes(7, &bytes(888, b"in the graph"))].concat());
    let rewritten = Guard::of(&file).unwrap().file(Weights::Plus).unwrap();
    let has = |part: &[u8]| rewritten.windows(part.len()).any(|window| window == part);
    assert!(has(&unknown) && has(&bytes(888, b"in the graph")));
}

#[test]
fn integers_bools_and_strings_are_never_touched() {
    for name in ["strings", "gather"] {
        let file = model(name);
        let guard = Guard::of(&file).unwrap();
        assert_eq!(guard.jittered(), 0, "{name}");
        assert_eq!(guard.file(Weights::Plus).unwrap().len(), file.len(), "{name}");
    }
    // A move needs no jitter of its own, a product does; so does the input.
    for (op, jittered) in [("Transpose", 1), ("Relu", 1), ("Floor", 1), ("Exp", 2), ("Sqrt", 2)] {
        assert_eq!(Guard::of(&of_one(op, F32, &[]).file()).unwrap().jittered(), jittered, "{op}");
    }
}

#[test]
fn graphs_within_graphs_have_jitter_and_read_what_is_around_them() {
    let file = around(8, &mut |graph| graph.node("Exp", &["x"], &[]));
    let guard = Guard::of(&file).unwrap();
    assert_eq!(guard.jittered(), 2);
    assert!(judge().load(&guard.file(Weights::Plus).unwrap(), Guard::limits(Limits::DEFAULT)).is_ok());
    assert_eq!(refusal(&around(9, &mut |graph| graph.node("Exp", &["x"], &[]))), GuardError::TooDeep);
}

#[test]
fn models_that_cannot_be_guarded_are_refused_by_name() {
    let plain = of_one("Exp", F32, &[]);
    assert_eq!(refusal(&plain.file_of(8)), GuardError::Opset(8));
    assert_eq!(refusal(&[plain.file(), bytes(25, b"")].concat()), GuardError::Functions);
    assert_eq!(refusal(&[plain.file(), bytes(7, &bytes(15, b""))].concat()), GuardError::Sparse);
    let unknown = GuardError::Operator { op: "Erf2".to_owned(), domain: String::new() };
    assert_eq!(refusal(&of_one("Erf2", F32, &[]).file()), unknown);
    assert!(matches!(refusal(&of_one("RandomNormalLike", F32, &[]).file()), GuardError::Operator { .. }));
    assert!(matches!(refusal(&of_one("Identity", 17, &[]).file()), GuardError::Type { elem: 17, .. }));
    let linear = of_one("Resize", 2, &[Text("mode", "linear")]).file();
    assert!(matches!(refusal(&linear), GuardError::HiddenStep { .. }));
    let inside = around(1, &mut |graph| {
        let integer = graph.node("Cast", &["x"], &[Int("to", I32)]);
        graph.node("Cast", &[&integer], &[Int("to", F32)])
    });
    assert!(matches!(refusal(&inside), GuardError::CastInside { .. }));
    let mut early = Graph::default();
    let late = early.node("Exp", &["v2"], &[]);
    let first = early.ints(&[1], &[1]);
    early.node("Neg", &[&first], &[]);
    early.output(&late, I64, &[1]);
    assert_eq!(refusal(&early.file()), GuardError::Order("v2".to_owned()));
    let mut twice = plain.clone();
    twice.input("x", F32, &[1]);
    twice.input("v1", F32, &[1]);
    assert_eq!(refusal(&twice.file()), GuardError::Twice("v1".to_owned()));
    let mut ours = plain;
    ours.input("guard:1", F32, &[1]);
    assert_eq!(refusal(&ours.file()), GuardError::Name("guard:1".to_owned()));
    assert!(matches!(refusal(b""), GuardError::Malformed(_)));
    assert!(matches!(refusal(b"no model"), GuardError::Malformed(_)));
}

#[test]
fn both_runs_of_a_pair_have_the_same_factors_and_opposite_changes() {
    let file = of_one("Exp", F32, &[]).file();
    let guard = Guard::of(&file).unwrap();
    let added =
        |run: u8| -> Vec<f32> { guard.inputs(run, &[]).iter().map(|tensor| support::f32s(tensor)[0]).collect() };
    let mut factors = Vec::new();
    for pair in 0..4 {
        let (plus, minus) = (added(2 * pair + 1), added(2 * pair + 2));
        assert_eq!((plus[0], minus[0]), (2f32.powi(-19), -2f32.powi(-19)));
        assert_eq!(plus[1..], minus[1..]);
        factors.extend_from_slice(&plus[1..]);
    }
    assert_eq!(added(0)[0], 0.0);
    // A factor for each of two values in each pair, all of them different.
    factors.sort_by(f32::total_cmp);
    factors.dedup();
    assert_eq!(factors.len(), 8);
}

#[test]
fn a_constant_that_many_nodes_take_exactly_is_not_copied_without_end() {
    let mut graph = Graph::default();
    let (x, exponents) = (graph.input("x", F32, &[200]), graph.floats(&[200], &[2.0; 200]));
    for _ in 0..70_000 {
        graph.node("Pow", &[&x, &exponents], &[]);
    }
    assert_eq!(refusal(&graph.file()), GuardError::TooLarge);
}

#[test]
fn models_of_old_versions_and_of_none_are_rewritten() {
    for file in [of_one("Exp", F32, &[]).file_of(9), of_one("Exp", F32, &[]).file_of(13)] {
        let guard = Guard::of(&file).unwrap();
        assert!(judge().load(&guard.file(Weights::Plus).unwrap(), Guard::limits(Limits::DEFAULT)).is_ok());
    }
    let only_ml = int(1, 8);
    let import = bytes(8, &[bytes(1, b"ai.onnx.ml"), int(2, 3)].concat());
    let graph = bytes(7, &[bytes(2, b"g"), bytes(11, &bytes(1, b"x"))].concat());
    assert_eq!(refusal(&[only_ml, import, graph].concat()), GuardError::Untyped("x".to_owned()));
}

#[test]
fn a_long_model_is_rewritten_in_proportion_and_one_too_long_is_refused() {
    let chain = |length: usize| {
        let mut graph = Graph::default();
        let mut value = graph.input("x", F32, &[1]);
        for _ in 0..length {
            value = graph.node("Exp", &[&value], &[]);
        }
        graph.output(&value, F32, &[1]);
        graph.file()
    };
    for length in [1_000, 20_000] {
        let file = chain(length);
        let guard = Guard::of(&file).unwrap();
        assert_eq!(guard.jittered(), length + 1);
        assert!(guard.file(Weights::Plus).unwrap().len() < 25 * file.len());
    }
    assert_eq!(refusal(&chain(70_000)), GuardError::TooLarge);
}

/// Most that a rewritten file is larger than a file of so many bytes: each value with jitter has a name of at least one.
fn bound(bytes: usize) -> usize {
    1_000 + 300 * bytes
}

fn survives(file: &[u8]) {
    if let Ok(guard) = Guard::of(file) {
        for weights in [Weights::Plain, Weights::Plus, Weights::Minus] {
            assert!(guard.file(weights).unwrap().len() < bound(file.len()));
        }
        assert!(guard.inputs(8, &[]).len() >= guard.jittered());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn models_with_altered_bytes_are_rewritten_or_refused(
        name in prop::sample::select(vec!["iris", "digits", "credit", "control", "recurrent", "casts", "integers", "ports", "loop"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        doubled in prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<prop::sample::Index>())),
    ) {
        let mut file = if support::SHIPPED.contains(&name) { shipped(name) } else { model(name) };
        for (place, byte) in changes {
            let place = place.index(file.len());
            file[place] = byte;
        }
        if let Some((from, to)) = doubled {
            let (from, to) = (from.index(file.len()), to.index(file.len()));
            let part = file[from.min(to)..from.max(to)].to_vec();
            file.extend(part);
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        survives(&file);
    }

    #[test]
    fn arbitrary_bytes_are_rewritten_or_refused(file in prop::collection::vec(any::<u8>(), 0..300)) {
        survives(&file);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rewritten_altered_models_never_bring_the_judge_down(
        name in prop::sample::select(vec!["iris", "control", "recurrent"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let mut file = if name == "iris" { shipped(name) } else { model(name) };
        for (place, byte) in changes {
            let place = place.index(file.len());
            file[place] = byte;
        }
        if let Ok(guard) = Guard::of(&file) {
            let limits = Limits { memory: 128 << 20, fuel: 300_000_000 };
            let _ = judge().load(&guard.file(Weights::Plus).unwrap(), limits);
        }
    }
}
