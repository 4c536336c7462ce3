//! Recorded digests of outputs: the same on every machine.

mod support;

use std::process::Command;

use oraculum_judge::{Judge, Limits, Tensor, digest};
use support::{SHIPPED, cache, golden, judge, repository, shipped, wasm};

const RECORDED: &str = include_str!("../models/digests.txt");

/// Digest of the outputs of all golden cases of a shipped model, each in a fresh session.
fn shipped_digest(judge: &Judge, model: &str) -> String {
    let outputs: Vec<Tensor> = golden(model)
        .iter()
        .flat_map(|case| judge.load(&shipped(model), Limits::DEFAULT).unwrap().run_all(&case.inputs).unwrap())
        .collect();
    digest(&outputs)
}

#[test]
fn built_in_models_give_the_recorded_digests() {
    judge().self_test().unwrap();
}

#[test]
fn shipped_models_give_the_recorded_digests() {
    shipped_are_recorded(judge());
}

fn shipped_are_recorded(judge: &Judge) {
    for model in SHIPPED {
        let line = format!("{}  {model}", shipped_digest(judge, model));
        assert!(RECORDED.lines().any(|recorded| recorded == line), "not recorded: {line}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn code_without_avx_or_sse4_gives_the_same_digests() {
    // A named target has the architecture's first instructions only: SSE2.
    let judge = Judge::open_for(&wasm(), Some(&cache()), Some("x86_64-unknown-linux-gnu")).unwrap();
    judge.self_test().unwrap();
    shipped_are_recorded(&judge);
}

#[test]
fn v8_gives_the_same_digests_of_all_models_but_the_one_that_reads_the_bits_of_nans() {
    let script = repository().join("relayer/judge/tests/v8.mjs");
    let output = Command::new("node").arg(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let computed = String::from_utf8(output.stdout).unwrap();
    let equal = computed.lines().zip(RECORDED.lines()).filter(|(computed, recorded)| computed == recorded).count();
    assert_eq!(computed.lines().count(), RECORDED.lines().count());
    let bitcast = |text: &str| text.lines().find(|line| line.ends_with("  bitcast")).map(str::to_owned);
    // NaNs are canonical under wasmtime only, and V8's are those of the processor.
    let differs = usize::from(bitcast(&computed) != bitcast(RECORDED));
    assert_eq!(equal, RECORDED.lines().count() - differs, "{computed}");
}
