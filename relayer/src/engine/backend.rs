//! The seam: what runs models offers `Backend` and `Session`, and everything above is written once.
//!
//! Below it are ONNX Runtime in this process, and the canonical judge in processes of its own; remote servers are to take the
//! same place. Above it are the queue, time limits, cards, casts, probes, the reference check and outcomes. A session
//! runs one batch at a time, which is one set of tensors: whoever puts several requests into one stacks their tensors.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    error::LoadError,
    judgement::{GuardReport, Judgement, Trace},
    profile::Device,
};
use crate::{
    model::{OpenModelFile, graph::Signature},
    protocol::cast::ModelTensor,
};

/// Something that opens sessions of models.
pub(super) trait Backend: Send + Sync {
    /// Opens a session. Dropping the future gives the session up.
    ///
    /// The session must come from bytes with the file's hash, and have the inputs and outputs of `signature`.
    ///
    /// # Errors
    /// `LoadError::Model` where the file cannot be read or was altered, `Session`, `TooNew` or `WeightsBeside` where the model does not load, and
    /// `Judge` or `Process` where the backend is at fault.
    fn load(
        &self,
        file: OpenModelFile,
        signature: Arc<Signature>,
        device: Device,
    ) -> BoxFuture<'_, Result<Box<dyn Session>, LoadError>>;
}

/// A model that is loaded in a backend on one device.
pub(super) trait Session: Send + Sync {
    /// Runs the model once; the engine begins no other run before this one has ended or is given up.
    ///
    /// At the deadline, or when `cancel` is cancelled, the run is to end as soon as it can. The engine drops the future of
    /// a run that does not.
    ///
    /// # Errors
    /// Every variant of `RunError`.
    fn run(
        &self,
        batch: RunRequest,
        deadline: Instant,
        cancel: CancellationToken,
    ) -> BoxFuture<'_, Result<RunReport, RunError>>;

    /// Memory that the session is known to hold, in bytes: an estimate that does not count what runs need.
    fn footprint(&self) -> u64;

    /// Whether the session can run its model.
    fn health(&self) -> Health;
}

/// Input of a run.
#[derive(Clone, Debug)]
pub(super) struct RunRequest {
    /// One tensor per input, in the model's order.
    pub inputs: Vec<ModelTensor>,
    /// Positions of the outputs that are asked for, ascending.
    pub wanted: Vec<usize>,
    /// Set where the run is to decide about an answer, which only the judge's can.
    pub judgement: Option<Judgement>,
}

/// Result of a run that ended by itself.
#[derive(Debug)]
pub(super) struct RunReport {
    /// The outputs that were asked for, each with its position.
    pub result: Result<Vec<(usize, ModelTensor)>, ModelFailure>,
    /// Time that the model ran.
    pub run_time: Duration,
    /// The trace, where one was asked for.
    pub trace: Option<Trace>,
    /// What the guard says, where it was asked.
    pub guard: Option<GuardReport>,
}

/// Bytes that all outputs of a run may have where they go from process to process; cards allow answers of far fewer.
pub(super) const MAX_OUTPUT_BYTES: u32 = 256 << 20;

/// Failure that a model gives in place of outputs; the input may be at fault.
#[derive(Clone, Debug)]
pub(super) enum ModelFailure {
    /// The model fails on this input, here.
    Failed(String),
    /// An output is no packed tensor, on any machine.
    NotTensor { output: usize, reason: String },
    /// So many bytes of output, which are more than `MAX_OUTPUT_BYTES`.
    TooLong(u64),
}

/// Reason for which a run did not end by itself, or says nothing about its input.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// A limit of the card's profile, at which every machine ends alike.
    #[error("the run met a limit of the model's profile: {0}")]
    Limit(String),
    #[error("the device failed: {0}")]
    Device(String),
    #[error("the runtime failed: {0}")]
    Runtime(String),
    /// The session's process was killed by somebody else before its run ended.
    #[error("{0}")]
    Killed(String),
    /// The session ended before its run did.
    #[error("the session has ended: {0}")]
    Ended(String),
    /// The deadline passed.
    #[error("not done in time")]
    Late,
    /// Whoever asked went away.
    #[error("cancelled")]
    Cancelled,
}

/// Whether a session can run its model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// The session can run its model.
    Ready,
    /// Some run has not ended yet, perhaps one that was given up; the session may be ready again.
    Busy,
    /// The session cannot run any more, with the reason.
    Failed(String),
}
