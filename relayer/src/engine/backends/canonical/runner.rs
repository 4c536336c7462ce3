//! The judge in a model's process.
//!
//! Answers come from a session that has run before. One in `CHECKED` is computed again by a fresh session, which is what
//! judges, once nobody asks for a while, beside those who ask then: other bits end the process.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Instant,
};

use alloy::primitives::Bytes;
use oraculum_judge::{Candidates, Judge, JudgeError, Limits, Session, Tensor, Trace};

use super::{
    super::child::{
        wire::{self, Failure, FailureKind, JudgeOptions, Loaded, Run},
        worker::{Results, Runner, end, failure},
    },
    guard,
    prepare::{Prepared, prepare},
    words::{explained, from_judge, to_judge},
};
use crate::{engine::judgement::AnswerRule, model::OpenModelFile};

/// Of as many runs one is checked. An odd number, for every other run may be a warm-up.
const CHECKED: u64 = 63;

/// A model in the judge.
struct JudgeRunner {
    judge: Arc<Judge>,
    model: Bytes,
    limits: Limits,
    session: Session,
    /// Whether the session has run nothing yet.
    fresh: bool,
    runs: u64,
    /// What traces may have, once one was asked for.
    candidates: Option<Candidates>,
    /// The last run, if it is to be checked.
    unchecked: Option<Ran>,
    /// The check of an earlier one.
    checking: Option<JoinHandle<()>>,
}

/// A run, and what it gave.
struct Ran {
    inputs: Vec<Tensor>,
    wanted: Vec<usize>,
    outputs: Vec<Tensor>,
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
    let (judge, candidates, unchecked, checking) = (Arc::new(judge), None, None, None);
    Ok(Box::new(JudgeRunner { judge, model, limits, session, fresh: true, runs: 0, candidates, unchecked, checking }))
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
            self.unchecked = Some(Ran { inputs, wanted, outputs });
        }
        Ok(Results { tensors, trace, guard, run_time: run_time() })
    }

    fn has_to_check(&self) -> bool {
        self.unchecked.is_some() && self.checking.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn check(&mut self) -> Result<(), String> {
        let Some(ran) = self.unchecked.take() else { return Ok(()) };
        let (judge, model, limits) = (self.judge.clone(), self.model.clone(), self.limits);
        let check = move || {
            if let Err(reason) = ran.check(&judge, &model, limits) {
                end(&reason);
            }
        };
        let started = thread::Builder::new().name("check".to_owned()).spawn(check);
        self.checking = Some(started.map_err(|error| format!("no thread could be started: {error}"))?);
        Ok(())
    }
}

impl Ran {
    /// Runs it once more in a fresh session.
    ///
    /// # Errors
    /// How that one differs.
    fn check(&self, judge: &Judge, model: &[u8], limits: Limits) -> Result<(), String> {
        let ran = judge.load(model, limits).and_then(|mut fresh| fresh.run(&self.inputs, &self.wanted));
        match ran {
            Ok(again) if again == self.outputs => Ok(()),
            // This machine's want of memory says nothing about the answer.
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
