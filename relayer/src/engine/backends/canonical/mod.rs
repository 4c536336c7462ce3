//! The canonical judge: the same bits on every machine. It runs in processes of its own, one for each model.

pub(in crate::engine) mod examination;
pub(super) mod examiner;
pub(in crate::engine) mod files;
mod guard;
mod prepare;
pub(super) mod runner;
mod words;

use std::sync::Arc;

use futures::future::BoxFuture;
use oraculum_judge::Limits;

use self::files::JudgeFiles;
use super::child::{
    ChildSession, Program,
    wire::{JudgeOptions, RunnerOptions},
};
use crate::{
    engine::{
        backend::{Backend, Session},
        error::LoadError,
        profile::Device,
    },
    model::{OpenModelFile, graph::Signature},
};

/// The judge, under the limits of one card.
#[derive(Clone, Debug)]
pub(in crate::engine) struct JudgeBackend {
    /// Program that is started for each session.
    pub program: Program,
    /// The judge's file and the folder of its compiled code.
    pub files: Arc<JudgeFiles>,
    /// What a session may use.
    pub limits: Limits,
}

impl Backend for JudgeBackend {
    fn load(
        &self,
        file: OpenModelFile,
        signature: Arc<Signature>,
        _: Device,
    ) -> BoxFuture<'_, Result<Box<dyn Session>, LoadError>> {
        Box::pin(async move {
            if !signature.external.is_empty() {
                return Err(LoadError::WeightsBeside);
            }
            let judge = JudgeOptions {
                wasm: self.files.wasm.display().to_string(),
                cache: self.files.cache.display().to_string(),
                memory: self.limits.memory,
                fuel: self.limits.fuel,
                examine: false,
            };
            let session = ChildSession::open(&self.program, file, &signature, RunnerOptions::Judge(judge)).await?;
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }
}
