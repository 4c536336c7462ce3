//! Pauses after runs that gave no answer: when jobs are tried again, and when the operator is told.

use std::{collections::HashMap, time::Duration};

use alloy::primitives::B256;
use tokio::time::Instant;

use crate::{
    chance,
    engine::{EngineError, Fault},
};

/// Pauses of a model whose backend fails: the first, doubled with every failure up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Exponent of the most blocks for which a job is left alone whose own run failed: 32.
const LONGEST_PARK: u32 = 5;
/// Jobs whose failures are remembered; beyond, all are forgotten and counted anew.
const REMEMBERED: usize = 1_024;
/// Time for which the operator is not told again of the same kind of failure.
const QUIET: Duration = Duration::from_secs(600);

/// The failures of one model.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// Failures of the backend since a run succeeded; those that come during a pause count as one.
    failures: u32,
    paused_until: Option<Instant>,
    /// Number of times that each job failed in its own run.
    tries: HashMap<B256, u32>,
    told: Option<(&'static str, Instant)>,
}

/// Answer to a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Retry {
    /// Blocks after which the job may be tried again, at least 1.
    pub blocks: u64,
    /// Whether the operator is to be told.
    pub tell: bool,
}

impl Backoff {
    /// Runs of the model that may go on at once, of `most`: none during a pause, and one to find out whether it is over.
    pub(super) fn allows(&self, most: usize) -> usize {
        match (self.is_paused(), self.failures) {
            (true, _) => 0,
            (false, 0) => most,
            (false, _) => most.min(1),
        }
    }

    fn is_paused(&self) -> bool {
        self.paused_until.is_some_and(|until| Instant::now() < until)
    }

    /// Takes note of a run without an answer that is not the request's fault.
    pub(super) fn failed(&mut self, id: B256, error: &EngineError) -> Retry {
        if error.fault() == Fault::Backend && !self.is_paused() {
            let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(LONGEST_PARK)).min(LONGEST_PAUSE);
            // Not all nodes try a model that fails them at the same moment.
            self.paused_until = Some(Instant::now() + pause.mul_f64(0.5 + chance::share() / 2.0));
            self.failures = self.failures.saturating_add(1);
        }
        let blocks = match error {
            // These came before the job's own run.
            EngineError::Overloaded { .. } | EngineError::UnknownModel(_) | EngineError::Stopped(_) => 1,
            _ => {
                if self.tries.len() >= REMEMBERED {
                    self.tries.clear();
                }
                let tries = self.tries.entry(id).or_default();
                let blocks = 1 << (*tries).min(LONGEST_PARK);
                *tries = tries.saturating_add(1);
                blocks
            }
        };
        let label = error.metrics_label();
        let tell = self.told.is_none_or(|(told, at)| told != label || at.elapsed() >= QUIET);
        if tell {
            self.told = Some((label, Instant::now()));
        }
        Retry { blocks, tell }
    }

    /// Takes note of an answer; returns whether the backend had failed before it.
    pub(super) fn succeeded(&mut self, id: B256) -> bool {
        self.tries.remove(&id);
        self.paused_until = None;
        std::mem::take(&mut self.failures) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopped() -> EngineError {
        EngineError::Stopped(String::new())
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_half_a_minute_and_end_with_an_answer() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.allows(8), 8);
        for pause in [1, 2, 4, 8, 16, 30, 30, 30] {
            for _ in 0..8 {
                backoff.failed(B256::ZERO, &stopped());
            }
            // Up to half of it is left out by chance.
            tokio::time::advance(Duration::from_millis(pause * 500 - 1)).await;
            assert_eq!(backoff.allows(8), 0, "{pause}");
            tokio::time::advance(Duration::from_millis(pause * 500 + 1)).await;
            assert_eq!(backoff.allows(8), 1, "{pause}");
        }
        assert!(backoff.succeeded(B256::ZERO));
        assert_eq!(backoff.allows(8), 8);
        assert!(!backoff.succeeded(B256::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_that_passes_pauses_no_other_job() {
        let mut backoff = Backoff::default();
        let late = EngineError::Timeout { limit: Duration::ZERO };
        let parked: Vec<_> = (0..8).map(|_| backoff.failed(B256::ZERO, &late).blocks).collect();
        assert_eq!(parked, [1, 2, 4, 8, 16, 32, 32, 32]);
        assert_eq!(backoff.allows(8), 8);
        let full = EngineError::Overloaded { waiting: 1 };
        assert_eq!(backoff.failed(B256::ZERO, &full).blocks, 1, "the job itself did not fail");
    }

    #[tokio::test(start_paused = true)]
    async fn the_operator_is_told_once_of_each_kind() {
        let mut backoff = Backoff::default();
        let told =
            |backoff: &mut Backoff, job: u8, error: &EngineError| backoff.failed(B256::repeat_byte(job), error).tell;
        assert!(told(&mut backoff, 0, &stopped()));
        assert!((1..200).all(|job| !told(&mut backoff, job, &stopped())));
        assert!(told(&mut backoff, 0, &EngineError::Runtime(String::new())));
        tokio::time::advance(QUIET).await;
        assert!(told(&mut backoff, 0, &EngineError::Runtime(String::new())));
    }

    #[test]
    fn what_is_remembered_of_jobs_is_bounded() {
        let mut backoff = Backoff::default();
        for job in 0..3 * REMEMBERED as u64 {
            let id = B256::left_padding_from(&job.to_be_bytes());
            backoff.failed(id, &EngineError::OutOfMemory(String::new()));
            assert!(backoff.tries.len() <= REMEMBERED);
        }
    }
}
