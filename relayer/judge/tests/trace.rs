//! Traces: the committed vectors, and that the traced run gives the plain run's bits.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use oraculum_judge::{DType, JudgeError, Limits, Tensor, digest};
use serde_json::{Value, json};
use support::{SHIPPED, golden, judge, model, shipped};

const VECTORS: &str = include_str!("../vectors/trace.json");

/// The models of the vectors, each with inputs.
fn cases() -> Vec<(&'static str, Vec<u8>, Vec<Tensor>)> {
    let mut cases: Vec<_> =
        SHIPPED.into_iter().map(|name| (name, shipped(name), golden(name).remove(1).inputs)).collect();
    let bytes = [0.125f32, -0.5, 0.3, 0.9].iter().flat_map(|value| value.to_le_bytes()).collect();
    cases.push(("control", model("control"), vec![Tensor::new(DType::F32, vec![4], bytes).unwrap()]));
    // No value of it depends on an input, for it has none.
    cases.push(("strings", model("strings"), vec![]));
    cases
}

fn vector(name: &str, file: &[u8], inputs: &[Tensor], seed: [u8; 32]) -> Value {
    let candidates = judge().candidates(file, Limits::DEFAULT).unwrap();
    let trace = judge().trace(file, &candidates, Limits::DEFAULT, seed, inputs).unwrap();
    assert_eq!(trace.reason, None);
    json!({
        "model": name,
        "seed": hex::encode(seed),
        "candidates": candidates.names(),
        "drawn": candidates.draw(seed),
        "bytes": trace.bytes.len(),
        "digest": hex::encode(trace.digest(seed)),
    })
}

#[test]
fn traces_are_those_of_the_vectors() {
    let seeds = [[0; 32], [0xff; 32], std::array::from_fn(|place| place as u8)];
    let computed: Vec<Value> =
        cases().iter().flat_map(|(name, file, inputs)| seeds.map(|seed| vector(name, file, inputs, seed))).collect();
    let recorded: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
    let computed_text = serde_json::to_string_pretty(&computed).unwrap();
    assert_eq!(computed, recorded, "{computed_text}");
    assert!(computed.iter().any(|vector| vector["bytes"] == 0) && computed.iter().any(|vector| vector["bytes"] != 0));
}

#[test]
fn a_run_with_all_candidates_as_outputs_gives_the_plain_runs_bits() {
    for (name, file, inputs) in cases() {
        let plain = judge().load(&file, Limits::DEFAULT).unwrap().run_all(&inputs).unwrap();
        let candidates = judge().candidates(&file, Limits::DEFAULT).unwrap();
        let mut session = judge().load_with_outputs(&file, candidates.names(), Limits::DEFAULT).unwrap();
        let traced = session.run_all(&inputs).unwrap();
        assert!(traced.len() > plain.len() || candidates.names().is_empty(), "{name}");
        assert_eq!(digest(&traced[..plain.len()]), digest(&plain), "{name}");
    }
}

#[test]
fn what_only_the_traced_run_cannot_do_leaves_the_trace_empty() {
    let (file, inputs) = (shipped("iris"), golden("iris").remove(0).inputs);
    let candidates = judge().candidates(&file, Limits::DEFAULT).unwrap();
    let starved = Limits { fuel: 1_000, ..Limits::DEFAULT };
    let trace = judge().trace(&file, &candidates, starved, [1; 32], &inputs).unwrap();
    assert_eq!((trace.bytes.len(), trace.reason), (0, Some(JudgeError::OutOfFuel)));
    assert!(judge().candidates(b"no model", Limits::DEFAULT).is_err());
}
