//! ONNX Runtime: in processes of models, or in this one, where each session has a thread of its own.
//!
//! ```text
//! OrtProcesses ──▶ child/ ──▶ runner, in the other process ──▶ Opened ──▶ session
//! OrtBackend ──▶ worker, a thread of this one ───────────────────▶ Opened
//! ```

mod opened;
mod process;
pub(in crate::engine) mod providers;
pub(super) mod runner;
pub mod runtime;
mod sequences;
pub(super) mod session;
mod values;
mod worker;

pub(in crate::engine) use process::OrtProcesses;

use std::sync::Arc;

use futures::future::BoxFuture;

use self::runtime::{Library, Runtime};
use crate::{
    engine::{
        backend::{Backend, Session},
        error::LoadError,
        profile::Device,
        providers::Execution,
    },
    model::{OpenModelFile, graph::Signature},
};

/// The runtime that this process has loaded, and what its sessions are opened with. A model that brings it down takes the process
/// with it.
#[derive(Clone, Debug)]
struct OrtBackend {
    runtime: &'static Runtime,
    execution: Arc<Execution>,
}

/// Who loads ONNX Runtime.
#[derive(Clone, Debug)]
pub(in crate::engine) enum OrtHost {
    /// This process.
    Here(&'static Runtime),
    /// Processes of models.
    Processes(OrtProcesses),
}

impl OrtHost {
    /// The runtime's library.
    pub(in crate::engine) fn library(&self) -> &Library {
        match self {
            Self::Here(runtime) => &runtime.library,
            Self::Processes(processes) => &processes.library,
        }
    }

    /// Makes a device's provider ready; what sessions are opened with then. Libraries of a gigabyte take their time.
    ///
    /// # Errors
    /// What is missing or wrong, in one line. Processes of models find it out by themselves.
    pub(in crate::engine) fn prepare(&self, device: Device, mut execution: Execution) -> Result<Execution, String> {
        if let Self::Here(runtime) = self {
            let name = providers::load(runtime, device, &execution)?;
            execution.options.plugin.name = name.or(execution.options.plugin.name);
        }
        Ok(execution)
    }

    /// The backend whose sessions are opened so, on devices that are ready.
    pub(in crate::engine) fn backend(&self, execution: Execution) -> Arc<dyn Backend> {
        let execution = Arc::new(execution);
        match self {
            Self::Here(runtime) => Arc::new(OrtBackend { runtime, execution }),
            Self::Processes(processes) => Arc::new(OrtProcesses { execution, ..processes.clone() }),
        }
    }
}

impl Backend for OrtBackend {
    fn load(
        &self,
        file: OpenModelFile,
        signature: Arc<Signature>,
        device: Device,
    ) -> BoxFuture<'_, Result<Box<dyn Session>, LoadError>> {
        let (runtime, execution) = (self.runtime, self.execution.clone());
        Box::pin(async move {
            providers::check(device, &signature)?;
            let session = worker::OrtSession::open(runtime, file, signature, device, execution).await?;
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }
}

#[cfg(test)]
mod tests;
