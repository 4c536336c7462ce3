//! Calibration: how far a machine's own ONNX Runtime is from the judge, in tolerances of a card, and which tolerances would do.
//!
//! ```text
//! calibrate ──▶ engine::Examiner: the judge's outputs, and how far the guard's small changes move them
//!               engine: the same inputs natively     proposal   rules in clear decimal steps
//! ```

mod proposal;

use oraculum_judge::{Lane, Limits, Profile};

use self::proposal::Needs;
pub use self::proposal::NoRule;
use super::{
    certify::{not_run, too_large},
    examples::{Example, ExampleError, Origin},
    spread::{GuardRuns, Packed, apart, guard_runs},
    trial::{Attempt, Terms, TrialRequest, Trials, Tried, max_output_bytes},
};
use crate::{
    engine::{EngineError, ExamineError, Examiner, LoadError, ModelFacts, OnnxEngine, Source},
    model::default_rule,
    protocol::{
        card::Agreement,
        difference::values,
        tensor::{self, Tensor},
    },
    text,
};

/// Native differences may take this share of a tolerance at most for a machine to take a seat.
pub const MAX_SEAT_SHARE: f64 = 0.5;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// What ran the model natively, in the manner of profile strings.
    pub native: String,
    /// What the judge's runs may use.
    pub limits: Limits,
    /// Inputs that were tried.
    pub tried: Tried,
    /// What the guard says of the inputs.
    pub guard: GuardAnswer,
    /// The outputs, in the model's order.
    pub outputs: Vec<OutputCalibration>,
}

/// What the guard says of all inputs that were tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuardAnswer {
    /// How far its small changes move the outputs.
    Measured,
    /// It cannot be asked, for a reason.
    NotAsked(String),
    /// There is no verdict about an input whatever the tolerance: which, and why.
    Speaks(Origin, String),
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
    /// Largest share that the guard's small changes take on golden inputs, where that was measured.
    pub guard_golden: Option<f64>,
    /// The same on random inputs.
    pub guard_random: Option<f64>,
    /// A rule with room for all of it, or why there is none.
    pub proposed: Result<Agreement, NoRule>,
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

    /// What a card in the tolerance lane may say: its profile and its rules, one for each output. `None` where an output has
    /// none, or the guard was not asked or speaks, so that the model may not have that lane.
    #[must_use]
    pub fn card(&self) -> Option<(Profile, Vec<Agreement>)> {
        let rules = self.outputs.iter().map(|output| output.proposed.ok()).collect::<Option<_>>()?;
        let profile = Profile { lane: Lane::Tolerance, limits: self.limits };
        (self.guard == GuardAnswer::Measured).then_some((profile, rules))
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
    Native { origin: Origin, reason: String },
}

/// Runs a model natively and in the judge, and compares. `progress` hears what is done.
///
/// # Errors
/// Every variant of `CalibrateError`.
pub async fn calibrate(
    engine: &OnnxEngine,
    request: &TrialRequest<'_>,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<Calibration, CalibrateError> {
    let terms = Terms::of(request.card)?;
    if let Some(refusal) = too_large(&request.file).map_err(LoadError::from)? {
        return Err(CalibrateError::NotJudged(refusal.to_string()));
    }
    progress("loading the model into the judge");
    let mut examiner = engine.examine(&request.file, terms.limits, request.time_limit).await?;
    let facts = examiner.facts().await?;
    if let Some(refusal) = not_run(&facts, terms.limits).first() {
        return Err(CalibrateError::NotJudged(refusal.to_string()));
    }
    let rules = terms.rules(request.card, &facts.outputs)?;
    progress("loading the model natively");
    let native = Native { engine, id: engine.load(Source::file(request.file.clone())).await?.id };
    let outputs = facts.outputs.iter().map(|output| Measured::new(text::shown(output.name()))).collect();
    let tried = Tried::default();
    let mut work = Work { request, facts, rules, outputs, ran: Vec::new(), tried, native: String::new() };
    work.run(&mut examiner, &native, progress).await?;
    let guard = work.guard(&mut examiner, progress).await?;
    Ok(work.done(terms.limits, guard))
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
    guard_golden: Option<f64>,
    guard_random: Option<f64>,
    needs: Needs,
}

impl Measured {
    fn new(output: String) -> Self {
        Self { output, shares: Vec::new(), guard_golden: None, guard_random: None, needs: Needs::default() }
    }
}

/// A calibration under way.
struct Work<'a> {
    request: &'a TrialRequest<'a>,
    facts: ModelFacts,
    rules: Vec<Agreement>,
    outputs: Vec<Measured>,
    /// Inputs, and what they gave in the judge.
    ran: Vec<(Origin, Vec<Tensor>)>,
    tried: Tried,
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
        let mut trials = Trials::new(self.request, &self.facts, progress)?;
        while let Some(Attempt { example, ran }) = trials.next(examiner).await? {
            if let Ok(judged) = ran {
                self.compare(example, judged.outputs, native).await?;
            }
        }
        let (tried, reason) = trials.done();
        self.tried = tried;
        if self.ran.is_empty() { Err(CalibrateError::NoInputs(reason)) } else { Ok(()) }
    }

    async fn compare(
        &mut self,
        example: Example,
        judged: Vec<Tensor>,
        native: &Native<'_>,
    ) -> Result<(), CalibrateError> {
        let (outputs, profile) = native.run(&example).await?;
        self.native = profile;
        for (place, (measured, judged)) in self.outputs.iter_mut().zip(&judged).enumerate() {
            let difference = apart(outputs.get(place), judged);
            measured.shares.extend(difference.shares(&self.rules[place]));
            measured.needs.add(&difference, proposal::NATIVE_ROOM);
        }
        self.ran.push((example.origin, judged));
        Ok(())
    }

    /// Asks the guard.
    async fn guard(
        &mut self,
        examiner: &mut Examiner,
        progress: &mut (dyn FnMut(&str) + Send),
    ) -> Result<GuardAnswer, CalibrateError> {
        if let Some(reason) = &self.facts.not_guarded {
            return Ok(GuardAnswer::NotAsked(reason.clone()));
        }
        let (origins, canonical): (Vec<Origin>, Vec<Vec<Tensor>>) = std::mem::take(&mut self.ran).into_iter().unzip();
        let (outputs, rules) = (&mut self.outputs, &self.rules);
        let mut see = |input: usize, run: &[Packed], plain: &[Tensor]| {
            for (place, (measured, plain)) in outputs.iter_mut().zip(plain).enumerate() {
                let difference = apart(run.get(place), plain);
                let share = difference.share(&rules[place]);
                let (worst, room) = match origins[input].is_golden() {
                    true => (&mut measured.guard_golden, proposal::GOLDEN_ROOM),
                    false => (&mut measured.guard_random, proposal::RANDOM_ROOM),
                };
                *worst = Some(worst.unwrap_or_default().max(share));
                measured.needs.add(&difference, room);
            }
        };
        let max = max_output_bytes(self.request.card);
        let GuardRuns { cast, failure, refused } = guard_runs(examiner, (&canonical, max), &mut see, progress).await?;
        if let Some(reason) = refused {
            return Ok(GuardAnswer::NotAsked(reason));
        }
        let speaks = cast.or(failure);
        Ok(speaks.map_or(GuardAnswer::Measured, |(input, why)| GuardAnswer::Speaks(origins[input].clone(), why)))
    }

    fn done(self, limits: Limits, guard: GuardAnswer) -> Calibration {
        let outputs = self.outputs.into_iter().zip(self.rules).zip(&self.facts.outputs);
        let rounded = self.facts.rounded.into_iter().chain(std::iter::repeat(false));
        let outputs = outputs.zip(rounded).map(|(((measured, rule), spec), rounded)| {
            let proposed = measured.needs.rule(&rule, default_rule(spec));
            // What must be equal must not be made of rounded numbers, however few of them differ here.
            let must_not = rounded && proposed == Ok(Agreement::Exact);
            OutputCalibration {
                output: measured.output,
                rule,
                native: Distribution::of(measured.shares),
                guard_golden: measured.guard_golden,
                guard_random: measured.guard_random,
                proposed: if must_not { Err(NoRule::Rounded) } else { proposed },
            }
        });
        let outputs = outputs.collect();
        Calibration { native: self.native, limits, tried: self.tried, guard, outputs }
    }
}

#[cfg(test)]
mod tests;
