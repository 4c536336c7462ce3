//! The jitter guard and the cast check: what they forbid, what they allow, and the committed vectors.
//!
//! Larger samples, and what a guarded judgement costs, are printed by the example `guard`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests end where something is not as they need it")]

mod support;

use oraculum_judge::{DType, Guard, GuardVerdict, JudgeError, Limits, Speaks, Tensor, Weights, digest};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::{
    SHIPPED, golden,
    graph::{Attribute::*, BOOL, F32, F64, Graph, I32, I64},
    judge, model, native, rows, shipped,
    steps::{self, LAYERS, STEPS, tensor},
    traps, within_tolerance,
};

const OWN: [&str; 15] = [
    "bitcast",
    "casts",
    "control",
    "float16",
    "float32",
    "float64",
    "gather",
    "integers",
    "layers",
    "loop",
    "memory",
    "nans",
    "ports",
    "recurrent",
    "strings",
];
const VECTORS: &str = include_str!("../vectors/guard.json");

fn i64s(dims: &[u32], value: i64) -> Tensor {
    Tensor::new(DType::I64, dims.to_vec(), value.to_le_bytes().to_vec()).unwrap()
}

/// Inputs of a model of this crate's own.
fn own_inputs(name: &str) -> Vec<Tensor> {
    let of_any_type = |dtype: DType| match dtype.size() {
        None => Tensor::strings(vec![3, 2], vec!["x".to_owned(); 6]).unwrap(),
        Some(size) => {
            let byte = |place: usize| if dtype == DType::Bool { 1 } else { 255 - place as u8 };
            Tensor::new(dtype, vec![3, 2], (0..6 * size).map(byte).collect()).unwrap()
        }
    };
    match name {
        "control" => vec![tensor(&[4], &[0.125, -0.5, 0.3, 0.9])],
        "gather" => vec![i64s(&[], 2)],
        "loop" => vec![i64s(&[], 20)],
        "memory" => vec![i64s(&[1], 1_000)],
        "ports" => {
            let session = judge().load(&model("ports"), Limits::DEFAULT).unwrap();
            session.inputs().iter().map(|port| of_any_type(port.dtype.unwrap())).collect()
        }
        _ => vec![],
    }
}

/// All models of the repository, each with inputs.
fn models() -> Vec<(&'static str, Vec<u8>, Vec<Tensor>)> {
    let shipped = SHIPPED.into_iter().map(|name| (name, shipped(name), golden(name).remove(0).inputs));
    shipped.chain(OWN.into_iter().map(|name| (name, model(name), own_inputs(name)))).collect()
}

fn agrees(ours: &[Tensor], theirs: &[Tensor]) -> bool {
    ours.iter().zip(theirs).all(|(ours, theirs)| within_tolerance(ours, theirs))
}

/// The verdict about all outputs of a plain run, by the rules of the shipped cards.
fn verdict(file: &[u8], inputs: &[Tensor]) -> GuardVerdict {
    let canonical = judge().load(file, Limits::DEFAULT).unwrap().run_all(inputs).unwrap();
    let wanted: Vec<usize> = (0..canonical.len()).collect();
    Guard::of(file).unwrap().check(judge(), Limits::DEFAULT, inputs, &wanted, &canonical, &agrees).unwrap()
}

#[test]
fn a_run_without_jitter_gives_the_plain_runs_bits() {
    for (name, file, inputs) in models() {
        let plain = judge().load(&file, Limits::DEFAULT).unwrap().run_all(&inputs).unwrap();
        let guard = Guard::of(&file).unwrap();
        let mut session = judge().load(&guard.file(Weights::Plain).unwrap(), Guard::limits(Limits::DEFAULT)).unwrap();
        let wanted: Vec<usize> = (0..plain.len()).collect();
        let without = session.run(&guard.inputs(0, &inputs), &wanted).unwrap();
        assert_eq!(digest(&without), digest(&plain), "{name}");
        // And one with jitter others, where there is something that rounds.
        if name == "control" || SHIPPED.contains(&name) {
            let with = session.run(&guard.inputs(1, &inputs), &wanted).unwrap();
            assert_ne!(digest(&with), digest(&plain), "{name}");
        }
    }
}

#[test]
fn rewritten_files_and_verdicts_are_those_of_the_vectors() {
    let hash = |file: Vec<u8>| hex::encode(Sha256::digest(file));
    let computed: Vec<Value> = models()
        .into_iter()
        .chain(traps::all(judge()))
        .map(|(name, file, inputs)| {
            let guard = Guard::of(&file).unwrap();
            let spoken = match verdict(&file, &inputs) {
                GuardVerdict::Silent => Value::Null,
                GuardVerdict::Speaks(reason) => reason.to_string().into(),
            };
            let inputs = guard.inputs(3, &inputs);
            json!({
                "model": name,
                "jittered": guard.jittered(),
                "plain": hash(guard.file(Weights::Plain).unwrap()),
                "plus": hash(guard.file(Weights::Plus).unwrap()),
                "minus": hash(guard.file(Weights::Minus).unwrap()),
                "inputs of run 3": digest(&inputs),
                "speaks": spoken,
            })
        })
        .collect();
    let recorded: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
    assert_eq!(computed, recorded, "{}", serde_json::to_string_pretty(&computed).unwrap());
}

#[test]
fn steps_at_which_native_and_judge_part_are_flagged() {
    let environment = native::environment();
    let (mut parted, mut flagged) = (0, 0);
    for (layer, step) in (0..LAYERS.len()).flat_map(|layer| (0..STEPS.len()).map(move |step| (layer, step))) {
        let (file, inputs) = steps::model(judge(), layer, step, 1, 0.0);
        let canonical = judge().load(&file, Limits::DEFAULT).unwrap().run_all(&inputs).unwrap();
        if native::run(&environment, &file, &inputs).unwrap() != canonical {
            parted += 1;
            flagged += i32::from(verdict(&file, &inputs) != GuardVerdict::Silent);
        }
    }
    assert!(parted > 10 && flagged == parted, "{flagged} of {parted}");
}

#[test]
fn steps_a_quarter_of_a_millionth_away_are_flagged() {
    for (layer, step) in
        (0..LAYERS.len()).flat_map(|layer| (layer % 2..STEPS.len()).step_by(2).map(move |step| (layer, step)))
    {
        let moved = [1.0, -1.0][step / 2 % 2] * 2f32.powi(-22);
        let (file, inputs) = steps::model(judge(), layer, step, 7, moved);
        let speaks = verdict(&file, &inputs);
        assert!(matches!(speaks, GuardVerdict::Speaks(Speaks::Unstable { .. })), "{}, {}", LAYERS[layer], STEPS[step]);
    }
}

#[test]
fn steps_a_thousandth_away_are_not_flagged() {
    for layer in 0..LAYERS.len() {
        let (file, inputs) = steps::model(judge(), layer, layer, 7, 1e-3);
        assert_eq!(verdict(&file, &inputs), GuardVerdict::Silent, "{}, {}", LAYERS[layer], STEPS[layer]);
    }
}

#[test]
fn random_inputs_of_the_shipped_models_are_not_flagged() {
    for name in SHIPPED {
        let file = shipped(name);
        for inputs in rows::random(name, 6) {
            assert_eq!(verdict(&file, &inputs), GuardVerdict::Silent, "{name}");
        }
    }
}

#[test]
fn every_trap_is_caught() {
    let traps = traps::all(judge());
    assert_eq!(traps.len(), 10);
    for (name, file, inputs) in traps {
        match verdict(&file, &inputs) {
            GuardVerdict::Speaks(Speaks::Cast { run: 0, operator, .. }) => {
                assert_eq!((name, operator.as_str()), ("cast of a NaN", "Cast"));
            }
            GuardVerdict::Speaks(Speaks::Unstable { run: 1.. } | Speaks::Failed { .. }) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// A model of one node over six floats, with a float output.
fn of_one(op: &str, attributes: &[support::graph::Attribute<'_>], elem: i64) -> Vec<u8> {
    let mut graph = Graph::default();
    let x = graph.input("x", F32, &[6]);
    let result = graph.node(op, &[&x], attributes);
    graph.output(&result, elem, &[6]);
    graph.file()
}

#[test]
fn floats_that_become_integers_which_the_type_lacks_are_flagged() {
    let cast = |to: i64| of_one("Cast", &[Int("to", to)], to);
    let case = |to: i64, value: f32| verdict(&cast(to), &[tensor(&[6], &[1.5, 2.5, value, 3.5, 4.5, 5.5])]);
    for (to, inside, outside) in [
        (3, 127.5, 128.5),
        (2, 200.5, -1.5),
        (I32, -2e9, 2.2e9),
        (I64, 9e18, 9.3e18),
        (13, 1.8e19, -2.0),
        (I32, 0.5, f32::NAN),
    ] {
        assert_eq!(Guard::of(&cast(to)).unwrap().jittered(), 1);
        assert!(!matches!(case(to, inside), GuardVerdict::Speaks(Speaks::Cast { .. })), "{to} {inside}");
        let GuardVerdict::Speaks(Speaks::Cast { run: 0, operator, node, element: 2, value }) = case(to, outside) else {
            panic!("{to} {outside}: {:?}", case(to, outside))
        };
        assert_eq!(
            (operator.as_str(), node.as_str(), value.parse::<f64>().unwrap().is_nan()),
            ("Cast", "Cast of v1", outside.is_nan())
        );
    }
    let mut graph = Graph::default();
    let x = graph.input("x", F32, &[6]);
    let quantized = graph.nodes("DynamicQuantizeLinear", &[&x], 3, &[]);
    graph.output(&quantized[0], 2, &[6]);
    let speaks = verdict(&graph.file(), &[tensor(&[6], &[f32::NAN; 6])]);
    assert!(matches!(speaks, GuardVerdict::Speaks(Speaks::Cast { .. })), "{speaks:?}");
    // To bool and to floats, all floats go.
    let wild = tensor(&[6], &[f32::NAN, f32::INFINITY, 1e30, -1e30, 0.0, 1.0]);
    assert!(!matches!(verdict(&cast(BOOL), std::slice::from_ref(&wild)), GuardVerdict::Speaks(Speaks::Cast { .. })));
}

#[test]
fn powers_of_integers_that_the_type_lacks_are_flagged() {
    let mut graph = Graph::default();
    let (x, y) = (graph.input("x", I64, &[1]), graph.input("y", F32, &[1]));
    let power = graph.node("Pow", &[&x, &y], &[]);
    graph.output(&power, I64, &[1]);
    let power = |base, exponent| verdict(&graph.file(), &[i64s(&[1], base), tensor(&[1], &[exponent])]);
    assert!(matches!(power(10, 30.0), GuardVerdict::Speaks(Speaks::Cast { .. })));
    assert!(!matches!(power(10, 3.5), GuardVerdict::Speaks(Speaks::Cast { .. })));
}

#[test]
fn what_models_of_the_field_do_with_constants_is_not_flagged() {
    let mut graph = Graph::default();
    let x = graph.input("x", F32, &[1, 1, 2, 3]);
    // Squares of negative numbers, as normalization has them.
    let two = graph.floats(&[], &[2.0]);
    let square = graph.node("Pow", &[&x, &two], &[]);
    // A mask of the most negative number, where it is infinity once it grows; a row of it is fully masked.
    let mask = graph.floats(&[1, 1, 2, 3], &[0.0, f32::MIN, 0.0, f32::MIN, f32::MIN, f32::MIN]);
    let infinite = graph.floats(&[1, 1, 2, 3], &[0.0, 0.0, f32::NEG_INFINITY, 0.0, 0.0, 0.0]);
    let masked = graph.node("Add", &[&square, &mask], &[]);
    let masked = graph.node("Add", &[&masked, &infinite], &[]);
    let weights = graph.node("Softmax", &[&masked], &[]);
    // An image made twice as large by a list of scales.
    let scales = graph.floats(&[4], &[1.0, 1.0, 2.0, 2.0]);
    let large = graph.node("Resize", &[&weights, "", &scales], &[]);
    // And by sizes that are computed in floats.
    let shape = graph.node("Shape", &[&x], &[]);
    let float = graph.node("Cast", &[&shape], &[Int("to", F32)]);
    let double = graph.node("Mul", &[&float, &two], &[]);
    let floor = graph.node("Floor", &[&double], &[]);
    let sizes = graph.node("Cast", &[&floor], &[Int("to", I64)]);
    let (from, to) = (graph.ints(&[1], &[2]), graph.ints(&[1], &[4]));
    let sizes = graph.node("Slice", &[&sizes, &from, &to], &[]);
    let channels = graph.ints(&[2], &[1, 1]);
    let sizes = graph.node("Concat", &[&channels, &sizes], &[Int("axis", 0)]);
    let expanded = graph.node("Resize", &[&weights, "", "", &sizes], &[]);
    let both = graph.node("Add", &[&large, &expanded], &[]);
    graph.output(&both, F32, &[1, 1, 4, 6]);
    let inputs = [tensor(&[1, 1, 2, 3], &[-0.5, 0.25, -1.5, 0.7, -0.3, 0.9])];
    assert_eq!(verdict(&graph.file(), &inputs), GuardVerdict::Silent);
}

#[test]
fn each_type_has_jitter_of_its_own_size() {
    for (elem, limit) in [(F32, 2f64.powi(-18)), (F64, 2f64.powi(-47))] {
        let mut graph = Graph::default();
        let x = graph.input("x", F32, &[64]);
        let wide = graph.node("Cast", &[&x], &[Int("to", elem)]);
        let root = graph.node("Sqrt", &[&wide], &[]);
        let back = graph.node("Cast", &[&root], &[Int("to", F64)]);
        graph.output(&back, F64, &[64]);
        let (file, inputs) =
            (graph.file(), [tensor(&[64], &std::array::from_fn::<f32, 64, _>(|place| 1.0 + place as f32))]);
        let guard = Guard::of(&file).unwrap();
        let mut session = judge().load(&guard.file(Weights::Plain).unwrap(), Guard::limits(Limits::DEFAULT)).unwrap();
        // Without the jitter of the input.
        let mut given = guard.inputs(1, &inputs);
        if elem == F64 {
            given[1] = tensor(&[], &[0.0]);
        }
        let plain = session.run(&guard.inputs(0, &inputs), &[0]).unwrap();
        let with = session.run(&given, &[0]).unwrap();
        let f64s = |tensor: &Tensor| -> Vec<f64> {
            let oraculum_judge::Data::Bytes(bytes) = tensor.data() else { panic!("strings") };
            bytes.as_chunks::<8>().0.iter().map(|word| f64::from_le_bytes(*word)).collect()
        };
        let changes: Vec<f64> = f64s(&plain[0]).iter().zip(f64s(&with[0])).map(|(a, b)| (b / a - 1.0).abs()).collect();
        let largest = changes.iter().copied().fold(0.0, f64::max);
        assert!(largest < limit && largest > limit / 4.0, "{elem}: {largest:e}");
    }
}

#[test]
fn a_run_with_jitter_that_meets_a_limit_speaks() {
    let (file, inputs) = (shipped("iris"), golden("iris").remove(0).inputs);
    let canonical = judge().load(&file, Limits::DEFAULT).unwrap().run_all(&inputs).unwrap();
    let guard = Guard::of(&file).unwrap();
    let check = |fuel: u64| {
        let limits = Limits { fuel, ..Limits::DEFAULT };
        guard.check(judge(), limits, &inputs, &[0], &canonical, &agrees).unwrap()
    };
    assert_eq!(check(20_000_000), GuardVerdict::Silent);
    assert_eq!(check(100), GuardVerdict::Speaks(Speaks::NotLoaded(JudgeError::OutOfFuel)));
    let never = guard.check(judge(), Limits::DEFAULT, &inputs, &[0], &canonical, &|_, _| false).unwrap();
    assert_eq!(never, GuardVerdict::Speaks(Speaks::Unstable { run: 1 }));
}
