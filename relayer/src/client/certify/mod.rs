//! Certification: which lanes a model may have, and why not the others.
//!
//! ```text
//! certify ──▶ engine::Examiner, a process that reads the file and runs it     refusal   reasons, with what to do
//!             facts, golden and random inputs, draws, the guard's runs         products  what this processor does
//! ```
//!
//! Nothing of the file is read in this process but its hash.

mod certificate;
mod products;
mod refusal;

use oraculum_judge::{Lane, Limits, Profile};

use self::refusal::{MAX_FILE_BYTES, MAX_OUTPUTS, MAX_PROBE_SHARE};
pub use self::{
    certificate::{Certificate, CertificateRequest, CertifyError, Spread},
    products::ProductError,
    refusal::{Refusal, shown_share},
};
use super::{
    examples::{Example, Origin, RandomExamples, golden},
    spread::{GuardRuns, Packed, Worst, guard_runs, pack, shares},
};
use crate::{
    engine::{Draws, Examiner, LoadError, LoadFailure, ModelFacts, OnnxEngine, PlainRun, RunFailure},
    model::{
        MAX_BYTES, Model, default_rule,
        graph::{OutputSpec, survey::MAX_DEPTH},
    },
    protocol::{
        OutputFormat,
        agreement::{Verdict, compare},
        card::Agreement,
        cast::{ElementType, NotFinite, from_outputs},
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
    request: &CertificateRequest<'_>,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<Certificate, CertifyError> {
    let profile = request.card.and_then(|card| card.profile.parse::<Profile>().ok());
    let limits = profile.map_or(Limits::DEFAULT, |profile| profile.limits);
    let mut certificate = Certificate::new(profile.map(|profile| profile.lane), limits);
    let bytes = request.file.open()?.size()?;
    if bytes > MAX_FILE_BYTES {
        certificate.refusals.push(Refusal::TooLarge(bytes));
        return Ok(certificate);
    }
    progress("reading the file, and loading it into the judge");
    let mut examiner = engine.examine(&request.file, limits, request.time_limit).await?;
    let facts = examiner.facts().await?;
    certificate.load_fuel = facts.load_fuel;
    certificate.refusals.extend(refused_unseen(&facts, limits));
    if !can_run(&facts) {
        return Ok(certificate);
    }
    let rules = rules(request.card, &facts)?;
    let mut work = Work { request, facts, limits, rules, ran: Vec::new(), certificate };
    work.run(&mut examiner, progress).await?;
    if !work.ran.is_empty() {
        work.draw(&mut examiner, progress).await?;
        work.guard(&mut examiner, engine, progress).await?;
    }
    Ok(work.certificate)
}

/// What is refused before anything is run.
fn refused_unseen(facts: &ModelFacts, limits: Limits) -> Vec<Refusal> {
    let mut refusals: Vec<Refusal> = facts.refusals.iter().cloned().map(Refusal::NotRun).collect();
    refusals.extend(facts.weights_beside.then_some(Refusal::WeightsBeside));
    refusals.extend(facts.sequences.then_some(Refusal::Sequences));
    refusals.extend(is_too_deep(facts).then_some(Refusal::TooDeep(facts.depth)));
    refusals.extend((facts.outputs.len() > MAX_OUTPUTS).then_some(Refusal::TooManyOutputs(facts.outputs.len())));
    refusals.extend(facts.outputs.iter().filter_map(|output| match output {
        OutputSpec::Tensor(_) => None,
        OutputSpec::Other { name, kind } => Some(Refusal::NoTensor(text::shown(name), kind.clone())),
    }));
    refusals.extend((!facts.bit_casts.is_empty()).then(|| Refusal::BitCast(facts.bit_casts.clone())));
    refusals.extend(facts.not_loaded.clone().map(|failure| match failure {
        LoadFailure::Refused(reason) => Refusal::NotLoaded(reason),
        LoadFailure::Limit(reason) => Refusal::LoadLimit(reason, limits),
    }));
    refusals.extend(facts.not_traced.clone().map(Refusal::NotTraced));
    refusals.extend(facts.not_guarded.clone().map(Refusal::NotGuarded));
    refusals
}

fn is_too_deep(facts: &ModelFacts) -> bool {
    usize::try_from(facts.depth).is_ok_and(|depth| depth > MAX_DEPTH)
}

/// Whether the judge has loaded a model that gives tensors only.
fn can_run(facts: &ModelFacts) -> bool {
    let tensors = facts.outputs.iter().all(|output| matches!(output, OutputSpec::Tensor(_)));
    let few = facts.outputs.len() <= MAX_OUTPUTS && !is_too_deep(facts);
    facts.refusals.is_empty()
        && facts.not_loaded.is_none()
        && !facts.weights_beside
        && !facts.sequences
        && tensors
        && few
}

/// The rules by which outputs agree: the card's, or those of a new card in the tolerance lane.
fn rules(card: Option<&Model>, facts: &ModelFacts) -> Result<Vec<Agreement>, LoadError> {
    if let Some(card) = card
        && card.card.agreement.len() != facts.outputs.len()
    {
        return Err(LoadError::AgreementCount { rules: card.card.agreement.len(), outputs: facts.outputs.len() });
    }
    let exact = card.is_some_and(|card| card.profile.parse().is_ok_and(|profile: Profile| profile.lane == Lane::Exact));
    match card.filter(|_| !exact) {
        Some(card) => Ok(card.card.agreement.clone()),
        None => Ok(facts.outputs.iter().map(default_rule).collect()),
    }
}

/// A certification under way.
struct Work<'a> {
    request: &'a CertificateRequest<'a>,
    facts: ModelFacts,
    limits: Limits,
    rules: Vec<Agreement>,
    /// Inputs that gave outputs, and those.
    ran: Vec<(Origin, Vec<Packed>)>,
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
        let names = self.facts.outputs.iter().map(|output| output.name().to_owned()).collect();
        let specs = self.facts.inputs.clone();
        let golden = golden(&specs, names, self.request.card, &self.request.inputs)?;
        progress(&format!("golden inputs: {}", golden.len()));
        let mut reason = None;
        for example in &golden {
            match examiner.run(&example.inputs).await? {
                Ok(run) => {
                    self.recorded(example, &run);
                    self.keep(&example.origin, &run);
                }
                Err(failure) => self.failed(&example.origin, failure, &mut reason),
            }
        }
        let max_bytes = self.request.card.map_or(u32::MAX, |card| card.card.max_input_bytes);
        let mut random = RandomExamples::new(&specs, &golden, self.request.seed, self.request.runs, max_bytes);
        progress(&format!("random inputs: {}", self.request.runs));
        while self.certificate.random < self.request.runs {
            let example = match random.draw() {
                Ok(Some(example)) => example,
                Ok(None) => break,
                Err(error) => {
                    reason.get_or_insert(error.to_string());
                    break;
                }
            };
            match examiner.run(&example.inputs).await? {
                Ok(run) => self.keep(&example.origin, &run),
                Err(failure) => self.failed(&example.origin, failure, &mut reason),
            }
            if self.certificate.refusals.iter().any(|refusal| matches!(refusal, Refusal::Limit(Origin::Random(_), ..)))
            {
                break;
            }
        }
        if self.ran.is_empty() && self.certificate.refusals.is_empty() {
            self.refuse(Refusal::NoInputs(reason.unwrap_or_else(|| "none was tried".to_owned())));
        }
        Ok(())
    }

    fn keep(&mut self, origin: &Origin, run: &PlainRun) {
        let certificate = &mut self.certificate;
        *(if origin.is_golden() { &mut certificate.golden } else { &mut certificate.random }) += 1;
        certificate.run_fuel = certificate.run_fuel.max(run.fuel);
        certificate.memory = certificate.memory.max(run.memory);
        self.ran.push((origin.clone(), pack(&run.outputs)));
    }

    fn failed(&mut self, origin: &Origin, failure: RunFailure, reason: &mut Option<String>) {
        match failure {
            RunFailure::Limit(limit) => self.refuse(Refusal::Limit(origin.clone(), limit, self.limits)),
            RunFailure::Input(why) | RunFailure::Output(why) if origin.is_golden() => {
                self.refuse(Refusal::Fails(origin.clone(), why));
            }
            RunFailure::Input(why) | RunFailure::Output(why) => {
                self.certificate.left_out += 1;
                reason.get_or_insert(why);
            }
        }
    }

    /// Compares what the judge gives with what the card records.
    fn recorded(&mut self, example: &Example, run: &PlainRun) {
        let (Some(recorded), Some(card)) = (&example.recorded, self.request.card) else { return };
        let outputs: Vec<_> = run.outputs.iter().cloned().enumerate().collect();
        let packed = from_outputs(&outputs, OutputFormat::NATIVE, NotFinite::Refused, MAX_BYTES);
        let agrees = packed.is_ok_and(|packed| {
            compare(recorded, &packed, &card.card.agreement, OutputFormat::NATIVE) != Verdict::Disagree
        });
        if !agrees {
            self.refuse(Refusal::Recorded(example.origin.clone()));
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
    async fn guard(
        &mut self,
        examiner: &mut Examiner,
        engine: &OnnxEngine,
        progress: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), CertifyError> {
        if self.facts.not_guarded.is_some() {
            return Ok(());
        }
        if !self.facts.mixed_products.is_empty() && !products::are_exact(engine).await? {
            self.refuse(Refusal::Products(self.facts.mixed_products.clone()));
        }
        let (mut golden, mut random) =
            (vec![Worst::default(); self.rules.len()], vec![Worst::default(); self.rules.len()]);
        let (origins, canonical): (Vec<Origin>, Vec<Vec<Packed>>) = self.ran.iter().cloned().unzip();
        let mut see = |input: usize, run: &[Packed], plain: &[Packed]| {
            let worst = if origins[input].is_golden() { &mut golden } else { &mut random };
            shares(run, plain, &self.rules).zip(worst).for_each(|(share, worst)| worst.see(share, input));
        };
        let GuardRuns { cast, failure, refused } = guard_runs(examiner, &canonical, &mut see, progress).await?;
        refused.into_iter().for_each(|reason| {
            self.refuse(Refusal::NotGuarded(format!(
                "the judge does not load the model with the guard's changes: {reason}; export a smaller or simpler one"
            )))
        });
        cast.into_iter().for_each(|(input, reason)| self.refuse(Refusal::Cast(origins[input].clone(), reason)));
        failure
            .into_iter()
            .for_each(|(input, reason)| self.refuse(Refusal::GuardFails(origins[input].clone(), reason)));
        for (place, (golden, random)) in golden.into_iter().zip(random).enumerate() {
            let (spec, rule) = (&self.facts.outputs[place], self.rules[place]);
            let name = text::shown(spec.name());
            let (golden_share, random_share) = (golden.share, random.share);
            self.certificate.spreads.push(Spread {
                output: name.clone(),
                rule,
                golden: golden_share,
                random: random_share,
            });
            let worst = if golden.share >= random.share { golden } else { random };
            let must_be_equal = rule == Agreement::Exact || default_rule(spec) == Agreement::Exact && is_symbol(spec);
            if must_be_equal && self.facts.rounded.get(place).copied().unwrap_or_default() {
                self.refuse(Refusal::ExactOutput(name));
            } else if worst.share > 1.0 {
                self.refuse(Refusal::Amplifier(origins[worst.input].clone(), name, worst.share));
            } else if golden.share > MAX_PROBE_SHARE {
                self.refuse(Refusal::Probe(origins[golden.input].clone(), name, golden.share));
            }
        }
        Ok(())
    }
}

/// Whether an output is of bools or strings, which are compared for equality whatever the rule.
fn is_symbol(output: &OutputSpec) -> bool {
    matches!(output, OutputSpec::Tensor(spec) if matches!(spec.element, ElementType::Bool | ElementType::String))
}

#[cfg(test)]
mod tests;
