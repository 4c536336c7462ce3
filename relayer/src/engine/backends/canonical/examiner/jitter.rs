//! The guard's runs.

use oraculum_judge::{Guard, JitteredRun, JudgeError, Weights};

use super::{Examined, Warm, count, shortened, told, weights};
use crate::{
    engine::backends::{
        canonical::words::{explained, from_judge},
        child::{
            wire::{
                Failure, FailureKind,
                examine::{Finding, Jitter, Jittered, TOLD},
            },
            worker::{ReportFinding, failure},
        },
    },
    text,
};

impl Examined {
    /// Makes the guard's runs of one sign, or the one without jitter, on all inputs: in one session, for a session that has run
    /// before gives the same outputs.
    ///
    /// # Errors
    /// `FailureKind::Model` where the model cannot be guarded or its rewritten file does not load, `Memory` where this machine
    /// is at fault, `Runtime` where nobody listens.
    pub(super) fn jitter(&self, jitter: Jitter, report: &mut ReportFinding<'_>) -> Result<(), Failure> {
        let weights = weights(jitter);
        let refused =
            |error: oraculum_judge::GuardError| failure(FailureKind::Model, text::cut(&error.to_string(), TOLD));
        let guard = Guard::of(&self.file).map_err(refused)?;
        if weights == Weights::Plain && !guard.looks_at_casts() {
            return Ok(());
        }
        let file = guard.file(weights).map_err(refused)?;
        let load = || self.judge.load(&file, Guard::limits(self.limits));
        let stopped = |error: &JudgeError| shortened(explained(error));
        let mut warm = Warm::open(&load).map_err(|error| stopped(&error))?;
        for (input, kept) in self.kept.iter().enumerate() {
            let wanted: Vec<usize> = (0..kept.outputs.len()).collect();
            for run in Guard::runs(weights) {
                let mut jittered = Jittered { input: count(input), ..Jittered::default() };
                let tensors = match warm.run(&|session| guard.run(session, *run, &kept.inputs, &wanted)) {
                    Ok(JitteredRun { outputs, cast }) => {
                        jittered.cast = cast.map(|speaks| text::cut(&speaks.to_string(), TOLD));
                        jittered.tensors = count(outputs.len());
                        outputs.iter().map(from_judge).collect()
                    }
                    Err(error) if error.is_host() => return Err(stopped(&error)),
                    Err(error) => {
                        jittered.failure = Some(stopped(&error));
                        Vec::new()
                    }
                };
                told(report(Finding::Jittered(jittered), tensors))?;
            }
        }
        Ok(())
    }
}
