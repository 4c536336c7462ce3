//! What the judge costs, beside a native session of the same ONNX Runtime with one thread:
//! `cargo run -p oraculum-judge --example speed`, after `./scripts/setup`.

#![allow(clippy::print_stdout, reason = "a program that prints")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    error::Error,
    time::{Duration, Instant},
};

use oraculum_judge::{DType, Data, Judge, Limits, Tensor};
use ort::session::{Session, SessionInputValue, builder::GraphOptimizationLevel};
use support::{SHIPPED, golden, repository, shipped, wasm};

/// Calls that a median is taken of.
const CALLS: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = wasm();
    for what in ["compiled", "from the cache", "from the cache", "from the cache"] {
        let started = Instant::now();
        let judge = Judge::open(&file, Some(folder.path()))?;
        println!("judge opened, {what}: {:?} ({:?})", started.elapsed(), judge.code_source());
    }
    let judge = Judge::open(&file, Some(folder.path()))?;
    let started = Instant::now();
    judge.self_test()?;
    println!("self-test: {:?}", started.elapsed());

    let library = format!("node_modules/onnxruntime-node/bin/napi-v6/linux/{}/libonnxruntime.so.1", arch());
    let environment = ort::init_from(repository().join(library))?.with_telemetry(false).build()?;
    environment.set_log_level(ort::logging::LogLevel::Fatal);
    for model in SHIPPED {
        let (bytes, inputs) = (shipped(model), golden(model).remove(0).inputs);
        let fresh = median((0..20).map(|_| {
            let started = Instant::now();
            let run = judge.load(&bytes, Limits::DEFAULT).and_then(|mut session| session.run_all(&inputs));
            run.map(|_| started.elapsed())
        }))?;
        let mut session = judge.load(&bytes, Limits::DEFAULT)?;
        let warm = median((0..CALLS).map(|_| {
            let started = Instant::now();
            session.run_all(&inputs).map(|_| started.elapsed())
        }))?;
        let mut native = Session::builder(&environment)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_optimization_level(GraphOptimizationLevel::Level1)?
            .commit_from_memory(&bytes)?;
        let direct = median((0..CALLS).map(|_| {
            let started = Instant::now();
            run_native(&mut native, &inputs).map(|_| started.elapsed())
        }))?;
        println!(
            "{model}: fresh session and first run {fresh:?}; warm run {warm:?}, native {direct:?}, ratio {:.2}; fuel {} + {}",
            warm.as_secs_f64() / direct.as_secs_f64(),
            session.load_fuel(),
            session.run_fuel(),
        );
    }
    Ok(())
}

fn arch() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" }
}

fn median<E>(times: impl Iterator<Item = Result<Duration, E>>) -> Result<Duration, E> {
    let mut times = times.collect::<Result<Vec<_>, E>>()?;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// Runs a native session and copies its outputs, as the judge does.
fn run_native(session: &mut Session, inputs: &[Tensor]) -> Result<Vec<Vec<u8>>, ort::Error> {
    let inputs = inputs.iter().map(native).collect::<Result<Vec<_>, _>>()?;
    let outputs = session.run(inputs.as_slice())?;
    let bytes = outputs.iter().map(|(_, value)| {
        if let Ok((_, floats)) = value.try_extract_tensor::<f32>() {
            return Ok(floats.iter().flat_map(|float| float.to_le_bytes()).collect());
        }
        let integers = value.try_extract_tensor::<i64>()?.1;
        Ok(integers.iter().flat_map(|integer| integer.to_le_bytes()).collect())
    });
    bytes.collect()
}

fn native(tensor: &Tensor) -> Result<SessionInputValue<'static>, ort::Error> {
    let dims: Vec<i64> = tensor.dims().iter().map(|dim| i64::from(*dim)).collect();
    let Data::Bytes(bytes) = tensor.data() else { return Err(ort::Error::new("a string")) };
    Ok(match tensor.dtype() {
        DType::I64 => {
            let integers = bytes.chunks_exact(8).map(|word| i64::from_le_bytes(word.try_into().unwrap_or_default()));
            ort::value::Tensor::from_array((dims, integers.collect::<Vec<_>>()))?.into()
        }
        DType::U8 => ort::value::Tensor::from_array((dims, bytes.clone()))?.into(),
        _ => ort::value::Tensor::from_array((dims, support::f32s(tensor)))?.into(),
    })
}
