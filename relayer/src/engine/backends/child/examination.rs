//! The node's side of an examination: a model's process that is asked step by step. Nothing that it says is taken for
//! granted.

use tokio::time::{Instant, timeout_at};

use super::{
    Connection, Program, tensors, transfer,
    wire::{
        self, MAX_REPORT, Order, OrderKind, Report, ReportKind, RunnerOptions,
        examine::{Done, Examine, Examined, Finding, Step},
    },
};
use crate::{
    engine::error::LoadError,
    model::OpenModelFile,
    protocol::{cast::ModelTensor, tensor::MAX_TENSORS},
};

/// A process that examines a model; it is killed when this is dropped.
pub(in crate::engine::backends) struct Examination {
    connection: Connection,
    /// When everything has to be done.
    deadline: Instant,
}

/// Why no examination begins.
#[derive(Debug)]
pub(in crate::engine::backends) enum Unopened {
    /// The time is up.
    Late,
    /// The file, the judge or the process cannot be used.
    Load(LoadError),
}

impl From<LoadError> for Unopened {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

/// Why an examination goes no further.
#[derive(Debug)]
pub(in crate::engine::backends) enum Halted {
    /// The time is up.
    Late,
    /// The process ended, or says what it should not, in words.
    Process(String),
    /// The step could not be taken.
    Step(wire::Failure),
}

impl Examination {
    /// Starts a process for a model, of which nothing is read yet.
    ///
    /// # Errors
    /// `Unopened::Late` at the deadline. `Unopened::Load`: `LoadError::Model` or `File` where the file cannot be read, `Judge`
    /// where the judge cannot be used, `Process` where the process failed.
    pub(in crate::engine::backends) async fn open(
        program: &Program,
        file: &OpenModelFile,
        judge: wire::JudgeOptions,
        deadline: Instant,
    ) -> Result<Self, Unopened> {
        let process = |error: std::io::Error| LoadError::Process(error.to_string());
        // Weights in other files are no business of the judge.
        let (handle, told) = file.for_child(false).map_err(LoadError::from)?;
        let file = serde_json::to_string(&told).map_err(|error| process(error.into()))?;
        let load = wire::Load { file, runner: Some(RunnerOptions::Judge(judge)) };
        let mut connection = Connection::start(program, handle).map_err(process)?;
        match timeout_at(deadline, connection.load(load)).await {
            Err(_) => Err(Unopened::Late),
            Ok(Ok(loaded)) => Ok(loaded.map(|_| Self { connection, deadline })?),
            Ok(Err(error)) => Err(LoadError::Process(connection.process.end(&error).await.to_string()).into()),
        }
    }

    /// Takes a step, and has `each` look at what is found, with the tensors that come with it.
    ///
    /// # Errors
    /// `Halted`, or what `each` gives, as `Halted::Process`.
    pub(in crate::engine::backends) async fn step(
        &mut self,
        step: Step,
        each: &mut (dyn FnMut(Finding, Vec<ModelTensor>) -> Result<(), &'static str> + Send),
    ) -> Result<(), Halted> {
        let deadline = self.deadline;
        match timeout_at(deadline, self.take(step, each)).await {
            Ok(taken) => taken,
            Err(_) => {
                let _ = self.connection.process.child.start_kill();
                Err(Halted::Late)
            }
        }
    }

    async fn take(
        &mut self,
        step: Step,
        each: &mut (dyn FnMut(Finding, Vec<ModelTensor>) -> Result<(), &'static str> + Send),
    ) -> Result<(), Halted> {
        let order = Order::from(OrderKind::Examine(Examine { step: Some(step) }));
        if let Err(error) = transfer::send(&mut self.connection.writer, order).await {
            return Err(self.broken(&error).await);
        }
        loop {
            let (finding, tensors) = match self.finding().await {
                Ok(found) => found.map_err(|what| Halted::Process(format!("its process sent {what}")))?,
                Err(error) => return Err(self.broken(&error).await),
            };
            match finding {
                Finding::Done(Done { failure: None }) => return Ok(()),
                Finding::Done(Done { failure: Some(failure) }) => return Err(Halted::Step(failure)),
                finding => {
                    each(finding, tensors).map_err(|what| Halted::Process(format!("its process sent {what}")))?
                }
            }
        }
    }

    /// What the process reports next; the inner error says what it sent instead.
    async fn finding(&mut self) -> std::io::Result<Result<(Finding, Vec<ModelTensor>), String>> {
        let reader = &mut self.connection.reader;
        let finding = match transfer::receive::<Report>(reader, MAX_REPORT).await?.kind {
            Some(ReportKind::Examined(Examined { finding: Some(finding) })) => finding,
            _ => return Ok(Err("no finding".to_owned())),
        };
        let count = match &finding {
            Finding::Ran(ran) => ran.tensors,
            Finding::Jittered(jittered) => jittered.tensors,
            _ => 0,
        };
        // No model with more outputs gets as far.
        match usize::try_from(count).ok().filter(|count| *count <= MAX_TENSORS) {
            Some(count) => Ok(tensors::receive(reader, count).await?.map(|tensors| (finding, tensors))),
            None => Ok(Err("more tensors than a model has outputs".to_owned())),
        }
    }

    async fn broken(&mut self, error: &std::io::Error) -> Halted {
        Halted::Process(self.connection.process.end(error).await.to_string())
    }
}
