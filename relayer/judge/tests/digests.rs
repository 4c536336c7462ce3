//! Recorded digests of outputs: the same on every machine.

mod support;

use oraculum_judge::{Limits, Tensor, digest};
use support::{SHIPPED, golden, judge, shipped};

/// Digest of the outputs of all golden cases of a shipped model, each in a fresh session.
fn shipped_digest(model: &str) -> String {
    let outputs: Vec<Tensor> = golden(model)
        .iter()
        .flat_map(|case| judge().load(&shipped(model), Limits::DEFAULT).unwrap().run_all(&case.inputs).unwrap())
        .collect();
    digest(&outputs)
}

#[test]
fn built_in_models_give_the_recorded_digests() {
    judge().self_test().unwrap();
}

#[test]
fn shipped_models_give_the_recorded_digests() {
    let recorded = include_str!("../models/digests.txt");
    for model in SHIPPED {
        let line = format!("{}  {model}", shipped_digest(model));
        assert!(recorded.lines().any(|recorded| recorded == line), "not recorded: {line}");
    }
}
