//! A model in a session of ONNX Runtime, with the files that it was read from.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ort::session::{RunOptions, Session, builder::LoadCanceler};

use super::{runtime::Runtime, session};
use crate::{
    engine::{
        backend::{ModelFailure, RunError, RunRequest},
        error::LoadError,
        profile::Device,
        providers::Execution,
    },
    model::{
        OpenModelFile, OpenWeights,
        graph::{Port, Signature},
    },
    protocol::cast::ModelTensor,
};

/// A session, with what has to stay as it is while it runs.
pub(super) struct Opened {
    session: Session,
    weights: Option<OpenWeights>,
    /// Size of the model's files, in bytes.
    pub size: u64,
    device: Device,
}

impl Opened {
    /// Opens the session from the files' very bytes. `cancelable` is given what stops that.
    ///
    /// # Errors
    /// `LoadError::Model` where a file cannot be read or was altered, `TooNew` or `Session` for everything else.
    pub(super) fn open(
        runtime: &Runtime,
        file: &OpenModelFile,
        signature: &Signature,
        device: Device,
        execution: &Execution,
        cancelable: impl FnOnce(LoadCanceler),
    ) -> Result<Self, LoadError> {
        // The binding may panic on what it takes for impossible.
        let open = AssertUnwindSafe(|| Self::try_open(runtime, file, signature, device, execution, cancelable));
        catch_unwind(open).unwrap_or_else(|_| Err(LoadError::Session("the runtime's binding panicked".into())))
    }

    fn try_open(
        runtime: &Runtime,
        file: &OpenModelFile,
        signature: &Signature,
        device: Device,
        execution: &Execution,
        cancelable: impl FnOnce(LoadCanceler),
    ) -> Result<Self, LoadError> {
        let failed = |error: ort::Error| session::open_error(&error);
        let weights = file.weights(&signature.external)?;
        let folder = weights.as_ref().map(|weights| weights.folder().to_string_lossy());
        let mut builder = session::builder(runtime, device, execution, folder.as_deref())
            .map_err(|error| LoadError::Session(session::describe(&error)))?;
        cancelable(builder.canceler());
        let (session, size) = if let Some(path) = file.pinned_path() {
            let session = builder.commit_from_file(path).map_err(failed)?;
            // The runtime has read the file by itself, so it has to be the same still.
            file.verify()?;
            (session, file.size()?)
        } else {
            let bytes = file.read()?;
            (builder.commit_from_memory(&bytes).map_err(failed)?, bytes.len() as u64)
        };
        weights.as_ref().map_or(Ok(()), OpenWeights::verify)?;
        let size = size + weights.as_ref().map_or(0, OpenWeights::size);
        let names = |outlets: &[ort::value::Outlet]| outlets.iter().map(|o| o.name().to_owned()).collect::<Vec<_>>();
        let declared = |ports: &[Port]| ports.iter().map(|port| port.name.clone()).collect::<Vec<_>>();
        let found = (names(session.inputs()), names(session.outputs()));
        let expected = (declared(&signature.input_ports), declared(&signature.output_ports));
        if found != expected {
            let reason = format!("the runtime reads {found:?} as inputs and outputs, the file says {expected:?}");
            return Err(LoadError::Session(reason));
        }
        Ok(Self { session, weights, size, device })
    }

    /// Runs the model once; returns the outputs that are wanted, each with its position.
    ///
    /// # Errors
    /// `RunError::OutOfMemory`, `Device` or `Runtime`.
    pub(super) fn run(
        &mut self,
        signature: &Signature,
        request: RunRequest,
        options: &RunOptions,
    ) -> Result<Result<Vec<(usize, ModelTensor)>, ModelFailure>, RunError> {
        let run = AssertUnwindSafe(|| session::run(&mut self.session, signature, self.device, request, options));
        let result =
            catch_unwind(run).unwrap_or_else(|_| Err(RunError::Runtime("the runtime's binding panicked".into())));
        // The runtime reads weights where they lie: what was written to under it is another model.
        match self.weights.as_mut().map_or(Ok(()), OpenWeights::check_unwritten) {
            Ok(()) => result,
            Err(error) => Err(RunError::Runtime(error.to_string())),
        }
    }
}
