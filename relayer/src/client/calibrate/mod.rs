//! Calibration: how far a machine's own ONNX Runtime is from the judge, in tolerances of a card, and which tolerances would do.
//!
//! ```text
//! calibrate ──▶ engine::Examiner: the judge's outputs, and how far the guard's small changes move them
//!               engine: the same inputs natively     proposal   rules in clear decimal steps
//! ```

mod proposal;

use std::time::Duration;

use oraculum_judge::{Lane, Limits, Profile};

use self::proposal::Needs;
use super::{
    examples::{Example, ExampleError, RandomExamples, golden},
    spread::{GuardRuns, Packed, apart, guard_runs, pack},
};
use crate::{
    engine::{EngineError, ExamineError, Examiner, LoadError, ModelFacts, OnnxEngine, RunFailure, Source},
    model::{Model, ModelFile, default_rule, graph::OutputSpec},
    protocol::{
        card::Agreement,
        difference::{Difference, values},
        tensor,
    },
    text,
};

/// Native differences may take this share of a tolerance at most for a machine to take a seat.
pub const MAX_SEAT_SHARE: f64 = 0.5;

/// What is to be calibrated, and with what.
#[derive(Clone, Debug)]
pub struct CalibrationRequest<'a> {
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

/// What was measured.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// What ran the model natively, in the manner of profile strings.
    pub native: String,
    /// Golden inputs that were run.
    pub golden: usize,
    /// Random inputs that were run.
    pub random: usize,
    /// Random inputs that the model did not take in the judge.
    pub left_out: usize,
    /// Why the guard was not asked, if it was not.
    pub not_guarded: Option<String>,
    /// The outputs, in the model's order.
    pub outputs: Vec<OutputCalibration>,
}

/// What was measured of an output.
#[derive(Clone, Debug)]
pub struct OutputCalibration {
    /// The output.
    pub output: String,
    /// Rule by which it agrees: the card's, or that of a new card in the tolerance lane.
    pub rule: Agreement,
    /// Native differences of its values from the judge's, as shares of the rule's tolerance.
    pub native: Distribution,
    /// Largest share that the guard's small changes take on golden inputs.
    pub guard_golden: f64,
    /// The same on random inputs.
    pub guard_random: f64,
    /// A rule with room for all of it; `None` where no tolerance would do.
    pub proposed: Option<Agreement>,
}

/// How shares are distributed; infinite where no tolerance would do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Distribution {
    /// Values that were compared.
    pub count: usize,
    /// Half of the shares are at most this.
    pub median: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
    /// All are at most this.
    pub max: f64,
}

impl Distribution {
    fn of(mut shares: Vec<f64>) -> Self {
        shares.sort_unstable_by(f64::total_cmp);
        // The smallest share that as many of a hundred do not exceed.
        let at = |percent: usize| shares.get((shares.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        let share = |percent| at(percent).unwrap_or_default();
        Self { count: shares.len(), median: share(50), p99: share(99), max: share(100) }
    }
}

impl Calibration {
    /// Whether this machine may take a seat for the model: its own runs are within half a tolerance everywhere.
    #[must_use]
    pub fn may_take_a_seat(&self) -> bool {
        self.outputs.iter().all(|output| output.native.max <= MAX_SEAT_SHARE)
    }

    /// The proposed rules, one for each output; `None` where an output has none.
    #[must_use]
    pub fn agreement(&self) -> Option<Vec<Agreement>> {
        self.outputs.iter().map(|output| output.proposed).collect()
    }
}

/// Why nothing is calibrated.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum CalibrateError {
    #[error("{0}")]
    Load(#[from] LoadError),
    #[error("{0}")]
    Engine(#[from] EngineError),
    #[error("{0}")]
    Examine(#[from] ExamineError),
    #[error("{0}")]
    Example(#[from] ExampleError),
    #[error(
        "the judge cannot run this model, so there is nothing to compare with: {0}; `oraculum model certify` says all reasons"
    )]
    NotJudged(String),
    #[error("no input was found on which the model runs ({0}): give inputs that it takes with --inputs")]
    NoInputs(String),
    #[error("{origin} gives no outputs natively, but does in the judge: {reason}")]
    Native { origin: super::Origin, reason: String },
}

/// Runs a model natively and in the judge, and compares. `progress` hears what is done.
///
/// # Errors
/// Every variant of `CalibrateError`.
pub async fn calibrate(
    engine: &OnnxEngine,
    request: &CalibrationRequest<'_>,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<Calibration, CalibrateError> {
    let profile = request.card.and_then(|card| card.profile.parse::<Profile>().ok());
    let limits = profile.map_or(Limits::DEFAULT, |profile| profile.limits);
    progress("loading the model into the judge");
    let mut examiner = engine.examine(&request.file, limits, request.time_limit).await?;
    let facts = examiner.facts().await?;
    if let Some(reason) = not_judged(&facts) {
        return Err(CalibrateError::NotJudged(reason));
    }
    let exact = profile.is_some_and(|profile| profile.lane == Lane::Exact);
    let rules = match request.card.filter(|_| !exact) {
        Some(card) if card.card.agreement.len() != facts.outputs.len() => {
            let (rules, outputs) = (card.card.agreement.len(), facts.outputs.len());
            return Err(LoadError::AgreementCount { rules, outputs }.into());
        }
        Some(card) => card.card.agreement.clone(),
        None => facts.outputs.iter().map(default_rule).collect(),
    };
    progress("loading the model natively");
    let native = Native { engine, id: engine.load(Source::file(request.file.clone())).await?.id };
    let outputs = facts.outputs.iter().map(|output| Measured::new(text::shown(output.name()))).collect();
    let mut work = Work { request, facts, rules, outputs, ran: Vec::new(), left_out: 0, native: String::new() };
    work.run(&mut examiner, &native, progress).await?;
    let not_guarded = work.guard(&mut examiner, progress).await?;
    Ok(work.done(not_guarded))
}

/// Why the judge has nothing to compare with.
fn not_judged(facts: &ModelFacts) -> Option<String> {
    let others = facts.outputs.iter().find_map(|output| match output {
        OutputSpec::Tensor(_) => None,
        OutputSpec::Other { name, kind } => Some(format!("output `{}` is {kind}", text::shown(name))),
    });
    let not_loaded = facts.not_loaded.as_ref().map(|failure| failure.reason().to_owned());
    let first = facts.refusals.first().cloned().or(not_loaded);
    let beside = facts.weights_beside.then(|| "its weights lie in other files".to_owned());
    let sequences = facts.sequences.then(|| "a sequence goes in or out".to_owned());
    let deep = (facts.load_fuel == 0).then(|| format!("its graphs are nested {} deep", facts.depth));
    first.or(beside).or(sequences).or(others).or(deep)
}

/// The model in this machine's ONNX Runtime.
struct Native<'a> {
    engine: &'a OnnxEngine,
    id: alloy::primitives::B256,
}

impl Native<'_> {
    /// The outputs of a run, and what ran it.
    async fn run(&self, example: &Example) -> Result<(Vec<Packed>, String), CalibrateError> {
        let failed = |reason: String| CalibrateError::Native { origin: example.origin.clone(), reason };
        let ran = self.engine.run_off_chain(self.id, example.packed.clone(), 0).await?;
        if let Some(failure) = ran.failure {
            return Err(failed(text::one_line(&failure.to_string())));
        }
        let tensors = tensor::decode(&ran.output).map_err(|error| failed(error.to_string()))?;
        // As an answer to a contract it holds no other numbers.
        let finite = |tensor: &tensor::Tensor| values(tensor).all(f64::is_finite);
        Ok((tensors.into_iter().map(|tensor| Some(tensor).filter(finite)).collect(), ran.profile.to_string()))
    }
}

/// What is measured of an output.
struct Measured {
    output: String,
    /// Shares of native differences.
    shares: Vec<f64>,
    guard_golden: f64,
    guard_random: f64,
    needs: Needs,
}

impl Measured {
    fn new(output: String) -> Self {
        Self { output, shares: Vec::new(), guard_golden: 0.0, guard_random: 0.0, needs: Needs::default() }
    }
}

/// A calibration under way.
struct Work<'a> {
    request: &'a CalibrationRequest<'a>,
    facts: ModelFacts,
    rules: Vec<Agreement>,
    outputs: Vec<Measured>,
    /// Whether inputs are golden, and what they gave in the judge.
    ran: Vec<(bool, Vec<Packed>)>,
    left_out: usize,
    native: String,
}

impl Work<'_> {
    /// Runs golden and random inputs in the judge and natively.
    async fn run(
        &mut self,
        examiner: &mut Examiner,
        native: &Native<'_>,
        progress: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), CalibrateError> {
        let names = self.facts.outputs.iter().map(|output| output.name().to_owned()).collect();
        let golden = golden(&self.facts.inputs, names, self.request.card, &self.request.inputs)?;
        progress(&format!("golden inputs: {}", golden.len()));
        let mut reason = None;
        for example in &golden {
            match examiner.run(&example.inputs).await? {
                Ok(run) => self.compare(example, pack(&run.outputs), native).await?,
                Err(RunFailure::Limit(why) | RunFailure::Input(why) | RunFailure::Output(why)) => {
                    reason.get_or_insert(format!("{}: {why}", example.origin));
                }
            }
        }
        let max_bytes = self.request.card.map_or(u32::MAX, |card| card.card.max_input_bytes);
        let mut random =
            RandomExamples::new(&self.facts.inputs, &golden, self.request.seed, self.request.runs, max_bytes);
        progress(&format!("random inputs: {}", self.request.runs));
        let mut wanted = self.request.runs;
        while wanted > 0 {
            let example = match random.draw() {
                Ok(Some(example)) => example,
                Ok(None) => break,
                Err(error) => {
                    reason.get_or_insert(error.to_string());
                    break;
                }
            };
            match examiner.run(&example.inputs).await? {
                Ok(run) => {
                    self.compare(&example, pack(&run.outputs), native).await?;
                    wanted -= 1;
                }
                Err(RunFailure::Limit(why) | RunFailure::Input(why) | RunFailure::Output(why)) => {
                    self.left_out += 1;
                    reason.get_or_insert(why);
                }
            }
        }
        match self.ran.is_empty() {
            true => Err(CalibrateError::NoInputs(reason.unwrap_or_else(|| "none was tried".to_owned()))),
            false => Ok(()),
        }
    }

    async fn compare(
        &mut self,
        example: &Example,
        judged: Vec<Packed>,
        native: &Native<'_>,
    ) -> Result<(), CalibrateError> {
        let (outputs, profile) = native.run(example).await?;
        self.native = profile;
        for (place, measured) in self.outputs.iter_mut().enumerate() {
            let difference = match (outputs.get(place), judged.get(place)) {
                (Some(native), Some(judged)) => apart(native, judged),
                _ => Difference::Incomparable,
            };
            measured.shares.extend(difference.shares(&self.rules[place]));
            measured.needs.add(&difference, proposal::NATIVE_ROOM);
        }
        self.ran.push((example.origin.is_golden(), judged));
        Ok(())
    }

    /// Asks the guard; the reason where it cannot be asked.
    async fn guard(
        &mut self,
        examiner: &mut Examiner,
        progress: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Option<String>, CalibrateError> {
        if let Some(reason) = &self.facts.not_guarded {
            return Ok(Some(reason.clone()));
        }
        let (golden, canonical): (Vec<bool>, Vec<Vec<Packed>>) = self.ran.iter().cloned().unzip();
        let (outputs, rules) = (&mut self.outputs, &self.rules);
        let mut see = |input: usize, run: &[Packed], plain: &[Packed]| {
            for (place, measured) in outputs.iter_mut().enumerate() {
                let difference = match (run.get(place), plain.get(place)) {
                    (Some(run), Some(plain)) => apart(run, plain),
                    _ => Difference::Incomparable,
                };
                let share = difference.share(&rules[place]);
                let (worst, room) = match golden[input] {
                    true => (&mut measured.guard_golden, proposal::GOLDEN_ROOM),
                    false => (&mut measured.guard_random, proposal::RANDOM_ROOM),
                };
                *worst = worst.max(share);
                measured.needs.add(&difference, room);
            }
        };
        let GuardRuns { cast, failure, refused } = guard_runs(examiner, &canonical, &mut see, progress).await?;
        Ok(refused.or(cast.or(failure).map(|(_, reason)| reason)))
    }

    fn done(self, not_guarded: Option<String>) -> Calibration {
        let golden = self.ran.iter().filter(|(golden, _)| *golden).count();
        let random = self.ran.len() - golden;
        let outputs = self.outputs.into_iter().zip(self.rules).zip(&self.facts.outputs);
        let rounded = self.facts.rounded.into_iter().chain(std::iter::repeat(false));
        let outputs = outputs.zip(rounded).map(|(((measured, rule), spec), rounded)| {
            let proposed = measured.needs.rule(&rule, default_rule(spec));
            OutputCalibration {
                output: measured.output,
                rule,
                native: Distribution::of(measured.shares),
                guard_golden: measured.guard_golden,
                guard_random: measured.guard_random,
                // What must be equal must not be made of rounded numbers, however few of them differ here.
                proposed: proposed.filter(|rule| *rule != Agreement::Exact || !rounded),
            }
        });
        let outputs = outputs.collect();
        Calibration { native: self.native, golden, random, left_out: self.left_out, not_guarded, outputs }
    }
}

#[cfg(test)]
mod tests;
