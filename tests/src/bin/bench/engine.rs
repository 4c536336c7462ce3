//! What the engine takes beside the model: packed tensors, queue, process. The model is one that gives back what it gets.

use std::{
    hint::black_box,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use alloy::primitives::Bytes;
use oraculum::{
    engine::{Engine, EngineOptions, OnnxEngine, Provider, Source, runtime::Library},
    model::ModelFile,
    protocol::{
        OutputFormat,
        tensor::{self, Tensor as Packed},
    },
};
use oraculum_tests::{Res, node::binary};
use ort::{
    session::{Session, builder::GraphOptimizationLevel},
    value::Tensor,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::fixture::percentile;

/// Numbers of float32 elements: 64 bytes, 4 KiB, 600 kB.
const SIZES: [u32; 3] = [16, 1_024, 150_000];
/// The model.
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../onnx-models/bad/dropout.onnx");
/// Names of the sides, the bare session first.
const SIDES: [&str; 4] = ["bare session", "in this process", "in a process of its own", "the judge in its process"];

/// A session as whoever calls the runtime directly opens it, under the settings of the engine.
pub(super) fn bare_session(model: &Path) -> ort::Result<Session> {
    let library = Library::find(None).map_err(ort::Error::wrap)?;
    let environment = ort::init_from(&library.path).map_err(ort::Error::wrap)?.with_telemetry(false).build()?;
    Session::builder(&environment)?
        .with_intra_threads(1)?
        .with_optimization_level(GraphOptimizationLevel::Level1)?
        .with_memory_pattern(false)?
        .commit_from_file(model)
}

/// Runs a bare session once for each line of standard input, on as many floats as that says, and prints the nanoseconds. In a
/// process of its own, because a process has one environment of the runtime.
pub(super) fn bare() -> Res<()> {
    let mut session = bare_session(MODEL.as_ref())?;
    for line in std::io::stdin().lines() {
        let size: u32 = line?.parse()?;
        let values: Vec<f32> = (0..size).map(|value| value as f32).collect();
        let began = Instant::now();
        let outputs = session.run(ort::inputs![Tensor::from_array(([i64::from(size), 1], values))?])?;
        black_box(outputs[0].try_extract_tensor::<f32>()?.1.to_vec());
        println!("{}", began.elapsed().as_nanos());
    }
    Ok(())
}

/// The process of `bare`.
struct Bare {
    process: Child,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Bare {
    fn start() -> Res<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process =
            command.arg("session").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let answers = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        Ok(Self { process, answers })
    }

    async fn run(&mut self, size: u32) -> Res<Duration> {
        let input = self.process.stdin.as_mut().ok_or("no input")?;
        input.write_all(format!("{size}\n").as_bytes()).await?;
        let nanoseconds = self.answers.next_line().await?.ok_or("the bare session has ended")?;
        Ok(Duration::from_nanos(nanoseconds.parse()?))
    }
}

/// Times runs of each side by turns.
pub(super) async fn run(runs: usize) -> Res<()> {
    let model = Path::new(MODEL);
    let mut bare = Bare::start()?;
    let engine = async |trust_models: bool, source: fn(ModelFile) -> Source| {
        let worker = Some(binary()?);
        let options = EngineOptions { provider: Provider::Cpu, trust_models, worker, ..EngineOptions::default() };
        let engine = OnnxEngine::start(options).await?;
        let id = engine.load(source(ModelFile::of_path(model)?)).await?.id;
        Res::Ok((engine, id))
    };
    let engines =
        [engine(true, Source::file).await?, engine(false, Source::file).await?, engine(false, Source::judged).await?];
    println!(
        "one run, its input packed and its output packed, µs: p50 of {runs} (p99), and p50 above the bare session's\n"
    );
    println!("| | {} |\n|---|{}", SIZES.map(|size| format!("{} B", size * 4)).join(" | "), "---:|".repeat(3));
    let mut rows = vec![Vec::new(); SIDES.len()];
    for size in SIZES {
        let values: Vec<f32> = (0..size).map(|value| value as f32).collect();
        let input: Bytes = tensor::encode(&[Packed::f32(vec![size, 1], &values)?])?;
        let mut times = vec![Vec::with_capacity(runs); SIDES.len()];
        for turn in 0..runs + runs / 10 {
            let mut taken = vec![bare.run(size).await?];
            for (engine, id) in &engines {
                let began = Instant::now();
                let ran = engine.run(*id, input.clone(), OutputFormat::NATIVE).await?;
                taken.push(began.elapsed());
                if ran.output.len() != input.len() {
                    return Err(format!("{:?}: {:?}", ran.outcome, ran.failure).into());
                }
            }
            // The first runs warm up all sides.
            if turn >= runs / 10 {
                times.iter_mut().zip(taken).for_each(|(times, taken)| times.push(taken.as_secs_f64() * 1e6));
            }
        }
        times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
        let floor = percentile(&times[0], 0.5);
        for (row, times) in rows.iter_mut().zip(&times) {
            let (p50, p99) = (percentile(times, 0.5), percentile(times, 0.99));
            row.push(format!("{p50:.0} ({p99:.0}), +{:.0}", p50 - floor));
        }
    }
    for (side, row) in SIDES.iter().zip(rows) {
        println!("| {side} | {} |", row.join(" | "));
    }
    Ok(())
}
