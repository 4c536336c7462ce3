//! ONNX Runtime in this process: each session has a thread of its own.

pub(in crate::engine) mod providers;
pub mod runtime;
mod sequences;
pub(super) mod session;
mod values;
mod worker;

use std::sync::Arc;

use futures::future::BoxFuture;

use self::runtime::Runtime;
use crate::{
    engine::{
        backend::{Backend, Session},
        error::LoadError,
        profile::Device,
        providers::Execution,
    },
    model::{OpenModelFile, graph::Signature},
};

/// The runtime that this process has loaded, and what its sessions are opened with.
#[derive(Clone, Debug)]
pub(in crate::engine) struct OrtBackend {
    runtime: &'static Runtime,
    execution: Arc<Execution>,
}

impl OrtBackend {
    /// Runs models with a runtime, whose provider `providers::load` has made ready.
    pub(in crate::engine) fn new(runtime: &'static Runtime, execution: Arc<Execution>) -> Self {
        Self { runtime, execution }
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
