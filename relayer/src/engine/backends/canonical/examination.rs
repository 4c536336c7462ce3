//! The node's side of an examination, in the engine's words.

use std::{sync::Arc, time::Duration};

use oraculum_judge::Guard;
use tokio::time::Instant;

use super::{examiner::weights, files::JudgeFiles};
use crate::{
    engine::{
        backends::child::{
            Program,
            examination::{Examination, Halted, Unopened},
            tensors::to_wire,
            wire::{
                self, FailureKind,
                examine::{self, Finding, Step, TOLD},
            },
        },
        examination::{Draws, ExamineError, JitterSign, JitteredRun, LoadFailure, ModelFacts, PlainRun, RunFailure},
    },
    model::{
        ModelFile,
        graph::{OutputSpec, effort, sums},
    },
    protocol::{
        cast::{ElementType, ModelTensor, TensorSpec},
        tensor::MAX_TENSORS,
    },
    text,
};

/// A model that is examined in a process of its own, step by step; it is killed when this is dropped.
pub struct Examiner {
    process: Examination,
    time: Duration,
    /// Number of the model's outputs.
    outputs: usize,
    /// Inputs that gave outputs so far.
    kept: usize,
}

impl Examiner {
    /// Starts the process, in which nothing is read of the model yet. All steps together may take `time`.
    ///
    /// # Errors
    /// `ExamineError::Timeout` where the process is not ready in that time. `ExamineError::Load`: `LoadError::Model` or `File`
    /// where the file cannot be read, `Judge` where the judge cannot be used, `Process` where the process failed.
    pub(in crate::engine) async fn open(
        (program, files): (&Program, &Arc<JudgeFiles>),
        file: &ModelFile,
        limits: oraculum_judge::Limits,
        time: Duration,
    ) -> Result<Self, ExamineError> {
        let judge = wire::JudgeOptions {
            wasm: files.wasm.display().to_string(),
            cache: files.cache.display().to_string(),
            memory: limits.memory,
            fuel: limits.fuel,
            examine: true,
        };
        let opened = file.open().map_err(crate::engine::LoadError::from)?;
        match Examination::open(program, &opened, judge, Instant::now() + time).await {
            Ok(process) => Ok(Self { process, time, outputs: 0, kept: 0 }),
            Err(Unopened::Late) => Err(ExamineError::Timeout(time)),
            Err(Unopened::Load(error)) => Err(error.into()),
        }
    }

    /// Reads the file, and has the judge load it.
    ///
    /// # Errors
    /// `ExamineError::Timeout` or `Process`.
    pub async fn facts(&mut self) -> Result<ModelFacts, ExamineError> {
        let mut found = None;
        let mut each = |finding, _| match finding {
            Finding::Facts(facts) => facts_of(*facts).map(|facts| found = Some(facts)),
            _ => Err("another finding than facts"),
        };
        let step = self.process.step(Step::Facts(examine::Nothing {}), &mut each).await;
        step.map_err(|halted| self.error(halted))?;
        let facts = found.ok_or_else(|| ExamineError::Process("its process found nothing".to_owned()))?;
        self.outputs = facts.outputs.len();
        Ok(facts)
    }

    /// Runs the model in a fresh session. Inputs that give outputs are kept for `draws` and `jitter`.
    ///
    /// # Errors
    /// `ExamineError::Timeout` or `Process`; the inner error is the model's.
    pub async fn run(&mut self, inputs: &[ModelTensor]) -> Result<Result<PlainRun, RunFailure>, ExamineError> {
        let (outputs, mut found) = (self.outputs, None);
        let mut each = |finding, tensors: Vec<ModelTensor>| match finding {
            Finding::Ran(examine::Ran { failure: Some(failure), .. }) => {
                found = Some(Err(failure));
                Ok(())
            }
            Finding::Ran(examine::Ran { fuel, memory, .. }) if tensors.len() == outputs => {
                found = Some(Ok(PlainRun { outputs: tensors, fuel, memory }));
                Ok(())
            }
            _ => Err("other outputs than the model has"),
        };
        let inputs = inputs.iter().map(to_wire).collect();
        let step = self.process.step(Step::Input(examine::Inputs { inputs }), &mut each).await;
        step.map_err(|halted| self.error(halted))?;
        match found.ok_or_else(|| ExamineError::Process("its process found nothing".to_owned()))? {
            Ok(run) => {
                self.kept += 1;
                Ok(Ok(run))
            }
            Err(failure) => {
                let reason = text::cut(&failure.reason, TOLD);
                match failure.kind() {
                    FailureKind::Limit => Ok(Err(RunFailure::Limit(reason))),
                    FailureKind::Model => Ok(Err(RunFailure::Input(reason))),
                    FailureKind::NotTensor => {
                        Ok(Err(RunFailure::Output(format!("output {} is no tensor: {reason}", failure.output))))
                    }
                    _ => Err(ExamineError::Process(reason)),
                }
            }
        }
    }

    /// Forgets the last inputs that were kept.
    ///
    /// # Errors
    /// `ExamineError::Timeout` or `Process`.
    pub async fn forget(&mut self) -> Result<(), ExamineError> {
        let mut none = |_, _| Err("a finding where there is none");
        let step = self.process.step(Step::Forget(examine::Nothing {}), &mut none).await;
        step.map_err(|halted| self.error(halted))?;
        self.kept = self.kept.saturating_sub(1);
        Ok(())
    }

    /// Makes runs with the candidates of the trace as further outputs, until each was in one; `each` hears of every draw, by its
    /// number and that of all.
    ///
    /// # Errors
    /// `ExamineError::Timeout` or `Process`.
    pub async fn draws(&mut self, each: &mut (dyn FnMut(u32, u32) + Send)) -> Result<Draws, ExamineError> {
        let mut draws = Draws::default();
        let mut found = |finding, _| match finding {
            Finding::Drew(drew) if draws.draws < drew.draws => {
                draws.draws += 1;
                each(draws.draws, drew.draws);
                let reason = drew.failure.map(|failure| text::cut(&failure.reason, TOLD));
                draws.failure = draws.failure.take().or(reason);
                draws.differs = draws.differs.take().or(drew.differs.map(|name| text::shown(&name)));
                Ok(())
            }
            Finding::Proof(examine::Proof { candidates, published, cheap, long_sums }) => {
                draws.proof = effort::Proof { candidates, published, cheap };
                let sum = |sum: examine::LongSum| sums::LongSum {
                    operator: text::shown(&sum.operator),
                    value: text::shown(&sum.value),
                    length: sum.length,
                    output: text::shown(&sum.output),
                };
                draws.long_sums = long_sums.into_iter().map(sum).collect();
                Ok(())
            }
            _ => Err("more draws than there are"),
        };
        let step = self.process.step(Step::Draws(examine::Nothing {}), &mut found).await;
        step.map_err(|halted| self.error(halted))?;
        Ok(draws)
    }

    /// Makes the guard's runs of one sign on all inputs that were kept; `each` looks at every run.
    ///
    /// # Errors
    /// `ExamineError::Timeout` or `Process`; the inner error says why the model with small changes is not run.
    pub async fn jitter(
        &mut self,
        sign: JitterSign,
        each: &mut (dyn FnMut(JitteredRun) + Send),
    ) -> Result<Result<(), String>, ExamineError> {
        let jitter = examine::Jitter { plus: sign == JitterSign::Plus, minus: sign == JitterSign::Minus };
        let most = Guard::runs(weights(jitter)).len();
        let (outputs, kept, mut runs) = (self.outputs, self.kept, 0);
        let mut found = |finding, tensors: Vec<ModelTensor>| {
            let Finding::Jittered(jittered) = finding else { return Err("another finding than a run") };
            let input = usize::try_from(jittered.input).unwrap_or(usize::MAX);
            runs += 1;
            if input >= kept || runs > kept * most {
                return Err("more runs than there are");
            }
            let outputs = match jittered.failure {
                Some(failure) => Err(text::cut(&failure.reason, TOLD)),
                None if tensors.len() == outputs => Ok(tensors),
                None => return Err("other outputs than the model has"),
            };
            each(JitteredRun { input, outputs, cast: jittered.cast.map(|cast| text::cut(&cast, TOLD)) });
            Ok(())
        };
        match self.process.step(Step::Jitter(jitter), &mut found).await {
            Ok(()) => Ok(Ok(())),
            Err(Halted::Step(failure))
                if matches!(failure.kind(), FailureKind::Model | FailureKind::Limit | FailureKind::TooNew) =>
            {
                Ok(Err(text::cut(&failure.reason, TOLD)))
            }
            Err(halted) => Err(self.error(halted)),
        }
    }

    fn error(&self, halted: Halted) -> ExamineError {
        match halted {
            Halted::Late => ExamineError::Timeout(self.time),
            Halted::Process(reason) => ExamineError::Process(reason),
            Halted::Step(failure) => ExamineError::Process(text::cut(&failure.reason, TOLD)),
        }
    }
}

fn facts_of(facts: examine::Facts) -> Result<ModelFacts, &'static str> {
    if facts.inputs.len().max(facts.outputs.len()) > MAX_TENSORS {
        return Err("more inputs or outputs than a model may have");
    }
    let cut = |all: Vec<String>| all.iter().map(|text| text::cut(text, TOLD)).collect();
    let reason = |failure: Option<wire::Failure>| failure.map(|failure| text::cut(&failure.reason, TOLD));
    Ok(ModelFacts {
        refusals: cut(facts.refusals),
        inputs: facts.inputs.into_iter().map(spec).collect::<Result<_, _>>()?,
        outputs: facts.outputs.into_iter().map(output).collect::<Result<_, _>>()?,
        weights_beside: facts.weights_beside,
        sequences: facts.sequences,
        depth: facts.depth,
        bit_casts: cut(facts.bit_casts),
        not_loaded: facts.not_loaded.map(|failure| {
            let reason = text::cut(&failure.reason, TOLD);
            if failure.kind() == FailureKind::Limit { LoadFailure::Limit(reason) } else { LoadFailure::Refused(reason) }
        }),
        load_fuel: facts.load_fuel,
        not_traced: reason(facts.not_traced),
        not_guarded: facts.not_guarded.map(|reason| text::cut(&reason, TOLD)),
        mixed_products: cut(facts.mixed_products),
        rounded: facts.rounded,
    })
}

fn output(port: examine::Port) -> Result<OutputSpec, &'static str> {
    match port.element {
        0 => Ok(OutputSpec::Other { name: port.name, kind: text::cut(&port.kind, TOLD) }),
        _ => spec(port).map(OutputSpec::Tensor),
    }
}

fn spec(port: examine::Port) -> Result<TensorSpec, &'static str> {
    let dtype = oraculum_judge::DType::from_onnx(port.element);
    let element =
        dtype.and_then(|dtype| ElementType::by_name(&dtype.to_string())).ok_or("a type that no tensor has")?;
    let shape = port.ranked.then(|| port.dims.iter().map(|dim| u64::try_from(*dim).ok()).collect());
    Ok(TensorSpec { name: port.name, element, shape })
}
