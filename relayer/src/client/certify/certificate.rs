//! What a certification gives.

use oraculum_judge::{Lane, Limits};

use super::refusal::Refusal;
use crate::{
    client::{examples::ExampleError, trial::Tried},
    engine::{ExamineError, LoadError},
    model::{ModelError, graph::effort::Proof},
    protocol::card::Agreement,
};

/// What was found of a model.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Lane that the card names, if it names one.
    pub card_lane: Option<Lane>,
    /// What the profile lets a run use.
    pub limits: Limits,
    /// Reasons for which the model may not have a lane.
    pub refusals: Vec<Refusal>,
    /// Inputs that were tried.
    pub tried: Tried,
    /// Whether inputs may have other sizes than those that were tried, all of which chance chose.
    pub open_sizes: bool,
    /// Instructions that loading takes in the judge.
    pub load_fuel: u64,
    /// Instructions of the run that took most.
    pub run_fuel: u64,
    /// Bytes of memory of the run that took most.
    pub memory: u64,
    /// Runs with values from inside the model as outputs, each of up to eight.
    pub draws: u32,
    /// What those values prove, if they were drawn.
    pub proof: Option<Proof>,
    /// How far the guard's small changes move each output, if it was asked.
    pub spreads: Vec<Spread>,
}

/// How far the guard's small changes move an output.
#[derive(Clone, Debug)]
pub struct Spread {
    /// The output.
    pub output: String,
    /// Rule by which it agrees.
    pub rule: Agreement,
    /// Largest share of the rule's tolerance on golden inputs, if there are any; infinite where no tolerance would do.
    pub golden: Option<f64>,
    /// The same on random inputs.
    pub random: Option<f64>,
}

impl Certificate {
    pub(super) fn new(card_lane: Option<Lane>, limits: Limits) -> Self {
        let (tried, open_sizes, load_fuel, run_fuel, memory, draws) = Default::default();
        let (refusals, spreads, proof) = Default::default();
        Self { card_lane, limits, refusals, tried, open_sizes, load_fuel, run_fuel, memory, draws, proof, spreads }
    }

    /// Whether the model may have a lane.
    #[must_use]
    pub fn may_have(&self, lane: Lane) -> bool {
        self.refusals_of(lane).next().is_none()
    }

    /// Reasons for which it may not.
    pub fn refusals_of(&self, lane: Lane) -> impl Iterator<Item = &Refusal> {
        self.refusals.iter().filter(move |refusal| refusal.concerns(lane))
    }

    /// Whether the answer is no: the lane that the card names is refused or, where it names none, a bare file may have none.
    #[must_use]
    pub fn is_refused(&self, has_card: bool) -> bool {
        match self.card_lane {
            Some(lane) => !self.may_have(lane),
            None => !has_card && !self.may_have(Lane::Exact) && !self.may_have(Lane::Tolerance),
        }
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum CertifyError {
    #[error("{0}")]
    Model(#[from] ModelError),
    #[error("{0}")]
    Load(#[from] LoadError),
    #[error("{0}")]
    Examine(#[from] ExamineError),
    #[error("{0}")]
    Example(#[from] ExampleError),
}
