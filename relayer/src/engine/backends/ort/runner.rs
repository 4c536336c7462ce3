//! ONNX Runtime in a model's process.
//!
//! The library is loaded first, with all that it needs of the system; then the process keeps the model's files alone, loads
//! the model, and gives the files up as well. A GPU's driver needs more of the system, so such a process keeps files.

use std::{path::Path, time::Instant};

use ort::session::RunOptions;

use super::{opened::Opened, process::Placement, providers, runtime::Library, session};
use crate::{
    engine::{
        backend::{ModelFailure, RunError, RunRequest},
        backends::child::{
            sandbox, tensors,
            wire::{Failure, FailureKind, Loaded, NativeOptions, Run},
            worker::{Results, Runner, failure},
        },
        error::LoadError,
        profile::Device,
    },
    model::{
        ModelError, ModelFile, OpenModelFile,
        graph::{self, Signature},
    },
    protocol::cast::ModelTensor,
};

/// A model in ONNX Runtime.
struct OrtRunner {
    session: Opened,
    signature: Signature,
}

/// Loads ONNX Runtime, and a model into it. `isolated_now` is called before the model's file is read, and may start threads.
///
/// # Errors
/// `FailureKind::Runtime` where the library cannot be used or the process cannot be isolated, `Model` or `TooNew` where the
/// model does not load.
pub(in crate::engine::backends) fn open(
    file: &OpenModelFile,
    options: &NativeOptions,
    isolated_now: &dyn Fn() -> Result<(), String>,
) -> Result<Box<dyn Runner>, Failure> {
    let unusable = |reason: String| failure(FailureKind::Runtime, reason);
    let not_isolated = |reason: String| unusable(format!("it cannot be isolated: {reason}"));
    let isolated = |result: Result<(), String>| result.map_err(not_isolated);
    let bad = |reason: String| failure(FailureKind::Model, reason);
    sandbox::die_first();
    let runtime = Library::find(Some(Path::new(&options.library))).and_then(|library| library.load());
    let runtime = runtime.map_err(|error| unusable(error.to_string()))?;
    let placement = serde_json::from_str(&options.placement).map_err(|error| unusable(error.to_string()))?;
    let Placement { device, mut execution } = placement;
    let name = providers::load(runtime, device, &execution).map_err(bad)?;
    execution.options.plugin.name = name.or(execution.options.plugin.name);
    if device == Device::Cpu {
        isolated(sandbox::limit_memory(options.memory))?;
    }
    let unread = |error: ModelError| failure(FailureKind::File, error.to_string());
    let read = |file: &OpenModelFile| file.read().map_err(unread);
    let in_memory;
    let (mut file, mut keeps_files) = (file, device == Device::Cpu);
    if device != Device::Cpu {
        isolated(sandbox::enter_with_driver())?;
    } else if !sandbox::enter_for_loading(file.weights_folder()).map_err(not_isolated)? {
        // Without Landlock no file is left, so the runtime is given the bytes.
        let opened = ModelFile::in_memory(read(file)?).open();
        in_memory = opened.map_err(unread)?;
        (file, keeps_files) = (&in_memory, false);
        isolated(sandbox::enter())?;
    }
    isolated(isolated_now())?;
    let signature = graph::inspect(&read(file)?).map_err(|error| bad(error.to_string()))?;
    let session = Opened::open(runtime, file, &signature, device, &execution, drop).map_err(|error| match error {
        LoadError::TooNew(reason) => failure(FailureKind::TooNew, reason),
        LoadError::Session(reason) => bad(reason),
        LoadError::Model(error) => unread(error),
        error => bad(error.to_string()),
    })?;
    if keeps_files {
        isolated(sandbox::enter())?;
    }
    Ok(Box::new(OrtRunner { session, signature }))
}

impl Runner for OrtRunner {
    fn loaded(&self) -> Loaded {
        let inputs = self.signature.inputs.iter().map(|input| input.name.clone()).collect();
        let outputs = self.signature.outputs.iter().map(|output| output.name().to_owned()).collect();
        Loaded { footprint: self.session.size, inputs, outputs }
    }

    fn run(&mut self, run: Run) -> Result<Results, Failure> {
        let began = Instant::now();
        let result = self.run_natively(run);
        let run_time = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        match result {
            Ok(outputs) => {
                let tensors = outputs.iter().map(|(_, tensor)| tensors::to_wire(tensor)).collect();
                Ok(Results { tensors, trace: None, guard: None, run_time })
            }
            Err(failure) => Err(Failure { run_time, ..failure }),
        }
    }
}

impl OrtRunner {
    fn run_natively(&mut self, run: Run) -> Result<Vec<(usize, ModelTensor)>, Failure> {
        let broken = |reason: String| failure(FailureKind::Runtime, reason);
        if run.judgement.is_some() {
            return Err(broken("only the canonical judge judges".to_owned()));
        }
        let inputs = run.inputs.into_iter().map(tensors::from_wire).collect::<Result<_, _>>().map_err(broken)?;
        let wanted = run.wanted.iter().map(|output| *output as usize).collect();
        let request = RunRequest { inputs, wanted, judgement: None };
        let options = RunOptions::new().map_err(|error| broken(session::describe(&error)))?;
        match self.session.run(&self.signature, request, &options) {
            Ok(Ok(outputs)) => Ok(outputs),
            Ok(Err(ModelFailure::Failed(reason))) => Err(failure(FailureKind::Model, reason)),
            Ok(Err(ModelFailure::NotTensor { output, reason })) => {
                let output = u32::try_from(output).unwrap_or(u32::MAX);
                Err(Failure { output, ..failure(FailureKind::NotTensor, reason) })
            }
            Ok(Err(ModelFailure::TooLong(length))) => {
                Err(Failure { length, ..failure(FailureKind::TooLong, String::new()) })
            }
            Err(RunError::OutOfMemory(reason)) => Err(failure(FailureKind::Memory, reason)),
            Err(RunError::Device(reason)) => Err(failure(FailureKind::Device, reason)),
            Err(error) => Err(broken(error.to_string())),
        }
    }
}
