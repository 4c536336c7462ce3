//! A run's way to a model's process and back. Nothing that the process says is taken for granted.

use std::time::Duration;

use alloy::primitives::keccak256;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::{
    LONGEST_LINE, tensors, transfer,
    wire::{self, Failure, FailureKind, MAX_DATA, MAX_REPORT, Order, OrderKind, Outputs, Report, ReportKind},
};
use crate::{
    engine::{
        backend::{ModelFailure, RunError, RunReport, RunRequest},
        judgement::{GuardReport, Trace},
    },
    text,
};

/// Sends a run, and reads what the process says of it; the inner error is the run's.
pub(super) async fn exchange(
    reader: &mut OwnedReadHalf,
    writer: &mut OwnedWriteHalf,
    request: &RunRequest,
) -> std::io::Result<Result<RunReport, RunError>> {
    let RunRequest { inputs, wanted, judgement } = request;
    let run = wire::Run {
        inputs: inputs.iter().map(tensors::to_wire).collect(),
        wanted: wanted.iter().filter_map(|output| u32::try_from(*output).ok()).collect(),
        judgement: judgement.as_ref().map(|judgement| wire::Judgement {
            seed: judgement.trace.map(|seed| seed.to_vec()),
            guard: judgement.guard.as_ref().map(wire::AnswerRule::from),
        }),
    };
    transfer::send(writer, Order::from(OrderKind::Run(run))).await?;
    let nonsense = |what: &str| Ok(Err(RunError::Runtime(format!("the model's process sent {what}"))));
    let Outputs { tensors: count, run_time, trace, guard } =
        match transfer::receive::<Report>(reader, MAX_REPORT).await?.kind {
            Some(ReportKind::Outputs(outputs)) => outputs,
            Some(ReportKind::Failed(failure)) => return Ok(failed(failure)),
            _ => return nonsense("no result"),
        };
    let seed = judgement.as_ref().and_then(|judgement| judgement.trace);
    let guarded = judgement.as_ref().is_some_and(|judgement| judgement.guard.is_some());
    if count as usize != wanted.len() || trace != seed.is_some() || guard.is_some() != guarded {
        return nonsense("other results than were asked for");
    }
    let outputs = match tensors::receive(reader, wanted.len()).await? {
        Ok(tensors) => wanted.iter().copied().zip(tensors).collect(),
        Err(what) => return nonsense(&what),
    };
    let trace = match seed {
        None => None,
        Some(seed) => {
            let wire::Trace { bytes, reason } = transfer::receive(reader, MAX_DATA).await?;
            let digest = keccak256([&seed[..], &bytes].concat());
            Some(Trace { digest, bytes, reason: reason.map(|reason| text::cut(&reason, LONGEST_LINE)) })
        }
    };
    let guard = guard.map(|wire::Guard { speaks }| match speaks {
        Some(reason) => GuardReport::Speaks(text::cut(&reason, LONGEST_LINE)),
        None => GuardReport::Silent,
    });
    Ok(Ok(RunReport { result: Ok(outputs), run_time: Duration::from_nanos(run_time), trace, guard }))
}

/// What a process says of a run that gave no outputs.
fn failed(failure: Failure) -> Result<RunReport, RunError> {
    let (kind, reason) = (failure.kind(), text::cut(&failure.reason, LONGEST_LINE));
    let run_time = Duration::from_nanos(failure.run_time);
    let failed = |failure| Ok(RunReport { result: Err(failure), run_time, trace: None, guard: None });
    match kind {
        FailureKind::Model => failed(ModelFailure::Failed(reason)),
        FailureKind::NotTensor => {
            let output = usize::try_from(failure.output).unwrap_or(usize::MAX);
            failed(ModelFailure::NotTensor { output, reason })
        }
        FailureKind::TooLong => failed(ModelFailure::TooLong(failure.length)),
        FailureKind::Limit => Err(RunError::Limit(reason)),
        FailureKind::Memory => Err(RunError::OutOfMemory(reason)),
        FailureKind::Device => Err(RunError::Device(reason)),
        FailureKind::Runtime | FailureKind::Judge | FailureKind::TooNew | FailureKind::File => {
            Err(RunError::Runtime(reason))
        }
    }
}
