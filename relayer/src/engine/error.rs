//! Reasons for which the engine has no answer, or does not serve a model. Neither can be signed.
//!
//! An error without an answer says whose fault it is: only one of the request's own ends the request.

use std::time::Duration;

use alloy::primitives::B256;
use oraculum_judge::ProfileError;

use super::{
    backends::{canonical::files::JudgeFilesError, ort::runtime::RuntimeError},
    device::Device,
};
use crate::{
    model::{ModelError, graph::Refused},
    protocol::OutputFormat,
    text,
};

/// Reason for which a request has no answer this time. Failures that anybody can reproduce are outcomes, not errors.
#[derive(Clone, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum EngineError {
    #[error("model {0} is not loaded: add its folder with `oraculum model add`")]
    UnknownModel(B256),
    #[error("no contract accepts the output format {0:?}")]
    InvalidFormat(OutputFormat),
    #[error("{waiting} requests wait for this model already")]
    Overloaded { waiting: usize },
    #[error("the model did not finish within {limit:?}")]
    Timeout { limit: Duration },
    #[error("the model ran out of memory: {0}")]
    OutOfMemory(String),
    #[error("the device failed: {0}")]
    Device(String),
    #[error(
        "the model failed under ONNX Runtime {runtime}, but only {reference} can tell whether the input is bad: {reason}"
    )]
    Unconfirmed { runtime: String, reference: String, reason: String },
    #[error("the runtime failed: {0}")]
    Runtime(String),
    #[error("the model has no session, and none can be opened: {0}")]
    Stopped(String),
    #[error("the run met a limit of the model's profile, as it does on every machine: {0}")]
    Limit(String),
    #[error("the model's process ended twice in this run: {0}")]
    Crashed(String),
    #[error("nothing judges this model's answers: judge its file, or a model of the exact or the tolerance lane")]
    NotJudged,
}

/// Party at fault for a missing answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request: no engine will ever answer it, or none should try.
    Request,
    /// The backend or the machine: requests of this model have no answer until it is mended, by itself or by the
    /// operator.
    Backend,
    /// A load that passes, or a limit that this request came up against: it may be answered later.
    Load,
}

impl EngineError {
    /// Party at fault. A request is given up for a `Fault::Request` only.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::InvalidFormat(_) | Self::Limit(_) | Self::Crashed(_) | Self::NotJudged => Fault::Request,
            Self::UnknownModel(_)
            | Self::Device(_)
            | Self::Unconfirmed { .. }
            | Self::Runtime(_)
            | Self::Stopped(_) => Fault::Backend,
            Self::Overloaded { .. } | Self::Timeout { .. } | Self::OutOfMemory(_) => Fault::Load,
        }
    }

    /// The label under which metrics count this error.
    #[must_use]
    pub fn metrics_label(&self) -> &'static str {
        match self {
            Self::UnknownModel(_) => "unknown_model",
            Self::InvalidFormat(_) => "invalid_format",
            Self::Overloaded { .. } => "overloaded",
            Self::Timeout { .. } => "timeout",
            Self::OutOfMemory(_) => "out_of_memory",
            Self::Device(_) => "device",
            Self::Unconfirmed { .. } => "unconfirmed",
            Self::Runtime(_) => "runtime",
            Self::Stopped(_) => "stopped",
            Self::Limit(_) => "limit",
            Self::Crashed(_) => "crashed",
            Self::NotJudged => "not_judged",
        }
    }
}

/// Reason for which the engine does not start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum StartError {
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error("no process can be started for a model: {0}")]
    Process(String),
    #[error("no device is given to run on: name at least one, such as 0")]
    NoDevice,
    #[error(
        "{device} cannot be used: {reason} (`oraculum doctor --gpu` looks at all that it needs; the provider `cpu` needs none of it)"
    )]
    Device { device: Device, reason: String },
}

/// Reason for which a model is not served.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum LoadError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("`agreement` in card.json has {rules} rules, and should have {outputs}: one for each output of the model")]
    AgreementCount { rules: usize, outputs: usize },
    #[error("details.json does not describe the model's file: {field} is {found}, and should be {expected}")]
    DetailsDiffer { field: String, found: String, expected: String },
    #[error(
        "`profile` in card.json is `{}`, by which this engine cannot judge: {reason}; the usual one is `{}`",
        text::shown(profile),
        oraculum_judge::Profile::EXACT
    )]
    UnknownProfile { profile: String, reason: ProfileError },
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    JudgeFiles(#[from] JudgeFilesError),
    #[error(
        "the canonical judge is given no files beside the model's own: save the weights in the ONNX file, or make the model with \
         `--lane native`"
    )]
    WeightsBeside,
    #[error("the canonical judge cannot be used: {0}")]
    Judge(String),
    #[error("the model's file cannot be used: {0}")]
    File(String),
    #[error("the model's process failed: {0}")]
    Process(String),
    #[error("ONNX Runtime does not load the model: {}", text::one_line(.0))]
    Session(String),
    #[error(
        "the model is newer than this ONNX Runtime: {}; export it for an older one (`opset_version`, and `ir_version` where \
         that is named), or install a later ONNX Runtime",
        text::one_line(.0)
    )]
    TooNew(String),
    #[error("the model did not load within {0:?}")]
    Timeout(Duration),
    #[error(
        "the model needs {needed} MiB of memory, and models may hold {limit} MiB, of which those that run or are pinned leave too \
         little: raise `engine.memory`, or serve fewer models"
    )]
    Memory { needed: u64, limit: u64 },
    #[error("probe {index} gives {found} here: this machine cannot serve the model within its tolerance")]
    Probe { index: usize, found: String },
    #[error("probe {index} could not be run: {error}")]
    ProbeFailed { index: usize, error: EngineError },
}
