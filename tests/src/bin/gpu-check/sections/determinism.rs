//! Whether one input gives one output: 1,000 runs in a session, and the first run of fresh sessions, in another process.

use std::collections::BTreeSet;

use alloy::primitives::{Bytes, keccak256};
use oraculum::{engine::OnnxEngine, model::ModelFile, protocol::OutputFormat};
use oraculum_tests::{Res, onnx};

use super::{verdict, yes};
use crate::{
    Verdict,
    arguments::Arguments,
    subject::{file_of, images, load, random},
};

/// Runs of each model in one session, with other inputs between.
const RUNS: usize = 1_000;
/// Sessions that are opened anew.
const FRESH: usize = 5;

pub(crate) async fn run(arguments: &Arguments) -> Res<Verdict> {
    // Convolutions, whose algorithms there are many of.
    let size = if arguments.rehearse { 16 } else { 64 };
    let network = || ModelFile::in_memory(onnx::network(size.into()));
    println!(
        "{RUNS} runs of one input in one session, every tenth after a run of another input, and the first runs of {FRESH} fresh sessions in another process.\n"
    );
    println!("| model | different outputs in one session | in fresh sessions | one output |\n|---|---:|---:|---|");
    let mut all = true;
    for (name, file, input, other) in [
        ("iris", file_of("iris")?, first(random("iris", 2, 1)?)?, last(random("iris", 2, 3)?)?),
        ("digits", file_of("digits")?, first(random("digits", 2, 1)?)?, last(random("digits", 2, 4)?)?),
        ("convolutions", network(), images(1, size, 1)?, images(3, size, 2)?),
    ] {
        let engine = OnnxEngine::start(arguments.engine()).await?;
        let id = load(&engine, file.clone()).await?;
        let output = async |engine: &OnnxEngine, input: &Bytes| {
            let ran = engine.run_off_chain(id, input.clone(), OutputFormat::NATIVE.mask).await?;
            match ran.failure {
                Some(failure) => Err(failure.to_string().into()),
                None => Ok::<_, Box<dyn std::error::Error + Send + Sync>>(keccak256(&ran.output)),
            }
        };
        let mut seen = BTreeSet::new();
        for run in 0..RUNS {
            if run % 10 == 9 {
                output(&engine, &other).await?;
            }
            seen.insert(output(&engine, &input).await?);
        }
        let mut fresh = BTreeSet::new();
        for _ in 0..FRESH {
            let engine = OnnxEngine::start(arguments.engine_here()).await?;
            load(&engine, file.clone()).await?;
            fresh.insert(output(&engine, &input).await?);
        }
        let is_one = seen.len() == 1 && seen == fresh;
        all &= is_one;
        println!("| {name} | {} | {} | {} |", seen.len(), fresh.len(), yes(is_one));
    }
    Ok(verdict(all))
}

fn first(inputs: Vec<Bytes>) -> Res<Bytes> {
    inputs.into_iter().next().ok_or_else(|| "no input".into())
}

fn last(mut inputs: Vec<Bytes>) -> Res<Bytes> {
    inputs.pop().ok_or_else(|| "no input".into())
}
