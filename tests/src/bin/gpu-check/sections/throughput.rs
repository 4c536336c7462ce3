//! Runs a second through the engine, beside a bare session of ONNX Runtime with the same settings in another process.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use alloy::primitives::Bytes;
use futures::{StreamExt, stream};
use oraculum::{
    engine::{EngineError, Inference, Needs, OnnxEngine, Provider, runtime},
    model::ModelFile,
    protocol::{OutputFormat, tensor},
};
use oraculum_tests::{Res, onnx};
use ort::{
    environment::Environment,
    ep::{CUDA, cuda::ConvAlgorithmSearch},
    session::{Session, builder::GraphOptimizationLevel},
    value::Tensor,
};

use crate::{
    Verdict,
    arguments::{Arguments, Section},
    measure::{Times, micros, repeat},
    subject::{file_of, images, load, random},
};

/// Time for which each is measured.
fn time(arguments: &Arguments) -> Duration {
    Duration::from_millis(if arguments.rehearse { 200 } else { 1_500 })
}

/// Requests that are under way at once, in the second figure of the engine.
const AT_ONCE: usize = 8;
/// What is measured: a model, and the rows of its input.
const FIGURES: [(&str, u32); 4] = [("iris", 1), ("digits", 1), ("convolutions", 1), ("convolutions", 16)];

fn size(arguments: &Arguments) -> u32 {
    if arguments.rehearse { 16 } else { 112 }
}

fn file(arguments: &Arguments, name: &str) -> Res<Vec<u8>> {
    match name {
        "convolutions" => Ok(onnx::network(size(arguments).into())),
        name => Ok(file_of(name)?.open()?.read()?.to_vec()),
    }
}

fn input(arguments: &Arguments, name: &str, rows: u32) -> Res<Bytes> {
    match name {
        "convolutions" => images(rows, size(arguments), 4),
        name => random(name, 1, rows)?.pop().ok_or_else(|| "no input".into()),
    }
}

pub(crate) async fn run(arguments: &Arguments) -> Res<Verdict> {
    println!(
        "Medians in µs of runs one after another for {} ms each, and runs a second with {AT_ONCE} requests under way.\n",
        time(arguments).as_millis()
    );
    println!(
        "| model | rows | engine | 99 of 100 | of it the run | in one process | bare session | engine to bare | engine, runs a second |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    // What cannot be used is named by the engine.
    OnnxEngine::start(arguments.engine()).await?;
    let bare = match arguments.provider() {
        // What others need to be told is the engine's own business.
        Provider::Cpu | Provider::Cuda => medians(arguments)?,
        _ => Vec::new(),
    };
    for (number, (name, rows)) in FIGURES.into_iter().enumerate() {
        let engine = OnnxEngine::start(arguments.engine()).await?;
        let id = load(&engine, ModelFile::in_memory(file(arguments, name)?)).await?;
        let input = input(arguments, name, rows)?;
        let once = || engine.run_off_chain(id, input.clone(), OutputFormat::NATIVE.mask);
        let (whole, inside) = measured(time(arguments), once).await?;
        let here = OnnxEngine::start(arguments.engine_here()).await?;
        load(&here, ModelFile::in_memory(file(arguments, name)?)).await?;
        let (in_one, _) =
            measured(time(arguments), || here.run_off_chain(id, input.clone(), OutputFormat::NATIVE.mask)).await?;
        let (began, mut count) = (Instant::now(), 0);
        let runs = stream::repeat_with(once).take_while(|_| std::future::ready(began.elapsed() < time(arguments)));
        let mut runs = std::pin::pin!(runs.buffer_unordered(AT_ONCE));
        while let Some(ran) = runs.next().await {
            ran?;
            count += 1;
        }
        let a_second = f64::from(count) / began.elapsed().as_secs_f64();
        let (median, bare) = (whole.quantile(0.5), bare.get(number).copied());
        let ratio =
            bare.map_or_else(String::new, |bare| format!("{:.2}", median.as_secs_f64() / bare.as_secs_f64().max(1e-9)));
        println!(
            "| {name} | {rows} | {} | {} | {} | {} | {} | {ratio} | {a_second:.0} |",
            micros(median),
            micros(whole.quantile(0.99)),
            micros(inside.quantile(0.5)),
            micros(in_one.quantile(0.5)),
            bare.map_or_else(|| "not measured".to_owned(), micros),
        );
    }
    Ok(Verdict::Passed)
}

/// Runs one after another for a time: how long each took, and how long its run within that.
async fn measured<R: Future<Output = Result<Inference, EngineError>>>(
    time: Duration,
    once: impl Fn() -> R,
) -> Res<(Times, Times)> {
    let (began, mut whole, mut inside) = (Instant::now(), Vec::new(), Vec::new());
    while whole.len() < 20 || began.elapsed() < time {
        let at = Instant::now();
        let ran = once().await?;
        whole.push(at.elapsed());
        inside.push(ran.run_time);
    }
    Ok((Times::new(whole), Times::new(inside)))
}

/// Medians of bare sessions, of a process of their own: a process has one ONNX Runtime, and that is the engine's here.
fn medians(arguments: &Arguments) -> Res<Vec<Duration>> {
    let run = Command::new(std::env::current_exe()?).args(arguments.again(Section::Bare)).output()?;
    if !run.status.success() {
        let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
        return Err(format!("the bare session: {}", oraculum::text::cut(&oraculum::text::one_line(&said), 500)).into());
    }
    let lines = String::from_utf8(run.stdout)?;
    lines.lines().map(|line| Ok(Duration::from_nanos(line.parse()?))).collect()
}

/// Prints the median of each figure in nanoseconds, a line each.
pub(crate) fn bare(arguments: &Arguments) -> Res<Verdict> {
    let path = runtime::discover()?.canonicalize()?;
    for library in Needs::of(arguments.provider(), &path, None).libraries {
        let is_own = library.part == "provider library" || library.part == "NVIDIA driver";
        if let Some(found) = library.found.filter(|_| !is_own) {
            ort::util::preload_dylib(found.path)?;
        }
    }
    let environment = ort::init_from(&path)?.with_telemetry(false).build()?;
    for (name, rows) in FIGURES {
        let mut session = session(&environment, arguments, &file(arguments, name)?)?;
        let packed = tensor::decode(&input(arguments, name, rows)?)?;
        let packed = packed.first().ok_or("no input")?;
        let shape: Vec<i64> = packed.shape().iter().map(|size| i64::from(*size)).collect();
        let numbers: Vec<f32> = packed
            .data()
            .chunks_exact(4)
            .filter_map(|bytes| Some(f32::from_be_bytes(bytes.try_into().ok()?)))
            .collect();
        let times = repeat(time(arguments), 20, || {
            // As the engine does: tensors are made of what came, and outputs are copied out.
            let tensor = Tensor::from_array((shape.clone(), numbers.clone()))?;
            let outputs = session.run(ort::inputs![tensor])?;
            let (_, data) = outputs[0].try_extract_tensor::<f32>()?;
            std::hint::black_box(data.to_vec());
            Ok::<_, ort::Error>(())
        })?;
        println!("{}", times.quantile(0.5).as_nanos());
    }
    Ok(Verdict::Passed)
}

/// A session with the engine's settings.
fn session(environment: &Environment, arguments: &Arguments, model: &[u8]) -> ort::Result<Session> {
    let mut builder = Session::builder(environment)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_optimization_level(GraphOptimizationLevel::Level1)?
        .with_deterministic_compute(true)?
        .with_memory_pattern(false)?;
    if arguments.provider() == Provider::Cuda {
        let cuda = CUDA::default()
            .with_device_id(i32::try_from(arguments.device()).unwrap_or(i32::MAX))
            .with_tf32(false)
            .with_conv_algorithm_search(ConvAlgorithmSearch::Default);
        builder = builder.with_execution_providers([cuda.build().error_on_failure()])?;
    }
    builder.commit_from_memory(model)
}
