//! What is learned of a model by examining it, for certification and calibration.

use std::time::Duration;

use super::error::LoadError;
use crate::{
    model::graph::{OutputSpec, effort::Proof},
    protocol::cast::{ModelTensor, TensorSpec},
};

/// What a model's file is, without having been run on anything.
#[derive(Clone, Debug, Default)]
pub struct ModelFacts {
    /// Reasons for which no node runs it; where there are any, nothing else was looked at.
    pub refusals: Vec<String>,
    /// Inputs, in the model's order.
    pub inputs: Vec<TensorSpec>,
    /// Outputs, in the model's order.
    pub outputs: Vec<OutputSpec>,
    /// Whether weights lie in other files; then the judge was not asked to load it.
    pub weights_beside: bool,
    /// Whether a sequence goes in or out; then the judge was not asked to load it.
    pub sequences: bool,
    /// Graphs within graphs; above 8 the judge was not asked to load it.
    pub depth: u32,
    /// Names of floats whose bits become integers.
    pub bit_casts: Vec<String>,
    /// Why the judge does not load it, if it was asked to.
    pub not_loaded: Option<LoadFailure>,
    /// Instructions that loading takes.
    pub load_fuel: u64,
    /// Why it cannot be traced.
    pub not_traced: Option<String>,
    /// Why it cannot be guarded.
    pub not_guarded: Option<String>,
    /// Nodes that multiply unsigned integers of eight bits with signed ones.
    pub mixed_products: Vec<String>,
    /// Whether each output depends on values that are rounded; none where it cannot be guarded.
    pub rounded: Vec<bool>,
}

/// Why the judge does not load a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadFailure {
    /// A limit of the card's profile is met, with its name.
    Limit(String),
    /// The judge refuses the model.
    Refused(String),
}

impl LoadFailure {
    /// The limit, or the judge's words.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Limit(reason) | Self::Refused(reason) => reason,
        }
    }
}

/// A plain run in a fresh session of the judge.
#[derive(Clone, Debug)]
pub struct PlainRun {
    /// All outputs, in the model's order.
    pub outputs: Vec<ModelTensor>,
    /// Instructions that it took.
    pub fuel: u64,
    /// Bytes of memory that the session had at its end.
    pub memory: u64,
}

/// Why a plain run gave no outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunFailure {
    /// A limit of the card's profile, with its name.
    Limit(String),
    /// The model fails on these inputs.
    Input(String),
    /// No answer can hold an output, in words.
    Output(String),
}

impl RunFailure {
    /// The limit, or the model's words.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Limit(reason) | Self::Input(reason) | Self::Output(reason) => reason,
        }
    }
}

/// Runs with the candidates of the trace as further outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draws {
    /// How many were made, each on all inputs.
    pub draws: u32,
    /// Why one failed where the plain runs did not.
    pub failure: Option<String>,
    /// A candidate of a draw in which an output had other bits than in the plain run.
    pub differs: Option<String>,
    /// What the candidates prove, by the run that took most.
    pub proof: Proof,
    /// Long sums that outputs show.
    pub long_sums: Vec<crate::model::graph::sums::LongSum>,
}

/// Which of the guard's runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JitterSign {
    /// The one without jitter, which only the cast check looks at.
    None,
    /// The four with +ε.
    Plus,
    /// The four with −ε.
    Minus,
}

/// A run of the guard.
#[derive(Clone, Debug)]
pub struct JitteredRun {
    /// Place of its inputs among those that gave outputs.
    pub input: usize,
    /// All outputs, in the model's order; or the limit or failure that the plain run did not have.
    pub outputs: Result<Vec<ModelTensor>, String>,
    /// What the cast check says, if anything.
    pub cast: Option<String>,
}

/// Why an examination has no result.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum ExamineError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("the model was not examined within {0:?}: give it more time with --time-limit")]
    Timeout(Duration),
    #[error("the examination has no result: {0}")]
    Process(String),
}
