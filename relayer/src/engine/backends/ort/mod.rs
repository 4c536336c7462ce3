//! ONNX Runtime in this process: each session has a thread of its own.

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
    },
    model::{OpenModelFile, graph::Signature},
};

/// The runtime that this process has loaded.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct OrtBackend {
    runtime: &'static Runtime,
}

impl OrtBackend {
    /// Runs models with a runtime.
    pub(in crate::engine) fn new(runtime: &'static Runtime) -> Self {
        Self { runtime }
    }

    /// Whether the loaded library was built with CUDA, and its part for CUDA is there.
    pub(in crate::engine) fn has_cuda(self) -> bool {
        session::has_cuda(self.runtime)
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
