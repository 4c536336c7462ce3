//! Reasons for which the judge gives no result.

use std::path::PathBuf;

use crate::SelfTestError;

/// Reason for which no judge is opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file is not the WebAssembly file that profiles name.
    #[error(
        "the file is not the judge: its SHA-256 is {hash}, not {}; run ./scripts/setup, or take it from onnxruntime-web {}",
        crate::WASM_SHA256,
        crate::ONNX_RUNTIME
    )]
    NotTheJudge {
        /// SHA-256 of the file, in hexadecimal.
        hash: String,
    },
    /// The code cannot be compiled for this machine.
    #[error("the judge cannot be compiled for this machine: {0}")]
    Compile(String),
    /// The folder of compiled code cannot be used.
    #[error("the judge's compiled code cannot be kept in {path}: {reason}", path = .path.display())]
    Cache {
        /// Folder of compiled code.
        path: PathBuf,
        /// What failed.
        reason: String,
    },
    /// The judge gives other bits on this machine.
    #[error(transparent)]
    Broken(#[from] SelfTestError),
}

/// Reason for which a model is not loaded, or a run gives no outputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// ONNX Runtime refuses the model, with its message.
    #[error("the judge does not load the model: {0}")]
    Load(String),
    /// ONNX Runtime reports that the run failed, with its message.
    #[error("the run failed: {0}")]
    Run(String),
    /// An input is not what the model takes.
    #[error("{0}")]
    Input(String),
    /// An output is no tensor of a known type.
    #[error("output {output} is no tensor that can be read: {reason}")]
    Output {
        /// Position of the output.
        output: usize,
        /// What it is instead.
        reason: String,
    },
    /// The instructions that a load or a run may take were spent.
    #[error("all fuel was spent")]
    OutOfFuel,
    /// The memory that a session may have was not enough.
    #[error("more memory was needed than the {limit} bytes of the limit")]
    OutOfMemory {
        /// Bytes of linear memory that the session may have.
        limit: u64,
    },
    /// The WebAssembly code trapped.
    #[error("the judge's code trapped: {0}")]
    Trap(String),
    /// The stack of this thread was not enough: says nothing about the model.
    #[error("the stack of this thread is exhausted")]
    StackExhausted,
    /// This machine could not give the memory that the limit allows: says nothing about the model.
    #[error("this machine has no memory left for the judge: {0}")]
    HostMemory(String),
    /// An earlier run ended the session.
    #[error("the session has ended with an earlier run; open a new one")]
    Ended,
}

impl JudgeError {
    /// Whether the error is a limit, at which every machine ends alike.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::OutOfFuel | Self::OutOfMemory { .. } | Self::Trap(_))
    }

    /// Whether the error says something about this machine only.
    #[must_use]
    pub fn is_host(&self) -> bool {
        matches!(self, Self::StackExhausted | Self::HostMemory(_) | Self::Ended)
    }
}
