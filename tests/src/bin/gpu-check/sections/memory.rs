//! A run that wants more memory than its model may take is an error of that request, and the engine lives on.

use oraculum::{
    engine::{EngineError, EngineOptions, Fault, OnnxEngine, Provider},
    model::ModelFile,
    protocol::{
        OutputFormat,
        tensor::{self, Tensor},
    },
    text,
};
use oraculum_tests::{Res, onnx};

use super::{verdict, yes};
use crate::{
    Verdict,
    arguments::Arguments,
    subject::{file_of, load, random},
};

/// Bytes that a model may take on the device.
const LIMIT: u64 = 256 << 20;

pub(crate) async fn run(arguments: &Arguments) -> Res<Verdict> {
    let mut options = EngineOptions { ..arguments.engine() };
    // Numbers of four bytes: four times the limit, or on the processor, which has none, more than any address space.
    let beyond: i64 = match options.provider {
        Provider::Cuda | Provider::Tensorrt => {
            options.providers.cuda.memory_limit = Some(LIMIT);
            println!("`engine.cuda.memory_limit` is {} MiB, and a run fills four times as much.\n", LIMIT >> 20);
            i64::try_from(LIMIT)?
        }
        Provider::Cpu => {
            println!("The processor has no limit of its own; a run fills more than an address space.\n");
            1 << 60
        }
        _ => {
            println!("A plugin's memory has no option that all of them know.");
            return Ok(Verdict::NotHere);
        }
    };
    let engine = OnnxEngine::start(options).await?;
    let filler = load(&engine, ModelFile::in_memory(onnx::filler())).await?;
    let iris = load(&engine, file_of("iris")?).await?;
    let fill = async |count: i64| {
        let input = Tensor::i64(vec![1], &[count]).and_then(|tensor| tensor::encode(&[tensor]));
        match input {
            Ok(input) => engine.run_off_chain(filler, input, OutputFormat::NATIVE.mask).await,
            Err(error) => Err(EngineError::Runtime(error.to_string())),
        }
    };
    println!("| | as it should be | found |\n|---|---|---|");
    let mut all = true;
    let mut row = |what: &str, is: bool, found: &str| {
        println!("| {what} | {} | {} |", yes(is), text::one_line(found).replace('|', "\\|"));
        all &= is;
    };
    let small = fill(1_000).await;
    row("a small run is answered", small.is_ok(), &small.map_or_else(|error| error.to_string(), |_| "answered".into()));
    for round in 1..=3 {
        let large = fill(beyond).await;
        let is_memory = matches!(&large, Err(error @ EngineError::OutOfMemory(_)) if error.fault() == Fault::Load);
        let told = large.map_or_else(|error| error.to_string(), |_| "answered".into());
        row(&format!("a run beyond the limit is an error of its own, time {round}"), is_memory, &told);
        let again = fill(1_000).await;
        let told = again.as_ref().map_or_else(ToString::to_string, |_| "answered".into());
        row("the same model answers after it", again.is_ok(), &told);
        let input = random("iris", 1, 1)?.pop().unwrap_or_default();
        let other = engine.run_off_chain(iris, input, OutputFormat::NATIVE.mask).await;
        row("another model does", other.is_ok(), &other.map_or_else(|error| error.to_string(), |_| "answered".into()));
    }
    Ok(verdict(all))
}
