//! Processes of models that are killed, crash or do not end: each costs one request, and never the node.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it needs it")]

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use alloy::primitives::{B256, Bytes};
use oraculum::{
    engine::{Engine, EngineError, EngineOptions, Fault, Limits, OnnxEngine, Provider, Source},
    model::ModelFile,
    protocol::{
        Outcome, OutputFormat,
        tensor::{self, Tensor},
    },
};

/// Processes that this one has started and that have not ended.
fn processes() -> Vec<u32> {
    let us = std::process::id().to_string();
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let ours = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let facts: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        facts.first() != Some(&"Z") && facts.get(1) == Some(&us.as_str())
    };
    pids.filter(ours).collect()
}

fn signal(signal: &str) {
    for process in processes() {
        // It may have ended meanwhile.
        let _ = Command::new("kill").args([signal, &process.to_string()]).output().unwrap();
    }
}

/// Waits for the end of all processes.
async fn ended() {
    let began = Instant::now();
    while !processes().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60), "a process does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A model that makes as many steps as it is told: of about a millisecond each in the judge, and quicker natively.
async fn slow(source: fn(ModelFile) -> Source, limit: Duration) -> (OnnxEngine, B256) {
    let limits = Limits { run: limit, ..Limits::default() };
    let worker = Some(PathBuf::from(env!("CARGO_BIN_EXE_oraculum")));
    let options = EngineOptions { provider: Provider::Cpu, limits, worker, ..EngineOptions::default() };
    let engine = OnnxEngine::start(options).await.unwrap();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../onnx-models/bad/slow.onnx");
    let id = engine.load(source(ModelFile::of_path(file.as_ref()).unwrap())).await.unwrap().id;
    (engine, id)
}

fn steps(count: i64) -> Bytes {
    tensor::encode(&[Tensor::i64(vec![1], &[count]).unwrap()]).unwrap()
}

async fn answered(engine: &OnnxEngine, id: B256) -> Bytes {
    let inference = engine.run(id, steps(2), OutputFormat::NATIVE).await.unwrap();
    assert_eq!(inference.outcome, Outcome::Ok);
    inference.output
}

/// Sends a signal again and again while a run goes on that takes seconds; how the run ends. Where the signal meets a
/// process that still loads the model, there is no session for a second.
async fn signalled(engine: &OnnxEngine, id: B256, name: &str) -> EngineError {
    let mut run = std::pin::pin!(engine.run(id, steps(1_000_000_000), OutputFormat::NATIVE));
    let error = loop {
        match tokio::time::timeout(Duration::from_millis(700), &mut run).await {
            Ok(ended) => break ended.unwrap_err(),
            Err(_) => signal(name),
        }
    };
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    error
}

/// One test, because each would find the others' processes among its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_or_does_not_end_costs_one_request() {
    costs_one_request(Source::judged).await;
    costs_one_request(Source::file).await;
}

async fn costs_one_request(source: fn(ModelFile) -> Source) {
    let (engine, id) = slow(source, Duration::from_secs(300)).await;
    let before = answered(&engine, id).await;

    // Killed while it has nothing to do: nobody notices.
    signal("-9");
    ended().await;
    assert_eq!(answered(&engine, id).await, before);
    assert_eq!(processes().len(), 1);

    // A crash in the run, and in the second attempt: the request is given up.
    let error = signalled(&engine, id, "-SEGV").await;
    assert!(error.to_string().contains("signal 11"), "{error}");
    assert_eq!(error.fault() == Fault::Request, matches!(error, EngineError::Crashed(_)), "{error}");
    assert_eq!(answered(&engine, id).await, before);

    // Killed from outside, perhaps for want of memory: the request may be answered later.
    let error = signalled(&engine, id, "-9").await;
    assert!(error.to_string().contains("signal 9") && error.fault() != Fault::Request, "{error}");
    assert_eq!(answered(&engine, id).await, before);

    // Nobody waits any more: the process is free again, or gone, and the next request is answered.
    let run = engine.run(id, steps(1_000_000_000), OutputFormat::NATIVE);
    assert!(tokio::time::timeout(Duration::from_millis(50), run).await.is_err());
    assert_eq!(answered(&engine, id).await, before);
    drop(engine);
    ended().await;

    // A run that does not end in time ends with its process.
    let (engine, id) = slow(source, Duration::from_millis(300)).await;
    let first = processes();
    let error = engine.run(id, steps(1_000_000_000), OutputFormat::NATIVE).await.unwrap_err();
    assert!(matches!(error, EngineError::Timeout { .. }), "{error}");
    assert_eq!(answered(&engine, id).await, before);
    assert!(processes().iter().all(|process| !first.contains(process)));
    drop(engine);
    ended().await;
}
