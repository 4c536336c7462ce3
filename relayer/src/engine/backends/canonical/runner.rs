//! The judge in a model's process.
//!
//! Answers come from a session that has run before. One in `CHECKED` is computed again by a fresh session, which is what
//! judges, while nobody waits: other bits end the process.

use std::{fs, path::Path, time::Instant};

use oraculum_judge::{Candidates, Judge, JudgeError, Limits, OpenError, Session, Tensor};

use super::super::child::{
    sandbox,
    wire::{self, Failure, FailureKind, JudgeOptions, Loaded, Outputs, ReportKind, Run},
    worker::{Runner, failure},
};
use crate::{
    engine::{backends::ort::session, error::LoadError},
    model::OpenModelFile,
};

/// Of as many runs one is checked.
const CHECKED: u64 = 64;

/// A model in the judge.
struct JudgeRunner {
    judge: Judge,
    model: Vec<u8>,
    limits: Limits,
    session: Session,
    runs: u64,
    /// What traces may have, once one was asked for.
    candidates: Option<Candidates>,
    /// The last run and its outputs, if they are to be checked.
    unchecked: Option<(Vec<Tensor>, Vec<usize>, Vec<Tensor>)>,
}

/// Opens the judge and loads a model into it.
///
/// # Errors
/// `FailureKind::Judge` where the judge cannot be used, `Model` or `Limit` where the model does not load, `Memory` or
/// `Runtime` where this machine is at fault.
pub(in crate::engine::backends) fn open(
    file: &OpenModelFile,
    options: &JudgeOptions,
    preparing: &mut dyn FnMut(String) -> Result<(), String>,
) -> Result<Box<dyn Runner>, Failure> {
    let unusable = |reason: String| failure(FailureKind::Judge, reason);
    let model = file.read().map_err(|error| failure(FailureKind::Model, error.to_string()))?.to_vec();
    sandbox::die_first();
    let (wasm, cache) = (Path::new(&options.wasm), Path::new(&options.cache));
    let bytes = fs::read(wasm).map_err(|error| unusable(format!("{}: {error}", wasm.display())))?;
    // A node that is gone by now is noticed by the next message to it.
    let compiling =
        || drop(preparing("compiling the canonical judge for this machine, which takes up to a minute, once".into()));
    let judge = Judge::open_tested(&bytes, cache, compiling).map_err(|error| match error {
        OpenError::NotTheJudge { .. } => unusable(format!("{}: {error}", wasm.display())),
        error => unusable(error.to_string()),
    })?;
    drop(bytes);
    let limits = Limits { memory: options.memory, fuel: options.fuel };
    let session = judge.load(&model, limits).map_err(|error| explained(&error))?;
    Ok(Box::new(JudgeRunner { judge, model, limits, session, runs: 0, candidates: None, unchecked: None }))
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

    fn run(&mut self, run: Run) -> ReportKind {
        let began = Instant::now();
        let run_time = || u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let inputs = run.inputs.into_iter().map(to_judge).collect::<Result<Vec<_>, _>>();
        let inputs = match inputs {
            Ok(inputs) => inputs,
            Err(reason) => return ReportKind::Failed(failure(FailureKind::Runtime, reason)),
        };
        let wanted: Vec<_> = run.wanted.iter().map(|output| *output as usize).collect();
        if let Some(wire::Judgement { seed }) = run.judgement {
            return match self.judge(&inputs, &wanted, seed) {
                Ok((outputs, trace)) => {
                    let tensors = outputs.iter().map(from_judge).collect();
                    ReportKind::Outputs(Outputs { tensors, run_time: run_time(), trace })
                }
                Err(error) => ReportKind::Failed(Failure { run_time: run_time(), ..explained(&error) }),
            };
        }
        match self.run_or_start_afresh(&inputs, &wanted) {
            Ok(outputs) => {
                self.runs += 1;
                let tensors = outputs.iter().map(from_judge).collect();
                if self.runs.is_multiple_of(CHECKED) {
                    self.unchecked = Some((inputs, wanted, outputs));
                }
                ReportKind::Outputs(Outputs { tensors, run_time: run_time(), trace: None })
            }
            Err(error) => ReportKind::Failed(Failure { run_time: run_time(), ..explained(&error) }),
        }
    }

    fn idle(&mut self) -> Result<(), String> {
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

impl JudgeRunner {
    /// Runs a session that has run nothing before, then the one that is traced.
    fn judge(
        &mut self,
        inputs: &[Tensor],
        wanted: &[usize],
        seed: Option<Vec<u8>>,
    ) -> Result<(Vec<Tensor>, Option<wire::Trace>), JudgeError> {
        let outputs = self.judge.load(&self.model, self.limits)?.run(inputs, wanted)?;
        let Some(seed) = seed.and_then(|seed| <[u8; 32]>::try_from(seed).ok()) else { return Ok((outputs, None)) };
        let candidates = match &self.candidates {
            Some(candidates) => candidates,
            None => self.candidates.insert(self.judge.candidates(&self.model, self.limits)?),
        };
        let trace = self.judge.trace(&self.model, candidates, self.limits, seed, inputs)?;
        let reason = trace.reason.map(|reason| reason.to_string());
        Ok((outputs, Some(wire::Trace { bytes: trace.bytes, reason })))
    }

    /// Runs the session. Where it meets a limit, its memory may be to blame, in which earlier runs have left their traces: a
    /// fresh session decides.
    fn run_or_start_afresh(&mut self, inputs: &[Tensor], wanted: &[usize]) -> Result<Vec<Tensor>, JudgeError> {
        if !self.session.has_ended() {
            match self.session.run(inputs, wanted) {
                Err(error) if error.is_limit() && self.runs > 0 => {}
                result => return result,
            }
        }
        self.session = self.judge.load(&self.model, self.limits)?;
        self.runs = 0;
        self.session.run(inputs, wanted)
    }
}

/// What a failure of the judge means to the node.
fn explained(error: &JudgeError) -> Failure {
    let kind = match error {
        JudgeError::Output { output, reason } => {
            let output = u32::try_from(*output).unwrap_or(u32::MAX);
            return Failure { output, ..failure(FailureKind::NotTensor, reason.clone()) };
        }
        JudgeError::Load(reason) => {
            return match session::not_opened(session::described(reason)) {
                LoadError::TooNew(reason) => failure(FailureKind::TooNew, reason),
                LoadError::Session(reason) => failure(FailureKind::Model, reason),
                error => failure(FailureKind::Model, error.to_string()),
            };
        }
        JudgeError::Run(reason) | JudgeError::Input(reason) => {
            return failure(FailureKind::Model, session::described(reason));
        }
        error if error.is_limit() => FailureKind::Limit,
        error if error.is_host() => FailureKind::Memory,
        _ => FailureKind::Runtime,
    };
    failure(kind, error.to_string())
}

fn to_judge(tensor: wire::Tensor) -> Result<Tensor, String> {
    let wire::Tensor { dtype, dims, data, strings } = tensor;
    let dtype = oraculum_judge::DType::from_onnx(dtype).ok_or_else(|| format!("a tensor of ONNX's type {dtype}"))?;
    let tensor = if dtype.size().is_some() { Tensor::new(dtype, dims, data) } else { Tensor::strings(dims, strings) };
    tensor.map_err(|error| error.to_string())
}

fn from_judge(tensor: &Tensor) -> wire::Tensor {
    let (data, strings) = match tensor.data() {
        oraculum_judge::Data::Bytes(bytes) => (bytes.clone(), Vec::new()),
        oraculum_judge::Data::Strings(strings) => (Vec::new(), strings.clone()),
    };
    wire::Tensor { dtype: tensor.dtype().onnx().into(), dims: tensor.dims().to_vec(), data, strings }
}
