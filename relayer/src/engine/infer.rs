//! A request's way through a loaded model: packed input → tensors → sessions → outcome.

use std::{sync::Arc, time::Duration};

use alloy::primitives::{B256, Bytes};
use oraculum_judge::ONNX_RUNTIME;

use super::{
    backend::{MAX_OUTPUT_BYTES, ModelFailure, RunReport, RunRequest},
    error::{EngineError, LoadError},
    judgement::{AnswerRule, GuardReport, Judgement, Trace},
    load::LoadedModel,
    profile::{Device, ExecutionProfile, Reference},
    sessions::{Attempt, Sessions},
};
use crate::{
    model::graph::{self, OutputSpec},
    protocol::{
        Outcome, OutputFormat,
        agreement::{Verdict, compare},
        cast::{self, BadInput, Failure, ModelTensor, NotFinite, Unrepresentable},
    },
    text,
};

/// A run that is longer than this gains little by a warm-up, and would make a request wait for it.
const LONGEST_WARM_UP: Duration = Duration::from_millis(2);

/// Result of a run, ready to be signed.
#[derive(Clone, Debug)]
pub struct Inference {
    /// Outcome of the request.
    pub outcome: Outcome,
    /// Packed tensors; empty unless the outcome is `Ok`.
    pub output: Bytes,
    /// Reason of an outcome other than `Ok`.
    pub failure: Option<Failure>,
    /// Profile of the run.
    pub profile: ExecutionProfile,
    /// Time that the request waited for a session; zero if it never came to one.
    pub queue_time: Duration,
    /// Time that the model ran; zero if it did not.
    pub run_time: Duration,
    /// The trace of a judgement, where one was asked for.
    pub trace: Option<Trace>,
    /// What the guard says of a judgement in the tolerance lane; nothing where the run gave no outputs.
    pub guard: Option<GuardReport>,
}

impl LoadedModel {
    /// A judgement of an answer in a format; `None` for a model that the judge does not decide about.
    pub(super) fn judgement(&self, format: OutputFormat, trace: Option<B256>) -> Option<Judgement> {
        matches!(self.judged_by, Some(Reference::Judge(_))).then(|| {
            let rule = |agreement: &Vec<_>| AnswerRule {
                agreement: agreement.clone(),
                format,
                max_output_bytes: self.max_output_bytes,
            };
            Judgement { trace, guard: self.guarded.as_ref().map(rule) }
        })
    }

    /// Runs the model on packed tensors and writes its outputs in a format.
    ///
    /// # Errors
    /// Every variant of `EngineError` but `UnknownModel`.
    pub(super) async fn infer(
        &self,
        input: Bytes,
        format: OutputFormat,
        not_finite: NotFinite,
        judgement: Option<Judgement>,
    ) -> Result<Inference, EngineError> {
        if !format.is_valid() {
            return Err(EngineError::InvalidFormat(format));
        }
        let inputs = match self.read(&input, format) {
            Ok(inputs) => inputs,
            Err(bad) => return Ok(self.conclude(Err(bad.into()), self.device, Duration::ZERO, Duration::ZERO)),
        };
        let wanted = (0..self.signature.outputs.len()).filter(|output| format.wants(*output)).collect();
        let judges_elsewhere = judgement.is_some() && self.device != Device::Judge;
        let request = RunRequest { inputs, wanted, judgement };
        // What fails elsewhere is run again on the reference, so it is kept.
        let again = (!judges_elsewhere && !self.is_reference()).then(|| request.clone());
        let sessions = if judges_elsewhere { self.reference_sessions().await? } else { &self.sessions };
        let Attempt { report, device, queue_time } = sessions.run(request).await?;
        let RunReport { result, run_time, trace, guard } = report;
        let result = match result {
            Ok(outputs) => {
                cast::from_outputs(&outputs, format, not_finite, self.max_output_bytes).map_err(Failure::from)
            }
            Err(ModelFailure::NotTensor { output, reason }) => {
                let reason = self.not_tensor(output).unwrap_or(reason);
                Err(Unrepresentable::NotTensor { output, reason }.into())
            }
            Err(ModelFailure::TooLong(length)) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                Err(Unrepresentable::TooLong { length, max: self.max_output_bytes.min(MAX_OUTPUT_BYTES) }.into())
            }
            Err(ModelFailure::Failed(reason)) => Err(self.confirm(again, reason).await?.into()),
        };
        Ok(Inference { trace, guard, ..self.conclude(result, device, queue_time, run_time) })
    }

    /// Runs the quickest probe, if that is quick and nothing else runs.
    pub(super) async fn warm_up(&self) {
        if let Some(request) = self.warm_up.get() {
            self.sessions.run_if_free(request).await;
        }
    }

    /// Runs the card's probes, and takes note of the quickest for `warm_up`.
    ///
    /// # Errors
    /// `LoadError::Probe` for the first whose output is beyond the card's tolerance, `ProbeFailed` for one that does not run.
    pub(super) async fn probe(&self) -> Result<(), LoadError> {
        let mut quickest = None;
        for (index, probe) in self.probes.iter().enumerate() {
            let Inference { outcome, output, run_time, .. } = self
                .infer(probe.input.clone(), OutputFormat::NATIVE, NotFinite::Refused, None)
                .await
                .map_err(|error| LoadError::ProbeFailed { index, error })?;
            let verdict = compare(&output, &probe.output, &self.agreement, OutputFormat::NATIVE);
            if outcome != Outcome::Ok || verdict == Verdict::Disagree {
                let found = if outcome == Outcome::Ok { output.to_string() } else { outcome.to_string() };
                return Err(LoadError::Probe { index, found });
            }
            quickest = quickest.into_iter().chain([(run_time, probe)]).min_by_key(|(time, _)| *time);
        }
        if let Some((_, probe)) = quickest.filter(|(time, _)| *time <= LONGEST_WARM_UP)
            && let Ok(inputs) = self.read(&probe.input, OutputFormat::NATIVE)
        {
            let wanted = (0..self.signature.outputs.len()).collect();
            self.warm_up.get_or_init(|| RunRequest { inputs, wanted, judgement: None });
        }
        Ok(())
    }

    /// Reads packed tensors as this model's inputs.
    fn read(&self, input: &Bytes, format: OutputFormat) -> Result<Vec<ModelTensor>, BadInput> {
        if input.len() > self.max_input_bytes as usize {
            return Err(BadInput::TooLong { length: input.len(), max: self.max_input_bytes });
        }
        cast::check_mask(format.mask, self.signature.outputs.len())?;
        cast::to_inputs(&self.signature.inputs, input)
    }

    /// Why an output that the model declares as something else is no tensor, and what to do.
    fn not_tensor(&self, output: usize) -> Option<String> {
        match self.signature.outputs.get(output)? {
            OutputSpec::Tensor(_) => None,
            OutputSpec::Other { name, kind } => Some(format!(
                "`{}` is {kind}: ask for the other outputs alone, or export the model without it{}",
                text::shown(name),
                graph::zipmap(kind)
            )),
        }
    }

    /// Finds out whether a failing run makes a bad input, which only the reference can tell; `again` is what failed, if it
    /// was not run on the reference.
    async fn confirm(&self, again: Option<RunRequest>, reason: String) -> Result<BadInput, EngineError> {
        if let Some(Reference::Native(version)) = &self.judged_by
            && *version != self.runtime
        {
            let (runtime, reference) = (self.runtime.clone(), version.clone());
            return Err(EngineError::Unconfirmed { runtime, reference, reason });
        }
        let Some(request) = again else { return Ok(BadInput::Run(reason)) };
        match self.reference_sessions().await?.run(request).await?.report.result {
            Err(ModelFailure::Failed(reason)) => Ok(BadInput::Run(reason)),
            Err(ModelFailure::NotTensor { .. } | ModelFailure::TooLong(_)) | Ok(_) => {
                Err(EngineError::Device(format!("a run failed that succeeds on the reference: {reason}")))
            }
        }
    }

    async fn reference_sessions(&self) -> Result<&Arc<Sessions>, EngineError> {
        self.reference().await.map_err(|error| match error {
            LoadError::Memory { .. } => EngineError::OutOfMemory(error.to_string()),
            error => EngineError::Runtime(error.to_string()),
        })
    }

    fn conclude(
        &self,
        result: Result<Bytes, Failure>,
        device: Device,
        queue_time: Duration,
        run_time: Duration,
    ) -> Inference {
        let profile = ExecutionProfile {
            file_hash: self.file.sha256(),
            runtime: if device == Device::Judge { ONNX_RUNTIME.to_owned() } else { self.runtime.clone() },
            device,
            provider_fallback: self.fallback,
            partial: self.partial,
            options: self.options.clone(),
        };
        let (outcome, output, failure) = match result {
            Ok(output) => (Outcome::Ok, output, None),
            Err(failure) => (failure.outcome(), Bytes::new(), Some(failure)),
        };
        Inference { outcome, output, failure, profile, queue_time, run_time, trace: None, guard: None }
    }
}
