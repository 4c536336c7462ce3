//! What a model's process and the node say to each other: protobuf messages, which `transfer` carries.
//!
//! ```text
//! node ──▶ Order: load, then run, run, …           process ──▶ Report: preparing, loaded or not, then one for each run
//!                      or step, step, … (examine)              or findings, of which `Done` ends each step
//! ```
//!
//! The process may be under a hostile model's control, so the node takes nothing in a report for granted: lengths are
//! bounded, and tensors are checked against their dimensions.

pub(in crate::engine::backends) mod examine;

use prost::{Message, Oneof};

use self::examine::{Examine, Examined};
use crate::engine::backend::MAX_OUTPUT_BYTES;

/// Bytes of an order at most, and of a tensor or a trace in a report.
pub(in crate::engine::backends) const MAX_DATA: u32 = MAX_OUTPUT_BYTES;
/// Bytes of everything else that a process reports, at most.
pub(in crate::engine::backends) const MAX_REPORT: u32 = 1 << 20;

/// A message to a model's process.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Order {
    #[prost(oneof = "OrderKind", tags = "1, 2, 15")]
    pub kind: Option<OrderKind>,
}

/// Kinds of messages to a model's process.
#[derive(Clone, PartialEq, Oneof)]
pub(in crate::engine::backends) enum OrderKind {
    /// Loads the model; the first message, and sent once.
    #[prost(message, tag = "1")]
    Load(Load),
    /// Runs the model once.
    #[prost(message, tag = "2")]
    Run(Run),
    /// Takes a step of an examination.
    #[prost(message, tag = "15")]
    Examine(Examine),
}

/// The model, and what is to run it.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Load {
    /// The model's file, which is the process's standard output: a `ForChild`, as JSON.
    #[prost(string, tag = "1")]
    pub file: String,
    #[prost(oneof = "RunnerOptions", tags = "2, 3")]
    pub runner: Option<RunnerOptions>,
}

/// What is to run the model.
#[derive(Clone, PartialEq, Oneof)]
pub(in crate::engine::backends) enum RunnerOptions {
    #[prost(message, tag = "2")]
    Judge(JudgeOptions),
    #[prost(message, tag = "3")]
    Native(NativeOptions),
}

/// ONNX Runtime, and what the model may use.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct NativeOptions {
    /// Path of the runtime's library.
    #[prost(string, tag = "1")]
    pub library: String,
    /// Device and options: a `Placement`, as JSON.
    #[prost(string, tag = "2")]
    pub placement: String,
    /// Bytes of memory that the process may have; 0 for no limit.
    #[prost(uint64, tag = "3")]
    pub memory: u64,
}

/// The canonical judge, and what the card lets it use.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct JudgeOptions {
    /// Path of the judge's WebAssembly file.
    #[prost(string, tag = "1")]
    pub wasm: String,
    /// Folder of compiled code.
    #[prost(string, tag = "2")]
    pub cache: String,
    /// Bytes of memory.
    #[prost(uint64, tag = "3")]
    pub memory: u64,
    /// Instructions of a load, and of each run.
    #[prost(uint64, tag = "4")]
    pub fuel: u64,
    /// Whether the model is to be examined, not served: then it need not even load.
    #[prost(bool, tag = "15")]
    pub examine: bool,
}

/// Input of a run.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Run {
    /// One tensor for each input, in the model's order.
    #[prost(message, repeated, tag = "1")]
    pub inputs: Vec<Tensor>,
    /// Positions of the outputs that are asked for, ascending.
    #[prost(uint32, repeated, tag = "2")]
    pub wanted: Vec<u32>,
    /// Set where the run is to decide about an answer.
    #[prost(message, optional, tag = "3")]
    pub judgement: Option<Judgement>,
}

/// A run in a session that has run nothing before.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Judgement {
    /// Seed of the trace that is wanted as well, 32 bytes.
    #[prost(bytes = "vec", optional, tag = "1")]
    pub seed: Option<Vec<u8>>,
    /// Set where the guard is to say whether the outputs allow a verdict.
    #[prost(message, optional, tag = "2")]
    pub guard: Option<AnswerRule>,
}

/// When two runs give the same answer.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct AnswerRule {
    /// Rules of the card, one for each output of the model.
    #[prost(message, repeated, tag = "1")]
    pub agreement: Vec<Agreement>,
    /// Format of the request.
    #[prost(uint32, tag = "2")]
    pub width: u32,
    #[prost(uint32, tag = "3")]
    pub decimals: u32,
    #[prost(uint32, tag = "4")]
    pub mask: u32,
    /// Bytes of an answer at most.
    #[prost(uint32, tag = "5")]
    pub max_output_bytes: u32,
}

/// Rule of a card, as `card.json` writes its numbers; without any it is `Exact`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Agreement {
    #[prost(string, optional, tag = "1")]
    pub atol: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub rtol: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub gap: Option<String>,
}

/// A tensor.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Tensor {
    /// ONNX's number of the element type.
    #[prost(uint32, tag = "1")]
    pub dtype: u32,
    #[prost(uint32, repeated, tag = "2")]
    pub dims: Vec<u32>,
    /// Elements of number types and bool, little-endian.
    #[prost(bytes = "vec", tag = "3")]
    pub data: Vec<u8>,
    /// Bytes of each string, whose texts stand in `data` one after another.
    #[prost(uint32, repeated, tag = "4")]
    pub lengths: Vec<u32>,
    /// Bytes of the data that come in memory beside the message, and not in `data`.
    #[prost(uint64, tag = "5")]
    pub in_memory: u64,
}

/// A message from a model's process.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Report {
    #[prost(oneof = "ReportKind", tags = "1, 2, 3, 4, 5, 15")]
    pub kind: Option<ReportKind>,
}

/// Kinds of messages from a model's process.
#[derive(Clone, PartialEq, Oneof)]
pub(in crate::engine::backends) enum ReportKind {
    /// Something has to be made first that takes long, in words.
    #[prost(string, tag = "1")]
    Preparing(String),
    /// The model is loaded.
    #[prost(message, tag = "2")]
    Loaded(Loaded),
    /// The model is not loaded.
    #[prost(message, tag = "3")]
    NotLoaded(Failure),
    /// Outputs of a run: that many tensors follow, each a message, in the order in which they were asked for, then the trace if
    /// there is one.
    #[prost(message, tag = "4")]
    Outputs(Outputs),
    /// A run gave no outputs.
    #[prost(message, tag = "5")]
    Failed(Failure),
    /// Something was found in an examination.
    #[prost(message, tag = "15")]
    Examined(Examined),
}

/// What the process knows of the model that it loaded.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Loaded {
    /// Bytes that the session holds, estimated.
    #[prost(uint64, tag = "1")]
    pub footprint: u64,
    /// Names of the inputs, in the model's order.
    #[prost(string, repeated, tag = "2")]
    pub inputs: Vec<String>,
    /// Names of the outputs, in the model's order.
    #[prost(string, repeated, tag = "3")]
    pub outputs: Vec<String>,
}

/// What is told before the outputs of a run.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Outputs {
    /// Number of the tensors that follow.
    #[prost(uint32, tag = "1")]
    pub tensors: u32,
    /// Nanoseconds that the model ran.
    #[prost(uint64, tag = "2")]
    pub run_time: u64,
    /// Whether a trace follows them.
    #[prost(bool, tag = "3")]
    pub trace: bool,
    /// What the guard says, if it was asked.
    #[prost(message, optional, tag = "4")]
    pub guard: Option<Guard>,
}

/// What the guard says.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Guard {
    /// Why no verdict is allowed; `None` where one is.
    #[prost(string, optional, tag = "1")]
    pub speaks: Option<String>,
}

/// The trace of a run.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Trace {
    #[prost(bytes = "vec", tag = "1")]
    pub bytes: Vec<u8>,
    /// Why it is empty, if its run met a limit.
    #[prost(string, optional, tag = "2")]
    pub reason: Option<String>,
}

/// Why there are no outputs, or no model.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Failure {
    #[prost(enumeration = "FailureKind", tag = "1")]
    pub kind: i32,
    /// Reason in words.
    #[prost(string, tag = "2")]
    pub reason: String,
    /// Position of the output that is no tensor.
    #[prost(uint32, tag = "3")]
    pub output: u32,
    /// Nanoseconds that the model ran.
    #[prost(uint64, tag = "4")]
    pub run_time: u64,
    /// Bytes of outputs that are too long.
    #[prost(uint64, tag = "5")]
    pub length: u64,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(in crate::engine::backends) enum FailureKind {
    /// The process or its runtime.
    Runtime = 0,
    /// The model fails on this input.
    Model = 1,
    /// An output is no packed tensor.
    NotTensor = 2,
    /// The run met a limit of the card's profile.
    Limit = 3,
    /// The machine has too little memory.
    Memory = 4,
    /// The judge itself cannot be used here.
    Judge = 5,
    /// The model is newer than the runtime.
    TooNew = 6,
    /// The hardware.
    Device = 7,
    /// The outputs are longer than `MAX_DATA`.
    TooLong = 8,
    /// The model's file cannot be read, or is not the one that its card names.
    File = 9,
}

impl From<OrderKind> for Order {
    fn from(kind: OrderKind) -> Self {
        Self { kind: Some(kind) }
    }
}

impl From<ReportKind> for Report {
    fn from(kind: ReportKind) -> Self {
        Self { kind: Some(kind) }
    }
}
