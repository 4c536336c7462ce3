//! ONNX Runtime in a model's process.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use ort::session::{RunOptions, Session};

use super::{runtime, session};
use crate::{
    engine::{
        backend::{ModelFailure, RunError, RunRequest},
        backends::child::{
            sandbox::{self, Isolation},
            tensors,
            wire::{Failure, FailureKind, Loaded, NativeOptions, Outputs, ReportKind, Run},
            worker::{Runner, failure},
        },
        error::LoadError,
        profile::Device,
    },
    model::OpenModelFile,
};

/// A model in ONNX Runtime.
struct OrtRunner {
    session: Session,
    device: Device,
    footprint: u64,
    /// Options of the run that goes on, which stop it.
    running: Arc<Mutex<Option<Arc<RunOptions>>>>,
}

/// Loads ONNX Runtime, and a model into it.
///
/// # Errors
/// `FailureKind::Runtime` where the library cannot be used, `Model` or `TooNew` where the model does not load.
pub(in crate::engine::backends) fn open(
    file: &OpenModelFile,
    options: &NativeOptions,
) -> Result<Box<dyn Runner>, Failure> {
    let unusable = |reason: String| failure(FailureKind::Runtime, reason);
    sandbox::limit_memory(options.memory).map_err(unusable)?;
    let runtime = runtime::load(Some(Path::new(&options.library))).map_err(|error| unusable(error.to_string()))?;
    let device = options.cuda.map_or(Device::Cpu, Device::Cuda);
    let told = |error: ort::Error| match session::open_error(&error) {
        LoadError::TooNew(reason) => failure(FailureKind::TooNew, reason),
        LoadError::Session(reason) => failure(FailureKind::Model, reason),
        error => failure(FailureKind::Model, error.to_string()),
    };
    let builder = session::builder(runtime, device);
    let mut builder = builder.map_err(|error| failure(FailureKind::Model, session::describe(&error)))?;
    let path = file.pinned_path().ok_or_else(|| unusable("this system names no open files".to_owned()))?;
    let session = builder.commit_from_file(path).map_err(told)?;
    // The runtime has read the file by itself, so it has to be the same still.
    file.verify().map_err(|error| failure(FailureKind::Model, error.to_string()))?;
    let footprint = file.size().map_err(|error| failure(FailureKind::Model, error.to_string()))?;
    Ok(Box::new(OrtRunner { session, device, footprint, running: Arc::default() }))
}

impl Runner for OrtRunner {
    fn loaded(&self) -> Loaded {
        let names = |outlets: &[ort::value::Outlet]| outlets.iter().map(|outlet| outlet.name().to_owned()).collect();
        let (inputs, outputs) = (names(self.session.inputs()), names(self.session.outputs()));
        Loaded { footprint: self.footprint, inputs, outputs }
    }

    fn stopper(&self) -> Option<Box<dyn Fn() + Send>> {
        let running = self.running.clone();
        Some(Box::new(move || {
            if let Some(options) = &*running.lock().unwrap_or_else(PoisonError::into_inner) {
                let _ = options.terminate();
            }
        }))
    }

    fn isolation(&self) -> Isolation {
        if self.device == Device::Cpu { Isolation::Full } else { Isolation::Driver }
    }

    fn run(&mut self, run: Run) -> ReportKind {
        let began = Instant::now();
        let result = self.run_stoppable(run);
        let run_time = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        match result {
            Ok(tensors) => ReportKind::Outputs(Outputs { tensors, run_time, trace: None }),
            Err(failure) => ReportKind::Failed(Failure { run_time, ..failure }),
        }
    }
}

impl OrtRunner {
    fn run_stoppable(&mut self, run: Run) -> Result<Vec<crate::engine::backends::child::wire::Tensor>, Failure> {
        let nonsense = |reason: String| failure(FailureKind::Runtime, reason);
        if run.judgement.is_some() {
            return Err(nonsense("only the canonical judge judges".to_owned()));
        }
        let inputs = run.inputs.into_iter().map(tensors::from_wire).collect::<Result<_, _>>().map_err(nonsense)?;
        let wanted = run.wanted.iter().map(|output| *output as usize).collect();
        let request = RunRequest { inputs, wanted, judgement: None };
        let options = RunOptions::new().map_err(|error| nonsense(session::describe(&error)))?;
        let options = Arc::new(options);
        let set = |options| *self.running.lock().unwrap_or_else(PoisonError::into_inner) = options;
        set(Some(options.clone()));
        let result = session::run(&mut self.session, self.device, request, &options);
        set(None);
        match result {
            Ok(Ok(outputs)) => Ok(outputs.iter().map(|(_, tensor)| tensors::to_wire(tensor)).collect()),
            Ok(Err(ModelFailure::Failed(reason))) => Err(failure(FailureKind::Model, reason)),
            Ok(Err(ModelFailure::NotTensor { output, reason })) => {
                let output = u32::try_from(output).unwrap_or(u32::MAX);
                Err(Failure { output, ..failure(FailureKind::NotTensor, reason) })
            }
            Err(RunError::OutOfMemory(reason)) => Err(failure(FailureKind::Memory, reason)),
            Err(RunError::Device(reason)) => Err(failure(FailureKind::Device, reason)),
            Err(error) => Err(nonsense(error.to_string())),
        }
    }
}
