//! The judge in a model's process.
//!
//! Answers come from a session that has run before. One in `CHECKED` is computed again by a fresh session, which is what
//! judges, once nobody asks for a while: other bits end the process.

use std::time::Instant;

use alloy::primitives::Bytes;
use oraculum_judge::{Candidates, Judge, JudgeError, Limits, Session, Tensor, Trace};

use super::{
    super::child::{
        wire::{self, Failure, FailureKind, JudgeOptions, Loaded, Run},
        worker::{Results, Runner, failure},
    },
    guard,
    prepare::{Prepared, prepare},
    words::{explained, from_judge, to_judge},
};
use crate::{engine::judgement::AnswerRule, model::OpenModelFile};

/// Of as many runs one is checked.
const CHECKED: u64 = 64;

/// A model in the judge.
struct JudgeRunner {
    judge: Judge,
    model: Bytes,
    limits: Limits,
    session: Session,
    /// Whether the session has run nothing yet.
    fresh: bool,
    runs: u64,
    /// What traces may have, once one was asked for.
    candidates: Option<Candidates>,
    /// The last run and its outputs, if they are to be checked.
    unchecked: Option<(Vec<Tensor>, Vec<usize>, Vec<Tensor>)>,
}

/// Opens the judge and loads a model into it.
///
/// # Errors
/// `FailureKind::Judge` where the judge cannot be used, `Model`, `TooNew` or `Limit` where the model does not load, `Memory` or
/// `Runtime` where this machine is at fault.
pub(in crate::engine::backends) fn open(
    file: &OpenModelFile,
    options: &JudgeOptions,
    preparing: &mut dyn FnMut(String) -> Result<(), String>,
) -> Result<Box<dyn Runner>, Failure> {
    let Prepared { judge, model, limits } = prepare(file, options, preparing)?;
    let session = judge.load(&model, limits).map_err(|error| explained(&error))?;
    Ok(Box::new(JudgeRunner { judge, model, limits, session, fresh: true, runs: 0, candidates: None, unchecked: None }))
}

impl Runner for JudgeRunner {
    fn loaded(&self) -> Loaded {
        let names = |ports: &[oraculum_judge::Port]| ports.iter().map(|port| port.name.clone()).collect();
        Loaded {
            footprint: self.session.memory() + self.model.len() as u64,
            inputs: names(self.session.inputs()),
            outputs: names(self.session.outputs()),
        }
    }

    fn run(&mut self, run: Run) -> Result<Results, Failure> {
        let began = Instant::now();
        let run_time = || u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let inputs = run.inputs.into_iter().map(to_judge).collect::<Result<Vec<_>, _>>();
        let inputs = inputs.map_err(|reason| failure(FailureKind::Runtime, reason))?;
        let wanted: Vec<_> = run.wanted.iter().map(|output| *output as usize).collect();
        let is_fresh = run.judgement.is_some();
        let ran = match run.judgement {
            Some(wire::Judgement { seed, guard }) => {
                let rule = guard.map(AnswerRule::try_from).transpose();
                let rule = rule.map_err(|reason| failure(FailureKind::Runtime, reason))?;
                self.judge(&inputs, &wanted, seed, rule.as_ref())
            }
            None => self.run_or_start_afresh(&inputs, &wanted).map(Judged::plain),
        };
        let Judged { outputs, trace, guard } =
            ran.map_err(|error| Failure { run_time: run_time(), ..explained(&error) })?;
        let tensors = outputs.iter().map(from_judge).collect();
        if !is_fresh && self.runs.is_multiple_of(CHECKED) {
            self.unchecked = Some((inputs, wanted, outputs));
        }
        Ok(Results { tensors, trace, guard, run_time: run_time() })
    }

    fn has_to_check(&self) -> bool {
        self.unchecked.is_some()
    }

    fn check(&mut self) -> Result<(), String> {
        let Some((inputs, wanted, outputs)) = self.unchecked.take() else { return Ok(()) };
        let mut fresh = match self.judge.load(&self.model, self.limits) {
            Ok(session) => session,
            // This machine's want of memory says nothing about the answer.
            Err(error) if error.is_host() => return Ok(()),
            Err(error) => return Err(format!("a fresh session of the judge does not load the model: {error}")),
        };
        match fresh.run(&inputs, &wanted) {
            Ok(again) if again == outputs => Ok(()),
            Err(error) if error.is_host() => Ok(()),
            Ok(_) => Err("a session of the judge that had run before gave other bits than a fresh one".into()),
            Err(error) => Err(format!("a fresh session of the judge fails where an older one ran: {error}")),
        }
    }
}

/// Outputs of a run, and what was asked for beside them.
struct Judged {
    outputs: Vec<Tensor>,
    trace: Option<wire::Trace>,
    guard: Option<wire::Guard>,
}

impl Judged {
    fn plain(outputs: Vec<Tensor>) -> Self {
        Self { outputs, trace: None, guard: None }
    }
}

impl JudgeRunner {
    /// Runs a session that has run nothing before; then the one that is traced, and those of the guard.
    fn judge(
        &mut self,
        inputs: &[Tensor],
        wanted: &[usize],
        seed: Option<Vec<u8>>,
        rule: Option<&AnswerRule>,
    ) -> Result<Judged, JudgeError> {
        let outputs = self.judge.load(&self.model, self.limits)?.run(inputs, wanted)?;
        let seed = seed.and_then(|seed| <[u8; 32]>::try_from(seed).ok());
        let trace = seed.map(|seed| self.trace(inputs, seed)).transpose()?;
        let guard = rule
            .map(|rule| guard::check(&self.judge, &self.model, self.limits, (inputs, wanted, &outputs), rule))
            .transpose()?;
        Ok(Judged { outputs, trace, guard })
    }

    fn trace(&mut self, inputs: &[Tensor], seed: [u8; 32]) -> Result<wire::Trace, JudgeError> {
        let candidates = match &self.candidates {
            Some(candidates) => Ok(candidates),
            None => self.judge.candidates(&self.model, self.limits).map(|found| &*self.candidates.insert(found)),
        };
        let trace = candidates
            .and_then(|candidates| self.judge.trace(&self.model, candidates, self.limits, seed, inputs))
            .or_else(
                |error| if error.is_host() { Err(error) } else { Ok(Trace { bytes: Vec::new(), reason: Some(error) }) },
            )?;
        let reason = trace.reason.map(|reason| reason.to_string());
        Ok(wire::Trace { bytes: trace.bytes, reason })
    }

    /// Runs the session. Where it meets a limit, its memory may be to blame, in which earlier runs have left their traces: a
    /// fresh session decides.
    fn run_or_start_afresh(&mut self, inputs: &[Tensor], wanted: &[usize]) -> Result<Vec<Tensor>, JudgeError> {
        self.runs += 1;
        if !self.session.has_ended() {
            match self.session.run(inputs, wanted) {
                Err(error) if error.is_limit() && !self.fresh => {}
                result => {
                    self.fresh = false;
                    return result;
                }
            }
        }
        self.session = self.judge.load(&self.model, self.limits)?;
        self.fresh = false;
        self.session.run(inputs, wanted)
    }
}
