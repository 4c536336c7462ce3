//! What an examination asks of a model's process, step by step, and what the process finds.
//!
//! Findings follow a step until `Done`; tensors follow the findings that announce them, each a message.

use prost::{Message, Oneof};

use super::{Failure, Tensor};

/// Characters of a name or reason of the model that are told.
pub(in crate::engine::backends) const TOLD: usize = 400;

/// A step of an examination.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Examine {
    #[prost(oneof = "Step", tags = "1, 2, 3, 4, 5")]
    pub step: Option<Step>,
}

/// Kinds of steps.
#[derive(Clone, PartialEq, Oneof)]
pub(in crate::engine::backends) enum Step {
    /// Reads the file, and loads it: `Finding::Facts`.
    #[prost(message, tag = "1")]
    Facts(Nothing),
    /// Runs the model in a fresh session: `Finding::Ran`. Inputs that give outputs are kept for the steps that follow.
    #[prost(message, tag = "2")]
    Input(Inputs),
    /// Runs the model with the candidates of its trace as further outputs, eight at a time, on all inputs: a `Finding::Drew`
    /// for each eight, then `Finding::Proof`.
    #[prost(message, tag = "3")]
    Draws(Nothing),
    /// Makes runs of the guard on all inputs: a `Finding::Jittered` for each.
    #[prost(message, tag = "4")]
    Jitter(Jitter),
    /// Forgets the last inputs that were kept: no answer can hold what they give.
    #[prost(message, tag = "5")]
    Forget(Nothing),
}

/// A step without parameters.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::engine::backends) struct Nothing {}

/// Inputs of a run.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Inputs {
    /// One tensor for each input, in the model's order.
    #[prost(message, repeated, tag = "1")]
    pub inputs: Vec<Tensor>,
}

/// Which of the guard's runs.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::engine::backends) struct Jitter {
    /// Those of +ε and −ε; else the one without jitter, which the cast check looks at.
    #[prost(bool, tag = "1")]
    pub plus: bool,
    #[prost(bool, tag = "2")]
    pub minus: bool,
}

/// What was found.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Examined {
    #[prost(oneof = "Finding", tags = "1, 2, 3, 4, 5, 6")]
    pub finding: Option<Finding>,
}

/// Kinds of findings.
#[derive(Clone, PartialEq, Oneof)]
pub(in crate::engine::backends) enum Finding {
    #[prost(message, boxed, tag = "1")]
    Facts(Box<Facts>),
    #[prost(message, tag = "2")]
    Ran(Ran),
    #[prost(message, tag = "3")]
    Drew(Drew),
    #[prost(message, tag = "4")]
    Proof(Proof),
    #[prost(message, tag = "5")]
    Jittered(Jittered),
    /// The step is done.
    #[prost(message, tag = "6")]
    Done(Done),
}

/// What a file is. Where it may not be run, there are refusals and nothing else.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Facts {
    /// Reasons for which no runtime of a node runs it.
    #[prost(string, repeated, tag = "1")]
    pub refusals: Vec<String>,
    #[prost(message, repeated, tag = "2")]
    pub inputs: Vec<Port>,
    #[prost(message, repeated, tag = "3")]
    pub outputs: Vec<Port>,
    /// Whether weights lie in other files.
    #[prost(bool, tag = "4")]
    pub weights_beside: bool,
    /// Whether a sequence goes in or out.
    #[prost(bool, tag = "5")]
    pub sequences: bool,
    /// Graphs within graphs.
    #[prost(uint32, tag = "6")]
    pub depth: u32,
    /// Floats whose bits become integers.
    #[prost(string, repeated, tag = "7")]
    pub bit_casts: Vec<String>,
    /// Why the judge does not load it, if it was tried.
    #[prost(message, optional, tag = "8")]
    pub not_loaded: Option<Failure>,
    /// Instructions that loading takes.
    #[prost(uint64, tag = "9")]
    pub load_fuel: u64,
    /// Why it cannot be traced.
    #[prost(message, optional, tag = "10")]
    pub not_traced: Option<Failure>,
    /// Why it cannot be guarded.
    #[prost(string, optional, tag = "11")]
    pub not_guarded: Option<String>,
    /// Nodes that multiply unsigned with signed integers.
    #[prost(string, repeated, tag = "12")]
    pub mixed_products: Vec<String>,
    /// Whether each output depends on rounded values; none where it cannot be guarded.
    #[prost(bool, repeated, tag = "13")]
    pub rounded: Vec<bool>,
}

/// An input or output.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Port {
    #[prost(string, tag = "1")]
    pub name: String,
    /// ONNX's number of the element type; 0 for what is no tensor.
    #[prost(uint32, tag = "2")]
    pub element: u32,
    /// Whether the number of dimensions is known.
    #[prost(bool, tag = "3")]
    pub ranked: bool,
    /// Sizes, −1 for any.
    #[prost(sint64, repeated, tag = "4")]
    pub dims: Vec<i64>,
    /// What it is instead of a tensor, in words.
    #[prost(string, tag = "5")]
    pub kind: String,
}

/// A plain run.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Ran {
    #[prost(message, optional, tag = "1")]
    pub failure: Option<Failure>,
    /// Instructions that the run took.
    #[prost(uint64, tag = "2")]
    pub fuel: u64,
    /// Bytes of memory that the session had at its end.
    #[prost(uint64, tag = "3")]
    pub memory: u64,
    /// Number of the tensors that follow.
    #[prost(uint32, tag = "4")]
    pub tensors: u32,
}

/// Runs of all inputs with up to eight candidates as further outputs.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Drew {
    /// How many such there are.
    #[prost(uint32, tag = "1")]
    pub draws: u32,
    /// Why one failed.
    #[prost(message, optional, tag = "2")]
    pub failure: Option<Failure>,
    /// A candidate of the draw, if an output had other bits than in the plain run.
    #[prost(string, optional, tag = "3")]
    pub differs: Option<String>,
}

/// What the candidates prove, by the run that took most.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Proof {
    #[prost(uint32, tag = "1")]
    pub candidates: u32,
    #[prost(uint32, tag = "2")]
    pub published: u32,
    #[prost(uint32, tag = "3")]
    pub cheap: u32,
    #[prost(message, repeated, tag = "4")]
    pub long_sums: Vec<LongSum>,
}

/// A sum of many numbers that an output shows.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct LongSum {
    #[prost(string, tag = "1")]
    pub operator: String,
    #[prost(string, tag = "2")]
    pub value: String,
    /// Numbers that are summed, where that is known.
    #[prost(uint64, optional, tag = "3")]
    pub length: Option<u64>,
    #[prost(string, tag = "4")]
    pub output: String,
}

/// A run of the guard.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Jittered {
    /// Place among the kept inputs.
    #[prost(uint32, tag = "1")]
    pub input: u32,
    #[prost(message, optional, tag = "2")]
    pub failure: Option<Failure>,
    /// What the cast check says.
    #[prost(string, optional, tag = "3")]
    pub cast: Option<String>,
    /// Number of the tensors that follow.
    #[prost(uint32, tag = "4")]
    pub tensors: u32,
}

/// The end of a step.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine::backends) struct Done {
    /// Why the step could not be taken.
    #[prost(message, optional, tag = "1")]
    pub failure: Option<Failure>,
}
