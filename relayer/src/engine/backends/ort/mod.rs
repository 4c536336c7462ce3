//! ONNX Runtime: in processes of models, or in this one, where each session has a thread of its own.
//!
//! ```text
//! OrtProcesses ──▶ child/ ──▶ runner, in the other process ──▶ Opened ──▶ session
//! OrtBackend ──▶ worker, a thread of this one ───────────────────▶ Opened
//! ```

mod opened;
mod process;
pub(super) mod runner;
pub mod runtime;
mod sequences;
pub(super) mod session;
mod values;
mod worker;

pub(in crate::engine) use process::OrtProcesses;

use std::sync::Arc;

use futures::future::BoxFuture;

use self::runtime::Runtime;
use crate::{
    engine::{
        backend::{Backend, Session},
        error::LoadError,
        profile::Device,
    },
    model::{OpenModelFile, graph::Signature},
};

/// The runtime that this process has loaded. A model that brings it down takes the process with it.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct OrtBackend {
    runtime: &'static Runtime,
}

impl OrtBackend {
    /// Runs models with a runtime.
    pub(in crate::engine) fn new(runtime: &'static Runtime) -> Self {
        Self { runtime }
    }
}

impl Backend for OrtBackend {
    fn load(
        &self,
        file: OpenModelFile,
        signature: Arc<Signature>,
        device: Device,
    ) -> BoxFuture<'_, Result<Box<dyn Session>, LoadError>> {
        let runtime = self.runtime;
        Box::pin(async move {
            let session = worker::OrtSession::open(runtime, file, signature, device).await?;
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }
}

#[cfg(test)]
mod tests;
