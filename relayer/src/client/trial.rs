//! Trials: runs of a model in the judge on golden and random inputs, for certification and calibration.

use std::time::Duration;

use oraculum_judge::{Lane, Limits, Profile};

use super::{
    examples::{Example, ExampleError, RandomExamples, golden},
    spread::pack,
};
use crate::{
    engine::{ExamineError, Examiner, LoadError, ModelFacts, Reference, RunFailure},
    model::{MAX_BYTES, Model, ModelFile, default_rule, graph::OutputSpec},
    protocol::{card::Agreement, tensor::Tensor},
};

/// Bytes of inputs and outputs that are kept for later runs on the same; with more no further random inputs are tried.
const MAX_KEPT_BYTES: usize = 256 << 20;

/// A model that is to be tried, and with what.
#[derive(Clone, Debug)]
pub struct TrialRequest<'a> {
    /// The ONNX file.
    pub file: ModelFile,
    /// Its card, if it has one.
    pub card: Option<&'a Model>,
    /// Inputs to try the model with, beside the card's probes: Open Inference Protocol JSON, each with what to call it.
    pub inputs: Vec<(String, Vec<u8>)>,
    /// Random inputs that are wanted.
    pub runs: usize,
    /// What random inputs follow from.
    pub seed: u64,
    /// Time that the judge's part may take.
    pub time_limit: Duration,
}

/// Inputs that were tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Golden inputs that were run.
    pub golden: usize,
    /// Random inputs that were run.
    pub random: usize,
    /// Random inputs to which there is no answer.
    pub left_out: usize,
    /// Why fewer random inputs were run than were wanted, if they were.
    pub shortfall: Option<String>,
}

/// By what a model is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Lane that the card names, if it names one.
    pub lane: Option<Lane>,
    /// What a run may use.
    pub limits: Limits,
}

impl Terms {
    /// Those of a card; without one, or for one that names no lane, those of most cards.
    ///
    /// # Errors
    /// `LoadError::UnknownProfile` for a card that no node loads.
    pub(super) fn of(card: Option<&Model>) -> Result<Self, LoadError> {
        Ok(match card.map(|card| Reference::of(&card.profile)).transpose()? {
            Some(Reference::Judge(Profile { lane, limits })) => Self { lane: Some(lane), limits },
            Some(Reference::Native(_)) | None => Self { lane: None, limits: Limits::DEFAULT },
        })
    }

    /// The rules by which outputs agree: the card's, or those of a new card in the tolerance lane.
    ///
    /// # Errors
    /// `LoadError::AgreementCount` for a card with another number of rules.
    pub(super) fn rules(self, card: Option<&Model>, outputs: &[OutputSpec]) -> Result<Vec<Agreement>, LoadError> {
        match card.map(|card| &card.card.agreement) {
            Some(rules) if rules.len() != outputs.len() => {
                Err(LoadError::AgreementCount { rules: rules.len(), outputs: outputs.len() })
            }
            Some(rules) if self.lane != Some(Lane::Exact) => Ok(rules.clone()),
            _ => Ok(outputs.iter().map(default_rule).collect()),
        }
    }
}

/// Inputs, tried one after another.
pub(super) struct Trials {
    golden: std::vec::IntoIter<Example>,
    random: RandomExamples,
    /// Random inputs that are wanted.
    wanted: usize,
    max_output_bytes: u32,
    kept_bytes: usize,
    tried: Tried,
    /// Why an input has no answer: the first reason.
    reason: Option<String>,
}

/// An input, and what the judge makes of it.
pub(super) struct Attempt {
    pub example: Example,
    pub ran: Result<Judged, RunFailure>,
}

/// What the judge gives where an answer can hold every output.
pub(super) struct Judged {
    pub outputs: Vec<Tensor>,
    /// Instructions that it took.
    pub fuel: u64,
    /// Bytes of memory that the session had at its end.
    pub memory: u64,
}

/// Bytes of an answer at most.
pub(super) fn max_output_bytes(card: Option<&Model>) -> u32 {
    card.map_or(MAX_BYTES, |card| card.card.max_output_bytes)
}

impl Trials {
    /// The inputs of a request. `progress` hears how many there are.
    ///
    /// # Errors
    /// `ExampleError` for golden inputs that are none of the model's.
    pub(super) fn new(
        request: &TrialRequest<'_>,
        facts: &ModelFacts,
        progress: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Self, ExampleError> {
        let TrialRequest { card, inputs, runs, seed, .. } = request;
        let names = facts.outputs.iter().map(|output| output.name().to_owned()).collect();
        let golden = golden(&facts.inputs, names, *card, inputs)?;
        progress(&format!("golden inputs: {}, random inputs: {runs}", golden.len()));
        let max_bytes = card.map_or(u32::MAX, |card| card.card.max_input_bytes);
        Ok(Self {
            random: RandomExamples::new(&facts.inputs, &golden, *seed, *runs, max_bytes),
            golden: golden.into_iter(),
            wanted: *runs,
            max_output_bytes: max_output_bytes(*card),
            kept_bytes: 0,
            tried: Tried::default(),
            reason: None,
        })
    }

    /// Runs the next input; `None` when there is none left. The examiner keeps those to which there is an answer.
    ///
    /// # Errors
    /// `ExamineError` where there is no result.
    pub(super) async fn next(&mut self, examiner: &mut Examiner) -> Result<Option<Attempt>, ExamineError> {
        let Some(example) = self.golden.next().or_else(|| self.draw()) else { return Ok(None) };
        let ran = match examiner.run(&example.inputs).await? {
            Ok(run) => match pack(&run.outputs, self.max_output_bytes) {
                Ok(outputs) => Ok(Judged { outputs, fuel: run.fuel, memory: run.memory }),
                Err(unrepresentable) => {
                    examiner.forget().await?;
                    Err(RunFailure::Output(unrepresentable.to_string()))
                }
            },
            Err(failure) => Err(failure),
        };
        let golden = example.origin.is_golden();
        match &ran {
            Ok(judged) => {
                *(if golden { &mut self.tried.golden } else { &mut self.tried.random }) += 1;
                let outputs = judged.outputs.iter().map(|output| output.data().len()).sum::<usize>();
                self.kept_bytes = self.kept_bytes.saturating_add(example.packed.len()).saturating_add(outputs);
            }
            Err(failure) => {
                self.tried.left_out += usize::from(!golden);
                self.reason.get_or_insert_with(|| format!("{}: {}", example.origin, failure.reason()));
            }
        }
        Ok(Some(Attempt { example, ran }))
    }

    fn draw(&mut self) -> Option<Example> {
        if self.tried.random >= self.wanted {
            return None;
        }
        if self.kept_bytes > MAX_KEPT_BYTES {
            self.tried.shortfall = Some(format!("inputs and outputs take more than {MAX_KEPT_BYTES} bytes by then"));
            return None;
        }
        match self.random.draw() {
            Ok(Some(example)) => return Some(example),
            Ok(None) => {
                let long = || "those that are drawn have more bytes than the card allows".to_owned();
                self.tried.shortfall = Some(self.reason.clone().unwrap_or_else(long));
            }
            Err(error) => {
                self.reason.get_or_insert(error.to_string());
                self.tried.shortfall = Some(error.to_string());
            }
        }
        None
    }

    /// What was tried and, where nothing gave outputs, the reason.
    pub(super) fn done(self) -> (Tried, String) {
        (self.tried, self.reason.unwrap_or_else(|| "none was tried".to_owned()))
    }
}
