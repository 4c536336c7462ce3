//! ONNX Runtime in processes of models, one for each session.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{
    super::child::{
        ChildSession, Program,
        wire::{NativeOptions, RunnerOptions},
    },
    runtime::Library,
};
use crate::{
    engine::{
        backend::{Backend, Session},
        error::LoadError,
        profile::Device,
    },
    model::{OpenModelFile, graph::Signature},
};

/// The runtime's library, which processes of models load.
#[derive(Clone, Debug)]
pub(in crate::engine) struct OrtProcesses {
    /// Program that is started for each session.
    pub program: Program,
    /// The library.
    pub library: Library,
    /// Bytes of memory that a process may have; 0 for no limit.
    pub memory: u64,
}

impl Backend for OrtProcesses {
    fn load(
        &self,
        file: OpenModelFile,
        signature: Arc<Signature>,
        device: Device,
    ) -> BoxFuture<'_, Result<Box<dyn Session>, LoadError>> {
        Box::pin(async move {
            let cuda = if let Device::Cuda(number) = device { Some(number) } else { None };
            let library = self.library.path.display().to_string();
            let options = RunnerOptions::Native(NativeOptions { library, cuda, memory: self.memory });
            let session = ChildSession::open(&self.program, file, &signature, options).await?;
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }
}
