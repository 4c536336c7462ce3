//! Pace of the calls to an endpoint: a bucket of tokens for its rate limit, and the backoff after its failures.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::chance;

/// Backoff after the first failure, doubled with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// Backoff after an endpoint asked for fewer calls, doubled likewise.
const FIRST_SLOWDOWN_BACKOFF: Duration = Duration::from_millis(500);
/// Longest backoff.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// A bucket that holds the tokens of one second and fills evenly.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Time per token; zero for no limit.
    interval: Duration,
    /// Time at which the bucket was, or will be, full.
    spent_until: Mutex<Option<Instant>>,
}

impl Bucket {
    /// Makes a bucket of `per_second` tokens per second; 0 for no limit.
    pub(super) fn new(per_second: f64) -> Self {
        let interval = if per_second > 0.0 { Duration::from_secs_f64(per_second.recip()) } else { Duration::ZERO };
        Self { interval, spent_until: Mutex::new(None) }
    }

    /// Takes a token; waits until there is one.
    pub(super) async fn take(&self) {
        if self.interval.is_zero() {
            return;
        }
        let now = Instant::now();
        let due = {
            let mut spent = self.spent_until.lock().unwrap_or_else(PoisonError::into_inner);
            let until = spent.map_or(now, |until| until.max(now)) + self.interval;
            *spent = Some(until);
            // One second's tokens may be taken at once, and one always.
            until.checked_sub(self.interval.max(Duration::from_secs(1))).unwrap_or(now)
        };
        tokio::time::sleep_until(due).await;
    }
}

/// Backoff after the `failures`th failure in a row (1 is the first): `FIRST_BACKOFF · 2^(failures − 1)`, of which up to a
/// random half is left out, so that not all nodes come back at once.
pub(super) fn backoff(failures: u32, asked_to_slow_down: bool) -> Duration {
    let first = if asked_to_slow_down { FIRST_SLOWDOWN_BACKOFF } else { FIRST_BACKOFF };
    let whole = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_BACKOFF);
    whole.mul_f64(0.5 + chance::share() / 2.0)
}

/// Pauses of a loop that tries again.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Returns the pause after one more failure.
    pub(crate) fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        backoff(self.failures, false)
    }

    /// What was tried succeeded: the next pause is the shortest.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Time that it takes to take so many tokens.
    async fn time_of(bucket: &Bucket, tokens: u32) -> Duration {
        let began = Instant::now();
        for _ in 0..tokens {
            bucket.take().await;
        }
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_seconds_tokens_go_at_once_and_the_rest_at_the_rate() {
        let bucket = Bucket::new(10.0);
        assert_eq!(time_of(&bucket, 10).await, Duration::ZERO);
        let taken = time_of(&bucket, 50).await;
        assert!((4_900..=5_100).contains(&taken.as_millis()), "{taken:?}");
        // What was not taken in a long silence is lost but for one second's.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let taken = time_of(&bucket, 20).await;
        assert!((900..=1_100).contains(&taken.as_millis()), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn less_than_one_a_second_is_a_rate_too() {
        let taken = time_of(&Bucket::new(0.25), 3).await;
        assert!((7_900..=8_100).contains(&taken.as_millis()), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_waits() {
        assert_eq!(time_of(&Bucket::new(0.0), 10_000).await, Duration::ZERO);
    }

    #[test]
    fn backoffs_double_up_to_the_longest_and_differ() {
        for failures in 1..200 {
            let whole = FIRST_BACKOFF.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_BACKOFF);
            let taken = backoff(failures, false);
            assert!(taken >= whole / 2 && taken <= whole, "{failures}: {taken:?}");
        }
        assert!(backoff(1, true) >= FIRST_SLOWDOWN_BACKOFF / 2);
        let first = backoff(9, false);
        assert!((0..50).any(|_| backoff(9, false) != first), "jitter");
    }
}
