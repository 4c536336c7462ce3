//! The device, its driver and libraries, and how long the first model takes.

use std::{fs, time::Instant};

use oraculum::{
    engine::{Driver, Needs, OnnxEngine, Opened, Provider, Source, runtime, smallest_model},
    model::ModelFile,
    text,
};
use oraculum_tests::Res;

use super::verdict;
use crate::{Verdict, arguments::Arguments};

pub(crate) async fn run(arguments: &Arguments) -> Res<Verdict> {
    let row = |what: &str, found: &str| println!("| {what} | {} |", text::one_line(found).replace('|', "\\|"));
    println!("| | |\n|---|---|");
    row("system", &system());
    row("processor", &processor());
    let options = arguments.engine();
    let runtime = runtime::Library::find(None)?;
    row("ONNX Runtime", &format!("{}, {}", runtime.version, runtime.path.display()));
    let needs = Needs::of(options.provider, &runtime.path, options.providers.plugin.library.as_deref());
    let is_nvidias = needs.libraries.iter().any(|library| library.part == "NVIDIA driver");
    if is_nvidias || matches!(options.provider, Provider::Cuda | Provider::Tensorrt) {
        let driver = Driver::find().await;
        row("NVIDIA driver", driver.version().unwrap_or("none"));
        match &driver.gpus {
            Ok(gpus) => {
                gpus.iter().for_each(|gpu| row("GPU", &format!("{}: {}, {} MiB", gpu.index, gpu.name, gpu.memory)))
            }
            Err(reason) => row("GPU", reason),
        }
        if let Some(reason) = driver.lacks(needs.cuda) {
            row("driver for CUDA", &reason);
        }
    }
    for library in &needs.libraries {
        let found = match (&library.found, library.opened) {
            (Some(found), _) => format!("{} {}", found.version.as_deref().unwrap_or(""), found.path.display()),
            (None, Opened::Perhaps) => "not found, and seldom needed".to_owned(),
            (None, _) => "**not found**".to_owned(),
        };
        row(&library.name, found.trim());
    }
    let began = Instant::now();
    let engine = OnnxEngine::start(options).await;
    let took = began.elapsed();
    match engine {
        Ok(engine) => {
            row("start, with a first model on the device", &format!("{took:.2?}"));
            let began = Instant::now();
            let model = engine.load(Source::file(ModelFile::in_memory(smallest_model()))).await?;
            row("the next model loads", &format!("in {:.2?}, on {}", began.elapsed(), model.place()));
            Ok(verdict(!model.is_elsewhere()))
        }
        Err(error) => {
            row("start", &error.to_string());
            Ok(Verdict::Failed)
        }
    }
}

fn system() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or("unknown memory").trim();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{} {}, {cores} cores, {memory}", std::env::consts::OS, release.trim())
}

fn processor() -> String {
    let said = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = said.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, model)| model.trim().to_owned())
}
