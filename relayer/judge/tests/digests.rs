//! Recorded digests of outputs: the same on every machine.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::process::Command;

use oraculum_judge::{Judge, Limits, Tensor, digest};
use serde_json::Value;
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

/// Lines of the recorded digests, and of the digests of the recorded traces, as the script prints them.
fn recorded_lines() -> Vec<String> {
    let traces: Vec<Value> = serde_json::from_str(include_str!("../vectors/trace.json")).unwrap();
    let text = |trace: &Value, key: &str| trace[key].as_str().unwrap().to_owned();
    let traces = traces
        .iter()
        .map(|trace| format!("{}  {} {}", text(trace, "digest"), text(trace, "model"), text(trace, "seed")));
    RECORDED.lines().map(str::to_owned).chain(traces).collect()
}

#[test]
fn v8_gives_the_same_digests_and_traces() {
    let script = repository().join("relayer/judge/tests/v8.mjs");
    let output = Command::new("node").arg(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let computed = String::from_utf8(output.stdout).unwrap();
    // NaNs are canonical under wasmtime only; V8's are the processor's, and one model reads their bits.
    let but_bitcast =
        |lines: Vec<String>| -> Vec<String> { lines.into_iter().filter(|line| !line.ends_with("  bitcast")).collect() };
    assert_eq!(but_bitcast(computed.lines().map(str::to_owned).collect()), but_bitcast(recorded_lines()));
}
