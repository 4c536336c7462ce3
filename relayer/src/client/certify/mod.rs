//! Certification: which lanes a model may have, and why not the others.
//!
//! ```text
//! certify ──▶ engine::Examiner, a process that reads the file and runs it     refusal   reasons, with what to do
//!             facts, runs (client::trial), draws, the guard's runs            products  what this processor does
//! ```
//!
//! Nothing of the file is read in this process but its hash.

mod certificate;
mod products;
mod refusal;

use oraculum_judge::{Lane, Limits};

use self::refusal::{MAX_FILE_BYTES, MAX_OUTPUTS, MAX_PROBE_SHARE};
pub use self::{
    certificate::{Certificate, CertifyError, Spread},
    refusal::{Refusal, shown_share},
};
use super::{
    examples::{Example, Origin},
    spread::{GuardRuns, Packed, Worst, guard_runs, shares},
    trial::{Attempt, Judged, Terms, TrialRequest, Trials, max_output_bytes},
};
use crate::{
    engine::{Draws, Examiner, LoadFailure, ModelFacts, OnnxEngine, RunFailure},
    model::{
        ModelError, ModelFile,
        graph::{OutputSpec, survey::MAX_DEPTH},
    },
    protocol::{
        OutputFormat,
        agreement::{Verdict, compare},
        card::Agreement,
        cast::ElementType,
        tensor::{self, Tensor},
    },
    text,
};

/// Instructions of a run below which a trace need not prove anything: whoever answers has run all of it anyway.
pub const SMALL_RUN: u64 = 10_000_000;

/// Finds out which lanes a model may have. `progress` hears what is done.
///
/// # Errors
/// Every variant of `CertifyError`: what keeps the model from a lane is no error, but a `Refusal`.
pub async fn certify(
    engine: &OnnxEngine,
    request: &TrialRequest<'_>,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<Certificate, CertifyError> {
    let terms = Terms::of(request.card)?;
    let mut certificate = Certificate::new(terms.lane, terms.limits);
    if let Some(refusal) = too_large(&request.file)? {
        certificate.refusals.push(refusal);
        return Ok(certificate);
    }
    progress("reading the file, and loading it into the judge");
    let mut examiner = engine.examine(&request.file, terms.limits, request.time_limit).await?;
    let facts = examiner.facts().await?;
    certificate.load_fuel = facts.load_fuel;
    let not_run = not_run(&facts, terms.limits);
    let can_run = not_run.is_empty();
    certificate.refusals.extend(not_run);
    certificate.refusals.extend((!facts.bit_casts.is_empty()).then(|| Refusal::BitCast(facts.bit_casts.clone())));
    certificate.refusals.extend(facts.not_traced.clone().map(Refusal::NotTraced));
    certificate.refusals.extend(facts.not_guarded.clone().map(Refusal::NotGuarded));
    if !can_run {
        return Ok(certificate);
    }
    let rules = terms.rules(request.card, &facts.outputs)?;
    let mut work = Work { request, facts, limits: terms.limits, rules, ran: Vec::new(), certificate };
    work.run(&mut examiner, progress).await?;
    work.products(engine).await;
    if !work.ran.is_empty() {
        work.draw(&mut examiner, progress).await?;
        work.guard(&mut examiner, progress).await;
    }
    Ok(work.certificate)
}

/// The refusal of a file that the judge has no memory for.
///
/// # Errors
/// `ModelError` where the file cannot be read.
pub(super) fn too_large(file: &ModelFile) -> Result<Option<Refusal>, ModelError> {
    let bytes = file.open()?.size()?;
    Ok((bytes > MAX_FILE_BYTES).then_some(Refusal::TooLarge(bytes)))
}

/// What keeps the judge from running a model; nothing if it can.
pub(super) fn not_run(facts: &ModelFacts, limits: Limits) -> Vec<Refusal> {
    let mut refusals: Vec<Refusal> = facts.refusals.iter().cloned().map(Refusal::NotRun).collect();
    refusals.extend(facts.weights_beside.then_some(Refusal::WeightsBeside));
    refusals.extend(facts.sequences.then_some(Refusal::Sequences));
    refusals.extend(is_too_deep(facts).then_some(Refusal::TooDeep(facts.depth)));
    refusals.extend((facts.outputs.len() > MAX_OUTPUTS).then_some(Refusal::TooManyOutputs(facts.outputs.len())));
    refusals.extend(facts.outputs.iter().filter_map(|output| match output {
        OutputSpec::Tensor(_) => None,
        OutputSpec::Other { name, kind } => Some(Refusal::NoTensor(text::shown(name), kind.clone())),
    }));
    refusals.extend(facts.not_loaded.clone().map(|failure| match failure {
        LoadFailure::Refused(reason) => Refusal::NotLoaded(reason),
        LoadFailure::Limit(reason) => Refusal::LoadLimit(reason, limits),
    }));
    refusals
}

fn is_too_deep(facts: &ModelFacts) -> bool {
    usize::try_from(facts.depth).is_ok_and(|depth| depth > MAX_DEPTH)
}

/// A certification under way.
struct Work<'a> {
    request: &'a TrialRequest<'a>,
    facts: ModelFacts,
    limits: Limits,
    rules: Vec<Agreement>,
    /// Inputs that gave outputs, and those.
    ran: Vec<(Origin, Vec<Tensor>)>,
    certificate: Certificate,
}

impl Work<'_> {
    fn refuse(&mut self, refusal: Refusal) {
        self.certificate.refusals.push(refusal);
    }

    /// Runs golden and random inputs.
    async fn run(
        &mut self,
        examiner: &mut Examiner,
        progress: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), CertifyError> {
        let mut trials = Trials::new(self.request, &self.facts, progress)?;
        while let Some(Attempt { example, ran }) = trials.next(examiner).await? {
            let golden = example.origin.is_golden();
            match ran {
                Ok(Judged { outputs, fuel, memory }) => {
                    self.recorded(&example, &outputs);
                    self.certificate.run_fuel = self.certificate.run_fuel.max(fuel);
                    self.certificate.memory = self.certificate.memory.max(memory);
                    self.ran.push((example.origin, outputs));
                }
                Err(RunFailure::Limit(limit)) => {
                    self.refuse(Refusal::Limit(example.origin, limit, self.limits));
                    if !golden {
                        break;
                    }
                }
                Err(RunFailure::Input(why) | RunFailure::Output(why)) if golden => {
                    self.refuse(Refusal::Fails(example.origin, why));
                }
                Err(_) => {}
            }
        }
        let (tried, reason) = trials.done();
        let is_open =
            |shape: &Option<Vec<Option<u64>>>| shape.as_ref().is_none_or(|shape| shape.iter().any(Option::is_none));
        self.certificate.open_sizes = tried.golden == 0 && self.facts.inputs.iter().any(|spec| is_open(&spec.shape));
        self.certificate.tried = tried;
        if self.ran.is_empty() && self.certificate.may_have(Lane::Exact) {
            self.refuse(Refusal::NoInputs(reason));
        }
        Ok(())
    }

    /// Compares what the judge gives with what the card records.
    fn recorded(&mut self, example: &Example, outputs: &[Tensor]) {
        let (Some(recorded), Some(card)) = (&example.recorded, self.request.card) else { return };
        let agrees = tensor::encode(outputs).is_ok_and(|packed| {
            compare(recorded, &packed, &card.card.agreement, OutputFormat::NATIVE) != Verdict::Disagree
        });
        if !agrees {
            self.refuse(Refusal::Recorded(example.origin.clone()));
        }
    }

    /// Looks whether this machine does the products exactly that the model has; the exact lane has nothing to fear of them.
    async fn products(&mut self, engine: &OnnxEngine) {
        let nodes = self.facts.mixed_products.clone();
        if nodes.is_empty() {
            return;
        }
        match products::are_exact(engine).await {
            Ok(true) => {}
            Ok(false) => self.refuse(Refusal::Products(nodes)),
            Err(error) => self.refuse(Refusal::ProductsUnknown(nodes, text::one_line(&error.to_string()))),
        }
    }

    /// Draws what traces may have.
    async fn draw(
        &mut self,
        examiner: &mut Examiner,
        progress: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), CertifyError> {
        if self.facts.not_traced.is_some() {
            return Ok(());
        }
        // A line for each tenth.
        let tenth = |draw: u32, draws: u32| u64::from(draw) * 10 / u64::from(draws.max(1));
        let mut each = |draw: u32, draws: u32| {
            if draw == 1 || tenth(draw, draws) != tenth(draw - 1, draws) {
                progress(&format!("values from inside the model, draw {draw} of {draws}"));
            }
        };
        let Draws { draws, failure, differs, proof, long_sums } = examiner.draws(&mut each).await?;
        self.certificate.draws = draws;
        self.certificate.proof = Some(proof);
        failure.into_iter().for_each(|reason| self.refuse(Refusal::NotTraced(reason)));
        differs.into_iter().for_each(|name| self.refuse(Refusal::TraceDiffers(name)));
        if !proof.suffices() && self.certificate.run_fuel >= SMALL_RUN {
            self.refuse(Refusal::Proves(proof));
        }
        long_sums.into_iter().for_each(|sum| self.refuse(Refusal::LongSum(sum)));
        Ok(())
    }

    /// Asks the guard, and looks at what only the tolerance lane has to fear.
    async fn guard(&mut self, examiner: &mut Examiner, progress: &mut (dyn FnMut(&str) + Send)) {
        if self.facts.not_guarded.is_some() {
            return;
        }
        let (mut golden, mut random) =
            (vec![Worst::default(); self.rules.len()], vec![Worst::default(); self.rules.len()]);
        let (origins, canonical): (Vec<Origin>, Vec<Vec<Tensor>>) = std::mem::take(&mut self.ran).into_iter().unzip();
        let mut see = |input: usize, run: &[Packed], plain: &[Tensor]| {
            let worst = if origins[input].is_golden() { &mut golden } else { &mut random };
            shares(run, plain, &self.rules).zip(worst).for_each(|(share, worst)| worst.see(share, input));
        };
        let max = max_output_bytes(self.request.card);
        let GuardRuns { cast, failure, refused } =
            match guard_runs(examiner, (&canonical, max), &mut see, progress).await {
                Ok(found) => found,
                // What was found of the exact lane stands.
                Err(error) => return self.refuse(Refusal::GuardUnfinished(error.to_string())),
            };
        refused.into_iter().for_each(|reason| {
            self.refuse(Refusal::NotGuarded(format!(
                "the judge does not load the model with the guard's changes: {reason}; export a smaller or simpler one"
            )))
        });
        cast.into_iter().for_each(|(input, reason)| self.refuse(Refusal::Cast(origins[input].clone(), reason)));
        failure
            .into_iter()
            .for_each(|(input, reason)| self.refuse(Refusal::GuardFails(origins[input].clone(), reason)));
        let (has_golden, has_random) = (self.certificate.tried.golden > 0, self.certificate.tried.random > 0);
        for (place, (golden, random)) in golden.into_iter().zip(random).enumerate() {
            let (spec, rule) = (&self.facts.outputs[place], self.rules[place]);
            let name = text::shown(spec.name());
            let must_be_equal = rule == Agreement::Exact || is_symbol(spec);
            self.certificate.spreads.push(Spread {
                output: name.clone(),
                rule,
                golden: has_golden.then_some(golden.share),
                random: has_random.then_some(random.share),
            });
            let worst = if golden.share >= random.share { golden } else { random };
            if must_be_equal && self.facts.rounded.get(place).copied().unwrap_or_default() {
                self.refuse(Refusal::ExactOutput(name));
            } else if worst.share > 1.0 {
                self.refuse(Refusal::Amplifier(origins[worst.input].clone(), name, worst.share));
            } else if golden.share > MAX_PROBE_SHARE {
                self.refuse(Refusal::Probe(origins[golden.input].clone(), name, golden.share));
            }
        }
    }
}

/// Whether an output is of bools or strings, which are compared for equality whatever the rule.
fn is_symbol(output: &OutputSpec) -> bool {
    matches!(output, OutputSpec::Tensor(spec) if matches!(spec.element, ElementType::Bool | ElementType::String))
}

#[cfg(test)]
mod tests;
