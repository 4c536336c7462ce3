//! Examination of a model, in its process: everything that is read of the file or run of it, for certification and calibration.
//!
//! ```text
//! Facts ──▶ what the file is, and whether the judge loads it     facts
//! Input ──▶ a plain run in a fresh session; kept if it gives outputs
//! Draws ──▶ runs with the trace's candidates, on all that is kept    draws
//! Jitter ─▶ the guard's runs, on all that is kept                    jitter
//! ```
//!
//! Who asks decides what the findings mean.

mod draws;
mod facts;
mod jitter;

use std::collections::HashMap;

use alloy::primitives::Bytes;
use oraculum_judge::{Judge, JudgeError, Limits, Session, Tensor, Weights};

use super::{
    prepare::{Prepared, prepare},
    words::{explained, from_judge, to_judge},
};
use crate::{
    engine::backends::child::{
        wire::{
            self, Failure, FailureKind, JudgeOptions, Loaded, Run,
            examine::{Finding, Inputs, Jitter, Ran, Step, TOLD},
        },
        worker::{ReportFinding, Results, Runner, failure},
    },
    model::{OpenModelFile, graph::proto::Model},
    text,
};

/// A model that is examined.
struct Examined {
    judge: Judge,
    file: Bytes,
    limits: Limits,
    /// The file without its weights, once it has been found to be one that may be run.
    model: Option<Model>,
    /// ONNX's numbers of the element types of values that nodes of the main graph make, as far as the judge has types for them.
    elements: HashMap<String, i32>,
    /// What the trace may have.
    candidates: Vec<String>,
    /// Runs that gave outputs.
    kept: Vec<Kept>,
}

/// A plain run.
struct Kept {
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    fuel: u64,
}

/// Opens the judge for a model that is to be examined; nothing of it is read yet.
///
/// # Errors
/// Those of `prepare`.
pub(in crate::engine::backends) fn open(
    file: &OpenModelFile,
    options: &JudgeOptions,
    preparing: &mut dyn FnMut(String) -> Result<(), String>,
) -> Result<Box<dyn Runner>, Failure> {
    let Prepared { judge, model: file, limits } = prepare(file, options, preparing)?;
    let (elements, candidates, kept) = Default::default();
    Ok(Box::new(Examined { judge, file, limits, model: None, elements, candidates, kept }))
}

impl Runner for Examined {
    fn loaded(&self) -> Loaded {
        Loaded { footprint: self.file.len() as u64, inputs: Vec::new(), outputs: Vec::new() }
    }

    fn run(&mut self, _: Run) -> Result<Results, Failure> {
        Err(failure(FailureKind::Runtime, "this process examines its model".to_owned()))
    }

    fn has_to_check(&self) -> bool {
        false
    }

    fn check(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn examine(&mut self, step: Step, report: &mut ReportFinding<'_>) -> Result<(), Failure> {
        match step {
            Step::Facts(_) => {
                let facts = self.facts()?;
                told(report(Finding::Facts(Box::new(facts)), Vec::new()))
            }
            Step::Input(Inputs { inputs }) => {
                let inputs = inputs.into_iter().map(to_judge).collect::<Result<Vec<_>, _>>();
                let inputs = inputs.map_err(|reason| failure(FailureKind::Runtime, reason))?;
                let (ran, tensors) = self.input(inputs);
                told(report(Finding::Ran(ran), tensors))
            }
            Step::Draws(_) => self.draws(report),
            Step::Jitter(jitter) => self.jitter(jitter, report),
            Step::Forget(_) => {
                self.kept.pop();
                Ok(())
            }
        }
    }
}

impl Examined {
    /// Runs the model in a fresh session, and keeps a run that gives outputs.
    fn input(&mut self, inputs: Vec<Tensor>) -> (Ran, Vec<wire::Tensor>) {
        let (mut fuel, mut memory) = (0, 0);
        let ran = self.judge.load(&self.file, self.limits).and_then(|mut session| {
            let ran = session.run_all(&inputs);
            (fuel, memory) = (session.run_fuel(), session.memory());
            ran
        });
        let failed = |error: &JudgeError| Ran { failure: Some(shortened(explained(error))), fuel, memory, tensors: 0 };
        match ran {
            Err(error) => (failed(&error), Vec::new()),
            Ok(outputs) => {
                let tensors: Vec<_> = outputs.iter().map(from_judge).collect();
                self.kept.push(Kept { inputs, outputs, fuel });
                (Ran { failure: None, fuel, memory, tensors: count(tensors.len()) }, tensors)
            }
        }
    }
}

/// The weights with which a step of the guard is run.
pub(super) fn weights(jitter: Jitter) -> Weights {
    match jitter {
        Jitter { plus: true, .. } => Weights::Plus,
        Jitter { minus: true, .. } => Weights::Minus,
        Jitter { .. } => Weights::Plain,
    }
}

/// A session that runs one input after another, which is quicker than to load the model for each. Where it meets a limit, its
/// memory may be to blame, in which earlier runs have left their traces: a fresh session decides.
struct Warm<'a> {
    load: &'a dyn Fn() -> Result<Session, JudgeError>,
    session: Option<Session>,
    has_run: bool,
}

impl<'a> Warm<'a> {
    /// Loads the session.
    ///
    /// # Errors
    /// Those of `load`.
    fn open(load: &'a dyn Fn() -> Result<Session, JudgeError>) -> Result<Self, JudgeError> {
        Ok(Self { load, session: Some(load()?), has_run: false })
    }

    /// Runs the session, and once more a fresh one where this one has met a limit after another run.
    ///
    /// # Errors
    /// Those of `load` and `run`.
    fn run<T>(&mut self, run: &dyn Fn(&mut Session) -> Result<T, JudgeError>) -> Result<T, JudgeError> {
        if let Some(session) = self.session.as_mut().filter(|session| !session.has_ended()) {
            match run(session) {
                Err(error) if error.is_limit() && self.has_run => {}
                ran => {
                    self.has_run = true;
                    return ran;
                }
            }
        }
        // Two at once might need more memory than there is.
        self.session = None;
        let session = self.session.insert((self.load)()?);
        self.has_run = true;
        run(session)
    }
}

/// A failure whose reason is as long as somebody reads: names of a model may be megabytes.
fn shortened(failure: Failure) -> Failure {
    Failure { reason: text::cut(&failure.reason, TOLD), ..failure }
}

/// Nobody listens any more: what is left of the step is of no use.
fn told(report: Result<(), String>) -> Result<(), Failure> {
    report.map_err(|reason| failure(FailureKind::Runtime, reason))
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
