//! ONNX Runtime in processes of models, one for each session.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{
    super::child::{
        ChildSession, Program,
        wire::{NativeOptions, RunnerOptions},
    },
    providers,
    runtime::Library,
};
use crate::{
    engine::{
        backend::{Backend, Session},
        error::LoadError,
        profile::Device,
        providers::Execution,
    },
    model::{OpenModelFile, graph::Signature},
};

/// Where and how a session is opened, as the process of a model is told it.
#[derive(Serialize, Deserialize)]
pub(super) struct Placement {
    pub device: Device,
    pub execution: Execution,
}

/// The runtime's library, which processes of models load.
#[derive(Clone, Debug)]
pub(in crate::engine) struct OrtProcesses {
    /// Program that is started for each session.
    pub program: Program,
    /// The library.
    pub library: Library,
    /// Bytes of memory that a process may have; 0 for no limit.
    pub memory: u64,
    /// What sessions are opened with.
    pub execution: Arc<Execution>,
}

impl Backend for OrtProcesses {
    fn load(
        &self,
        file: OpenModelFile,
        signature: Arc<Signature>,
        device: Device,
    ) -> BoxFuture<'_, Result<Box<dyn Session>, LoadError>> {
        Box::pin(async move {
            providers::check(device, &signature)?;
            let library = self.library.path.display().to_string();
            let placement = serde_json::to_string(&Placement { device, execution: (*self.execution).clone() });
            let placement = placement.map_err(|error| LoadError::Process(error.to_string()))?;
            let options = RunnerOptions::Native(NativeOptions { library, placement, memory: self.memory });
            let session = ChildSession::open(&self.program, file, &signature, options).await?;
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }
}
